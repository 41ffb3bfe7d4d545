"""What a store takes and returns in bulk: claimed keys, leased keys, and what becomes of leases.

Claimed        keys taken for good               by one claim of a plain source
Leased         keys taken under a lease          by one claim of a claims source
Entry          one key on its way back           as it was claimed
Counting       when an attempt counts            read at each claim under a lease
Page           keys that wait                    one step of a listing
SettleRequest  what becomes of one leased key    many in one call
SettleReply    what Redis did about them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from rx_runat.errors import StoreError
from rx_runat.model.job import Due


class Entry(NamedTuple):
    """A claimed key with its score as Redis spelled it and its data as text, so that it goes back exactly as it was."""

    key: str
    score: str
    data: str = ""


class Claimed(NamedTuple):
    """What one claim took for good.

    Attributes:
        keys: the keys that were due, in the order of the schedule.
        scores: their run_at, as Redis spelled it.
        now: Redis's clock at the claim, epoch microseconds.
        wait: seconds until the next key is due; 0.0 if more are due already; None if nothing is scheduled.
        data: of each key, as text; "" for a key without. An empty list if the queue has no data.
    """

    keys: list[str]
    scores: list[str]
    now: int
    wait: float | None
    data: Sequence[str] = ()


Counts: TypeAlias = Literal["now", "later", "suspect"]
"""When an attempt counts: at the claim, or `later`, at its begin. `suspect`: later, and the attempt before ended with
its lease: perhaps the work killed its process."""


class Leased(NamedTuple):
    """What one claim took under a lease.

    Attributes:
        keys: the keys that were due, in the order of the schedule.
        scores: their run_at, as Redis spelled it.
        attempts: the number of the attempt, from 1, for each key.
        counts: for each key, when this attempt counts. If not `now`, it counts from a `begin` on, and a lease that ends
            before that is as if the key had not been claimed.
        fence: the token of the claim call, which proves the lease on all of the keys.
        deadline: the end of the lease, epoch milliseconds: it lives while Redis's clock shows less than that.
        now: Redis's clock at the claim, epoch microseconds.
        wait: seconds until the next key is due or the next lease ends, whichever comes first; 0.0 if one of the two has
            happened already; None if neither is going to happen. After a claim with limit 0 it tells of the end of
            a lease only.
        generation: of the primary (see `Store`), before the claim that it replied to.
        data: as in `Claimed`.
    """

    keys: list[str]
    scores: list[str]
    attempts: list[int]
    counts: list[Counts]
    fence: str
    deadline: int
    now: int
    wait: float | None
    generation: int = 0
    data: Sequence[str] = ()


def to_entries(claimed: Claimed | Leased) -> list[Entry]:
    """Returns what a claim took as it goes back."""
    return list(map(Entry, claimed.keys, claimed.scores, claimed.data or [""] * len(claimed.keys)))


EVERY = 1_000_000_000
"""More attempts than any key has: as `Counting.up_to`, all attempts count at the claim."""


class Counting:
    """Which attempts count as soon as a key is claimed, and which when its work begins.

    An attempt that counts too early blames a key for a crash of its neighbour's; one that counts too late lets a key
    whose work kills its process come back for ever.

    Attributes:
        up_to: attempts with a number up to this count at the claim; later ones count at `begin`.
    """

    def __init__(self, up_to: int = EVERY) -> None:
        self.up_to = up_to


class Cursor(NamedTuple):
    """A place in the schedule: where a page ends, and the next one begins.

    Attributes:
        until: the score of the last key that is listed, as Redis spells it; "+inf": all are.
        score: of the last key of the page, likewise; "": before the first page.
        key: that key.
    """

    until: str = "+inf"
    score: str = ""
    key: str = ""


class Page(NamedTuple):
    """One page of the schedule.

    Attributes:
        dues: in order; none after the last page.
        last: where it ends.
    """

    dues: list[Due]
    last: Cursor


Verb: TypeAlias = Literal["begin", "ack", "nack", "extend", "bury", "back"]

SUPERSEDED = 2
"""An answer to `nack`: it was done, but a newer schedule of the key stands, so no attempt is planned."""

REFUSED = -2
"""An answer to any verb: the server refused this request, and nothing was done for it."""


class SettleRequest(NamedTuple):
    """What is to become of a leased key.

    Attributes:
        verb: `begin`: the work begins, so from now on the attempt counts; asked twice, it counts once. `ack`: the work
            is done. `nack`: the key waits for another attempt. `extend`: the lease gets a later
            deadline. `bury`: the key goes to the dead letters. `back`: the key is handed back; it waits with its own
            run_at, and this attempt does not count.
        key: the key.
        fence: the token of the claim call.
        argument: for `nack` the delay and for `extend` the length, in milliseconds; for `bury` the reason; for the
            other verbs ignored.
        deadline_ms: the latest deadline of the lease that its holder knows, epoch milliseconds.
        generation: of a primary (see `Store`) that knew the lease.
        next_run: for `ack` and `bury`: when the key's next run is due, as `to_time` spells it; "": there is none.
        data: for `bury`: what the run carried, as text.
    """

    verb: Verb
    key: str
    fence: str
    argument: int | str
    deadline_ms: int
    generation: int = 0
    next_run: str = ""
    data: str = ""


class SettleReply(NamedTuple):
    """What Redis did about a list of requests.

    Attributes:
        answers: one for each request. 0: the lease was not ours any more, and nothing was done. The new deadline in
            epoch milliseconds for an `extend` that was done; for the other verbs 1, or SUPERSEDED. None: unknown,
            because the first answer was lost, and the lease has ended since or another primary has taken over.
            REFUSED: see `refusal`.
        earliest: the earliest run_at that the requests put into the schedule, epoch milliseconds; None: they put none.
        refusal: why the server refused the first of the requests that it refused; None: it refused none.
        next_runs: the place of each request that put a next run into the schedule, and the run_at of that, epoch
            milliseconds. None is put there if a newer schedule of the key stands. After a lost answer, a next run is
            told if the key waits for just that moment; so one that was given as a delay is usually missing.
    """

    answers: list[int | None]
    earliest: float | None
    refusal: StoreError | None = None
    next_runs: Mapping[int, float] = MappingProxyType({})
