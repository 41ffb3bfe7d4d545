"""Waits that could not end, because what they wait for comes on the thread that waits: they are refused in words.

    waits                               for a stream whose source
    run() in an on_next                 calls that on_next, and nobody before it has returned
    asyncio.run(...) in an on_next      the same, and the new event loop waits for the stream
    run() on an event loop              waits for a subscriber on that loop, such as an `async for`, or ticks there
    run() on the thread of a scheduler  ticks there
    run() in the work of `settle`       has no claim left: that work holds all of `max_in_flight`

In virtual time another thread may move the clock while `run()` waits, so that is only logged. A stream that RxPY shares
(`ops.share`, `ops.publish`) calls its subscribers itself, and no source is asked.
"""

from __future__ import annotations

import threading
from typing import Any

from reactivex import abc
from reactivex.scheduler import VirtualTimeScheduler

from rx_runat.errors import InvalidSetting
from rx_runat.model.safe_log import warn
from rx_runat.stream.claiming import Claiming
from rx_runat.stream.hot import Subscriber
from rx_runat.stream.look_lock import LookLock
from rx_runat.stream.rendezvous import event_loop, running_loop


def refuse_endless_wait(
    subscriber: Subscriber[Any],
    look_lock: LookLock,
    scheduler: abc.SchedulerBase,
    present: tuple[Subscriber[Any], ...],
    claiming: Claiming[Any],
) -> None:
    """Raise InvalidSetting if whoever subscribes is about to wait for this thread, and so for itself.

    Args:
        subscriber: who subscribes, on this thread.
        look_lock: knows whether a look of the source waits for this thread.
        scheduler: where the source ticks.
        present: the subscribers of the source.
        claiming: of the source.
    """
    loop = running_loop()
    if look_lock.is_inside:
        subscriber.refuse_to_wait()
        if loop is not None and loop is subscriber.loop and loop is not look_lock.loop:
            why = "the next value comes when the on_next that runs it has returned"
            raise _endless("an event loop that is run in an on_next of the same stream", why, "subscribe")
    if not subscriber.is_waited_for:
        return
    if isinstance(scheduler, VirtualTimeScheduler):
        warn("run() in virtual time returns only if another thread moves the clock; subscribe() does not wait")
    needed = [event_loop(scheduler), *(each.loop for each in present)]
    if loop is not None and any(each is loop for each in needed):
        why = "this stream needs the event loop that run() blocks: it ticks there, or a subscriber takes values there"
        raise _endless("run()", why, "`await` the pipeline")
    if getattr(scheduler, "_thread", None) is threading.current_thread():  # an EventLoopScheduler's
        raise _endless("run()", "this stream ticks on the thread that run() blocks", "subscribe")
    if claiming.is_exhausted:
        why = "the work that calls it holds all claims of max_in_flight"
        raise _endless("run()", why, "take a larger max_in_flight")


def _endless(what: str, why: str, instead: str) -> InvalidSetting:
    return InvalidSetting(f"{what} would wait for ever, because {why}; {instead} instead")
