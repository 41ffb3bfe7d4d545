"""The page of a queue in headless Chromium, served by `rx-runat ui` as a process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.colors import contrast
from tests.support.command import MODULE, SECONDS, environment, line_of
from tests.support.waiting import wait_until

_COLORS = """names => {
  const probe = document.body.appendChild(document.createElement('p'));
  const hex = (part) => Number(part).toString(16).padStart(2, '0');
  const found = names.map(name => {
    probe.style.color = `var(${name})`;
    return '#' + getComputedStyle(probe).color.match(/[0-9]+/g).map(hex).join('');
  });
  probe.remove();
  return found;
}"""


class Command:
    """`rx-runat ui` as a process.

    Attributes:
        address: what it printed: where the page is, with the token.
    """

    def __init__(self, redis: str, *args: str, port: int = 0, **env: str) -> None:
        words = [*MODULE, "ui", "--redis", redis, "--port", str(port), *args]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job would ignore it
        try:
            self.process = subprocess.Popen(words, env=environment(**env), **pipes)  # type: ignore[call-overload]
        finally:
            signal.signal(signal.SIGINT, before)
        self.address = line_of(self.process).strip()
        assert self.address, self.end()

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[str, int]:
        """End it by a signal. Returns its standard error, and the exit status."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=SECONDS)
        return err.decode(), self.process.returncode

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def commands(redis: str) -> Iterator[Callable[..., Command]]:
    """Gives a function that starts commands on a server, with the arguments of `Command`; they end with the block."""
    started: list[Command] = []

    def serve(*args: str, **more: Any) -> Command:
        started.append(Command(redis, *args, **more))
        return started[-1]

    try:
        yield serve
    finally:
        for each in started:
            each.kill()


class View:
    """The page in a browser.

    Attributes:
        page: Playwright's.
        errors: of the console and of scripts.
        requests: the addresses of all requests.
    """

    def __init__(self, page: Any, shots: Path) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._shots = shots
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, address: str) -> None:
        self.page.goto(address)
        self.wait_for_state("live")

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        try:
            wait_until(condition, what, 30)
        except AssertionError:
            print(self.page.evaluate("document.body.innerText"), self.errors)
            raise

    def wait_for_state(self, state: str) -> None:
        """Wait until the line at the top has a state: connecting, live, trouble or lost."""
        script = "document.getElementById('state')?.dataset.state"
        self.wait_for(lambda: self.page.evaluate(script) == state, f"the page is {state}")

    def rows(self, table: str) -> list[list[str]]:
        """The cells of a table, but for its actions: next, out, dead or found."""
        script = """id => [...document.querySelectorAll(`#${id} tbody tr`)].map(
            row => [...row.querySelectorAll('td:not(.verbs)')].map(cell => cell.textContent))"""
        return self.page.evaluate(script, table)

    def keys(self, table: str) -> list[str]:
        return [cells[0] for cells in self.rows(table)]

    def count(self, name: str) -> str:
        return self.page.evaluate("name => document.querySelector(`[data-count=${name}]`).textContent", name)

    def picture(self) -> str:
        """What the timeline tells a screen reader."""
        return self.page.evaluate("document.querySelector('#timeline canvas')?.getAttribute('aria-label')") or ""

    def said(self) -> str:
        """What the page said about the last action; empty if nothing is shown."""
        return self.page.evaluate(
            "document.getElementById('said').hidden ? '' : document.getElementById('said').textContent"
        )

    def buttons(self) -> list[str]:
        """The actions that are offered."""
        script = "[...document.querySelectorAll('td button')].map(each => each.getAttribute('aria-label'))"
        return self.page.evaluate(script)

    def press(self, button: str) -> None:
        self.page.get_by_role("button", name=button, exact=True).first.click()

    def overflow(self) -> int:
        """By how many px the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - innerWidth")

    def contrasts(self, names: list[str], grounds: list[str]) -> dict[str, float]:
        """The contrast of each colour of the page on each ground; they are names of custom properties."""
        colors = dict(zip([*names, *grounds], self.page.evaluate(_COLORS, [*names, *grounds]), strict=True))
        return {f"{name} on {each}": contrast(colors[name], colors[each]) for name in names for each in grounds}

    def hosts(self) -> set[str | None]:
        return {urlsplit(each).hostname for each in self.requests if not re.match("data:|blob:", each)}

    def shoot(self, name: str) -> None:
        self.page.screenshot(path=self._shots / f"{name}.png")


def shots_in(default: Path) -> Path:
    """Where screenshots go: `$RX_RUNAT_SCREENSHOTS`, or else the default."""
    shots = Path(os.environ.get("RX_RUNAT_SCREENSHOTS", default))
    shots.mkdir(parents=True, exist_ok=True)
    return shots
