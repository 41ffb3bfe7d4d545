"""`queue.aio`: the verbs of a queue as coroutines, which never block the event loop.

    await queue.aio.schedule("a", t)  --plan-->  the queue's own thread  --many in one round trip-->  Redis
                                      <--result--

There is one implementation of each verb: see `store/plans.py`. A coroutine passes its plan to a thread of the queue's,
and awaits the result, so a Redis that is silent delays the await and nothing else on the event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar, overload

from rx_runat.model.checks import check_count
from rx_runat.model.data import NOT_NAMED
from rx_runat.model.dead_letter import DeadLetter
from rx_runat.model.job import Due, Job, Keep, KeepOne, Schedulable, check_keep, to_jobs
from rx_runat.model.protocols import Plan, Store
from rx_runat.model.stats import Stats
from rx_runat.model.times import RunAtTime, from_score
from rx_runat.stream.access import Access

T = TypeVar("T")


class Aio:
    """The verbs of a queue as coroutines. Each does, returns and raises what the verb of the same name does.

    Order:       awaits are carried out in the order in which they were asked for, those of one `gather` included. There
                 is no order between them and calls on other threads, nor within a verb that needs several requests.
    Cancelling:  an await that is cancelled before its request was sent changes nothing. After that the request is
                 carried out, and nobody is told the result.
    Scheduler:   one thread of the queue's sends what many awaits ask for in one round trip; it ends when it is not
                 needed. Any number of event loops may use it.
    Redis:       as the verb; in each round trip with several requests, the first one of a script carries its text.

    Args:
        access: returns how the queue is reached.
        stop: stops the queue; it blocks.
        is_blocked: returns True on a thread that is in a callback of the queue: `stop` elsewhere would wait for it.
        owner: returns the repr of the queue.
    """

    def __init__(
        self,
        access: Callable[[], Access],
        stop: Callable[[], None],
        is_blocked: Callable[[], bool],
        owner: Callable[[], str],
    ) -> None:
        self._access = access
        self._stop = stop
        self._is_blocked = is_blocked
        self._owner = owner
        self._dead = DeadAio(access, owner)

    @overload
    async def schedule(
        self, key: str, run_at: RunAtTime, keep: KeepOne = "last", *, data: Any = NOT_NAMED
    ) -> datetime: ...
    @overload
    async def schedule(self, key: str, run_at: RunAtTime, keep: Keep, *, data: Any = NOT_NAMED) -> datetime | None: ...
    async def schedule(
        self, key: str, run_at: RunAtTime, keep: Keep = "last", *, data: Any = NOT_NAMED
    ) -> datetime | None:
        """As `RunAt.schedule`."""
        jobs, keep = [Job(key, run_at, data=data)], check_keep(keep)
        access = self._access()
        with access.writing:
            score = await access.store.batches.do(access.writes.plan_schedule(jobs, keep))
        return None if score is None else from_score(score)

    async def on_next(self, value: Schedulable) -> None:
        """As `RunAt.on_next`."""
        jobs = to_jobs(value)
        access = self._access()
        with access.writing:
            if jobs:
                await access.store.batches.do(access.writes.plan_schedule(jobs, "last"))

    async def reschedule(self, key: str, run_at: RunAtTime) -> datetime | None:
        """As `RunAt.reschedule`."""
        jobs = [Job(key, run_at)]
        access = self._access()
        with access.writing:
            score = await access.store.batches.do(access.writes.plan_schedule(jobs, "last", only_waiting=True))
        return None if score is None else from_score(score)

    async def cancel(self, key: str) -> bool:
        """As `RunAt.cancel`."""
        access = self._access()
        with access.writing:
            return await access.store.batches.do(access.store.plans.cancel(key))

    async def when(self, key: str) -> datetime | None:
        """As `RunAt.when`."""
        return await _read(self._access(), lambda store: store.plans.when(key))

    async def peek(self, n: int = 10) -> list[Due]:
        """As `RunAt.peek`."""
        n = check_count(n, "n", "a count of keys, such as 10")
        return await _read(self._access(), lambda store: store.plans.peek(n))

    async def size(self, until: RunAtTime | None = None) -> int:
        """As `RunAt.size`."""
        return await _read(self._access(), lambda store: store.plans.size(until))

    async def stats(self) -> Stats:
        """As `RunAt.stats`."""
        return await _read(self._access(), lambda store: store.plans.stats())

    @property
    def dead(self) -> DeadAio:
        """The dead letters, as `RunAt.dead`."""
        return self._dead

    async def stop(self) -> None:
        """As `RunAt.stop`. If this await is cancelled, the queue stops all the same.

        Where no thread can be started, it blocks the event loop as `RunAt.stop` does.
        """
        if self._is_blocked():  # a callback of the queue runs this event loop: it must return before the queue ends
            self._stop()
            return
        loop = asyncio.get_running_loop()
        stopped: asyncio.Future[None] = loop.create_future()

        def tell(error: BaseException | None) -> None:
            if stopped.done():
                return
            if error is None:
                stopped.set_result(None)
            else:
                stopped.set_exception(error)

        def stop() -> None:
            error: BaseException | None = None
            try:
                self._stop()
            except BaseException as raised:
                error = raised
            try:
                loop.call_soon_threadsafe(tell, error)
            except RuntimeError:  # the event loop is closed: nobody waits any more
                pass

        try:
            threading.Thread(target=stop, name="rx_runat stop", daemon=True).start()
        except RuntimeError:  # a limit of threads, or the interpreter exits
            stop()
        await asyncio.shield(stopped)

    def __repr__(self) -> str:
        return f"<aio of {self._owner()}>"


class DeadAio:
    """The verbs of `queue.dead` as coroutines; see `DeadLetters` and `Aio`.

    Args:
        access: returns how the queue is reached.
        owner: returns the repr of the queue.
    """

    def __init__(self, access: Callable[[], Access], owner: Callable[[], str]) -> None:
        self._access = access
        self._owner = owner

    async def peek(self, n: int = 10) -> list[DeadLetter]:
        """As `DeadLetters.peek`."""
        n = check_count(n, "n", "a count of letters, such as 10")
        return await _read(self._access(), lambda store: store.plans.dead.peek(n))

    async def size(self) -> int:
        """As `DeadLetters.size`."""
        return await _read(self._access(), lambda store: store.plans.dead.size())

    async def revive(self, key: str | None) -> int:
        """As `DeadLetters.revive`."""
        access = self._access()
        with access.writing:
            return await access.store.batches.do(access.writes.plan_revive(key))

    async def drop(self, key: str | None) -> int:
        """As `DeadLetters.drop`."""
        access = self._access()
        with access.writing:
            return await access.store.batches.do(access.store.plans.dead.drop(key))

    def __repr__(self) -> str:
        return f"<aio of the dead letters of {self._owner()}>"


async def _read(access: Access, plan: Callable[[Store], Plan[T]]) -> T:
    with access.reading:
        return await access.store.batches.do(plan(access.store))
