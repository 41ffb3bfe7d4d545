"""`settle`: works on claims, ends their leases, and tells what became of each.

operator      settle, as a user sees it
subscription  one subscriber: claims come in, outcomes go out, and the end
limiter       how much work is under way at once
threads       what the user's code runs on
work          the user's function, called with each claim
run           work that goes on after its call: an Observable, a Future, a coroutine
decision      what becomes of a claim whose work is over: ack, nack, bury or back
outcomes      outcomes on their way to the subscriber, one at a time
backoff       how long a failed key waits for its next attempt

One way, and three kinds of thread (`LeaseManager` with its acks and renewals is in `stream/`):

    claims source   LeaseManager.delivery -> Subscription.on_next -> Limiter.put         the source's loop; never waits
    work threads    Limiter -> Work.begin [-> Run] -> decide -> LeaseManager.acks        the user's code
    leases thread   Acks -> Redis -> Outcomes.put                                        never the user's code
    outcomes        Outcomes -> the subscriber's on_next -> Limiter.start                the user's code; one thread

Acks are not sent from the source's loop, nor from the outcomes' thread: there, one slow callback of the user's would
keep all leases from being renewed. In virtual time all of it happens at once, on the scheduler's thread.
"""
