"""The first notebook in a real browser: JupyterLab on loopback, headless Chromium, every cell run.

Pictures of what was on the screen go to pytest's temporary directory, or to `$RX_RUNAT_SCREENSHOTS`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from tests.support.run_notebooks import FOLDER
from tests.support.waiting import wait_until

CHROMIUM = shutil.which("chromium")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a JupyterLab that sends no requests to other hosts. Yields an address, with `{}` for a notebook's name."""
    home = tmp_path_factory.mktemp("lab")
    shutil.copytree(FOLDER, home / "notebooks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = home / "settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    # A message of a widget that reaches the kernel beside a running cell takes over what other threads print: ipykernel
    # counts it as an output of the message, and JupyterLab shows it nowhere. So here such messages wait for the cell.
    (settings / "kernels-settings.jupyterlab-settings").write_text('{"commsOverSubshells": "disabled"}')
    token = secrets.token_hex(16)
    places = {
        name: str(home / name)
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"),
                *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
                *(f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={home / 'notebooks'}"),
                *("--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"),
                *("--LabApp.extension_manager=readonly", f"--LabApp.workspaces_dir={home / 'workspaces'}"),
                f"--LabApp.user_settings_dir={home / 'settings'}",
            ],
            env=os.environ | places | {"HOME": str(home)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def is_up() -> bool:
        assert server.poll() is None, (home / "log").read_text()
        try:
            with urlopen(f"http://127.0.0.1:{port}/api/status?token={token}") as response:
                return response.status == 200
        except OSError:
            return False

    wait_until(is_up, "JupyterLab replies", 60)
    yield f"http://127.0.0.1:{port}/lab/tree/{{}}?token={token}&reset"
    server.terminate()
    server.wait(30)


RECORD_STATES = """
states = new Set();
new MutationObserver(() => {
  for (const canvas of document.querySelectorAll('.rx-runat-timeline canvas')) states.add(canvas.ariaLabel);
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ['aria-label'] });
"""


class Browser:
    """A page, with the requests that it sent and the errors that it showed.

    Attributes:
        requests: the addresses of its requests and web sockets.
        errors: of its console and of its scripts.
    """

    def __init__(self, page: Any, shots: Path) -> None:
        self.page = page
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._shots = shots
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda channel: self.requests.append(channel.url))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.add_init_script(RECORD_STATES)

    def open(self, address: str) -> None:
        self.page.goto(address)
        self.page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.sessionContext?.isReady", timeout=60_000)

    def do(self, command: str, **arguments: object) -> None:
        """Start a command of JupyterLab, without waiting for its end."""
        script = "([command, args]) => { jupyterapp.commands.execute(command, args); }"
        self.page.evaluate(script, [command, arguments])

    def run_all_cells(self) -> None:
        """Start to run all cells. `wait_for_all_cells` waits until they have run."""
        script = (
            "() => { allRan = false; jupyterapp.commands.execute('runmenu:run-all').then(() => { allRan = true; }); }"
        )
        self.page.evaluate(script)

    def wait_for_all_cells(self) -> None:
        self.page.wait_for_function("allRan", timeout=60_000)

    def clear_outputs(self) -> None:
        """Remove the outputs that the notebook was committed with."""
        self.do("editmenu:clear-all")
        wait_until(lambda: not self.outputs(), "no output is left")

    def outputs(self) -> str:
        """Returns the text of all outputs, those out of view included: `inner_text` would be without them."""
        script = "[...document.querySelectorAll('.jp-OutputArea-output')].map(each => each.textContent).join('\\n')"
        return self.page.evaluate(script)

    def pixels(self, number: int = 0) -> str:
        """Returns the picture of a timeline."""
        script = "n => document.querySelectorAll('.rx-runat-timeline canvas')[n].toDataURL()"
        return self.page.evaluate(script, number)

    def hosts(self) -> set[str | None]:
        """Returns the hosts of its requests; data: and blob: addresses have none."""
        parts = [urlsplit(url) for url in self.requests]
        return {each.hostname for each in parts if each.scheme not in ("data", "blob")}

    def state(self, number: int = 0) -> str:
        """Returns the description of a timeline for screen readers, or "" if the timeline is not there yet."""
        script = "n => [...document.querySelectorAll('.rx-runat-timeline canvas')].at(n)?.getAttribute('aria-label')"
        return self.page.evaluate(script, number) or ""

    def wait_for_state(self, text: str) -> None:
        """Wait until a timeline was described by a text, even if it was for a moment only."""
        states: list[str] = []

        def was_seen() -> bool:
            states[:] = self.page.evaluate("[...states]")
            return any(text in state for state in states)

        try:
            wait_until(was_seen, f"a timeline shows {text!r}", 60)
        except AssertionError:
            print("The timelines showed:", *states, sep="\n")
            raise

    def shoot(self, name: str) -> None:
        self.page.screenshot(path=self._shots / f"{name}.png")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    shots = Path(os.environ.get("RX_RUNAT_SCREENSHOTS", tmp_path))
    shots.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        # All of a notebook is in view: a timeline out of view draws nothing, and its description stays as it was.
        yield Browser(chromium.new_page(viewport={"width": 1200, "height": 9000}), shots)
        chromium.close()


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


def test_the_first_notebook_lives(lab: str, browser: Browser) -> None:
    """All cells run twice in one kernel, without an error, and without a request to another host."""
    browser.open(lab.format("1-schedule-and-receive.ipynb"))
    browser.clear_outputs()
    run_all(browser, "light")
    browser.do("apputils:change-theme", theme="JupyterLab Dark")
    browser.page.wait_for_selector("body[data-jp-theme-light='false']", state="attached")
    run_all(browser, "dark")
    assert browser.errors == []
    assert browser.hosts() == {"127.0.0.1"}


def test_the_fourth_notebook_lives(lab: str, browser: Browser) -> None:
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
