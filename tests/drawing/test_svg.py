"""SVG pictures fit any width, and can be read on light and on dark pages."""

from __future__ import annotations

import re
from itertools import combinations
from xml.etree import ElementTree

import pytest

from rx_runat.drawing.palette import COLORS, KEYS, PAPER, RULE
from rx_runat.drawing.svg import ERROR, Svg, hue, width_of
from tests.support.colors import BLINDNESS, contrast, distance


def test_a_picture_fits_any_width() -> None:
    root = ElementTree.fromstring(str(Svg(760, 100, "nothing")))
    assert root.attrib["viewBox"] == "0 0 760 100"
    assert root.attrib["width"] == "100%"
    assert "height" not in root.attrib  # with a height, an <img> would have a width of its own, too


def test_each_colour_has_its_own_on_dark_paper() -> None:
    svg = Svg(100, 100, "all colours")
    for each in (*COLORS.values(), *KEYS, RULE):
        svg.text(0, 0, "x", color=each)
        svg.dot(0, 0, 1, color=each)
    pairs = re.findall(r'\[(fill|stroke)="(#\w{6})"\]\{\1:light-dark\(\2,(#\w{6})\)\}', str(svg))
    used = {(what, value) for what, value in re.findall(r' (fill|stroke)="(#\w{6})"', str(svg))}
    assert used <= {(what, light) for what, light, _ in pairs}
    assert {(light, dark) for _, light, dark in pairs} == {*COLORS.values(), *KEYS, RULE, PAPER}


def test_no_two_colours_are_equal_on_light_paper() -> None:
    """The style finds the colour for dark paper by the one for light paper."""
    lights = [each.light for each in (*COLORS.values(), *KEYS, RULE, PAPER)]
    assert len(set(lights)) == len(lights)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_number_on_a_burst_can_be_read(theme: str) -> None:
    assert contrast(getattr(COLORS["faint"], theme), getattr(PAPER, theme)) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_colours_of_values_are_seen_and_none_looks_like_an_error(theme: str) -> None:
    for each in KEYS:
        assert contrast(getattr(each, theme), getattr(PAPER, theme)) >= 3
        assert distance(getattr(each, theme), getattr(ERROR, theme), "none") > 60


@pytest.mark.parametrize("blindness", BLINDNESS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_tell_the_colours_of_values_apart(theme: str, blindness: str) -> None:
    for one, other in combinations(KEYS, 2):
        assert distance(getattr(one, theme), getattr(other, theme), blindness) > 23


def test_every_colour_of_values_is_used() -> None:
    assert {hue(f"key {n}") for n in range(99)} == set(KEYS)


def test_wide_characters_have_room() -> None:
    assert width_of("お茶") == width_of("abcd")
    assert width_of("e\u0301") == width_of("e")
