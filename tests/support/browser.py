"""JupyterLab on loopback, and headless Chromium that shows it.

Neither sends requests to other hosts. Pictures of what was on the screen go to a directory of the test's choice.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from tests.support.quick_nbformat import nbformat
from tests.support.run_notebooks import FOLDER
from tests.support.waiting import wait_until

CHROMIUM = shutil.which("chromium")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]


class Lab:
    """A running JupyterLab.

    Attributes:
        folder: its notebooks, copies of ours.
    """

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self._address = address

    def format(self, name: str) -> str:
        """The address of a notebook."""
        return self._address.format(name)

    def write(self, name: str, *cells: str) -> str:
        """Write a notebook of these code cells, and return its address."""
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in cells])
        book.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
        nbformat.write(book, self.folder / name)
        return self.format(name)


@contextmanager
def jupyterlab(home: Path) -> Iterator[Lab]:
    """Start a JupyterLab with a copy of our notebooks. `home` is an empty directory."""
    shutil.copytree(FOLDER, home / "notebooks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = home / "settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
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

    try:
        wait_until(is_up, "JupyterLab replies", 60)
        yield Lab(home / "notebooks", f"http://127.0.0.1:{port}/lab/tree/{{}}?token={token}&reset")
    finally:
        server.terminate()
        server.wait(30)


RECORD_STATES = """
states = new Set();
new MutationObserver(() => {
  for (const canvas of document.querySelectorAll('.rx-runat-timeline canvas')) states.add(canvas.ariaLabel);
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ['aria-label'] });
"""


TYPE = re.compile(rb'"msg_type": ?"(\w+)"')


def as_bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


class Browser:
    """A page, with the requests that it sent and the errors that it showed.

    Attributes:
        requests: the addresses of its requests and web sockets.
        errors: of its console and of its scripts.
        sent: the types of the messages that it sent to kernels.
    """

    def __init__(self, page: Any, shots: Path) -> None:
        self.page = page
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.sent: list[bytes] = []
        self._shots = shots
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", self._connected)
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.add_init_script(RECORD_STATES)

    def _connected(self, channel: Any) -> None:
        self.requests.append(channel.url)
        channel.on("framesent", lambda message: self.sent.extend(TYPE.findall(as_bytes(message))[:1]))

    def open(self, address: str) -> None:
        """Open a notebook, and wait until its kernel runs and JupyterLab has asked the kernel for its widgets.

        ipykernel 7 sends what threads print to the message that it received last: such a request must not come later.
        """
        self.page.goto(address)
        self.page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.sessionContext?.isReady", timeout=60_000)
        wait_until(
            lambda: self.outputs() is not None and b"comm_info_request" in self.sent, "the widgets are there", 60
        )

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


@contextmanager
def chromium(shots: Path, width: int = 1200) -> Iterator[Browser]:
    """Start a browser with one page, in which all of a notebook is in view.

    A timeline out of view draws nothing, and its description stays as it was.

    Args:
        shots: a directory for pictures of the screen.
        width: of the page, in px.
    """
    from playwright.sync_api import sync_playwright

    shots.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield Browser(browser.new_page(viewport={"width": width, "height": 9000}), shots)
        finally:
            browser.close()
