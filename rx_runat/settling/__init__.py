"""`settle`: works on claims, ends their leases, and tells what became of each.

operator      settle, as a user sees it
subscription  one subscriber: claims come in, outcomes go out, and the end
arrivals      what comes: a claim, a list of claims, or a stranger
assignment    what one call of the work gets: a claim, or a list of claims
limiter       how much work is under way at once
backlog       what waits behind it: how many claims, and for how long
threads       what the user's code runs on
work          the user's function, called with each claim
kinds         what that function is, and what it returned: generators are refused
calls         each call of it, until its work is over or takes too long
run           work that goes on after its call: an Observable, a Future, a coroutine
decision      what becomes of a claim whose work is over: ack, nack, bury or hand back
outcomes      outcomes on their way to the subscriber, one at a time
failures      what the log is told of them: failed attempts and burials
again         when a key comes again: `every` and `cron`
backoff       how long a failed key waits for its next attempt

The path of a claim, and the threads on it: the source's own, and three kinds that `settle` uses (`LeaseManager` with
its acks and renewals is in `stream/`):

    claims source   LeaseManager.delivery -> Subscription -> Limiter.put                 the source's loop
    work threads    Limiter -> Work.begin [-> Run] -> decide -> LeaseManager.acks        the user's code
    leases thread   Acks -> Redis -> Outcomes.put                                        never the user's code
    outcomes        Outcomes -> the subscriber's on_next -> Limiter.start                the user's code; one thread

A source gives `settle` the claims of one call to Redis at once, if no operator is between them and nobody else
subscribes to them; else one by one.

Acks and renewals are sent from the leases thread only: on the source's loop or the outcomes thread, one slow callback
of the user's would delay them all, and leases would end. The source's loop waits for Redis in one case: to hand back a
claim that comes while the stream ends. In virtual time all of it happens at once, on the scheduler's thread.
"""
