"""What happens between the claims that come to `settle` and the outcomes that leave it.

claims --> turns --> work --> clerk --> outbox --> subscriber
           '--- renewals ---'

settling   one subscription: takes claims, judges work, ends
turns      who waits for work, and who is at it
run        work that goes on after its call: an Observable, a Future, a coroutine
clerk      verdicts and renewals, to Redis in bulk
outbox     outcomes, to the subscriber one by one
places     the threads of all that, or the scheduler of virtual time
"""
