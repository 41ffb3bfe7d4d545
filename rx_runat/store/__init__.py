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

Where Redis may be: Redis 6.2 or later, or Valkey, in the forms that `help(rx_runat.RunAt)` lists. A connection is made
at the first call.

Eviction. The schedule is one key, and a `maxmemory-policy` such as `allkeys-lru` may evict it: set `noeviction`. The
log warns of such a policy, once, if the user has `+info`.

Embedded servers. `embedded:///dir` writes an append-only file with `appendfsync everysec`: a killed process of yours
loses no acknowledged write. A killed server loses some where the disk is slow, because it then writes up to two seconds
late; a machine that loses power may lose as much. Server and directory are for your user alone. A directory is refused
if it belongs to another user, if others may enter it, if others may replace it because they may write in a directory
above it, or if a link or a file of another user lies in it. The server starts at once, and ends with the last process
that uses it, however that process ends. It is the binary of the extra `embedded`, `$RX_RUNAT_SERVER`, or a
`valkey-server` or `redis-server` on PATH.

A failover, by Sentinel or in a cluster. Streams and verbs go on at the new primary by themselves, within 2 s of it. A
primary that is silent and not dead costs the `socket_timeout` first, there 2 s unless you set it. Redis replies before
it replicates, so a primary that dies takes its last writes along: jobs are lost, and taken keys come again. With
`min-replicas-to-write 1`, a primary that is cut off from its replicas refuses writes after `min-replicas-max-lag`. If
the failover took the reply to a call, and the new primary cannot tell what was done, the call raises `OutcomeUnknown`.
"Now" is the clock of the primary of the moment: keep the hosts in step.

    Sentinel   is asked twice a second. A planned switch loses at most a second of writes, and those of Sentinel's own
               delay. `min-replicas-to-write` does not change that, and the new primary then refuses writes for a second
    Cluster    a queue lies in one slot, on one primary. A slot that moves loses nothing; while it moves key by key, the
               queue waits

Credentials that change. When a streaming `credential_provider` has a new token, all connections are made anew. Such a
provider keeps one callback only: queues may share one, but a client of your own that uses the same one is not told of
new tokens any more.

Wake-ups. Redis's client-side caching (`CLIENT TRACKING`) wakes every source when another client schedules. It wakes
sources of claims also when another process claims, because a key that is claimed elsewhere may come back. On a server
that refuses tracking, sinks publish on the channel `{Q}:wake`, which `+publish +subscribe &{Q}:wake` permits (in a
cluster `+spublish +ssubscribe`); a bare `ZADD` is found at the heartbeat, and sources of claims look every 5 s. On a
server that refuses both, sources find the writes of others at their heartbeat.

Managed services, as their pages and users describe them; none was tried:

ElastiCache: 7.1 refuses `CLIENT TRACKING`: a write by this package wakes sources, a bare `ZADD` is found at the
heartbeat. https://github.com/redis/rueidis/issues/612

Memorystore: scripts and `CLIENT TRACKING` are there, on Redis, Cluster and Valkey.
https://docs.cloud.google.com/memorystore/docs/redis/supported-commands.md.txt
https://docs.cloud.google.com/memorystore/docs/cluster/supported-commands.md.txt
https://docs.cloud.google.com/memorystore/docs/valkey/supported-commands.md.txt

Redis Cloud, Redis Software: RESP3, which a queue needs, from 7.2; tracking from 7.4.
https://redis.io/docs/latest/operate/rs/references/compatibility/resp/
https://redis.io/docs/latest/operate/rc/compatibility/

Azure Managed Redis: `redis+cluster://` with the OSS policy, one address with the other. Entra tokens want TLS and a
streaming provider.
https://learn.microsoft.com/en-us/training/modules/implement-data-operations-azure-managed-redis/3-client-libraries-best-practices
https://docs.azure.cn/en-us/redis/entra-for-authentication

OCI Cache: a sharded cluster refuses scripts, so no queue can lie there; others serve.
https://docs.oracle.com/iaas/Content/ocicache/restrictedcommands.htm

Aiven for Valkey: no `CLUSTER`, so no `redis+cluster://`.
https://aiven.io/docs/products/valkey/reference/restricted-commands

Upstash: scripts and pub/sub are there. https://upstash.com/docs/redis/commands/overview
"""
