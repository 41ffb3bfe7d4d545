"""Rx: everything between the user, who writes jobs and receives keys, and the store, which makes all calls to Redis.

    jobs --> sink --> writes -------------------------------> store           on the caller's thread, to Redis
                         '-- wake_for(run_at) --> sources

    ticks --> source --> hold ------------------------------> store           on the source's loop
      ^         '-----> delivery <-- claimed keys ------------'
      |                    '--> subscribers
      '-- wake <-- listener <-- others' writes                                on the listener's loop, one a queue

A job on its way in:

    sink             the Observer of jobs
    writes           writes to the store, then wakes the queue's own sources

A due key on its way out:

    ticks            when to look: heartbeat, alarm, wake-up; a `Ticker` per source
    wake             the head of the schedule as an Observable: others' writes wake all sources of a queue
    listener         the one connection behind it: when the head is read, and how often
    sleep            how long a source sleeps, and what wakes it
    outage           whether Redis is away, and the backoff between two looks
    demand           how many keys a claim may take
    asked            the demand of ticks of the user's
    source           one look: tick -> claim -> deliver -> hand back the rest
    hold             what was claimed and not received, and how it goes back
    turn             the time in which one claim is to be delivered
    hold_timer       when it goes back though an `on_next` blocks; one thread a process
    claiming         what differs between plain keys and claims
    delivery         one claim, key by key, to the subscribers
    subscribers      who subscribes to a source at the moment
    taps             observers of what a queue does here, for drawings, metrics and traces
    rx_callbacks     what RxPY's callbacks refer to, up to the end of the pipeline
    unrun            refuses a callback that would run nothing, such as an `async def`
    endless_waits    refuses a `run()` that could not end
    look_lock        one look at a time; under the same lock the source ends, after the look in progress

Subscribers:

    hot              `Hot` is an Observable, a `Publisher` calls its `Subscriber`s
    interrupted_run  ends the subscriptions of a `run()` that is interrupted
    rendezvous       one value handed to an event loop, while the source waits
    async_iteration  `async for`
    jobs             `queue.jobs` and the other streams with a name
    broadcast        `queue.errors`: published without waiting
    driven           `claim_from`: a source that looks at ticks of the user's alone
    waiting          `queue.waiting`: the schedule as a cold stream, page by page

Claims, which outlive the look that brought them:

    leases           makes claims and settles them: a `Claiming` like the plain one
    slots            how many claims may be out: their demand
    acks             leases of finished work, settled in bulk
    renewals         leases of work that goes on, extended in bulk
    lease_thread     where both happen; it runs no code of the user's
    lease_holder     who keeps leases: what it asks for, and what it is told
    stoppable        work on claims, which `stop` must wait for

A whole queue:

    settings         which settings can be used
    sources          opens sources, registers work, stops all together
    access           how parts of a queue that users hold on to reach it
    gate             a verb of a stopped queue raises `Stopped`
    loop             the scheduler of one source: a thread and a monotonic clock
    at_exit          hands back when the interpreter ends
    signals          SIGTERM and SIGINT as an Observable
"""
