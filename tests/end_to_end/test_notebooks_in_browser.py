"""All notebooks in JupyterLab, in headless Chromium: after "Run All", each picture shows what the text beside it says.

Pictures of what was on the screen go to pytest's temporary directory, or to `$RX_RUNAT_SCREENSHOTS`.
"""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from tests.support.browser import CHROMIUM, Browser, Lab
from tests.support.told import Told, marbles_in
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]

DIAGRAMS = "[...document.querySelectorAll('.jp-RenderedSVG img')].map(each => each.src)"


def run_all(browser: Browser, timelines: int, live: list[int]) -> list[Told]:
    """Run all cells. Returns what the timelines tell when the last cell has run.

    Args:
        timelines: how many there are.
        live: the places of those that are no stills; their queues are stopped in the end.
    """
    browser.clear_outputs()
    browser.run_all_cells()
    browser.wait_for_all_cells()

    def are_stopped() -> bool:
        labels = [browser.state(number) for number in range(timelines)]
        return all(labels) and all(Told.of(labels[number]).is_stopped for number in live)

    wait_until(are_stopped, "all pictures are there, and those of stopped queues say so", 60)
    assert browser.state(timelines) == ""
    return [Told.of(browser.state(number)) for number in range(timelines)]


def diagrams(browser: Browser) -> list[list[str]]:
    """Returns the values that each marble diagram shows."""
    return [marbles_in(unquote(source.partition(",")[2])) for source in browser.page.evaluate(DIAGRAMS)]


def assert_nothing_went_wrong(browser: Browser) -> None:
    assert browser.errors == []
    assert browser.hosts() == {"127.0.0.1"}
    assert browser.page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0


def the_first_notebook_tells_its_story(browser: Browser) -> None:
    live, still, steps, three = run_all(browser, 4, live=[0, 2])
    # "A blue dot came on time, an orange mark came late: a square over 0.2 s late. ... some of them still wait."
    for picture in (live, still):  # "its picture keeps what it showed last"
        assert picture["on time"] > 0
        assert picture["over 0.2 s late"] > 0
        assert picture["waiting"] > 0
    assert not still.is_stopped
    # "are three filled dots in the still"
    assert three.keys.keys() <= {"on time", "over 20 ms late", "over 0.2 s late"}
    assert three.received == 3
    assert "3 received" in three.said
    # "keeps the last keys that came, such as the 500 of the cell before, and says that the queue was stopped"
    assert steps.received >= 500
    wait_until(lambda: "Got key 'last'" in browser.outputs(), "the keys are printed")
    printed = [line for line in browser.outputs().splitlines() if line.startswith("Got key")]
    assert printed == ["Got key 'first'", "Got key 'middle'", "Got key 'last'"]
    assert "cup 3" in browser.outputs()


def test_the_first_notebook_tells_its_story_light_and_dark(lab: Lab, browser: Browser) -> None:
    """All cells run twice in one kernel."""
    browser.open(lab.format("1-schedule-and-receive.ipynb"))
    the_first_notebook_tells_its_story(browser)
    browser.shoot("1-light")
    browser.do("apputils:change-theme", theme="JupyterLab Dark")
    browser.page.wait_for_selector("body[data-jp-theme-light='false']", state="attached")
    the_first_notebook_tells_its_story(browser)
    browser.shoot("1-dark")
    assert_nothing_went_wrong(browser)


def test_a_live_picture_moves(lab: Lab, browser: Browser) -> None:
    setup = "from datetime import timedelta\nfrom rx_runat import RunAt\nfrom rx_runat.notebook import timeline"
    cell = "queue = RunAt('memory://')\nqueue.schedule('a', timedelta(seconds=500))\ntimeline(queue, 1000)"
    browser.open(lab.write("moves.ipynb", setup, cell))
    browser.run_all_cells()
    browser.page.wait_for_selector(".rx-runat-timeline canvas", timeout=60_000)
    different: set[str] = set()
    wait_until(lambda: different.add(browser.pixels()) or len(different) >= 10, "the picture moves", 60)
    assert_nothing_went_wrong(browser)


def test_the_second_notebook_tells_its_story(lab: Lab, browser: Browser) -> None:
    browser.open(lab.format("2-compose.ipynb"))
    run_all(browser, 0, live=[])
    after, before, heartbeat, rows = diagrams(browser)
    # "each of them sees every key"
    due = ["mail:1", "sms:2", "mail:3", "mail:4"]
    assert after == [*due, "MAIL:1", "MAIL:3", "MAIL:4", "1+2", "2+3", "3+4"]
    # "every tick schedules a key that falls due 0.3 s later"
    ticks = [f"tick:{n}" for n in range(5)]
    assert before == [*ticks, *ticks]
    # "a key that schedules itself again"
    assert set(heartbeat) == {"heartbeat"}
    assert len(heartbeat) > 1
    # "Each tick takes at most two keys."
    assert rows == ["0", "1", "2", *(f"row:{n}" for n in range(5))]
    wait_until(lambda: "['row:0', 'row:1', 'row:2', 'row:3', 'row:4']" in browser.outputs(), "the rows are listed")
    browser.shoot("2")
    assert_nothing_went_wrong(browser)


def test_the_third_notebook_tells_its_story(lab: Lab, browser: Browser) -> None:
    browser.open(lab.format("3-virtual-time.ipynb"))
    run_all(browser, 0, live=[])
    week, outage = diagrams(browser)
    # "on the first day it takes three reminders", and then one every second day
    assert week == ["water"] * 6
    # "The stream goes on when Redis is back, and nothing is lost."
    assert outage == [*(f"{hour} h" for hour in range(4, 45, 4)), "Unavailable", "Recovered"]
    browser.shoot("3")
    assert_nothing_went_wrong(browser)


def test_the_fourth_notebook_tells_its_story(lab: Lab, browser: Browser) -> None:
    browser.open(lab.format("4-at-least-once.ipynb"))
    pictures = run_all(browser, 8, live=[0, 3, 6])
    orders, claimed, done, letters, failed, revived, roses, watered = pictures
    # "The worker has claimed all four orders. ... In the still, the diamonds stand where the orders were claimed"
    assert claimed.keys == {"claimed": 4}
    # "a grey diamond is the first attempt, which came back. The filled mark is the second one"
    for picture in (orders, done):
        assert picture.received == 4
        assert picture["came back"] > 0
        assert picture["claimed"] == 0
    # "each grey diamond is an attempt that failed and came back. The cross is a dead letter."
    assert failed["came back"] > 0
    assert failed["dead"] == 1
    assert "1 dead" in failed.said
    # "A key that is revived is due at once ... In the still, its work is done."
    assert revived.received > 0
    assert "dead" not in revived.said
    assert letters.received > 0
    assert "dead: 0 waiting: 0" in browser.outputs()
    assert "dead letters of RunAt" in browser.outputs()
    # "the ack of a run also schedules the next one"
    assert watered.received > 1
    assert roses.received > 1
    browser.shoot("4")
    assert_nothing_went_wrong(browser)


def test_the_fifth_notebook_tells_its_story(lab: Lab, browser: Browser) -> None:
    browser.open(lab.format("5-many-consumers.ipynb"))
    live, still = run_all(browser, 2, live=[0])
    # "The still shows keys that were taken, and keys that wait."
    assert still.keys.keys() == {"taken elsewhere", "waiting"}
    # "This process only schedules and draws."
    assert live["taken elsewhere"] > 0
    assert live.received == 0
    wait_until(lambda: "keys: 300 different ones: 300 left: 0" in browser.outputs(), "each key came to one worker")
    browser.shoot("5")
    assert_nothing_went_wrong(browser)
