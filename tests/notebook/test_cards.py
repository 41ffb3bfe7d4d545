"""Cards: values know no HTML, and the notebook side is imported when the first card is drawn."""

from __future__ import annotations

import subprocess
import sys

import pytest

import rx_runat
from rx_runat.model import rich


def test_the_first_card_imports_the_notebook_side_and_no_extra() -> None:
    script = """
import sys
for extra in ("anywidget", "ipywidgets", "traitlets", "IPython"):
    sys.modules[extra] = None
import rx_runat
assert "rx_runat.notebook" not in sys.modules
print(rx_runat.Job("tea", 1.5)._repr_html_())
assert "rx_runat.notebook.cards" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "tea" in done.stdout
    assert "for 1970-01-01 00:00:01.500 UTC" in done.stdout


def test_without_a_loader_it_says_who_registers_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rich, "_load", rich._missing)
    with pytest.raises(RuntimeError, match="registered"):
        rx_runat.Job("tea", 1)._repr_html_()
