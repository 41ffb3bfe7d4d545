"""The README's blocks run as written, and print what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.helpers import Server

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    """Code of a language, each with the text block that follows it at once."""
    found = [(each.group(1), each.group(2), each.start(), each.end()) for each in BLOCK.finditer(README.read_text())]
    pairs = []
    for place, (kind, code, _, end) in enumerate(found):
        said = found[place + 1] if place + 1 < len(found) else ("", "", 0, 0)
        follows = said[0] == "text" and said[2] == end + 1
        if kind == language:
            pairs.append((code, said[1] if follows else ""))
    return pairs


def test_the_python_blocks_print_what_they_say(tmp_path: Path) -> None:
    """One process runs all, in order, as a reader would."""
    codes = blocks("python")
    assert len(codes) >= 7
    mark = "-- end of block --\n"
    script = "".join(f"{code}\nprint({mark.strip()!r})\n" for code, _ in codes)
    script = script.replace("/tmp/rx-runat-readme", str(tmp_path / "data"))
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.split(mark)[:-1] == [said for _, said in codes]


@pytest.mark.parametrize("code, said", blocks("sh"))
def test_the_shell_blocks_print_what_they_say(code: str, said: str, tmp_path: Path) -> None:
    code = code.replace("/tmp/rx-runat-readme", str(tmp_path / "data"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(["sh", "-ec", code], capture_output=True, text=True, check=False, env={"PATH": path})
    assert (done.stdout, done.stderr) == (said, "")


def test_the_acl_is_enough(own_server: Server) -> None:
    from reactivex import operators as ops

    from rx_runat import Job, RunAt
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
        store = queue._store
        for leases in (False, True):
            eye = store.head_tracker(leases)
            eye.head()
            assert eye._tracks
            eye.close()
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


def test_the_acl_holds_nothing_that_is_not_needed(own_server: Server) -> None:
    ((rule, _),) = blocks("acl")
    allowed = set(re.findall(r"\+([a-z|]+)", rule))
    used = {"hello", "eval", "evalsha"}
    source = Path(__file__).parents[2] / "rx_runat"
    for script in source.glob("store/lua/*.lua"):
        used |= {name.lower() for name in re.findall(r"redis\.call\('(\w+)'", script.read_text())}
    for module in source.glob("store/*.py"):
        used |= {name.lower() for name in re.findall(r'(?:call\(|Request\(\()"(\w+)"', module.read_text())}
    assert allowed == used - {"client", "publish", "subscribe"} | {"client|tracking"}


def test_both_commands_stand_on_the_first_screen() -> None:
    first_screen = README.read_text().splitlines()[:30]
    assert sum(line.startswith("python3 -m venv .venv && .venv/bin/pip install") for line in first_screen) == 2


def test_the_tests_that_the_table_names_exist() -> None:
    text = README.read_text()
    for name, path in re.findall(r"\[(test_\w+)\]\((tests/[\w/]+\.py)\)", text):
        target = README.parent / path
        assert target.exists()
        assert target.stem == name or f"def {name}" in target.read_text()
