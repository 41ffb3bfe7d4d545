"""The verbs of a queue as requests: what each sends to Redis, what its reply means, and what a lost reply means.

Claims are in `claimers.py`, because they need a receipt; dead letters are in `dead_letter_store.py`. `now` is epoch
microseconds in virtual time, and None where Redis's own clock decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any, cast

from rx_runat.model.batch import SettleReply, SettleRequest
from rx_runat.model.checks import show
from rx_runat.model.job import Due, Job, Keep
from rx_runat.model.members import to_key, to_member
from rx_runat.model.snapshot import Place, Snapshot, to_keys_with_times, to_places
from rx_runat.model.times import from_score, lateness
from rx_runat.store import steps
from rx_runat.store.keys import QueueKeys
from rx_runat.store.request import Arg, Request, Script, new_token

# A count that stands for "all": Redis numbers the members of a zset with 32 bits, and Lua spells larger numbers, from
# fifteen digits on, in a form that Redis does not read.
MOST = 2**32

LONGEST_REASON = 1000  # characters: an error's text is a hint, and a day of failures must not fill Redis

SCHEDULE = Script("schedule", "prelude", "record")
CANCEL = Script("cancel")
PEEK = Script("peek", "prelude")
SNAPSHOT = Script("snapshot", "prelude")
LOCATE = Script("locate")
SETTLE = Script("settle", "prelude", "record")

_WIRE = attrgetter("wire")
_GENERATION = attrgetter("generation")
_KEEP: dict[Keep, str] = {"last": "", "first": "NX", "earliest": "LT", "latest": "GT"}


def schedule(
    keys: QueueKeys, jobs: Sequence[Job], keep: Keep, now: int | None
) -> Iterator[tuple[range, Request[float]]]:
    """Write jobs in steps: with each request all jobs of the step or none. Yields a step's places in the list, too.

    The result of a request: the earliest run_at that its keys now have, in epoch milliseconds. If a key is twice in the
    list, the result may be its first run_at, which the second has replaced.

    A lost reply: written once more, which is harmless but for one case: a key that was claimed between the two writes
    comes a second time.

    Raises InvalidJob before the first step, if a job is invalid after all: a Due with an empty key, or a key that is
    longer than Redis takes.

    Redis: `ZADD` for a list of moments that replace any others, 100,000 in a step. `schedule.lua` for the other
    policies, and for a list with a delay in it, 20,000 in a step; see `steps.py`.
    """
    pairs: list[str | bytes] = [*chain.from_iterable(map(_WIRE, jobs))]  # time, key, time, key, ...
    times = cast("list[str]", pairs[::2])
    if keep == "last" and min(times)[0] != "+":  # "+" marks a delay, and sorts before "-" and the digits
        for places, step in steps.cut(pairs, steps.MOMENTS):
            own = times if step is pairs else cast("list[str]", step[::2])
            yield places, Request(("ZADD", keys.schedule, *step), partial(_earliest, own))
        return
    for places, step in steps.cut(pairs, steps.DELAYS):
        yield places, _by_script(keys, keep, now, step)


def schedule_one(keys: QueueKeys, job: Job, keep: Keep, now: int | None) -> Request[float]:
    """Write one job, as `schedule` does: there the work for a list costs more than the request."""
    wire: tuple[str, str | bytes] = _WIRE(job)
    time, member = wire
    if len(member) > steps.BYTES:
        steps.check_lengths([member])
    if keep == "last" and time[0] != "+":
        return Request(("ZADD", keys.schedule, time, member), partial(_earliest, (time,)))
    return _by_script(keys, keep, now, wire)


def _by_script(keys: QueueKeys, keep: Keep, now: int | None, pairs: Sequence[str | bytes]) -> Request[float]:
    clock = "" if now is None else now
    return Request((2, keys.schedule, keys.leases, _KEEP[keep], clock, *pairs), float, SCHEDULE)


def cancel(keys: QueueKeys, key: str) -> Request[bool]:
    """Cancel a key: it waits no more, and a lease on it is revoked.

    The result is True if the key waited or was under a lease, living or ended. The lease's holder may have done the
    work already, but its ack returns False, and the key does not come again.

    A lost reply: True stays true. False becomes OutcomeUnknown, because the key may be gone by the earlier sending or
    by a claim.

    Redis: `cancel.lua`.
    """
    words = (3, keys.schedule, keys.claimed, keys.leases, to_member(key), new_token())
    return Request(words, bool, CANCEL, doubt=partial(_who_took, key))


def when(keys: QueueKeys, key: str) -> Request[datetime | None]:
    """Look up the run_at of a key; None: it does not wait. Redis: `ZSCORE`."""
    return Request(("ZSCORE", keys.schedule, to_member(key)), _to_time)


def peek(keys: QueueKeys, n: int, now: int | None) -> Request[list[Due]]:
    """List the next n keys in order, at least one. Redis: `peek.lua`, O(n)."""
    return Request((1, keys.schedule, min(n, MOST), *virtual(now)), _to_dues, PEEK)


def size(keys: QueueKeys, until_ms: int | None = None) -> Request[int]:
    """Count the keys that wait, all (`ZCARD`) or those due until a moment (`ZCOUNT`)."""
    if until_ms is None:
        return Request(("ZCARD", keys.schedule), int)
    return Request(("ZCOUNT", keys.schedule, "-inf", until_ms), int)


def server_ms() -> Request[int]:
    """Read Redis's own clock, in epoch milliseconds. Redis: `TIME`."""
    return Request(("TIME",), _to_ms)


def snapshot(keys: QueueKeys, n: int, window: float | None, slice_ms: int, now: int | None) -> Request[Snapshot]:
    """Read the counts of the queue and its next keys, without taking any. Redis: `snapshot.lua`, sent once.

    Args:
        keys: of the queue.
        n: the most keys in each list.
        window: limits `coming` and the slices to keys due within so many seconds; None: all.
        slice_ms: the width of the slices of time in which keys are counted, if n or more keys come within the window;
            0: none.
        now: the clock in virtual time.
    """
    span = "+inf" if window is None else int(window * 1000)
    words: list[Arg] = [3, keys.schedule, keys.claimed, keys.dead, span, n, slice_ms, *virtual(now)]
    return Request(words, partial(_to_snapshot, slice_ms), SNAPSHOT, once=True)


def locate(keys: QueueKeys, wanted: Sequence[str]) -> Request[list[Place]]:
    """Tell where each of some keys is. Redis: `locate.lua`, O(keys), sent once."""
    words: list[Arg] = [4, keys.schedule, keys.claimed, keys.leases, keys.dead, *map(to_member, wanted)]
    return Request(words, to_places, LOCATE, once=True)


def settle(keys: QueueKeys, requests: Sequence[SettleRequest], now: int | None) -> Request[tuple[SettleReply, str]]:
    """End or extend leases. Each request acts only if its fence is that of the key's lease, and the lease lives.

    A lost reply: the request says that it is resent, and the script then returns what can be known. A lease that is
    gone before its deadline counts as ended by the earlier sending (a cancel may have done it instead). A lease that is
    gone after its deadline was ended by the earlier sending or ran out: the answer is None. It is None, too, at another
    primary than the one which made the lease, because that lease may never have been there.

    The result: the reply without its `refusal`, and what the server said of the first request that it refused, or "".

    Redis: `settle.lua`, in one round trip for any number of keys.
    """
    clock = "" if now is None else now
    words: list[Arg] = [4, keys.schedule, keys.claimed, keys.leases, keys.dead, 0, clock, new_token()]
    for verb, key, fence, argument, deadline_ms, _ in requests:
        words += (verb, to_member(key), fence, _cut(argument) if isinstance(argument, str) else argument, deadline_ms)
    return Request(words, _to_settle_reply, SETTLE, resent_at=5, relies_on=min(map(_GENERATION, requests)))


def virtual(now: int | None) -> tuple[int, ...]:
    """Returns the optional last argument of a script: the clock in virtual time, else nothing."""
    return () if now is None else (now,)


def _earliest(times: Sequence[str], _: int) -> float:
    if len(set(map(len, times))) == 1 and "-" not in (first := min(times)):
        return float(first)  # of numbers with equally many digits, the text tells which is less, in half the time
    return float(min(map(int, times)))


def _who_took(key: str, was_there: bool) -> str | None:
    return None if was_there else f"{show(key)} does not wait any more; whether this cancel or a claim took it"


def _to_ms(reply: tuple[bytes, bytes]) -> int:
    seconds, microseconds = reply
    return int(seconds) * 1000 + int(microseconds) // 1000


def _to_time(score: bytes | None) -> datetime | None:
    return None if score is None else from_score(score)


def _to_dues(reply: tuple[int, list[bytes]]) -> list[Due]:
    now, flat = reply
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return [Due(to_key(member), from_score(score), lateness(score, now)) for member, score in pairs]


def _to_snapshot(slice_ms: int, reply: Any) -> Snapshot:
    now, scheduled, due, claimed, dead, due_keys, coming, leases, slices = reply
    counted = {float(each) * slice_ms: count for each, count in zip(slices[::2], slices[1::2], strict=True)}
    first, following, held = map(to_keys_with_times, (due_keys, coming, leases))
    return Snapshot(now / 1e3, scheduled, due, claimed, dead, first, following, held, counted)


def _to_settle_reply(reply: tuple[bytes, list[int], bytes]) -> tuple[SettleReply, str]:
    earliest, results, refusal = reply
    answers = [None if result == -1 else result for result in results]
    return SettleReply(answers, float(earliest) if earliest else None), refusal.decode(errors="replace")


def _cut(reason: str) -> bytes:
    """Returns a reason as Redis keeps it: short, and in UTF-8, even if it quotes a key that is not."""
    text = reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 1] + "…"
    return text.encode(errors="backslashreplace")
