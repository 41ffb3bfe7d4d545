"""Requests that look at a whole queue: its numbers, its next keys, and where single keys are. They change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from rx_runat.model.members import to_member
from rx_runat.model.snapshot import Place, Snapshot, to_keys_with_times, to_places
from rx_runat.model.stats import Stats
from rx_runat.model.times import lateness
from rx_runat.store.keys import QueueKeys
from rx_runat.store.request import Arg, Request, Script
from rx_runat.store.verbs import virtual

STATS = Script("stats", "prelude")
SNAPSHOT = Script("snapshot", "prelude")
LOCATE = Script("locate")


def stats(keys: QueueKeys, now: int | None) -> Request[Stats]:
    """Count the keys of the queue, and tell how late the oldest one is. Redis: `stats.lua`."""
    return Request((3, keys.schedule, keys.claimed, keys.dead, *virtual(now)), _to_stats, STATS)


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


def _to_stats(reply: tuple[int, int, int, int, int, bytes, bytes]) -> Stats:
    now, scheduled, due, claimed, dead, head, lease_end = reply
    passed = [score for score in (head, lease_end) if score and float(score) <= now // 1000]
    return Stats(scheduled, due, claimed, dead, max((lateness(score, now) for score in passed), default=0.0))


def _to_snapshot(slice_ms: int, reply: Any) -> Snapshot:
    now, scheduled, due, claimed, dead, due_keys, coming, leases, slices = reply
    counted = {float(each) * slice_ms: count for each, count in zip(slices[::2], slices[1::2], strict=True)}
    first, following, held = map(to_keys_with_times, (due_keys, coming, leases))
    return Snapshot(now / 1e3, scheduled, due, claimed, dead, first, following, held, counted)
