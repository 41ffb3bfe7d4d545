"""What the page may do to one key, if actions are on: cancel, reschedule, revive, drop."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from starlette.requests import ClientDisconnect, Request

from rx_runat.errors import InvalidJob, OutcomeUnknown, RunAtError
from rx_runat.model.humanize import readable, spell
from rx_runat.model.when import parse_when
from rx_runat.queue import RunAt

_LARGEST = 100_000  # bytes of a request: a key of 1,000 characters has 12,000 as JSON at most


class NotDone(Exception):
    """Nothing was done; or for an `OutcomeUnknown`, perhaps it was.

    Args:
        status: of the reply.
        said: why, in words.
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status
        self.said = said


class Actions:
    """Does what a viewer asks for, to one key.

    A request must be a POST of JSON whose `Origin` is this page. A form of another site can send neither: JSON would
    need a permission that this app never gives (CORS), and a browser always tells the origin of a POST.

    Args:
        queue: the queue.
        allowed: False: every action is refused.
    """

    def __init__(self, queue: RunAt, allowed: bool) -> None:
        self.allowed = allowed
        self._verbs: Mapping[str, Callable[[str, str], Awaitable[str]]] = {
            "cancel": self._cancel,
            "reschedule": self._reschedule,
            "revive": self._revive,
            "drop": self._drop,
        }
        self._queue = queue

    async def act(self, request: Request) -> str:
        """Do what a request asks for. Returns in words what happened, which may be nothing.

        Raises:
            NotDone: the request is refused, or failed.
        """
        if not self.allowed:
            raise NotDone(403, "Actions are off: start the page with --actions, or app(actions=True).")
        _check_origin(request)
        verb, key, when = _words(await _body(request))
        if verb not in self._verbs:
            raise NotDone(400, f"The action must be one of {', '.join(self._verbs)}.")
        try:
            return await self._verbs[verb](key, when)
        except InvalidJob as error:
            raise NotDone(400, str(error)) from error
        except OutcomeUnknown as error:
            raise NotDone(503, f"Nobody knows whether it was done: {error}") from error
        except RunAtError as error:
            raise NotDone(503, f"It was not done: {error}") from error

    async def _cancel(self, key: str, _: str) -> str:
        if await self._queue.aio.cancel(key):
            return f"{_name(key)} was cancelled."
        return f"Nothing was changed: {_name(key)} neither waits nor is out under a lease."

    async def _reschedule(self, key: str, when: str) -> str:
        run_at = await self._queue.aio.reschedule(key, parse_when(when))
        if run_at is None:
            return f"Nothing was changed: {_name(key)} does not wait any more."
        return f"{_name(key)} is scheduled for {spell(run_at)}."

    async def _revive(self, key: str, _: str) -> str:
        if await self._queue.aio.dead.revive(key):
            return f"{_name(key)} is scheduled again, and due at once."
        return f"Nothing was changed: {_name(key)} waits already, is out under a lease, or has no letter any more."

    async def _drop(self, key: str, _: str) -> str:
        if await self._queue.aio.dead.drop(key):
            return f"The letter of {_name(key)} was deleted."
        return f"Nothing was changed: {_name(key)} has no letter any more."


def _name(key: str) -> str:
    return readable(key, 80) or "The empty key"


def _check_origin(request: Request) -> None:
    """Refuse what this very page has not sent.

    `Guard` has refused other values of `Sec-Fetch-Site` that browsers send; here "none" is refused as well, because
    nobody types a POST. Over plain HTTP to another machine, browsers do not send that header, but always `Origin`.
    """
    host = request.headers["host"].lower()
    if (
        request.headers.get("origin", "").lower() not in (f"http://{host}", f"https://{host}")
        or request.headers.get("sec-fetch-site", "same-origin") != "same-origin"
    ):
        raise NotDone(403, "An action must come from the page itself.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise NotDone(415, "An action must be JSON.")


async def _body(request: Request) -> bytes:
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > _LARGEST:
                raise NotDone(413, f"An action has at most {_LARGEST:,} bytes.")
    except ClientDisconnect as error:  # nobody reads the reply, and it is no error of this program
        raise NotDone(400, "The request broke off.") from error
    return body


def _words(body: bytes) -> tuple[str, str, str]:
    """The action, the key and the new moment of a request."""
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict):
        words = cast("Any", said)
        action, key, when = words.get("action"), words.get("key"), words.get("run_at", "")
        if isinstance(action, str) and isinstance(key, str) and isinstance(when, str):
            return action, key, when
    raise NotDone(400, 'An action is JSON such as {"action": "reschedule", "key": "a", "run_at": "+10s"}.')
