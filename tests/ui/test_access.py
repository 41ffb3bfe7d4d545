"""Who reaches the page: by its host names, from itself, with its token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from rx_runat import InvalidSetting, RunAt
from rx_runat.testing import virtual_queue
from rx_runat.ui import app
from rx_runat.ui.application import Page
from tests.support.asking import FROM_PAGE, TOKEN, act, ask, cookies

FILES = ["/page.css", "/page.js", "/tables.js", "/actions.js", "/icon.svg", "/timeline.js", "/timeline.css"]
ROUTES = ["/", "/stream", "/search", "/act", *FILES, "/not-there"]
BEHIND_TOKEN = ["/", "/stream", "/search"]
OURS = ["localhost", "LOCALHOST:8765", "127.0.0.1:1", "[::1]:8765", "[::1]"]
FOREIGN = [
    "evil.example",
    "localhost.evil.example",
    "evil.example:8765",
    "127.0.0.1.nip.io",
    "[::2]",
    "",
    "localhost:x",
]


@pytest.fixture
def queue() -> Iterator[RunAt]:
    with virtual_queue()[0] as queue:
        yield queue


@pytest.fixture
def page(queue: RunAt) -> Page:
    return app(queue)


@pytest.fixture
def closed(queue: RunAt) -> Page:
    """A page with a token."""
    return app(queue, token=TOKEN)


@pytest.mark.parametrize("path", ROUTES)
def test_no_route_serves_a_foreign_host_name(page: Page, path: str) -> None:
    for host in FOREIGN:
        assert ask(page, path, headers={"host": host}).status_code == 421
        assert ask(page, path, "POST", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("path", ROUTES)
def test_without_a_token_no_route_serves_another_machine_though_it_names_loopback(page: Page, path: str) -> None:
    for client in ("10.0.0.7", "::ffff:10.0.0.7", "fe80::1%eth0", "not-an-address"):
        assert ask(page, path, client=client).status_code == 403
        assert ask(page, path, "POST", client=client).status_code == 403


def test_without_a_token_this_machine_is_served(page: Page) -> None:
    for client in ("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", ""):  # a unix socket has no address
        assert ask(page, "/", client=client).status_code == 200


def test_another_machine_is_served_to_whom_a_token_or_the_app_around_lets_in(queue: RunAt, closed: Page) -> None:
    assert ask(closed, "/", cookies=cookies(closed), client="10.0.0.7").status_code == 200
    assert ask(app(queue, token=False), "/", client="10.0.0.7").status_code == 200


def test_the_names_of_loopback_are_served(page: Page) -> None:
    for host in OURS:
        assert ask(page, "/", headers={"host": host}).status_code == 200


def test_a_request_with_two_host_names_is_refused(page: Page) -> None:
    assert ask(page, "/", headers=[("host", "localhost"), ("host", "localhost")]).status_code == 421


def test_a_name_that_was_allowed_is_served_and_no_other(queue: RunAt) -> None:
    page = app(queue, hosts=["queue.example.org"], token=TOKEN)
    assert ask(page, "/page.css", headers={"host": "Queue.example.org:443"}).status_code == 200
    assert ask(page, "/page.css").status_code == 421


@pytest.mark.parametrize("path", ROUTES)
def test_every_reply_has_the_headers_of_a_page_that_trusts_nobody(closed: Page, path: str) -> None:
    for headers in ({}, {"host": "evil.example"}, {"sec-fetch-site": "cross-site"}):
        got = ask(closed, path, headers=headers).headers
        policy = dict(each.strip().partition(" ")[::2] for each in got["content-security-policy"].split(";"))
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert set(policy.values()) == {"'none'", "'self'"}
        assert (got["x-content-type-options"], got["x-frame-options"]) == ("nosniff", "DENY")
        assert (got["referrer-policy"], got["cache-control"]) == ("no-referrer", "no-store")
        assert "access-control-allow-origin" not in got


@pytest.mark.parametrize("site", ["cross-site", "same-site"])  # another port of this host is "same-site"
@pytest.mark.parametrize("path", ROUTES)
def test_no_route_serves_a_page_of_another_site(page: Page, path: str, site: str) -> None:
    for mode, destination in (("no-cors", "script"), ("cors", "empty"), ("navigate", "iframe")):
        headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": destination}
        assert ask(page, path, headers=headers).status_code == 403


@pytest.mark.parametrize("path", ["/", "/stream", "/search", *FILES])
def test_a_reply_without_a_body_ends(page: Page, path: str) -> None:
    reply = ask(page, path, "HEAD")
    assert (reply.status_code, reply.content) == (200, b"")


def test_a_person_may_follow_a_link_from_another_site(page: Page) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert ask(page, "/", headers=headers).status_code == 200
    assert ask(page, "/act", "POST", headers=headers).status_code == 403


def test_the_page_asks_for_nothing_outside_itself(page: Page) -> None:
    for path in ("/", *FILES):
        text = ask(page, path).text.replace("http://www.w3.org/2000/svg", "")  # a name, which nobody fetches
        assert not re.search(r"https?:|[\"'(]//", text), path


# The token.


@pytest.mark.parametrize("path", BEHIND_TOKEN)
def test_without_the_token_nothing_of_the_queue_is_served(queue: RunAt, closed: Page, path: str) -> None:
    queue.schedule("secret", 4e9)
    for shown in (
        None,
        {"rx-runat": TOKEN},
        dict.fromkeys(cookies(closed), "wrong"),
        dict.fromkeys(cookies(closed), TOKEN),
    ):
        reply = ask(closed, path, cookies=shown)
        assert reply.status_code == 401
        assert "secret" not in reply.text


@pytest.mark.parametrize("path", BEHIND_TOKEN[1:])
def test_a_token_in_the_address_opens_the_page_alone(closed: Page, path: str) -> None:
    assert ask(closed, f"{path}?token={TOKEN}").status_code == 401


def test_the_token_becomes_a_cookie_and_leaves_the_address(closed: Page) -> None:
    reply = ask(closed, f"/?token={TOKEN}")
    assert (reply.status_code, reply.headers["location"]) == (303, "./")
    kept = reply.headers["set-cookie"]
    assert "HttpOnly" in kept
    assert "SameSite=lax" in kept
    assert "Path=/;" in kept
    assert TOKEN not in kept
    assert "Secure" not in kept
    assert "Secure" in ask(closed, f"https://localhost/?token={TOKEN}").headers["set-cookie"]
    assert ask(closed, "/", cookies=dict(reply.cookies)).status_code == 200


def test_a_wrong_token_is_told(closed: Page) -> None:
    for token in ("wrong", "", "%ff", TOKEN[:-1]):
        reply = ask(closed, f"/?token={token}")
        assert reply.status_code == 401
        assert "set-cookie" not in reply.headers
        assert '<p id="wrong" role="alert" class="problem" >' in reply.text
    assert " hidden>That is not the token" in ask(closed, "/").text


def test_two_pages_on_one_host_keep_cookies_of_their_own(queue: RunAt, closed: Page) -> None:
    other = app(queue, token="another-token-of-a-test")
    both = cookies(closed) | cookies(other, "another-token-of-a-test")
    assert len(both) == 2
    assert ask(closed, "/", cookies=both).status_code == ask(other, "/", cookies=both).status_code == 200
    assert ask(other, "/", cookies=cookies(closed)).status_code == 401


def test_a_token_may_hold_any_character(queue: RunAt) -> None:
    page = app(queue, token='ein "Schlüssel"; für alle')
    assert ask(page, "/", cookies=cookies(page, "ein%20%22Schl%C3%BCssel%22%3B%20f%C3%BCr%20alle")).status_code == 200


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"actions": True}, "token: got None"),
        ({"hosts": ["queue.example.org"]}, "token: got None"),
        ({"hosts": ["localhost", "10.0.0.1"]}, "token: got None"),
        ({"token": "short"}, "token: got 5 characters"),
        ({"token": ""}, "token: got 0 characters"),
        ({"token": 7}, "token: got int"),
        ({"token": True}, "token: got bool"),
        ({"hosts": "localhost"}, "hosts: got 'localhost'"),
        ({"hosts": ["localhost:8765"]}, "hosts: got 'localhost:8765'"),
        ({"hosts": ["*"]}, "hosts: got '*'"),
        ({"hosts": [None]}, "hosts: got None"),
        ({"window": 0}, "window: got 0"),
        ({"lane": ":"}, "lane: got ':'"),
    ],
)
def test_what_cannot_be_is_refused(queue: RunAt, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSetting, match="^" + said.replace("*", r"\*")):
        app(queue, **settings)


def test_a_page_is_of_a_queue() -> None:
    with pytest.raises(InvalidSetting, match="it must be a RunAt"):
        app("memory://")  # type: ignore[arg-type]


# Mounted.


def test_it_can_be_mounted_in_any_app(queue: RunAt) -> None:
    outer = FastAPI()
    outer.mount("/jobs/queue", app(queue, token=TOKEN))
    assert ask(outer, "/jobs/queue/").status_code == 401
    reply = ask(outer, f"/jobs/queue/?token={TOKEN}")
    assert "Path=/jobs/queue/;" in reply.headers["set-cookie"]
    assert ask(outer, "/jobs/queue/page.js").status_code == 200
    assert ask(outer, "/jobs/queue/search?match=*", cookies=dict(reply.cookies)).status_code == 200
    assert ask(outer, "/jobs/queue/", headers={"host": "evil.example"}).status_code == 421


def test_an_app_that_checks_who_asks_needs_no_token(queue: RunAt) -> None:
    page = app(queue, actions=True, hosts=["queue.example.org"], token=False)
    headers = FROM_PAGE | {"host": "queue.example.org", "origin": "https://queue.example.org"}
    assert ask(page, "/", headers={"host": "queue.example.org"}).status_code == 200
    assert act(page, token=None, headers=headers, action="cancel", key="a").status_code == 200
