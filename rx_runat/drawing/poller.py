"""Polls a queue for a picture, for as long as somebody looks at the picture.

Redis    -- snapshot, locate ---->  Poller  -->  Scene  -->  publish(frame)
sources  -- claimed, delivered -->    |
views    -- signs of life ------->  Viewers: polling stops if no view gives the sign that it was asked for
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rx_runat.drawing.frame import Frame
from rx_runat.drawing.key_tracker import LISTED
from rx_runat.drawing.scene import Scene
from rx_runat.drawing.viewers import Viewers
from rx_runat.errors import RunAtError, StoreError
from rx_runat.model.batch import Claimed, Entry, Leased
from rx_runat.model.forks import renew_in_child
from rx_runat.model.humanize import readable
from rx_runat.queue import RunAt, inside
from rx_runat.stream.loop import Loop

FASTEST = 0.05  # seconds between two polls: 20 a second, each one script of about 0.2 ms
_SLOWEST = 0.25  # seconds between two polls while nothing changes: a new key takes at most this long to show
_AWAY = 1.0  # seconds between two polls while the server does not answer
_BEAT = 5.0  # seconds after which an unchanged frame is published, so that a view can tell a quiet queue from silence
_CLAIMS = 2_000  # claims of this process that are kept between two polls: far more than a source makes in 0.25 s


class Poller:
    """Polls a queue on a thread of its own and publishes frames. It claims nothing.

    Args:
        queue: the queue.
        scene: gathers what the polls and this process's sources report.
        publish: called on the poller's thread with each frame that differs from the one before, and every 5 s.
    """

    def __init__(self, queue: RunAt, scene: Scene, publish: Callable[[Frame], object]) -> None:
        self.viewers = Viewers()
        self.polls = 0
        self.frames = 0
        self._queue = queue
        _, self._store, self._sources = inside(queue)
        self._scene = scene
        self._publish = publish
        self._reports: deque[Callable[[], object]] = deque(maxlen=_CLAIMS)
        self._lock = threading.RLock()  # guards the scene, the loop and our place among the sources' taps
        self._loop: Loop | None = None
        self._last: Frame | None = None
        self._pace = FASTEST
        self._counted = 0.0
        self._quiet = _BEAT  # seconds since a frame was published
        self._eventful: Frame | None = None  # the frame that last had a mark which the frame before it did not have
        self._happened: set[tuple[Any, ...]] = set()  # the marks of that one that are no keys to come
        self._known: set[tuple[Any, ...]] = set()  # the marks of the last frame
        renew_in_child(self, Poller._leave_to_parent)

    @property
    def is_running(self) -> bool:
        """True while it polls."""
        return self._loop is not None

    def start(self) -> None:
        """Poll from now on. May be repeated."""
        with self._lock:
            if self._loop is None:
                self.viewers.sign()
                self._pace = FASTEST
                self._counted = 0.0
                self._quiet = _BEAT
                self._sources.taps.append(self)
                self._loop = Loop("rx_runat timeline")
                self._loop.schedule(self._tick)

    def stop(self) -> None:
        """Stop polling. May be repeated; `start` begins again."""
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is not None:
                self._sources.taps.remove(self)
        if loop is not None:
            loop.dispose()

    def _leave_to_parent(self) -> None:
        """In a forked child: do not poll, until `start` or `poll` is called there."""
        self._lock = threading.RLock()
        self._loop = None
        self._reports.clear()
        _, self._store, self._sources = inside(self._queue)

    def poll(self) -> Frame:
        """Poll once, now, and return the frame. If the server does not answer, the frame's note says so.

        After the queue was stopped, the frame is the one that last showed something new, with the counts of the end.
        """
        with self._lock:
            note, state = "", "live"
            try:
                seen = self._store.snapshot(LISTED, self._scene.window / 1e3, self._scene.bin_ms)
                for _ in range(len(self._reports)):
                    self._reports.popleft()()
                self._scene.see(seen, claiming=self._sources.are_claiming, locate=self._store.locate)
                self.polls += 1
            except StoreError as error:
                note, state = readable(str(error), 160), "away"
            if self._sources.is_stopped:
                note, state = "the queue was stopped", "stopped"
            frame = self._scene.frame(note, state, self.viewers.asks)
            marks = _marks(frame)
            happened = {mark for mark in marks if mark[1] not in ("waiting", "due")}
            # A later frame with all that has happened is better: it lacks keys that were drawn as waiting though they
            # had come already, because a claim was reported after the snapshot, and keys that were cancelled.
            if self._eventful is None or marks - self._known or self._happened <= happened:
                self._eventful, self._happened = frame, happened
            self._known = marks
            if state != "stopped":
                return frame
            return {**self._eventful, "counts": frame["counts"], "note": note, "state": state, "asks": frame["asks"]}

    def _tick(self, *_: object) -> None:
        loop = self._loop
        if loop is None:
            return
        try:
            frame = self.poll()
        except RunAtError:  # `poll` writes outages into the frame; this error is something else and will not go away
            self.stop()
            return
        changed = self._last is None or {**frame, "now": 0} != {**self._last, "now": 0}
        if changed or self._quiet >= _BEAT:
            self._quiet = 0.0
            self._last = frame
            self.frames += 1
            self._publish(frame)
        if frame["state"] == "stopped" or self.viewers.are_gone:  # of a stop since that frame, the next one tells
            self.stop()
            return
        busy = changed or self._scene.is_busy
        self._pace = _AWAY if frame["note"] else FASTEST if busy else min(self._pace * 1.3, _SLOWEST)
        self._quiet += self._pace
        self._counted += self._pace
        if self._counted >= 1:
            self._counted -= 1
            self.viewers.second()
        loop.schedule_relative(self._pace, self._tick)

    # The sources of this process call these two on their own threads, so the reports wait here for the next poll.

    def claimed(self, claimed: Claimed | Leased) -> None:
        """Note a claim before its delivery. A leased key is out from now on, whatever its subscriber does with it."""
        if isinstance(claimed, Leased):
            self._reports.append(partial(self._scene.tracker.leased, claimed))

    def delivered(self, claimed: Claimed | Leased, left: Sequence[Entry]) -> None:
        """Note the delivery of a claim; `left` are its keys that nobody received."""
        tracker = self._scene.tracker
        if isinstance(claimed, Claimed):
            self._reports.append(partial(tracker.delivered, claimed, list(left)))
        elif left:
            self._reports.append(partial(tracker.returned, list(left)))


def _marks(frame: Frame) -> set[tuple[Any, ...]]:
    return {(frame["lanes"][lane], kind, *rest) for kind, lane, *rest in frame["marks"]}


def title_of(queue: RunAt) -> str:
    """The name of a queue, and its server without the password."""
    name, store, _ = inside(queue)
    return f"{name} on {store.where}"
