"""What is served at which path; the paths are relative, so that the page can be mounted anywhere.

./          the page; with ?token=... the cookie, and on to ./ ; without one the form that asks for it
./stream    server-sent events: frames, tables
./search    ?match=...  the keys that wait and match
./act       POST of JSON: an action
./...       the page's own files
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import rx_runat.drawing
from rx_runat.errors import RunAtError
from rx_runat.ui.access import Access, Endpoint
from rx_runat.ui.actions import Actions, NotDone
from rx_runat.ui.feed import Feed
from rx_runat.ui.search import Search
from rx_runat.ui.stream import EVENTS, Stream

_HERE = Path(__file__).parent
_DRAWING = Path(rx_runat.drawing.__file__).parent
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FILES = [  # they are the same for everybody, and the form that asks for the token needs some of them
    *(_HERE / name for name in ("page.css", "page.js", "tables.js", "actions.js", "icon.svg")),
    *(_DRAWING / name for name in ("timeline.js", "timeline.css")),
]


def make_routes(feed: Feed, access: Access, search: Search, actions: Actions) -> Starlette:
    """Returns the app that serves the page to requests that `Guard` has let in."""
    page = _read(_HERE / "page.html").replace(b'data-actions=""', b'data-actions="on"' if actions.allowed else b"")
    form = _read(_HERE / "enter.html")

    async def home(request: Request) -> Response:
        if access.offered_by(request) is not None:
            return access.enter(request) or _page(form.replace(b"hidden>", b">"), 401)
        return _page(page) if access.is_shown_by(request) else _page(form, 401)

    async def stream(request: Request) -> Response:
        if request.method == "HEAD":  # who asks for no body does not look, and would never see the end of one
            return Response(media_type=EVENTS)
        return Stream(feed)

    async def find(request: Request) -> Response:
        try:
            return _json(await search.find(request.query_params.get("match", "")))
        except ValueError as error:
            return _json({"said": str(error)}, 400)
        except BlockingIOError as error:
            return _json({"said": str(error)}, 429)
        except RunAtError as error:
            return _json({"said": str(error)}, 503)

    async def act(request: Request) -> Response:
        try:
            said = await actions.act(request)
        except NotDone as error:
            return _json({"said": error.said}, error.status)
        feed.look_soon()
        return _json({"said": said})

    return Starlette(
        routes=[
            Route("/", home),
            Route("/stream", access.behind(stream)),
            Route("/search", access.behind(find)),
            Route("/act", access.behind(act), methods=["POST"]),
            *(Route(f"/{path.name}", _file(path)) for path in _FILES),
        ]
    )


def _page(html: bytes, status: int = 200) -> Response:
    return Response(html, status, media_type=_KINDS[".html"])


def _json(value: dict[str, Any], status: int = 200) -> Response:
    # ASCII, unlike Starlette's own: a key may hold what UTF-8 cannot encode.
    return Response(json.dumps(value).encode(), status, media_type="application/json")


def _file(path: Path) -> Endpoint:
    content, kind = _read(path), _KINDS[path.suffix]

    async def file(_: Request) -> Response:
        return Response(content, media_type=kind)

    return file


def _read(path: Path) -> bytes:
    return path.read_bytes()
