"""`rx-runat ui`: serves the page of a queue."""

from __future__ import annotations

import argparse
import ipaddress
import os
import secrets
import socket
from collections.abc import Callable
from typing import NoReturn
from urllib.parse import quote

import uvicorn

from rx_runat.cli.opening import open_queue
from rx_runat.cli.pipe import print_lines
from rx_runat.errors import InvalidSetting, RunAtError
from rx_runat.queue import RunAt
from rx_runat.ui import LOOPBACK, app
from rx_runat.ui.application import Page

_TOKEN = "RX_RUNAT_UI_TOKEN"  # the name of a variable; in an option, `ps` would show the token
_PATIENCE = 2  # seconds until a viewer who does not read is disconnected at the end


def ui(options: argparse.Namespace) -> int:
    """Serve the page until a signal comes."""
    host: str = options.host
    names: list[str] = options.allow_host
    if not _is_any(host):
        names = [_in_address(host), *names]
    elif not names:
        _refuse(options, f"--host {host} is any address: tell by --allow-host how browsers call this machine")
    is_needed = options.actions or not {_in_address(host), *names} <= set(LOOPBACK)
    token = os.environ.get(_TOKEN) or (secrets.token_urlsafe() if is_needed else None)
    with open_queue(options) as queue:
        page = _page(options, queue, [*LOOPBACK, *names], token)
        with _listen(host, options.port) as listening:
            shown = f"?token={quote(token)}" if token else ""
            server = _Server(page)  # sets up logging, so before a reader of the line below can press Ctrl-C
            print_lines(f"http://{names[0]}:{listening.getsockname()[1]}/{shown}")
            server.run([listening])
    return 0


def _page(options: argparse.Namespace, queue: RunAt, names: list[str], token: str | None) -> Page:
    try:
        return app(queue, options.actions, names, token=token, window=options.window, lane=_lane(options.lane))
    except InvalidSetting as error:
        _refuse(options, str(error))


def _lane(separator: str | None) -> Callable[[str], object] | None:
    return None if separator is None else lambda key: key.split(separator)[0]


def _refuse(options: argparse.Namespace, why: str) -> NoReturn:
    options.refuse(why)
    raise SystemExit(2)  # as `refuse` has done already


class _Server(uvicorn.Server):
    """Serves the page, and ends its streams before it waits for open connections."""

    def __init__(self, page: Page) -> None:
        # No log of requests: the address of the first one has the token.
        super().__init__(
            uvicorn.Config(
                page,
                ws="none",
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_PATIENCE,
            )
        )
        self._page = page

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._page.close()
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:  # UnicodeError: no name of a host can be so
        reason = getattr(error, "strerror", None) or error
        raise RunAtError(f"the page cannot be served on {host} port {port}: {reason}") from error


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host


def _in_address(host: str) -> str:
    """A host as it stands in the address of a page."""
    return f"[{host}]" if ":" in host else host
