"""Values and the protocols between the rooms. They need the standard library alone, and know neither Redis nor Rx.

    Job -->  [ store ]  --> Due                        plain keys: scheduled, then due
                        --> Claim --> Outcome          claims: leased, then settled
                                  '-> DeadLetter       or given up

checks       refuse invalid arguments, and show them in the message
times        moments and delays: how `run_at` becomes a score, and a score a `run_at`
members      keys: how a key becomes a member of a sorted set, and a member a key
job          `Job` and `Due`; what the sink takes
batch        what a store takes and returns for many keys at once
claim        `Claim`: a key under a lease
outcome      `Outcome`: what became of a claim
dead_letter  `DeadLetter`: a key whose work was given up
snapshot     a queue at one moment, for pictures
protocols    what the rooms above expect of a store and its claimers
humanize     times, delays and counts in words
rich         what a value shows in a notebook
"""
