"""The maps are whole: a folder's docstring names each of its modules, and the README names each folder."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "rx_runat"
FOLDERS = [
    *sorted(path.parent for path in PACKAGE.glob("*/__init__.py")),
    ROOT / "tests/support",
    ROOT / "tests/benchmarks",
    ROOT / "tests/benchmarks/peers",
    ROOT / "tests/benchmarks/peers/apps",
]


def names(line: str) -> set[str]:
    """The modules that a line of a map names: the words before its first gap, as in `keys, client   what they do`."""
    head = re.split(r"\s{2,}|:", line.strip())[0]
    return {word.removesuffix(".py") for word in re.findall(r"[\w.]+", head)}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_docstring_of_a_folder_names_every_module(folder: Path) -> None:
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    modules = [path.stem for path in sorted(folder.glob("*.py")) if not path.stem.startswith(("__init__", "test_"))]
    named = set[str]().union(*map(names, text.splitlines()))
    assert [module for module in modules if module not in named] == []


def test_the_map_of_the_readme_names_every_folder_and_file() -> None:
    text = (ROOT / "README.md").read_text().split("## Map of the code")[1].split("\n## ")[0]
    rooms = {path.name for path in PACKAGE.iterdir() if not path.name.startswith(("_", "py.typed"))}
    assert [room for room in sorted(rooms) if room not in text] == []


def test_no_test_imports_from_another_test() -> None:
    """What tests share lies in `tests/support`."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        found = re.search(
            r"^ *(from|import) +\S*\btest_\w+|^ *from +tests\S* +import +test_\w+", path.read_text(), re.MULTILINE
        )
        assert found is None, f"{path.relative_to(ROOT)}: {found and found[0]}"
