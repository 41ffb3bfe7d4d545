"""The page in real headless Chromium, served by the command: what a person sees, does, and is protected from.

Pictures of what was on the screen go to pytest's temporary directory, or to `$RX_RUNAT_SCREENSHOTS`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rx_runat import Job, RunAt
from tests.support.browser import CHROMIUM, FLAGS
from tests.support.node import Node
from tests.support.page import Command, View, commands, shots_in
from tests.support.permissions import forbidden, worker_url
from tests.support.servers import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]

HOSTILE = [
    "<img src=x onerror=hacked=1>",
    "<script>hacked=1</script>",
    "'\"><svg onload=hacked=1>",
    "__proto__",
    "constructor",
    "javascript:hacked=1",
    "\u202egnp.exe",
    "line\nbreak",
    "k" * 3000,
]
LEADS_HERE = "--host-resolver-rules=MAP evil.example 127.0.0.1"
TOKEN = "the-token-of-this-test"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, LEADS_HERE])
        yield chromium
        chromium.close()


@pytest.fixture
def view(chromium: Any, tmp_path: Path) -> Iterator[Callable[..., View]]:
    """Opens an empty view; the settings are those of Playwright's contexts."""
    made: list[Any] = []

    def view(**settings: Any) -> View:
        made.append(chromium.new_context(**{"viewport": {"width": 1200, "height": 1400}} | settings))
        return View(made[-1].new_page(), shots_in(tmp_path))

    yield view
    for each in made:
        each.close()


@pytest.fixture
def serve(own_server: Server) -> Iterator[Callable[..., Command]]:
    """Starts the command on a server of the test's own."""
    with commands(own_server.url) as serve:
        yield serve


@pytest.fixture
def queue(own_server: Server) -> Iterator[RunAt]:
    with RunAt(own_server.url) as queue:
        yield queue


def bury(queue: RunAt, key: str, reason: str, data: object = None) -> None:
    """Make a dead letter of a key."""
    done = threading.Event()
    subscription = queue.claims().subscribe(lambda claim: (claim.bury(reason), done.set()))
    queue.schedule(key, 0, data=data)
    assert done.wait(20)
    subscription.dispose()


def test_it_shows_what_happens_while_it_happens(
    queue: RunAt, serve: Callable[..., Command], view: Callable[..., View]
) -> None:
    seen = view()
    seen.open(serve().address)
    assert seen.page.title() == seen.page.inner_text("h1")
    seen.wait_for(lambda: "0 scheduled" in seen.picture(), "the picture is empty")
    assert seen.page.inner_text("#next .none") == "No key waits."
    queue.schedule("mail:1", timedelta(hours=1), data={"to": "ann"})
    seen.wait_for(lambda: seen.keys("next") == ["mail:1"], "the key is listed")
    ((_, due, data),) = seen.rows("next")
    assert due.startswith(("in 1.0 h", "in 60 min"))
    assert data == '{"to":"ann"}'
    assert seen.count("scheduled") == "1"
    assert "1 scheduled" in seen.picture()
    queue.reschedule("mail:1", timedelta(seconds=1))
    out: list[Any] = []
    subscription = queue.claims(lease=60).subscribe(out.append)
    seen.wait_for(lambda: seen.keys("out") == ["mail:1"], "the key is out")
    assert (seen.keys("next"), seen.count("claimed")) == ([], "1")
    assert "1 claimed" in seen.picture()
    out[0].bury("no such mailbox")
    subscription.dispose()
    seen.wait_for(lambda: seen.keys("dead") == ["mail:1"], "it is a dead letter")
    assert "no such mailbox (1 attempt)" in seen.rows("dead")[0]
    assert seen.count("dead") == "1"
    seen.wait_for(lambda: not seen.keys("out"), "it is not out any more")
    queue.schedule("late", 1)
    seen.wait_for(lambda: seen.count("due") == "1", "a late key is counted")
    seen.wait_for(lambda: " d" in seen.count("lateness"), "its lateness is shown")
    assert seen.errors == []
    assert seen.hosts() == {"127.0.0.1"}


def test_hostile_keys_data_and_reasons_are_text(
    queue: RunAt, serve: Callable[..., Command], view: Callable[..., View]
) -> None:
    for each in HOSTILE[:4]:
        bury(queue, each, each, each)
    for each in HOSTILE:
        queue.schedule(each, timedelta(hours=1), data={each: each})
    seen = view()
    seen.open(serve("--actions", "--lane", ":").address)
    seen.wait_for(lambda: len(seen.keys("next")) == len(HOSTILE), "all are listed")
    seen.wait_for(lambda: set(seen.keys("dead")) == set(HOSTILE[:4]), "the letters are listed")
    assert {"line\\nbreak", "\\u202egnp.exe", *HOSTILE[:6]} <= set(seen.keys("next"))
    seen.press(f"cancel {HOSTILE[0]}")
    assert seen.page.inner_text("#question") == f"Cancel {HOSTILE[0]}?"
    seen.press("Yes, cancel")
    seen.wait_for(lambda: seen.said() == f"{HOSTILE[0]} was cancelled.", "it is told")
    seen.page.fill("#match", "<script>*")
    seen.press("Search")
    seen.wait_for(lambda: seen.keys("found") == [HOSTILE[1]], "it is found")
    seen.shoot("hostile")
    assert seen.page.evaluate("document.querySelectorAll('img, svg, iframe, body script').length") == 0
    assert seen.page.evaluate("typeof hacked") == "undefined"
    assert f"cancel {'k' * 199}…" not in seen.buttons()  # a key that the page did not get whole
    assert seen.errors == []


def test_actions_ask_once_and_say_what_happened(
    queue: RunAt, serve: Callable[..., Command], view: Callable[..., View]
) -> None:
    bury(queue, "sms:1", "no such number")
    bury(queue, "sms:2", "no such number")
    queue.on_next([Job("mail:1", timedelta(hours=1)), Job("mail:2", timedelta(hours=2))])
    seen = view()
    seen.open(serve("--actions").address)
    assert "token" not in seen.page.url
    seen.wait_for(lambda: len(seen.buttons()) == 8, "each row has its actions")
    seen.press("cancel mail:1")
    assert seen.page.inner_text("#question") == "Cancel mail:1?"
    seen.shoot("asks")
    seen.press("No, leave it")
    seen.press("cancel mail:1")
    seen.page.keyboard.press("Escape")
    assert queue.size() == 2
    seen.press("cancel mail:1")
    seen.press("Yes, cancel")
    seen.wait_for(lambda: seen.said() == "mail:1 was cancelled.", "it is told")
    seen.wait_for(lambda: seen.keys("next") == ["mail:2"], "it is gone")

    seen.press("reschedule mail:2")
    seen.page.keyboard.type("tomorrow")
    seen.page.keyboard.press("Enter")
    seen.wait_for(lambda: "WHEN: got 'tomorrow'" in seen.page.inner_text("#problem"), "what is wrong is told")
    seen.page.fill("#when", "2096-10-02T07:06:40Z")
    seen.page.keyboard.press("Enter")
    seen.wait_for(lambda: seen.said() == "mail:2 is scheduled for 2096-10-02 07:06:40.000 UTC.", "it is told")
    seen.shoot("said")
    moved = queue.when("mail:2")
    assert moved is not None
    assert moved.year == 2096

    seen.press("revive sms:1")
    seen.press("Yes, revive")
    seen.wait_for(lambda: "due at once" in seen.said(), "it is told")
    seen.press("drop sms:2")
    queue.dead.drop("sms:2")  # somebody else is faster
    seen.press("Yes, drop")
    seen.wait_for(lambda: seen.said() == "Nothing was changed: sms:2 has no letter any more.", "it is told")
    assert (queue.size(), queue.dead.size()) == (2, 0)
    assert len(seen.errors) == 1  # the browser notes each reply that is an error
    assert "400 (Bad Request)" in seen.errors[0]


def test_a_late_reply_leaves_the_next_question_alone(
    queue: RunAt, serve: Callable[..., Command], view: Callable[..., View]
) -> None:
    queue.on_next([Job("mail:1", timedelta(hours=1)), Job("mail:2", timedelta(hours=2))])
    seen = view()
    seen.open(serve("--actions").address)
    seen.wait_for(lambda: len(seen.buttons()) == 4, "each row has its actions")
    held: list[Any] = []
    seen.page.route("**/act", lambda route: held.append(route))
    for status, said in ((200, "mail:1 was cancelled."), (400, "mail:1 is wrong.")):
        seen.press("cancel mail:1")
        seen.press("Yes, cancel")
        seen.wait_for(lambda: seen.page.evaluate("1") and held, "the request is under way")
        seen.page.keyboard.press("Escape")
        seen.press("cancel mail:2")
        held.pop().fulfill(status=status, content_type="application/json", body=json.dumps({"said": said}))
        seen.wait_for(lambda text=said: seen.said() == text, "it is told")
        assert seen.page.inner_text("#question") == "Cancel mail:2?"
        assert not seen.page.is_visible("#problem")
        seen.press("No, leave it")


def test_without_permission_no_action_is_offered_or_done(
    queue: RunAt, serve: Callable[..., Command], view: Callable[..., View]
) -> None:
    queue.schedule("mail:1", timedelta(hours=1))
    seen = view()
    seen.open(serve().address)
    seen.wait_for(lambda: seen.keys("next") == ["mail:1"], "the key is listed")
    assert seen.buttons() == []
    script = """fetch('act', {
        method: 'POST',
        headers: {'Content-Type': 'application/json'},
        body: JSON.stringify({action: 'cancel', key: 'mail:1'}),
    }).then(async reply => [reply.status, await reply.text()])"""
    status, said = seen.page.evaluate(script)
    assert (status, json.loads(said)["said"].partition(":")[0]) == (403, "Actions are off")
    assert queue.size() == 1


def test_a_person_without_the_token_is_asked_for_it(
    queue: RunAt, serve: Callable[..., Command], view: Callable[..., View]
) -> None:
    queue.schedule("mail:1", timedelta(hours=1))
    command, seen = serve("--actions"), view()
    address, _, token = command.address.partition("?token=")
    seen.page.goto(address)
    assert "mail:1" not in seen.page.content()
    seen.page.fill("#token", "a guess")
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_selector("#wrong", state="visible")
    seen.shoot("token")
    seen.page.fill("#token", token)
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_selector("#next")
    seen.wait_for(lambda: seen.keys("next") == ["mail:1"], "the page is open")
    assert seen.page.url == address


class Foreign(BaseHTTPRequestHandler):
    """A page of somebody else, on another port of this host."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>foreign</title>")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def foreign() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Foreign)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


ATTACK = """
async ({address, body}) => {
  const tries = {};
  const json = {'Content-Type': 'application/json'}, plain = {'Content-Type': 'text/plain'};
  for (const [name, headers, mode] of [['json', json, 'cors'], ['plain', plain, 'cors'], ['blind', plain, 'no-cors']])
    tries[name] = await fetch(address + 'act', {method: 'POST', headers, mode, body, credentials: 'include'})
      .then(reply => `status ${reply.status}`, () => 'failed');
  tries.stream = await new Promise(done => {
    const stream = new EventSource(address + 'stream', {withCredentials: true});
    stream.addEventListener('frame', () => done('a frame'));
    stream.onerror = () => { stream.close(); done('failed'); };
  });
  tries.script = await new Promise(done => {
    const script = document.createElement('script');
    script.onload = () => done('loaded');
    script.onerror = () => done('failed');
    script.src = address + 'page.js';
    document.head.append(script);
  });
  const frame = document.createElement('iframe');
  frame.src = address;
  await new Promise(done => { frame.onload = done; document.body.append(frame); });
  const form = document.createElement('form');
  form.method = 'POST';
  form.enctype = 'text/plain';
  form.action = address + 'act';
  form.append(Object.assign(document.createElement('input'), {name: body.slice(0, -1) + ',"x":"', value: '"}'}));
  document.body.append(form);
  return tries;
}
"""


def test_a_foreign_origin_gets_nothing_though_the_browser_has_the_cookie(
    queue: RunAt, serve: Callable[..., Command], view: Callable[..., View], foreign: str
) -> None:
    queue.schedule("mail:1", timedelta(hours=1))
    command, seen = serve("--actions"), view()
    seen.open(command.address)
    address = command.address.partition("?")[0]
    body = '{"action": "cancel", "key": "mail:1"}'
    for place in (foreign, foreign.replace("127.0.0.1", "evil.example")):  # another port of this host; another host
        seen.page.goto(place)
        tries = seen.page.evaluate(ATTACK, {"address": address, "body": body})
        assert tries == {
            "json": "failed",
            "plain": "failed",
            "blind": "failed",  # an opaque reply is blocked by its Cross-Origin-Resource-Policy
            "stream": "failed",
            "script": "failed",
        }
        frames = [each for each in seen.page.frames if each is not seen.page.main_frame]
        assert all("mail" not in each.content() and "rx_runat" not in each.content() for each in frames)
        seen.page.evaluate("document.querySelector('form').submit()")
        seen.page.wait_for_url(f"{address}act")
        assert "another site" in seen.page.content()
        assert queue.size() == 1
    seen.open(address)  # a person may still go there


def test_a_foreign_name_that_leads_here_gets_nothing(
    queue: RunAt, serve: Callable[..., Command], view: Callable[..., View]
) -> None:
    """DNS rebinding: for the browser the page and its attacker are one site."""
    command, seen = serve(), view()
    for path in ("", "stream", "search?match=*", "page.js"):
        reply = seen.page.goto(f"http://evil.example:{command.port}/{path}")
        assert reply.status == 421
        assert "not allowed" in seen.page.content()


def test_the_server_of_the_page_may_stop_and_come_back(
    queue: RunAt, serve: Callable[..., Command], view: Callable[..., View]
) -> None:
    queue.schedule("before", timedelta(hours=1))
    command, seen = serve(RX_RUNAT_UI_TOKEN=TOKEN), view()
    seen.open(command.address)
    seen.wait_for(lambda: seen.keys("next") == ["before"], "the key is listed")
    command.end()
    seen.wait_for_state("lost")
    assert "no connection" in seen.picture()
    assert seen.keys("next") == ["before"]  # what was seen last stays, and is pale
    seen.shoot("lost")
    queue.schedule("after", timedelta(hours=2))
    serve(port=command.port, RX_RUNAT_UI_TOKEN=TOKEN)
    seen.wait_for_state("live")
    seen.wait_for(lambda: seen.keys("next") == ["before", "after"], "the page goes on")
    assert "2 scheduled" in seen.picture()


def test_another_token_is_asked_for_after_a_restart(serve: Callable[..., Command], view: Callable[..., View]) -> None:
    command, seen = serve("--actions"), view()
    seen.open(command.address)
    command.end()
    seen.wait_for_state("lost")
    serve("--actions", port=command.port)
    seen.wait_for(lambda: "needs a token now" in seen.page.inner_text("#state"), "the page says what it needs")


def test_redis_may_stop_and_come_back(
    own_server: Server, queue: RunAt, serve: Callable[..., Command], view: Callable[..., View]
) -> None:
    seen = view()
    seen.open(serve().address)
    own_server.kill()
    seen.wait_for_state("trouble")
    seen.shoot("trouble")
    assert "onnect" in seen.page.inner_text("#state")
    own_server.start()
    seen.wait_for_state("live")
    queue.schedule("after", timedelta(hours=1))
    seen.wait_for(lambda: seen.keys("next") == ["after"], "the page goes on")


def test_a_table_that_was_not_read_does_not_say_that_it_is_empty(
    own_server: Server, queue: RunAt, serve: Callable[..., Command], view: Callable[..., View]
) -> None:
    queue.schedule("a", timedelta(hours=1), data=7)
    command, seen = serve("--redis", worker_url(own_server)), view()
    with own_server.client() as client, forbidden(client, "hget"):
        seen.open(command.address)
        seen.wait_for(lambda: "refuses" in seen.page.inner_text("#next .none"), "the table says why it is empty")
        assert "hget" in seen.page.inner_text("#next .none")
        assert seen.page.inner_text("#next .more") == ""
        assert seen.page.inner_text("#out .none") == "No key is out."
        assert seen.count("scheduled") == "1"
    seen.wait_for(lambda: seen.keys("next") == ["a"], "it goes on")
    seen.page.route("**/stream", lambda route: route.abort())
    seen.page.reload()
    seen.wait_for_state("lost")
    assert seen.page.inner_text("#next .none") == "Not read yet."


HIDE = """(state) => {
  Object.defineProperty(document, 'visibilityState', {configurable: true, get: () => state});
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def test_a_hidden_tab_asks_for_nothing(
    own_server: Server, queue: RunAt, serve: Callable[..., Command], view: Callable[..., View]
) -> None:
    seen = view()
    seen.open(serve().address)
    with own_server.client() as client:

        def calls() -> int:
            return sum(each["calls"] for name, each in client.info("commandstats").items() if "eval" in name)

        def rests() -> bool:
            """True if nothing was asked for in the time in which a watched page asks five times."""
            before = calls()
            time.sleep(1.5)
            return calls() == before

        assert not rests()
        seen.page.evaluate(HIDE, "hidden")
        seen.wait_for(rests, "nobody asks Redis any more")
    seen.page.evaluate(HIDE, "visible")
    queue.schedule("after", timedelta(hours=1))
    seen.wait_for(lambda: seen.keys("next") == ["after"], "the page goes on")


def test_the_keyboard_reaches_everything_and_keeps_its_place(
    queue: RunAt, serve: Callable[..., Command], view: Callable[..., View]
) -> None:
    queue.on_next([Job("b", timedelta(hours=2)), Job("c", timedelta(hours=3))])
    seen = view()
    seen.open(serve("--actions").address)
    seen.wait_for(lambda: seen.keys("next") == ["b", "c"], "the keys are listed")
    focused = "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent).trim()"
    reached = []
    for _ in range(8):
        seen.page.keyboard.press("Tab")
        reached.append(seen.page.evaluate(focused))
    assert reached[:5] == ["Skip to the tables", "reschedule b", "cancel b", "reschedule c", "cancel c"]
    assert "Search" in reached
    seen.page.get_by_role("button", name="cancel c").focus()
    queue.schedule("a", timedelta(hours=1))
    seen.wait_for(lambda: seen.keys("next") == ["a", "b", "c"], "another row comes")
    assert seen.page.evaluate(focused) == "cancel c"
    seen.page.keyboard.press("Enter")
    assert seen.page.evaluate(focused) == "No, leave it"
    seen.page.keyboard.press("Shift+Tab")
    seen.page.keyboard.press("Escape")
    assert seen.page.evaluate(focused) == "cancel c"  # a dialog gives the focus back
    queue.cancel("c")
    seen.wait_for(lambda: seen.keys("next") == ["a", "b"], "the row goes")
    assert seen.page.evaluate(focused) == "Next keys"


def test_a_screen_reader_is_told_what_everything_is(
    queue: RunAt, serve: Callable[..., Command], view: Callable[..., View]
) -> None:
    queue.schedule("mail:1", timedelta(hours=1))
    seen = view(viewport={"width": 400, "height": 900})  # where rows are drawn as blocks
    seen.open(serve("--actions").address)
    seen.wait_for(lambda: seen.keys("next") == ["mail:1"], "the key is listed")
    role = seen.page.get_by_role
    table = role("table", name="Next keys")
    assert [each.inner_text() for each in table.get_by_role("columnheader").all()] == ["Key", "Due", "Data", "Actions"]
    assert table.get_by_role("row").count() == 2
    assert table.get_by_role("cell").count() == 4
    assert role("heading", level=1).count() == 1
    assert [each.inner_text() for each in role("heading", level=2).all()] == [
        *("Next keys", "Out under a lease", "Dead letters", "Search")
    ]
    assert role("img", name="Timeline of RunAt~default: 1 scheduled").count() == 1
    assert role("searchbox", name="Keys that wait and match").count() == 1
    assert role("main").count() == role("banner").count() == role("search").count() == 1
    assert seen.page.get_attribute("html", "lang") == "en"
    assert seen.page.get_attribute("#said", "role") == seen.page.get_attribute("#state", "role") == "status"


STRETCH = """() => {
  const canvas = document.querySelector('#timeline canvas');
  return Math.abs(canvas.width / devicePixelRatio - canvas.clientWidth);
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_windows_of_400_to_2000_px(
    queue: RunAt, serve: Callable[..., Command], view: Callable[..., View], theme: str
) -> None:
    for number in range(3):
        bury(queue, f"sms:{number}", "ConnectionError: the gateway did not answer within 10 s", {"to": f"+49 {number}"})
    queue.on_next(
        [Job(f"mail:{n}", timedelta(seconds=4 * n + 6), data={"to": f"ann{n}@example.org"}) for n in range(12)]
    )
    queue.on_next([Job(f"report:{'long' * 40}", timedelta(hours=3), data=["x" * 400]), Job("sms:7", timedelta(days=3))])
    queue.claims(lease=60).subscribe(lambda _: None)
    queue.on_next([Job("report:1", 0), Job("report:2", 0)])
    seen = view(color_scheme=theme)
    seen.open(serve("--actions", "--lane", ":").address)
    seen.wait_for(lambda: len(seen.keys("out")) >= 2 and len(seen.keys("dead")) == 3, "all is there")
    seen.page.fill("#match", "*:7")
    seen.press("Search")
    seen.wait_for(lambda: seen.keys("found") == ["mail:7", "sms:7"], "two are found")
    for width, height in ((400, 3200), (640, 3000), (1200, 1300), (2000, 1100)):
        seen.page.set_viewport_size({"width": width, "height": height})
        seen.wait_for(lambda: seen.page.evaluate(STRETCH) < 2, "the picture has the width of the window")
        seen.shoot(f"page-{theme}-{width}")
        assert seen.overflow() <= 0
    colors = ["--ink", "--faint", "--late", "--problem", "--link"]
    contrasts = seen.contrasts(colors, ["--paper", "--panel"])
    assert {name: ratio for name, ratio in contrasts.items() if ratio < 4.5} == {}
    assert seen.errors == []


def test_the_picture_in_the_readme(view: Callable[..., View]) -> None:
    """`readme.png` among the screenshots, with a palette of 64 colours, is `tests/ui/page.png`."""
    node = Node()
    node.start()
    command = Command(node.url, "--actions", "--lane", ":")
    try:
        with RunAt(node.url) as queue:
            bury(queue, "sms:+49 30 1234", "ConnectionError: the gateway did not answer within 10 s", {"text": "Hello"})
            seen = view(viewport={"width": 1200, "height": 920})
            seen.open(command.address)
            names = enumerate(["ann", "bob", "cleo", "dan", "eve", "fay", "gus"])
            queue.on_next(
                [
                    *(Job(f"mail:{each}", timedelta(seconds=1.5 * n + 1), data={"to": each}) for n, each in names),
                    *(Job(f"report:{n}", timedelta(seconds=4 * n + 2), data={"pages": n + 3}) for n in range(3)),
                    Job("report:year", timedelta(days=35)),
                ]
            )
            queue.claims(lease=9).subscribe(lambda claim: claim.ack() if claim.key == "mail:ann" else None)
            seen.page.fill("#match", "report:*")
            seen.wait_for(lambda: len(seen.keys("out")) == 3 and len(seen.keys("dead")) == 1, "three are out")
            seen.press("Search")
            seen.wait_for(lambda: len(seen.keys("found")) == 3, "the reports are found")
            assert seen.overflow() <= 0
            seen.page.evaluate("scrollTo(0, 0)")
            seen.shoot("readme")
    finally:
        command.kill()
        node.end()
