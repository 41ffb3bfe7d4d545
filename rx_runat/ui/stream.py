"""The stream of one viewer: server-sent events, for as long as the viewer stays."""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from rx_runat.ui.feed import Feed, Viewer

# A sign of life, whatever else comes. The page takes a stream that is silent for three times as long for a broken one.
_BEAT = 5.0  # seconds
_ALIVE = b"event: alive\ndata: 1\n\n"
_RETRY = b"retry: 1000\n\n"  # ms until a browser whose stream has ended asks for another one
EVENTS = "text/event-stream; charset=utf-8"
_HEADERS = [
    (b"content-type", EVENTS.encode()),
    (b"x-accel-buffering", b"no"),  # nginx: pass events on as they come
]


class Stream(Response):
    """The reply to a request for the stream.

    `send` returns when the network has room. Until then nothing is taken from the viewer, so what comes meanwhile
    replaces what waits there: a slow viewer loses frames.

    Args:
        feed: what all viewers see.
    """

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # as in the base class
        """Serve the stream until the viewer leaves or the feed ends."""
        viewer = Viewer()
        left = asyncio.create_task(_leaves(receive))
        sending = asyncio.create_task(self._send(viewer, send))
        beating = asyncio.create_task(_beat(viewer))
        self._feed.join(viewer)
        try:
            await asyncio.wait((left, sending), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        except OSError:
            pass  # how some servers tell that the viewer has left
        finally:
            self._feed.leave(viewer)
            for each in (left, sending, beating):
                each.cancel()

    async def _send(self, viewer: Viewer, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        await send(_part(_RETRY))
        while (events := await viewer.take()) is not None:
            await send(_part(events))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _beat(viewer: Viewer) -> None:
    while True:
        await asyncio.sleep(_BEAT)
        viewer.offer("alive", _ALIVE)
