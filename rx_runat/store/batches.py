"""Awaits share round trips: one thread sends the next requests of all plans that wait, together.

    awaits      a  b c d      e
    round trips [a--] [b c d--] [e--]      what is asked for during a round trip goes with the next one

Requests are sent in the order in which they were asked for, and each gets its own result or error. The event loop of an
await only passes a plan here and is told the result, so it never waits for Redis.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, TypeVar

from rx_runat.errors import Unavailable
from rx_runat.model.safe_log import unhandled
from rx_runat.store.client import RedisClient, Sending
from rx_runat.store.meaning import own_copy
from rx_runat.store.request import Plan, Request

T = TypeVar("T")

_MOST = 1000  # requests in one round trip: their replies, of which nobody reads one before all are sent, fill no buffer
_LONGEST_END = 1.0  # seconds that `stop` waits for what is under way: a server that is silent may take longer
_NOTHING: Request[Any] = Request((), bytes)  # of a task that has not begun
_IDLE_SECONDS = 5.0  # the thread ends when nobody asks for anything for so long; to start one takes 0.1 ms


class _Task(Sending):
    """A plan of an await, and its next request: under way, or about to begin.

    One object for both: under thousands of awaits, Python's garbage collector takes a third of the time.

    Attributes:
        plan: the plan.
        loop: the event loop of the await.
        outlasts_stop: True if only `close` refuses it.
        future: what the await waits for.
        has_begun: True once it has a request. What came of the request, or of the whole plan when it has ended, is in
            `result` and `error`.
    """

    __slots__ = ("future", "has_begun", "loop", "outlasts_stop", "plan")

    def __init__(
        self, plan: Plan[Any], sent_at: int | None, outlasts_stop: bool, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(_NOTHING, sent_at)
        self.plan = plan
        self.outlasts_stop = outlasts_stop
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.has_begun = False

    def go_on(self) -> bool:
        """Give the plan what came of its last request. Returns False if the plan has ended."""
        try:
            if not self.has_begun:
                self.request = next(self.plan)
                self.has_begun = True
                return True
            self.sent_at, self.is_over = None, False
            if self.error is None:
                self.request = self.plan.send(self.result)
                return True
            error, self.error = self.error, None
            self.request = self.plan.throw(error)
        except StopIteration as end:
            self.result, self.error = end.value, None
            return False
        except BaseException as error:
            self.error = error
            return False
        return True

    def resolve(self) -> None:
        """Tell the await. On its event loop."""
        if self.future.done():  # it was cancelled
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Batches:
    """Carries out the plans of awaits.

    Args:
        client: sends the requests.
        name: of the thread, as a debugger shows it.
    """

    def __init__(self, client: RedisClient, name: str) -> None:
        self._client = client
        self._name = name
        self._lock = threading.Lock()  # guards the four below
        self._changed = threading.Condition(self._lock)
        self._new: deque[_Task] = deque()
        self._thread: threading.Thread | None = None
        self._why: Exception | None = None  # what awaits raise after `stop`
        self._is_closed = False

    async def do(self, plan: Plan[T], sent_at: int | None = None, outlasts_stop: bool = False) -> T:
        """Carry out a plan, and return its result.

        An await that is cancelled before its request was sent changes nothing; after that, the request is carried out.

        Args:
            plan: of a verb.
            sent_at: of its first request; see `RedisClient.send`.
            outlasts_stop: True if it is carried out until `close`, as work that is broken off may settle its claim.

        Raises:
            Unavailable: no thread can be started.
        """
        task = _Task(plan, sent_at, outlasts_stop, asyncio.get_running_loop())
        with self._lock:
            if self._refuses(task):
                raise self._refusal()
            self._new.append(task)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    self._new.remove(task)
                    raise Unavailable(f"no thread can be started: {error}") from error
                self._thread = thread
            if len(self._new) == 1:  # the thread waits only where there was none
                self._changed.notify()
        try:
            return await task.future
        except GeneratorExit:  # this coroutine was closed: an error that comes is no one's, and must not be shown
            task.future.cancel()
            raise

    def stop(self, why: Exception) -> None:
        """Finish what is under way; all other awaits raise `why`, but for those that outlast this. May be repeated.

        It waits until what is under way is finished.
        """
        with self._lock:
            self._why = self._why or why
            thread = self._thread
            self._changed.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_LONGEST_END)

    def close(self, why: Exception) -> None:
        """Finish what is under way, without waiting for it; all other awaits raise `why`, or that of `stop`."""
        with self._lock:
            self._why = self._why or why
            self._is_closed = True
            self._changed.notify()

    def _refuses(self, task: _Task) -> bool:
        return self._why is not None and (self._is_closed or not task.outlasts_stop)

    def _refusal(self) -> Exception:
        assert self._why is not None, "nothing is refused before `stop` or `close`"
        return own_copy(self._why)

    def leave_to_parent(self) -> None:
        """In a forked child: the awaits are the parent's."""
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._new.clear()
        self._thread = None  # of an inherited claim: it starts one, and is told why it cannot be settled here

    # On the thread.

    def _run(self) -> None:
        under_way: list[_Task] = []
        try:
            while self._take_new(under_way):
                self._send(under_way)
        except BaseException as error:  # a bug of ours: no await may wait for ever
            unhandled(error)
            with self._lock:
                self._thread = None
                under_way += self._new
                self._new.clear()
            for task in under_way:
                task.error = error
            _resolve(under_way)

    def _take_new(self, under_way: list[_Task]) -> bool:
        """Wait until there is something to send, and begin it. Returns False if the thread is to end."""
        with self._lock:
            if not under_way and not self._new and self._why is None:
                self._changed.wait(_IDLE_SECONDS)
            room = max(0, _MOST - len(under_way)) if self._why is None else len(self._new)
            new = [self._new.popleft() for _ in range(min(len(self._new), room))]
            refused = [task for task in new if self._refuses(task)] if self._why is not None else []
            ends = not under_way and len(new) == len(refused)
            if ends:
                self._thread = None
        for task in refused:
            task.plan.close()
            task.error = self._refusal()
        _resolve(refused)
        self._go_on([task for task in new if task.error is None and not task.future.cancelled()], under_way)
        return not ends

    def _send(self, under_way: list[_Task]) -> None:
        self._client.send_many(under_way)
        tasks = under_way.copy()
        under_way.clear()
        self._go_on(tasks, under_way)

    def _go_on(self, tasks: Sequence[_Task], under_way: list[_Task]) -> None:
        ended: list[_Task] = []
        for task in tasks:
            (under_way if task.go_on() else ended).append(task)
        _resolve(ended)


def _resolve(tasks: Sequence[_Task]) -> None:
    """Tell the awaits, each event loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Task]] = {}
    for task in tasks:
        by_loop.setdefault(task.loop, []).append(task)
    for loop, own in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve_here, own)
        except RuntimeError:  # the event loop is closed, and nobody waits there any more
            pass


def _resolve_here(tasks: Sequence[_Task]) -> None:
    for task in tasks:
        task.resolve()
