"""One look at a queue for all viewers of its page, while there are any.

first viewer  -->  Poller and Tables start                  last viewer leaves  -->  both stop
their threads --frame, tables-->  Feed  --the latest of each-->  every Viewer  -->  its stream
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from rx_runat.drawing.frame import Frame
from rx_runat.drawing.poller import Poller
from rx_runat.drawing.scene import Scene
from rx_runat.model.monotonic import monotonic
from rx_runat.queue import RunAt
from rx_runat.ui.tables import Tables


class Viewer:
    """What waits to be sent to one viewer: of each kind of event, the latest.

    So a viewer who reads slowly, or not at all, costs one frame and one set of tables, however long that goes on.
    Belongs to the event loop that makes it.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._came = asyncio.Event()
        self._lock = threading.Lock()
        self._events: dict[str, bytes] = {}
        self._is_over = False

    def offer(self, kind: str, event: bytes) -> None:
        """Put an event in place of the last one of its kind. Called on any thread."""
        with self._lock:
            self._events[kind] = event
        self._wake()

    def end(self) -> None:
        """End the stream of this viewer. Called on any thread."""
        self._is_over = True
        self._wake()

    async def take(self) -> bytes | None:
        """Wait for events, and return them; None at the end."""
        await self._came.wait()
        self._came.clear()
        if self._is_over:
            return None
        with self._lock:
            events, self._events = self._events, {}
        return b"".join(events.values())

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._came.set)
        except RuntimeError:  # that event loop has ended, and this viewer with it
            pass


class Feed:
    """Looks at a queue while there are viewers, and gives all of them what it sees.

    The looks start and stop on a thread of the event loop's pool, because they may wait for a Redis that is silent. The
    pool has few threads, and others need them, so at most two of them are taken: one waits, and the next one will see
    whatever has changed until its turn.

    Args:
        queue: the queue.
        make_scene: returns what gathers a picture of it. A new one for each time that somebody looks: what happened
            while nobody looked is unknown.
    """

    def __init__(self, queue: RunAt, make_scene: Callable[[], Scene]) -> None:
        self._queue = queue
        self._make_scene = make_scene
        self._lock = threading.Lock()  # guards the viewers and what they saw last
        self._viewers: frozenset[Viewer] = frozenset()
        self._tables: bytes | None = None
        self._frame: Frame | None = None
        self._frame_at = 0.0  # monotonic seconds
        self._is_over = False
        self._switch = threading.Lock()  # one thread at a time starts or stops the looks
        self._is_coming = False  # a thread is about to wait for its turn at the switch, or waits
        self._looks: tuple[Poller, Tables] | None = None

    @property
    def is_looking(self) -> bool:
        """True while it looks at the queue."""
        return self._looks is not None

    def join(self, viewer: Viewer) -> None:
        """Add a viewer, who gets what the others saw last, and then what they see."""
        with self._lock:
            self._viewers |= {viewer}
            frame, passed, tables = self._frame, monotonic() - self._frame_at, self._tables
            if frame is not None:
                # A frame is sent when something changes. To a viewer who comes later it must tell the time of now.
                now = frame["now"] + (passed * 1e3 if frame["state"] == "live" else 0)
                viewer.offer("frame", event("frame", {**frame, "now": now}))
            if tables is not None:
                viewer.offer("tables", tables)
        if self._is_over:
            viewer.end()
        self._follow_soon()

    def leave(self, viewer: Viewer) -> None:
        """Remove a viewer. May be repeated."""
        with self._lock:
            self._viewers -= {viewer}
        self._follow_soon()

    def look_soon(self) -> None:
        """Read the tables again now, because something was changed."""
        looks = self._looks
        if looks is not None:
            looks[1].look_soon()

    def close(self) -> None:
        """End the streams of all viewers, those who come later included, and soon look no more.

        On an event loop it does not wait for a look that is under way; elsewhere it does.
        """
        with self._lock:
            self._is_over = True
            viewers, self._viewers = self._viewers, frozenset()
        for each in viewers:
            each.end()
        self._follow_soon()

    def _follow_soon(self) -> None:
        with self._lock:
            if self._is_coming:
                return
            self._is_coming = True
        try:
            asyncio.get_running_loop().run_in_executor(None, self._follow)
        except RuntimeError:  # the event loop ends, and its pool has ended
            self._follow()

    def _follow(self) -> None:
        """Start or stop to look, as there are viewers."""
        with self._switch:
            with self._lock:
                self._is_coming = False
            if self._viewers and self._looks is None:
                self._looks = (
                    Poller(self._queue, self._make_scene(), self._show_frame),
                    Tables(self._queue, self._show_tables),
                )
                for each in self._looks:
                    each.start()
            elif not self._viewers and self._looks is not None:
                for each in self._looks:
                    each.stop()
                self._looks = None
                with self._lock:
                    self._frame = self._tables = None

    def _show_frame(self, frame: Frame) -> None:
        with self._lock:
            looks = self._looks
            if looks is None:  # a look that was under way when it was to stop
                return
            self._frame, self._frame_at = frame, monotonic()
        looks[0].viewers.sign()  # the streams are open, so somebody looks at the picture
        self._send("frame", event("frame", frame))

    def _show_tables(self, tables: Mapping[str, Any]) -> None:
        shown = event("tables", tables)
        if shown != self._tables:
            with self._lock:
                if self._looks is None:
                    return
                self._tables = shown
            self._send("tables", shown)

    def _send(self, kind: str, event: bytes) -> None:
        for each in self._viewers:
            each.offer(kind, event)


def event(kind: str, value: Mapping[str, Any]) -> bytes:
    r"""A server-sent event. JSON without line breaks, and ASCII: a key may hold what UTF-8 cannot encode.

    >>> event("frame", {"now": 1.5})
    b'event: frame\ndata: {"now":1.5}\n\n'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return f"event: {kind}\ndata: {text}\n\n".encode()
