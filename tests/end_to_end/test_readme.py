"""The README's code blocks run as written and print what they claim; its rules and links hold."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rx_runat import Job, Refused, RunAt
from tests.support.readme import README, blocks
from tests.support.scripts import used_commands
from tests.support.servers import Server

PROJECT = tomllib.loads((README.parent / "pyproject.toml").read_text())["project"]
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def run_at_home(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command whose home directory is `home`: the README keeps its durable queue there."""
    env = {"PATH": PATH, "HOME": str(home), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_the_python_blocks_print_what_they_say(tmp_path: Path) -> None:
    """One process runs all blocks in order, as a reader would."""
    codes = blocks("python")
    assert len(codes) == README.read_text().count("```python") >= 6
    mark = "-- end of block --\n"
    log = tmp_path / "log"
    script = f"import logging\nlogging.basicConfig(filename={str(log)!r}, format='%(levelname)s %(message)s')\n"
    script += "".join(f"{code}\nprint({mark.strip()!r})\n" for code, _ in codes)
    done = run_at_home(tmp_path, sys.executable, "-W", "error", "-c", script)
    assert done.stderr == ""
    assert done.stdout.split(mark)[:-1] == [output for _, output in codes]
    said = [line for line in log.read_text().splitlines() if line.startswith(("WARNING", "ERROR"))]
    error = "ValueError: invalid literal for int() with base 10: 'x'"
    assert said == [
        f"WARNING attempt 1 of 'invoice:x' failed, again in 50 ms: {error}",
        f"ERROR 'invoice:x' was buried: attempt 2 failed: {error}",
    ]


@pytest.mark.parametrize("code, output", blocks("sh"))
def test_the_shell_blocks_print_what_they_say(code: str, output: str, tmp_path: Path) -> None:
    done = run_at_home(tmp_path, "sh", "-ec", code)
    assert (done.stdout, done.stderr) == (output, "")


def test_the_acl_is_enough(own_server: Server) -> None:
    from reactivex import operators as ops

    from rx_runat.model.batch import Entry, SettleRequest

    ((rule, _),) = blocks("acl")
    with own_server.client() as client:
        client.execute_command(*rule.split())
    with RunAt(f"unix://worker:password@{own_server.path}", interval=0.05) as queue:
        queue.on_next([Job("a", 1), Job("b", 1), Job("c", 1)])
        assert queue.pipe(ops.take(1)).run() == "a"
        queue.schedule("z", 4_000_000_000, keep="first")
        assert queue.cancel("z")
        assert queue.when("z") is None
        assert queue.size(until=1) <= len(queue.peek()) <= 2
        assert queue.stats().lateness >= 0
        store = queue._store
        tracker = store.head_tracker()
        tracker.head()
        tracker.lease_end()
        assert tracker._tracks
        tracker.close()
        leasing_claimer = store.leasing_claimer(60_000)
        queue.on_next([Job(key, 1) for key in "defgh"])
        leased = leasing_claimer.claim(10)
        fence, verbs = leased.fence, ("ack", "nack", "extend", "bury")
        store.settle(
            [SettleRequest(verb, key, fence, 1, leased.deadline) for verb, key in zip(verbs, leased.keys, strict=False)]
        )
        leasing_claimer.hand_back([Entry(leased.keys[4], leased.scores[4])])
        assert leasing_claimer.close() == []
        assert store.dead_size() == len(store.dead_peek(2)) == 1
        assert store.revive(None) == 1
        assert store.drop(None) == 0


def size_twice(queue: RunAt) -> int:
    queue.size()
    for connection in queue._store._client.route.pool()._available_connections:
        connection.next_health_check = 0  # as after a second without a command
    return queue.size()


SETTINGS = {"+select": "?db=1", "+ping": "?health_check_interval=1", "+client|setname": "?client_name=me"}


@pytest.mark.parametrize("right", SETTINGS)
def test_settings_of_the_connection_want_the_rights_that_the_readme_names(own_server: Server, right: str) -> None:
    assert f"`{right}`" in README.read_text()
    ((rule, _),) = blocks("acl")
    url = f"unix://worker:password@{own_server.path}{SETTINGS[right]}"
    with own_server.client() as client:
        client.execute_command(*rule.split())
        with RunAt(url) as queue, pytest.raises(Refused):
            size_twice(queue)
        client.execute_command("ACL", "SETUSER", "worker", right)
        with RunAt(url) as queue:
            queue.on_next(Job("a", 1))
            assert queue.size() == 1


# What is refused of these costs no more than the README says.
OPTIONAL = {"publish", "subscribe", "spublish", "ssubscribe", "info"}


def test_the_acl_holds_nothing_that_is_not_needed(own_server: Server) -> None:
    ((rule, _),) = blocks("acl")
    allowed = set(re.findall(r"\+([a-z|]+)", rule))
    assert allowed == used_commands() - {"client", "memory", *OPTIONAL} | {"client|tracking", "memory|usage"}


def test_both_commands_stand_on_the_first_screen() -> None:
    first_screen = README.read_text().splitlines()[:30]
    assert sum(line.startswith("python3 -m venv .venv && .venv/bin/pip install") for line in first_screen) == 2


def test_the_changes_begin_with_the_version_of_the_package() -> None:
    changes = README.read_text().split("\n## Changes\n")[1]
    assert re.findall(r"^\*\*(\d+\.\d+\.\d+)\*\*", changes, re.MULTILINE)[0] == PROJECT["version"]


def test_the_extras_are_those_that_the_package_has_and_all_is_what_users_can_want() -> None:
    extras = PROJECT["optional-dependencies"]
    told = README.read_text().split("\nExtras: ")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", told)) == set(extras)
    (everything,) = extras["all"]
    assert everything == f"rx-runat[{','.join(sorted(set(extras) - {'all', 'bench', 'test'}))}]"
    assert "rx-runat[all,bench]" in extras["test"]


def test_the_lines_for_uvx_and_pipx_name_what_there_is() -> None:
    """CI runs them; here it is only seen that the extra and the command exist."""
    lines = re.findall(
        r"^printf .*\| (?:uvx --from|pipx run --spec) '\.\[(\w+)\]' ([\w-]+)$", README.read_text(), re.MULTILINE
    )
    assert len(lines) == 2
    for extra, command in lines:
        assert extra in PROJECT["optional-dependencies"]
        assert command in PROJECT["scripts"]


def test_the_tests_that_the_table_names_exist() -> None:
    named = re.findall(r"\[(test_\w+)\]\((tests/[\w/]+\.py)\)", README.read_text())
    assert len(named) >= 15
    for name, path in named:
        target = README.parent / path
        assert target.exists()
        assert target.stem == name or f"def {name}" in target.read_text()


def test_every_link_leads_somewhere() -> None:
    """To a file of the repository, or to a heading of the page."""
    for page in (README, README.parent / "tests/benchmarks/README.md"):
        text = page.read_text()
        headings = {title.lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", text, re.MULTILINE)}
        links = re.findall(r"\]\((?!https://)([^)]+)\)", text)
        assert links
        for link in links:
            assert link.removeprefix("#") in headings if link.startswith("#") else (page.parent / link).exists(), link
