"""What the page may do to keys, who may ask for it, and what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from reactivex.testing import TestScheduler

from rx_runat import Claim, RunAt
from rx_runat.testing import Faults, virtual_queue
from rx_runat.ui import app
from rx_runat.ui.application import Page
from tests.support.asking import FROM_PAGE, TOKEN, act, ask, cookies

FOREIGN = "http://evil.example"


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def made(faults: Faults) -> Iterator[tuple[RunAt, TestScheduler]]:
    queue, scheduler = virtual_queue(faults=faults)
    yield queue, scheduler
    faults.away, faults.lost = False, 0
    queue.stop()


@pytest.fixture
def queue(made: tuple[RunAt, TestScheduler]) -> RunAt:
    return made[0]


@pytest.fixture
def page(queue: RunAt) -> Page:
    """A page with actions; its token is `TOKEN`."""
    return app(queue, actions=True, token=TOKEN)


def said(page: Page, **words: Any) -> str:
    reply = act(page, **words)
    assert reply.status_code == 200
    text = reply.json()["said"]
    assert isinstance(text, str)
    return text


@pytest.fixture
def buried(made: tuple[RunAt, TestScheduler]) -> RunAt:
    """A queue with a dead letter of the key "a"."""
    queue, scheduler = made
    queue.schedule("a", 1, data=7)
    subscription = queue.claims().subscribe(lambda claim: claim.bury("no such mailbox"))
    scheduler.advance_by(1)
    subscription.dispose()
    assert queue.dead.size() == 1
    return queue


# What they do.


def test_a_key_is_cancelled(queue: RunAt, page: Page) -> None:
    queue.schedule("a", 100)
    assert said(page, action="cancel", key="a") == "a was cancelled."
    assert queue.size() == 0
    assert "Nothing was changed" in said(page, action="cancel", key="a")


def test_a_key_that_is_out_is_cancelled(made: tuple[RunAt, TestScheduler], page: Page) -> None:
    queue, scheduler = made
    out: list[Claim] = []
    queue.schedule("a", 1)
    queue.claims().subscribe(out.append)
    scheduler.advance_by(1)
    assert said(page, action="cancel", key="a") == "a was cancelled."
    assert out[0].ack() is False


def test_a_key_is_moved_by_a_delay_or_to_a_moment(queue: RunAt, page: Page) -> None:
    queue.schedule("a", 100, data=7)
    assert said(page, action="reschedule", key="a", run_at="+1h") == "a is scheduled for 1970-01-01 01:00:00.000 UTC."
    assert said(page, action="reschedule", key="a", run_at="2026-12-24T18:00:00+01:00").endswith(
        "2026-12-24 17:00:00.000 UTC."
    )
    assert [due.data for due in queue.peek()] == [7]
    queue.cancel("a")
    assert "Nothing was changed" in said(page, action="reschedule", key="a", run_at="+1h")
    assert queue.size() == 0


def test_a_letter_is_revived(buried: RunAt, page: Page) -> None:
    assert "due at once" in said(page, action="revive", key="a")
    assert [(due.key, due.data) for due in buried.peek()] == [("a", 7)]
    assert "Nothing was changed" in said(page, action="revive", key="a")


def test_a_letter_is_dropped(buried: RunAt, page: Page) -> None:
    assert "was deleted" in said(page, action="drop", key="a")
    assert (buried.dead.size(), buried.size()) == (0, 0)
    assert "Nothing was changed" in said(page, action="drop", key="a")


def test_a_key_that_no_text_can_spell_is_acted_on(client: redis.Redis, make: Callable[..., RunAt]) -> None:
    page = app(make(), actions=True, token=TOKEN)
    client.zadd("RunAt~default", {b"\xff<b>": 4e12, b"": 4e12})
    rows = ask(page, "/search?match=*", cookies=cookies(page)).json()["rows"]
    assert [row["shown"] for row in rows] == ["", "\\xff<b>"]
    assert said(page, action="cancel", key=rows[1]["key"]) == "\\xff<b> was cancelled."
    assert said(page, action="cancel", key="") == "The empty key was cancelled."
    assert client.keys() == []


# Who may not.


def refused(queue: RunAt, page: Page, status: int, **how: Any) -> None:
    """Ask to cancel a key, in vain."""
    queue.schedule("a", 100)
    assert act(page, action="cancel", key="a", **how).status_code == status
    assert queue.size() == 1


def test_without_permission_nothing_is_done(queue: RunAt) -> None:
    refused(queue, app(queue, token=TOKEN), 403)
    assert 'data-actions="on"' not in ask(app(queue), "/").text


def test_without_the_token_nothing_is_done(queue: RunAt, page: Page) -> None:
    refused(queue, page, 401, token=None)


@pytest.mark.parametrize(
    "headers",
    [
        FROM_PAGE | {"origin": FOREIGN},
        FROM_PAGE | {"origin": "http://localhost:8766"},
        FROM_PAGE | {"origin": "http://localhost:8765.evil.example"},
        FROM_PAGE | {"origin": "null"},
        FROM_PAGE | {"origin": "http://["},
        FROM_PAGE | {"origin": "http://[x]"},
        {"sec-fetch-site": "same-origin"},
        {},
        {"origin": FOREIGN},
        FROM_PAGE | {"sec-fetch-site": "none"},
        FROM_PAGE | {"sec-fetch-site": "same-site"},
        FROM_PAGE | {"sec-fetch-site": "cross-site"},
        FROM_PAGE | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    ],
)
def test_a_request_of_another_origin_does_nothing_though_it_has_the_cookie(
    queue: RunAt, page: Page, headers: dict[str, str]
) -> None:
    refused(queue, page, 403, headers=headers)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_is_not_sent_as_json_does_nothing(queue: RunAt, page: Page, kind: str) -> None:
    queue.schedule("a", 100)
    body = b'{"action": "cancel", "key": "a"}'
    reply = ask(page, "/act", "POST", cookies(page), content=body, headers=FROM_PAGE | {"content-type": kind})
    assert (reply.status_code, queue.size()) == (415, 1)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_only_a_post_acts(page: Page, method: str) -> None:
    reply = ask(page, "/act", method, cookies(page), headers=FROM_PAGE)
    assert reply.status_code == 405
    assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize(
    "body, status, why",
    [
        (b"", 400, "An action is JSON"),
        (b"[", 400, "An action is JSON"),
        (b"[" * 50_000, 400, "An action is JSON"),
        (b"7", 400, "An action is JSON"),
        (b'{"action": "cancel", "key": 7}', 400, "An action is JSON"),
        (b'{"action": ["cancel"], "key": "a"}', 400, "An action is JSON"),
        (b'{"action": "flushall", "key": "a"}', 400, "The action must be one of"),
        (b'{"action": "cancel"}', 400, "An action is JSON"),
        (b'{"action": "drop", "key": null}', 400, "An action is JSON"),
        (b'{"action": "reschedule", "key": "a"}', 400, "WHEN: got ''"),
        (b'{"action": "reschedule", "key": "a", "run_at": "tomorrow"}', 400, "WHEN: got 'tomorrow'"),
        (b'{"action": "reschedule", "key": "a", "run_at": "2026-12-24T18:00:00"}', 400, "offset"),
        (b" " * 100_001, 413, "at most"),
    ],
)
def test_what_is_no_action_is_told(queue: RunAt, page: Page, body: bytes, status: int, why: str) -> None:
    queue.schedule("a", 100)
    headers = FROM_PAGE | {"content-type": "application/json"}
    reply = ask(page, "/act", "POST", cookies(page), content=body, headers=headers)
    assert reply.status_code == status
    assert why in reply.json()["said"]
    assert queue.size() == 1


# What goes wrong.


def test_who_leaves_in_the_middle_of_a_request_has_asked_for_nothing(queue: RunAt, page: Page) -> None:
    queue.schedule("a", 100)
    shown = "; ".join(f"{name}={value}" for name, value in cookies(page).items())
    headers = FROM_PAGE | {"host": "localhost:8765", "cookie": shown, "content-type": "application/json"}
    incoming: list[Any] = [
        {"type": "http.request", "body": b'{"action": "cancel", "key": "a"}', "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/act",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(page(scope, receive, send))
    assert sent[0]["status"] == 400
    assert queue.size() == 1


def test_an_outage_is_told(page: Page, faults: Faults) -> None:
    shown = cookies(page)
    faults.away = True
    reply = ask(page, "/act", "POST", shown, json={"action": "cancel", "key": "a"}, headers=FROM_PAGE)
    assert reply.status_code == 503
    assert reply.json()["said"].startswith("It was not done: ")


def test_an_outcome_that_nobody_knows_is_told_as_such(queue: RunAt, page: Page, faults: Faults) -> None:
    queue.schedule("a", 100)
    shown = cookies(page)
    faults.lost = 9
    reply = ask(page, "/act", "POST", shown, json={"action": "cancel", "key": "a"}, headers=FROM_PAGE)
    assert reply.status_code == 503
    assert reply.json()["said"].startswith("Nobody knows whether it was done: ")


def test_a_stopped_queue_is_told(queue: RunAt, page: Page) -> None:
    queue.stop()
    reply = act(page, action="cancel", key="a")
    assert (reply.status_code, "was stopped" in reply.json()["said"]) == (503, True)
