"""The colours of the pictures can be read, and the colour-blind can tell them apart."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rx_runat.drawing
from rx_runat.drawing.palette import COLORS, PAPER, RULE, Hue
from tests.support.colors import BLINDNESS, contrast, distance

FROM_JUPYTERLAB = Hue("#f5f5f5", "#212121")  # the paper behind outputs, in its light and its dark theme


@pytest.mark.parametrize("name", COLORS)
@pytest.mark.parametrize("paper", [PAPER, FROM_JUPYTERLAB])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_each_colour_can_be_read_as_text(name: str, paper: Hue, theme: str) -> None:
    assert contrast(getattr(COLORS[name], theme), getattr(paper, theme)) >= 4.5


@pytest.mark.parametrize("blindness", BLINDNESS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_late_differs_from_on_time_for_everybody(blindness: str, theme: str) -> None:
    on_time, late, faint = (getattr(COLORS[name], theme) for name in ("ontime", "late", "faint"))
    assert distance(on_time, late, blindness) > 80
    assert min(distance(each, faint, blindness) for each in (on_time, late)) > 20  # neither looks like a waiting key


def test_the_measure_brings_red_and_green_closer_for_those_who_do_not_see_one_of_them() -> None:
    seen = {blindness: distance("#3f9a6b", "#d0433d", blindness) for blindness in BLINDNESS}
    assert max(seen["protanopia"], seen["deuteranopia"]) < 0.6 * seen["none"]
    assert round(contrast("#ffffff", "#000000"), 6) == 21


def test_the_moving_picture_has_the_same_colours() -> None:
    css = (Path(rx_runat.drawing.__file__).parent / "timeline.css").read_text()
    pair = r"light-dark\((#\w+), (#\w+)\)"
    found = {name: Hue(*pair) for name, *pair in re.findall(rf"\.(\w+) {{\s*color:.*?{pair}", css)}
    ink = re.search(rf"\.rx-runat-timeline {{[^}}]*color: {pair}", css)
    assert ink
    assert found | {"ink": Hue(*ink.groups())} == COLORS | {"paper": PAPER, "rule": RULE}
