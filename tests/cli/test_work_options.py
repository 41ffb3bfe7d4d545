"""The words of `rx-runat work`: wrong ones end it with status 2, and say what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rx_runat import RunAt
from rx_runat.cli.importing import import_function
from rx_runat.cli.work_options import again_of
from tests.support.cli_worker import JOBS, CliWorker
from tests.support.servers import Server
from tests.support.waiting import wait_until

# Modules that cannot be imported, and what each of them does beside that.
FAILS = {
    "lacks_17": "import no_such_module_17",
    "exits_17": "import sys; sys.exit(0)",
    "opens_17": "import rx_runat; rx_runat.RunAt('nonsense')",
    # as `dictConfig` does, which would mute the loggers of pytest as well
    "mutes_17": "import logging; logging.getLogger('rx_runat').disabled = True; raise ValueError('muted')",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a package and modules that cannot be imported."""
    (tmp_path / "jobs_17.py").write_text(JOBS)
    (tmp_path / "app_17").mkdir()
    (tmp_path / "app_17/__init__.py").write_text("")
    (tmp_path / "app_17/mails.py").write_text("def send(claim): ...\n")
    for name, text in FAILS.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("/nowhere")  # restores the path afterwards
    for name in ("jobs_17", "app_17", "app_17.mails"):
        monkeypatch.delitem(sys.modules, name, raising=False)  # that of another test's directory
    return tmp_path


def test_the_current_directory_is_importable(home: Path) -> None:
    assert import_function("app_17.mails:send").__module__ == "app_17.mails"


@pytest.mark.parametrize(
    "name, words",
    [
        ("jobs_17", "it must be a module and the name of a function in it, such as app.jobs:send"),
        ("jobs_17:", "it must be a module and the name"),
        (":plain", "it must be a module and the name"),
        ("no_such_module_17:send", "No module named 'no_such_module_17'; tried the current directory HOME, and all of"),
        ("app_17.sms:send", "No module named 'app_17.sms'; tried the current directory HOME"),
        ("jobs_17.py:plain", "No module named 'jobs_17.py'; 'jobs_17' is not a package; tried"),
        ("jobs_17:plane", "the module 'jobs_17' (HOME/jobs_17.py) has no 'plane'; did you mean 'plain'?"),
        ("jobs_17:mailer.nothing", "has no 'mailer.nothing'"),
        ("jobs_17:number", "it is 3 (int); it must be callable with a claim"),
        ("jobs_17:nothing", "it is None (NoneType); it must be callable with a claim"),
        ("jobs_17:generates", "work: it is a generator function"),
    ],
)
def test_a_name_that_is_no_function_is_refused_with_what_was_tried(
    name: str, words: str, home: Path, here: Callable[..., int], server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        here("work", name, "--redis", server.url)
    assert end.value.code == 2
    assert words.replace("HOME", str(home)) in capfd.readouterr().err


@pytest.mark.parametrize(
    "name, error",
    [
        ("lacks_17", "ModuleNotFoundError: No module named 'no_such_module_17'"),
        ("exits_17", "SystemExit: 0"),
        ("opens_17", "InvalidSetting: redis: "),
        ("mutes_17", "ValueError: muted"),
    ],
)
def test_a_module_that_fails_ends_it_with_status_one_and_the_traceback(
    name: str, error: str, home: Path, here: Callable[..., int], server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    assert here("work", f"{name}:send", "--redis", server.url) == 1
    said = capfd.readouterr().err
    assert f"{name}:send could not be imported: it raised an error" in said
    assert error in said


@pytest.mark.parametrize(
    "args, words",
    [
        ([], "name a function, such as app.jobs:send, or else a command"),
        (["os:getcwd", "--exec", "true {}"], "name a function, such as app.jobs:send, or else a command"),
        (["--exec", "no-such-command {}"], "--exec: there is no command 'no-such-command'; PATH is "),
        (["os:getcwd", "--lease", "soon"], "--lease: got 'soon'; it must be seconds, or have a unit"),
        (["os:getcwd", "--lease", "0.01"], "lease: got "),
        (["os:getcwd", "--timeout", "-1"], "--timeout"),
        (["os:getcwd", "--timeout", "0"], "timeout: got "),
        (["os:getcwd", "--timeout", "400d"], "timeout: got "),
        (["os:getcwd", "--max-in-flight", "0"], "--max-in-flight: got '0'; it must be a count from 1"),
        (["os:getcwd", "--max-in-flight", "1000000"], "max_in_flight: got 1000000"),
        (["os:getcwd", "--max-concurrent", "many"], "--max-concurrent: got 'many'"),
        (["os:getcwd", "--max-attempts", "1.5"], "--max-attempts: got '1.5'"),
        (["os:getcwd", "--again", "soon"], "--again: got 'soon'; it must be a duration, such as 30m, or a crontab"),
        (["os:getcwd", "--again", "0 99 * * *"], "expression: got '0 99 * * *'"),
        (["os:getcwd", "--again", "@daily", "--tz", "Nowhere"], "tz: got 'Nowhere'"),
        (["os:getcwd", "--health-port", "http"], "--health-port"),
        (["os:getcwd", "--health-port", "70000"], "--health-port: got '70000'; it must be a port, from 0 to 65535"),
        (["os:getcwd", "--interval", "0"], "interval: got 0.0"),
        (["os:getcwd", "--redis", "nonsense"], "redis: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_words_end_it_with_status_two(
    args: list[str], words: str, here: Callable[..., int], server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        here("work", "--redis", server.url, *args)
    assert end.value.code == 2
    said = capfd.readouterr().err
    assert said.startswith("usage: rx-runat work")
    assert words in said


def test_a_private_server_is_refused(here: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    assert here("work", "os:getcwd") == 1
    assert "work: a private server would end with this command" in capfd.readouterr().err


@pytest.mark.parametrize(
    "text, shown",
    [
        ("30", "every(30 s)"),
        ("1h", "every(1 h)"),
        ("@daily", "cron('@daily', tz='Europe/Berlin')"),
        ("0 9 * * 1-5", "cron('0 9 * * 1-5', tz='Europe/Berlin')"),
    ],
)
def test_again_takes_a_duration_or_a_crontab_line(text: str, shown: str) -> None:
    options: Any = SimpleNamespace(again=text, tz="Europe/Berlin")
    assert repr(again_of(options)) == shown


def test_the_options_reach_the_claims(server: Server, queue: RunAt, tmp_path: Path) -> None:
    """A lease of 0.5 s, two claims at a time, one work at a time."""
    queue.on_next([{"runAt": 1, "key": key} for key in "abcd"])
    args = ("--lease", "500ms", "--max-in-flight", "2", "--max-concurrent", "1", "--timeout", "1m")
    worker = CliWorker(tmp_path, server.url, "jobs:waits", *args)
    try:
        wait_until(lambda: queue.size() == 2 and len(worker.done) == 1, "two are out, and one is worked on")
        with server.client() as client:
            (deadline, *_) = [score for _, score in client.zrange("{RunAt~default}:claimed", 0, 0, withscores=True)]
            seconds, microseconds = client.time()
        assert deadline - (seconds * 1000 + microseconds / 1000) <= 500
    finally:
        worker.kill()
