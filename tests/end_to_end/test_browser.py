"""The first notebook in a real browser: JupyterLab on loopback, headless Chromium, every cell run.

Pictures of what was on the screen go to pytest's temporary directory, or to `$RX_RUNAT_SCREENSHOTS`.
"""

from __future__ import annotations

import pytest

from tests.support.browser import CHROMIUM, Browser, Lab
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]


def run_all(browser: Browser, theme: str) -> None:
    """Run all cells; the pictures are drawn and move, and each key is printed once."""
    browser.run_all_cells()
    browser.page.wait_for_selector(".rx-runat-timeline canvas", timeout=60_000)
    different: set[str] = set()
    wait_until(lambda: different.add(browser.pixels()) or len(different) >= 10, "the picture moves")
    browser.shoot(f"{theme}-moves")
    browser.page.wait_for_function("document.querySelectorAll('.rx-runat-timeline').length == 3", timeout=60_000)
    browser.shoot(f"{theme}-lanes")
    browser.wait_for_all_cells()
    wait_until(lambda: "the queue was stopped" in browser.state(), "the picture shows what the last cell has done")
    wait_until(lambda: "Got key 'last'" in browser.outputs(), "the keys are printed")
    printed = [line for line in browser.outputs().splitlines() if line.startswith("Got key")]  # perhaps several outputs
    assert printed == ["Got key 'first'", "Got key 'middle'", "Got key 'last'"]
    assert "cup 3" in browser.outputs()
    browser.shoot(f"{theme}-end")


def test_the_first_notebook_lives(lab: Lab, browser: Browser) -> None:
    """All cells run twice in one kernel, without an error, and without a request to another host."""
    browser.open(lab.format("1-schedule-and-receive.ipynb"))
    browser.clear_outputs()
    run_all(browser, "light")
    browser.do("apputils:change-theme", theme="JupyterLab Dark")
    browser.page.wait_for_selector("body[data-jp-theme-light='false']", state="attached")
    run_all(browser, "dark")
    assert browser.errors == []
    assert browser.hosts() == {"127.0.0.1"}


def test_the_fourth_notebook_lives(lab: Lab, browser: Browser) -> None:
    """The timeline shows claims that are out, come again and end as dead letters."""
    browser.open(lab.format("4-at-least-once.ipynb"))
    browser.clear_outputs()
    browser.run_all_cells()
    browser.wait_for_state("4 claimed")
    browser.shoot("claims-out")
    wait_until(lambda: "order 4, attempt 2" in browser.outputs(), "all were claimed again", 60)
    browser.shoot("claims-back")
    browser.wait_for_state("1 claimed · 1 dead")
    browser.shoot("claims-dead")
    browser.wait_for_all_cells()
    wait_until(lambda: "dead: 0 waiting: 0" in browser.outputs(), "the last cell has printed")
    assert "dead letters of RunAt" in browser.outputs()
    wait_until(lambda: "the queue was stopped" in browser.state(-1), "the picture shows what the last cell has done")
    browser.shoot("claims-end")
    assert browser.errors == []
    assert browser.hosts() == {"127.0.0.1"}
