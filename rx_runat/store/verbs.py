"""The verbs of a queue as requests: what each sends to Redis, what its reply means, and what a lost reply means.

Claims are in `claimers.py`, because they need a receipt; dead letters are in `dead_letter_store.py`, and looks at a
whole queue in `overview.py`. `now` is epoch microseconds in virtual time, and None where Redis's own clock decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import chain, groupby, repeat
from operator import attrgetter
from typing import Any

from rx_runat.errors import InvalidJob
from rx_runat.model.batch import Cursor, Page, SettleReply, SettleRequest
from rx_runat.model.checks import short, show
from rx_runat.model.data import from_text
from rx_runat.model.dead_letter import SEPARATOR
from rx_runat.model.job import Due, Job, Keep, Wire
from rx_runat.model.members import to_key, to_member
from rx_runat.model.times import from_score, lateness
from rx_runat.store import steps
from rx_runat.store.keys import QueueKeys
from rx_runat.store.receipts import CLAIM_BYTES, to_parts
from rx_runat.store.request import Arg, Request, Script, new_token

# A count that stands for "all": Redis numbers the members of a zset with 32 bits, and Lua spells larger numbers, from
# fifteen digits on, in a form that Redis does not read.
MOST = 2**32

PAGE_KEYS = 1000  # some 1.5 ms of the server's time

LONGEST_REASON = 1000  # characters: an error's text is a hint, and a day of failures must not fill Redis

SCHEDULE = Script("schedule", "prelude", "record")
CANCEL = Script("cancel")
PEEK = Script("peek", "prelude")
PAGE = Script("page", "prelude", "read_first")
SETTLE = Script("settle", "prelude", "record")
GC = Script("gc")

_WIRE = attrgetter("wire")
_GENERATION = attrgetter("generation")
_KEY = attrgetter("key")
_BUT_FOR_THE_KEY = attrgetter("verb", "fence", "argument", "deadline_ms", "next_run", "data")


def wires(jobs: Sequence[Job], data_limit: int) -> list[Wire]:
    """Returns jobs as they are sent, all with data or all without; b"" leaves the data that a key has.

    Raises:
        InvalidJob: a job is invalid after all: a Due with an empty key, or one that carries more than `data_limit`
            bytes.
    """
    found: list[Wire] = [*map(_WIRE, jobs)]
    widths = set(map(len, found))
    if widths == {2}:
        return found
    for place, wire in enumerate(found):
        if len(wire) == 2:
            found[place] = (*wire, b"")
        elif len(wire[2]) > data_limit:
            where = f"job {place} of the list: " if len(jobs) > 1 else ""
            raise InvalidJob(
                f"{where}data: that of {short(jobs[place].key)} has {len(wire[2]):,} bytes as JSON; this queue takes "
                f"at most {data_limit:,} (RunAt's data_limit); keep what is longer elsewhere, and schedule where it is"
            )
    return found


def schedule(
    keys: QueueKeys, jobs: Sequence[Wire], keep: Keep, only_waiting: bool, now: int | None
) -> Iterator[tuple[range, Request[float | None]]]:
    """Write jobs in steps: with each request all jobs of the step or none. Yields a step's places in the list, too.

    The result of a request: the earliest run_at that its keys now have, in epoch milliseconds; None: none of them
    waits. For a step of moments it is the earliest of the whole list. If a key is twice in the list, the result may be
    its first run_at, which the second has replaced.

    A lost reply: written once more, which is harmless but for one case: a key that was claimed between the two writes
    comes a second time.

    Raises InvalidJob before the first step, if a key is longer than Redis takes.

    Redis: `ZADD` for a list of moments that replace any others, 100,000 in a step. `schedule.lua` for the other
    policies, and for a list with a delay or data in it, 20,000 in a step; see `steps.py`.
    """
    width = len(jobs[0])
    words: list[steps.Word] = [*chain.from_iterable(jobs)]  # time, key, time, key, ...
    earliest = _first_moment(words[::2]) if keep == "last" and not only_waiting and width == 2 else None
    if earliest is not None:
        for places, step in steps.cut(words, steps.MOMENTS):
            yield places, Request(("ZADD", keys.schedule, *step), partial(_constant, earliest))
        return
    for places, step in steps.cut(words, steps.DELAYS, width):
        yield places, _by_script(keys, keep, only_waiting, now, width, step)


def schedule_one(keys: QueueKeys, job: Wire, keep: Keep, only_waiting: bool, now: int | None) -> Request[float | None]:
    """Write one job, as `schedule` does: there the work for a list costs more than the request."""
    time, member = job[:2]
    if len(member) > steps.BYTES:
        steps.check_lengths([member])
    if keep == "last" and not only_waiting and isinstance(time, int) and len(job) == 2:
        return Request(("ZADD", keys.schedule, time, member), partial(_constant, float(time)))
    return _by_script(keys, keep, only_waiting, now, len(job), job)


def _by_script(
    keys: QueueKeys, keep: Keep, only_waiting: bool, now: int | None, width: int, words: Sequence[steps.Word]
) -> Request[float | None]:
    names = (keys.schedule, keys.leases, keys.claimed, keys.data)
    policy, clock = "" if keep == "last" else keep, "" if now is None else now
    settings = (policy, clock, new_token(), int(only_waiting), width)
    return Request((len(names), *names, *settings, *words), _to_earliest, SCHEDULE)


def cancel(keys: QueueKeys, key: str) -> Request[bool]:
    """Cancel a key: it waits no more, a lease on it is revoked, and its data is deleted.

    The result is True if the key waited or was under a lease, living or ended. The lease's holder may have done the
    work already, but its ack returns False, and the key does not come again.

    A lost reply: True stays true. False becomes OutcomeUnknown, because the key may be gone by the earlier sending or
    by a claim.

    Redis: `cancel.lua`.
    """
    words = (4, keys.schedule, keys.claimed, keys.leases, keys.data, to_member(key), new_token())
    return Request(words, bool, CANCEL, doubt=partial(_who_took, key))


def when(keys: QueueKeys, key: str) -> Request[datetime | None]:
    """Look up the run_at of a key; None: it does not wait. Redis: `ZSCORE`."""
    return Request(("ZSCORE", keys.schedule, to_member(key)), _to_time)


def peek(keys: QueueKeys, n: int, now: int | None) -> Request[list[Due]]:
    """List the next n keys in order, at least one. Redis: `peek.lua`, O(n)."""
    return Request((2, keys.schedule, keys.data, min(n, MOST), *virtual(now)), _to_dues, PEEK)


def page(keys: QueueKeys, after: Cursor, now: int | None) -> Request[Page]:
    """Read up to 1,000 keys of the schedule, in order, at most `CLAIM_BYTES`. Redis: `page.lua`, O(keys).

    Args:
        keys: of the queue.
        after: where the page before has ended.
        now: the clock in virtual time.
    """
    token = new_token()
    words: list[Arg] = [2, keys.schedule, keys.data, PAGE_KEYS, token, CLAIM_BYTES]
    words += (after.until, after.score, to_member(after.key), *virtual(now))
    return Request(words, partial(_to_page, token), PAGE)


def size(keys: QueueKeys, until_ms: int | None = None) -> Request[int]:
    """Count the keys that wait, all (`ZCARD`) or those due until a moment (`ZCOUNT`)."""
    if until_ms is None:
        return Request(("ZCARD", keys.schedule), int)
    return Request(("ZCOUNT", keys.schedule, "-inf", until_ms), int)


def server_ms() -> Request[int]:
    """Read Redis's own clock, in epoch milliseconds. Redis: `TIME`."""
    return Request(("TIME",), _to_ms)


def settle(keys: QueueKeys, requests: Sequence[SettleRequest], now: int | None) -> Request[tuple[SettleReply, str]]:
    """End or extend leases. Each request acts only if its fence is that of the key's lease, and the lease lives.

    Requests that follow each other and differ in the key alone, such as the acks of one claim, are sent as a run.

    A lost reply: the request says that it is resent, and the script then returns what can be known. A lease that is
    gone before its deadline counts as ended by the earlier sending (a cancel may have done it instead). A lease that is
    gone after its deadline was ended by the earlier sending or ran out: the answer is None. It is None, too, at another
    primary than the one which made the lease, because that lease may never have been there.

    The result: the reply without its `refusal`, and what the server said of the first request that it refused, or "".

    Redis: `settle.lua`, in one round trip for any number of keys.
    """
    names = (keys.schedule, keys.claimed, keys.leases, keys.dead, keys.data)
    words: list[Arg] = [len(names), *names, 0, "" if now is None else now, new_token()]
    for (verb, fence, _, deadline_ms, next_run, _), alike in groupby(requests, _BUT_FOR_THE_KEY):
        run = list(alike)
        words += (verb, fence, next_run if verb == "ack" else _argument(run[0]), deadline_ms, len(run))
        found = list(map(_KEY, run))
        words += found if "".join(found).isascii() else map(to_member, found)  # hiredis packs a str faster than bytes
    return Request(words, _to_settle_reply, SETTLE, resent_at=6, relies_on=min(map(_GENERATION, requests)))


def gc(keys: QueueKeys, name: str, members: Sequence[bytes]) -> Request[int]:
    """Delete what a hash holds for those keys that neither wait nor are out; the result: how many. Redis: `gc.lua`."""
    return Request((3, keys.schedule, keys.claimed, name, *members), int, GC)


def virtual(now: int | None) -> tuple[int, ...]:
    """Returns the optional last argument of a script: the clock in virtual time, else nothing."""
    return () if now is None else (now,)


def _constant(earliest: float, _: Any) -> float:
    return earliest


def _first_moment(times: Sequence[Any]) -> float | None:
    """Returns the earliest of times as they are sent; None if one of them is a delay."""
    try:
        earliest = min(times)
    except TypeError:  # a delay is a str, which is not compared with an int
        return None
    return float(earliest) if isinstance(earliest, int) else None


def _who_took(key: str, was_there: bool) -> str | None:
    return None if was_there else f"{show(key)} does not wait any more; whether this cancel or a claim took it"


def _to_ms(reply: tuple[bytes, bytes]) -> int:
    seconds, microseconds = reply
    return int(seconds) * 1000 + int(microseconds) // 1000


def _to_time(score: bytes | None) -> datetime | None:
    return None if score is None else from_score(score)


def _to_dues(reply: tuple[int, list[bytes], list[bytes]]) -> list[Due]:
    now, flat, texts = reply
    dues = [
        Due(to_key(member), from_score(score), lateness(score, now))
        for member, score in zip(flat[::2], flat[1::2], strict=True)
    ]
    if not texts:
        return dues
    return [replace(due, data=from_text(to_key(text), due.key)) for due, text in zip(dues, texts, strict=True)]


def _to_page(token: str, reply: tuple[int, bytes, bytes]) -> Page:
    now, joined, until = reply
    parts = to_parts(joined[len(token) :], token)
    if not parts:
        return Page([], Cursor())
    width = int(parts[0])
    found, scores = parts[1::width], parts[2::width]
    texts = parts[3::width] if width == 3 else repeat("")
    dues = [
        Due(key, from_score(score), lateness(score, now), data=from_text(text, key))
        for key, score, text in zip(found, scores, texts, strict=False)
    ]
    return Page(dues, Cursor(until.decode(), scores[-1], found[-1]))


def _to_settle_reply(reply: tuple[bytes, list[int], bytes, list[Any]]) -> tuple[SettleReply, str]:
    earliest, results, refusal, next_runs = reply
    answers = [None if result == -1 else result for result in results]
    found = {place - 1: float(score) for place, score in zip(next_runs[::2], next_runs[1::2], strict=True)}
    return SettleReply(answers, _to_earliest(earliest), next_runs=found), refusal.decode(errors="replace")


def _to_earliest(score: bytes) -> float | None:
    return float(score) if score else None


def _argument(request: SettleRequest) -> Arg:
    """Returns the argument of a verb other than `ack` as `settle.lua` takes it."""
    if request.verb == "bury":
        # From the last separator on it is data: a reason may hold any character, but JSON has no control characters.
        data = request.data.encode(errors="surrogateescape")
        reason = _cut(str(request.argument))
        return b"%s %s%s%s" % (request.next_run.encode(), reason, SEPARATOR, b"" if SEPARATOR in data else data)
    return request.argument


def _cut(reason: str) -> bytes:
    """Returns a reason as Redis keeps it: short, and in UTF-8, even if it quotes a key that is not."""
    text = reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 1] + "…"
    return text.encode(errors="backslashreplace")
