"""Looking at a queue, at a pace of its own, for as long as somebody looks at the picture."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from rx_runat.drawing.fates import LISTED
from rx_runat.drawing.frame import Frame
from rx_runat.drawing.scene import Scene
from rx_runat.errors import RunAtError, StoreError
from rx_runat.model.batch import Claimed, Entry, Leased
from rx_runat.model.humanize import readable
from rx_runat.queue import RunAt
from rx_runat.store.redis_store import RedisStore
from rx_runat.stream.loop import Loop
from rx_runat.stream.sources import Sources

FASTEST = 0.05  # seconds between two looks: 20 a second, each one script of some 0.2 ms
_SLOWEST = 0.25  # where nothing changes: as long as a new key may take to show
_AWAY = 1.0  # where the server is away
_SILENCE = 10  # seconds without a sign of a view; views give one every 2 s
_CLAIMS = 2_000  # claims of this process between two looks that are kept: far more than a source makes


class Attention:
    """Is anybody still looking? Views say so; a kernel that is busy hears nothing, and that time does not count."""

    def __init__(self) -> None:
        self._silent = 0
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:  # a script, where no view will come
            self._loop = None

    @property
    def is_lost(self) -> bool:
        """Has nobody given a sign for long?"""
        return self._silent >= _SILENCE

    def here(self) -> None:
        """A view gives a sign."""
        self._silent = 0

    def gone(self) -> None:
        """The view that gave signs is gone; another may give one at once."""
        self._silent = max(self._silent, _SILENCE - 3)

    def second(self) -> None:
        """A second is over: it counts once the kernel's event loop, which hears the views, has come round."""
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._count)
                return
        except RuntimeError:  # closed
            pass
        self._count()

    def _count(self) -> None:
        self._silent += 1


class Looking:
    """Looks at a queue and publishes frames; nothing is claimed by looking.

    Args:
        queue: to look at.
        scene: that gathers what is seen.
        publish: called with each frame that differs from the one before, on a thread of ours.
    """

    def __init__(self, queue: RunAt, scene: Scene, publish: Callable[[Frame], object]) -> None:
        self.attention = Attention()
        self.looks = 0
        self.frames = 0
        self._queue = queue
        self._scene = scene
        self._publish = publish
        self._told: deque[Callable[[], object]] = deque(maxlen=_CLAIMS)
        self._lock = threading.RLock()  # over the scene and what follows
        self._loop: Loop | None = None
        self._last: Frame | None = None
        self._pace = FASTEST
        self._counted = 0.0

    @property
    def is_running(self) -> bool:
        """Does it look?"""
        return self._loop is not None

    def start(self) -> None:
        """Look from now on; may be repeated."""
        with self._lock:
            if self._loop is None:
                self.attention.here()
                self._pace = FASTEST
                self._counted = 0.0
                self._sources.taps.append(self)
                self._loop = Loop("rx_runat timeline")
                self._loop.schedule(self._tick)

    def stop(self) -> None:
        """Look no more; may be repeated, and `start` begins again."""
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is not None:
                self._sources.taps.remove(self)
        if loop is not None:
            loop.dispose()

    def look(self) -> Frame:
        """Look once, now."""
        with self._lock:
            note = ""
            try:
                seen = self._store.snapshot(LISTED, self._scene.window / 1e3, self._scene.bin_ms)
                for _ in range(len(self._told)):
                    self._told.popleft()()
                self._scene.see(seen, claiming=self._sources.are_claiming, ask=self._store.locate)
                self.looks += 1
            except StoreError as error:
                note = readable(str(error), 160)
            if self._is_stopped:
                note = "the queue was stopped"
            return self._scene.frame(note)

    def _tick(self, *_: object) -> None:
        loop = self._loop
        if loop is None:
            return
        try:
            frame = self.look()
        except RunAtError:
            self.stop()
            return
        changed = self._last is None or {**frame, "now": 0} != {**self._last, "now": 0}
        if changed:
            self._last = frame
            self.frames += 1
            self._publish(frame)
        if self._is_stopped or self.attention.is_lost:
            self.stop()
            return
        busy = changed or self._scene.is_busy
        self._pace = _AWAY if frame["note"] else FASTEST if busy else min(self._pace * 1.3, _SLOWEST)
        self._counted += self._pace
        if self._counted >= 1:
            self._counted -= 1
            self.attention.second()
        loop.schedule_relative(self._pace, self._tick)

    # What this process claims: told on the threads of its sources, taken in at the next look.

    def claimed(self, claimed: Claimed | Leased) -> None:
        """Keys are about to be delivered. Of claims each is out from now on, whatever its subscriber does with it."""
        if isinstance(claimed, Leased):
            self._told.append(partial(self._scene.fates.leased, claimed))

    def delivered(self, claimed: Claimed | Leased, left: Sequence[Entry]) -> None:
        """They were, but for what is left."""
        fates = self._scene.fates
        if isinstance(claimed, Claimed):
            self._told.append(partial(fates.delivered, claimed, list(left)))
        elif left:
            self._told.append(partial(fates.returned, list(left)))

    # Of the queue's inside.

    @property
    def _sources(self) -> Sources:
        return self._queue._sources  # pyright: ignore[reportPrivateUsage]

    @property
    def _store(self) -> RedisStore:
        return self._queue._store  # pyright: ignore[reportPrivateUsage]

    @property
    def _is_stopped(self) -> bool:
        return self._queue._stopped  # pyright: ignore[reportPrivateUsage]


def title_of(queue: RunAt) -> str:
    """Which queue, and where."""
    return f"{queue._queue_name} on {queue._store.where}"  # pyright: ignore[reportPrivateUsage]
