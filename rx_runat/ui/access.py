"""The token: who has it may look, and act where actions are on.

    GET ./?token=...  -->  303 to ./, with a cookie  -->  GET ./, GET ./stream, POST ./act, each with that cookie

An event stream of a browser sends no headers of its own, so a cookie keeps what proves the token.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

_PARAMETER = "token"


class Access:
    """Knows whether a request has shown the token.

    Cookies belong to a host, not to a port. So the name of the cookie holds a digest of the token: pages of several
    queues on one host do not overwrite each other's. For the same reason, whoever serves another port of this host gets
    the cookie when its owner visits that port. So its value is not the token itself, but it opens the page as well.

    Args:
        token: the secret; None: everybody is let in.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token
        self._proof = _digest("proof", token or "")
        self._cookie = f"rx-runat-{_digest('name', token or '')[:8]}"

    def is_shown_by(self, request: Request) -> bool:
        """True if the request has the cookie, or if no token is needed."""
        if self._token is None:
            return True
        return secrets.compare_digest(request.cookies.get(self._cookie, "").encode(), self._proof.encode())

    def offered_by(self, request: Request) -> str | None:
        """The token in the address of a request, right or wrong; None: no token is there, or none is needed."""
        return None if self._token is None else request.query_params.get(_PARAMETER)

    def enter(self, request: Request) -> Response | None:
        """The reply to a request whose address has the token: the cookie, and on to the address without the token.

        None if the token is wrong.
        """
        offered, token = self.offered_by(request) or "", self._token or ""
        if not secrets.compare_digest(offered.encode(errors="replace"), token.encode()):
            return None
        reply = RedirectResponse("./", 303)  # the browser's history keeps the second address only
        reply.set_cookie(
            self._cookie,
            self._proof,
            path=f"{request.scope.get('root_path', '').rstrip('/')}/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",  # "strict" would ask a person who follows a link for the token again
        )
        return reply

    def behind(self, endpoint: Endpoint) -> Endpoint:
        """The same endpoint, for requests that have shown the token."""

        async def guarded(request: Request) -> Response:
            if not self.is_shown_by(request):
                return PlainTextResponse("The token is missing. Open the page with it first.\n", 401)
            return await endpoint(request)

        return guarded


def _digest(use: str, token: str) -> str:
    """Hexadecimal digits, which any cookie may hold; another use gives others."""
    return hashlib.sha256(f"rx_runat.ui {use} {token}".encode(errors="surrogatepass")).hexdigest()
