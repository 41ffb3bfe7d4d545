"""Asks the page of a queue, as a browser on loopback does: without a server, over ASGI."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from rx_runat.ui.application import Page

ORIGIN = "http://localhost:8765"
TOKEN = "a-token-of-a-test"
FROM_PAGE = {"origin": ORIGIN, "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}


def ask(
    app: Any,
    path: str,
    method: str = "GET",
    cookies: dict[str, str] | None = None,
    client: str = "127.0.0.1",
    **settings: Any,
) -> httpx.Response:
    """Send one request, from an address, and return the reply."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(client, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, cookies=cookies) as session:
            return await session.request(method, path, **settings)

    return asyncio.run(send())


def cookies(app: Any, token: str = TOKEN, at: str = "/") -> dict[str, str]:
    """The cookies of who has opened the page with its token."""
    return dict(ask(app, f"{at}?token={token}").cookies)


def act(
    page: Page, *, token: str | None = TOKEN, headers: dict[str, str] | None = None, **words: Any
) -> httpx.Response:
    """Ask for an action, as the page does; with other headers, as somebody else does."""
    shown = cookies(page, token) if token else None
    headers = {"content-type": "application/json"} | (FROM_PAGE if headers is None else headers)
    return ask(page, "/act", "POST", shown, content=json.dumps(words), headers=headers)
