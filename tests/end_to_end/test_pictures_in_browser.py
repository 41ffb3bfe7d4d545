"""Timelines in JupyterLab: prints stay visible, stills stand, stopped queues and restarted kernels are told."""

from __future__ import annotations

import re

import pytest

from tests.support.browser import CHROMIUM, Browser, Lab
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]

SETUP = """
import asyncio
from datetime import timedelta
from rx_runat import Job, RunAt
from rx_runat.notebook import timeline
queue = RunAt("memory://")
queue.subscribe(lambda key: print("Got", key))
"""


def printed(browser: Browser) -> list[str]:
    return [line for line in browser.outputs().splitlines() if line.startswith("Got ")]


def test_a_visible_timeline_lets_all_prints_of_subscribers_through(lab: Lab, browser: Browser) -> None:
    """While the cell runs and after its end: the timeline sends no message that could take them away from the cell."""
    keys = "queue.on_next([Job(f'key {n:02}', timedelta(seconds=n * 0.25)) for n in range(40)])"
    browser.open(lab.write("prints.ipynb", SETUP, "timeline(queue)", f"{keys}\nawait asyncio.sleep(5)"))
    messages = browser.sent.count(b"comm_msg")
    browser.run_all_cells()
    browser.wait_for_state("40 received")
    wait_until(lambda: len(printed(browser)) >= 40, "all is printed")
    assert printed(browser) == [f"Got key {n:02}" for n in range(40)]
    assert browser.sent.count(b"comm_msg") == messages
    assert browser.errors == []


def test_a_message_of_a_timeline_gives_the_output_back_to_its_cell(lab: Lab, browser: Browser) -> None:
    """A view answers when it is asked whether somebody looks: here before each key, instead of once a minute.

    What is printed while an answer is on its way is lost, and not given back: so the next question waits for the key.
    """
    ask = """
picture = timeline(queue)
sign, answered, came, loop = picture.poller.viewers.sign, asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()

def note_answer():
    sign()
    loop.call_soon_threadsafe(answered.set)

async def schedule_after_an_answer(key):
    answered.clear()
    came.clear()
    picture.poller.viewers.asks += 1
    await answered.wait()
    await asyncio.sleep(0.05)
    queue.schedule(key, 1)
    await came.wait()

picture.poller.viewers.sign = note_answer
queue.subscribe(lambda key: loop.call_soon_threadsafe(came.set))  # after the one that prints
picture
"""
    keys = "for n in range(5):\n    await schedule_after_an_answer(f'key {n}')"
    later = """
async def go_on():
    for key in ("key 5", "key 6"):
        await schedule_after_an_answer(key)

going_on = asyncio.create_task(go_on())
"""
    browser.open(lab.write("asked.ipynb", SETUP, ask, keys, later))
    messages = browser.sent.count(b"comm_msg")
    browser.run_all_cells()
    browser.wait_for_state("7 received")
    assert browser.sent.count(b"comm_msg") >= messages + 7
    wait_until(lambda: len(printed(browser)) >= 7, "all is printed")
    assert browser.errors == []


def test_a_second_display_stands_still_and_a_stopped_queue_keeps_its_picture(lab: Lab, browser: Browser) -> None:
    work = "queue.on_next([Job('a', in_a_moment), Job('b', in_a_moment), Job('c', timedelta(hours=1))])"
    wait = "await asyncio.sleep(1)\npicture"
    rest = "queue.on_next(Job('d', in_a_moment))\nawait asyncio.sleep(7)\nqueue.stop()"
    setup = f"{SETUP}in_a_moment = timedelta(seconds=0.2)"
    browser.open(lab.write("twice.ipynb", setup, "picture = timeline(queue, 4)\npicture", f"{work}\n{wait}", rest))
    browser.run_all_cells()
    wait_until(lambda: "the queue was stopped" in browser.state(0), "the first display has gone on", 60)
    assert "stopped · 1 scheduled · 0 due · 3 received. It shows" in browser.state(0)
    assert "no keys" not in browser.state(0)
    assert re.search(r": 1 scheduled · 0 due · 2 received. It shows \d", browser.state(1))
    browser.shoot("still-and-stopped")
    assert browser.errors == []


def test_a_restarted_kernel_is_shown_as_such_and_gets_no_messages(lab: Lab, browser: Browser) -> None:
    ask = "picture = timeline(queue)\npicture.poller.viewers.asks = 1\npicture"
    browser.open(lab.write("restart.ipynb", SETUP, ask))
    messages = browser.sent.count(b"comm_msg")
    browser.run_all_cells()
    browser.wait_for_all_cells()
    # JupyterLab makes a subshell for the first message, and would itself complain of a restart before that is done.
    wait_until(lambda: browser.state() and browser.sent.count(b"comm_msg") > messages, "the view has answered", 60)
    browser.page.evaluate("() => { jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart(); }")
    wait_until(lambda: "the kernel was restarted" in browser.state(), "it says so", 60)
    browser.page.wait_for_timeout(3000)  # three looks of the view
    browser.shoot("restarted")
    assert "the kernel was restarted" in browser.state()
    # JupyterLab drops what it asked for itself, such as another subshell or the debugger's state, and says so.
    dropped = re.compile(r"Canceled future for (?!comm_)\w+ message before replies were done")
    assert [each for each in browser.errors if not dropped.search(each)] == []
