"""Lets requests in by the host that they name, and the machine and site that they come from, before the app sees them.

request --> host allowed? --> from this machine, if it must be? --> from this page, or typed by a person? --> the app
              | no: 421         | no: 403                           | no: 403
              v                 v                                   v
           every reply has the headers below
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# `form-action` and `base-uri` do not follow from `default-src`. Everything that the page needs comes from itself.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # a link must not carry the token away
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers that do not know `frame-ancestors`
}


class Guard:
    """The outermost layer of the page.

    A page of another site can make its visitor's browser send requests here. Its name may even lead here, if its owner
    changes where that name points (DNS rebinding): then the browser takes both for one site, but the request still
    names the other host. So a request must name an allowed host. It must also come from this page itself, unless a
    person opened it: `Sec-Fetch-Site` tells. Another port of this host is a stranger: on a machine with several users
    it may be anybody's.

    Args:
        app: what is guarded.
        hosts: the host names that a request may have, in lower case and without a port.
        is_local: True: a request must come from this machine. A host name does not prove that: programs other than
            browsers name whichever they like.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], is_local: bool) -> None:
        self._app = app
        self._is_local = is_local
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # there is none here
        else:

            async def send_with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    MutableHeaders(scope=message).update(_HEADERS)
                await send(message)

            await (self._refusal(scope) or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        named = headers.getlist("host")
        if len(named) != 1 or host_of(named[0]) not in self._hosts:
            return PlainTextResponse(
                "This host name is not allowed here. The page is served under the names that it was told: "
                "--allow-host of the command, hosts= of rx_runat.ui.app.\n",
                421,
            )
        if self._is_local and not _is_near(scope):
            return PlainTextResponse(
                "Without a token, this page is for its own machine alone: see token= of rx_runat.ui.app.\n", 403
            )
        if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            return None
        if (
            scope["method"] == "GET"
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        ):
            return None  # a person follows a link to this page
        return PlainTextResponse("A page of another site asked for this.\n", 403)


def _is_near(scope: Scope) -> bool:
    """True if a request comes from a loopback address, or from none, as over a unix socket."""
    client: tuple[str, int] | None = scope.get("client")
    if not client or not client[0]:
        return True
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def host_of(header: str) -> str:
    """The name in a Host header: in lower case, without the port, an IPv6 address in brackets.

    >>> host_of("LocalHost:8000"), host_of("[::1]:8000"), host_of("[::1]")
    ('localhost', '[::1]', '[::1]')
    """
    name, colon, port = header.rpartition(":")
    return (name if colon and port.isdecimal() and port.isascii() else header).lower()
