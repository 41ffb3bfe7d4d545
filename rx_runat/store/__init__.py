"""The queue in Redis. Nothing in this folder knows Rx.

    Job, key, ...  -->  redis_store  -->  verbs, claimers, ...  -->  client  -->  Redis, lua/
                                            a Request each            |
    bool, Due, Claimed, ...  <--  Request.read  <--  the reply  <-----'

connect             from a URL, a mapping or a client of the user's to a route
clients             what a client of the user's knows of its server
urls                reads a server's URL; says what is wrong with it, and shows no password
embedded            a real server for one queue or one directory, started and ended by its users
embedded_watchdog   the process that ends such a server after its last user
file_locks          locks on its files, of which a forked child keeps none that is not its own
private_dir         the directory of such a server: ours alone, or refused
redis_store         the verbs of the `Store` protocol
plans               each verb as the requests that it needs, one or more
request             a verb as a value: what is sent, how the reply is read, what a lost reply means
verbs               the requests: schedule, cancel, when, peek, size, page, settle, gc
overview            the requests that look at a whole queue: stats, snapshot, locate
scan                walks over all fields of a hash in bounded steps
steps               how a long list of jobs is cut into requests
claimers            how one source claims, for good or under a lease, and hands back
heads               when the next claim brings something: what sources and trackers read between claims
ahead               asks for a claim before its reply is wanted
candidates          keys that the next claim takes if nobody writes before: optimistic locking
wire                commands and replies in the form of the protocol
receipts            what a claim took is written down, so that a lost reply loses no key
dead_letter_store   the requests and plans on dead letters, one or all
tracking            learns by pushes of the server that the head of the schedule may have changed; wakes sources
eviction            warns once of a server that may evict the schedule
keys                the names of all that is in Redis
route               where Redis is at the moment: one of the three below
address             one server, which stays where it is
slot_route          the primary of the queue's slot in a cluster
search              a search for it, which many threads need at the same moment, and one of them makes
sentinel_route      the primary that Sentinel names
sentinels           asks Sentinels, one after the other, where the primary is
primary             what these two share: another primary takes the place of the present one
credentials         credentials that change while we are connected
batches             sends the next requests of many plans together, for awaits
client              sends a request, up to three times if replies are lost
meaning             what an error means: does it heal, or stay until somebody does something?
connection          connections without hidden retries; when one can be used again; one that stays open for pushes
lua/                the scripts, each with its contract on top; what they share is in `prelude` (with the rules that all
                    of them keep), `record` and `read_first`
"""
