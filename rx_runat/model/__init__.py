"""Values, and the protocols between the store and the Rx layers.

They need the standard library alone, and know neither Redis nor Rx.

    Job -->  [ store ]  --> Due                        plain keys: scheduled, then due
                        --> Claim --> Outcome          claims: leased, then settled
                                  '-> DeadLetter       or given up

checks       refuse invalid arguments, and show them in the message
functions    what kind of function a user gave
times        moments and delays: how `run_at` is converted to a score, and back
when         moments and lengths of time as people write them
foreign_values  numbers and times of other libraries: read exactly, or refused with what to do
safe_log     the logger, whatever the user's handlers raise; errors that nobody handles
monotonic    the clock for waiting, which goes on while a test freezes time
forks        what is made anew in a forked child, and what does nothing there
members      keys: how a key is converted to a member of a sorted set, and back
data         what a job carries: a JSON value, and its text in Redis
again        when a key comes again, and how that is sent to Redis
setters      assigns the fields of frozen dataclasses, fast
job          `Job` and `Due`; what the sink takes
batch        what a store takes and returns for many keys at once
claim        `Claim`: a key under a lease
outcome      `Outcome`: what became of a claim
dead_letter  `DeadLetter`: a key whose work was given up
stats        `Stats`: a queue in numbers
snapshot     a queue at one moment, for pictures
protocols    what the layers that import `model` expect of a store and its claimers
humanize     times, delays and counts in words
rich         what a value shows in a notebook
"""
