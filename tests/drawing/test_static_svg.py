"""The timeline as a static SVG, and the files of the moving one."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import rx_runat.drawing
from rx_runat.drawing.palette import COLORS
from rx_runat.drawing.static_svg import draw
from rx_runat.drawing.svg import width_of
from rx_runat.model.snapshot import Place
from tests.support.overprint import overprinted
from tests.support.pictures import FRAMES
from tests.support.scenes import claim, scene, see, snapshot


def test_a_static_picture_shows_every_key_and_note() -> None:
    picture = scene(lambda key: key[0])
    see(
        picture, snapshot(10_000, coming={"<a>&": 12_000.0, "b": 12_500.0}, due={"late": 1.0}, leases=[("c", 13_000.0)])
    )
    see(picture, snapshot(10_100, coming={"<a>&": 12_000.0}), [(claim(10_050, {"b": 9_000.0, "x": 10_050.0}), [])])
    svg = draw(picture.frame("nothing answers"))
    words = " ".join(ElementTree.fromstring(svg).itertext())
    for word in ("<a>&", "b", "now", "+2 s", "-2 s", "waiting", "on time", "nothing answers", "jobs on memory://"):
        assert word in words


def test_a_static_picture_shows_claims_and_their_ends() -> None:
    picture = scene(lambda key: key[0])
    see(picture, snapshot(10_000, leases=[("old", 30_000.0)]))
    see(
        picture, snapshot(19_000, leases=[("back", 30_000.0), ("dead", 30_000.0), ("old", 30_000.0), ("zen", 20_000.0)])
    )
    places = {"back": Place("again"), "dead": Place("gone", died=19_010.0)}
    see(
        picture,
        snapshot(19_020, leases=[("old", 30_000.0), ("zen", 20_000.0)]),
        locate=lambda keys: [places[k] for k in keys],
    )
    svg = draw(picture.frame())
    words = list(ElementTree.fromstring(svg).itertext())
    for word in ("claimed", "lease ends", "came back", "dead", "old", "zen"):
        assert word in words
    assert "over 0.2 s late" not in words  # the legend names only what the picture has
    assert "back" not in words  # its key is written where it waits


def test_in_a_crowded_lane_rare_marks_are_below_the_line_and_without_labels() -> None:
    picture = scene()
    for n in range(6):
        now = 10_000.0 + 500 * n
        see(picture, snapshot(now), [(claim(now, {f"k{n}{i}": now for i in range(20)}), [])])
    few = scene()
    places = {"nacked": Place("again"), "buried": Place("gone", died=13_010.0)}
    for each in (picture, few):
        see(each, snapshot(13_000, leases=[("nacked", 15_000.0), ("buried", 15_000.0)]))
        see(each, snapshot(13_020), locate=lambda keys: [places[key] for key in keys])
    crowd, calm = draw(picture.frame()), draw(few.frame())
    assert (crowd.count("buried"), calm.count("buried")) == (0, 1)
    cross = re.compile(r'd="M[\d.]+ ([\d.]+)l10 10m0 -10l-10 10"')
    assert float(cross.findall(crowd)[0]) - float(cross.findall(calm)[0]) == 14


def test_a_key_that_names_its_lane_is_written_once() -> None:
    picture = scene(lambda key: key)
    see(picture, snapshot(10_000, coming={"tea": 12_000.0}))
    assert list(ElementTree.fromstring(draw(picture.frame())).itertext()).count("tea") == 1


def test_a_static_picture_of_an_empty_queue() -> None:
    assert "0 scheduled" in " ".join(ElementTree.fromstring(draw(scene(str).frame())).itertext())


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("passed", [0, 60, 170, 390])  # ms after the moment of the frame
def test_nothing_in_a_static_picture_is_overprinted_or_crosses_the_line_of_now(name: str, passed: int) -> None:
    frame = FRAMES[name]()
    svg = draw({**frame, "now": frame["now"] + passed})
    assert [each for each in overprinted(svg) if not each.endswith("on a line")] == []  # the grid is behind all texts
    texts = list(ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"))
    line = next(float(each.attrib["x"]) for each in texts if each.text == "now")
    axis = max(float(each.attrib["y"]) for each in texts if each.text == "now")
    labels = [each for each in texts if "text-anchor" not in each.attrib and 45 < float(each.attrib["y"]) < axis]
    sides = [(float(each.attrib["x"]), float(each.attrib["x"]) + width_of(each.text or "")) for each in labels]
    assert [label.text for label, (left, right) in zip(labels, sides, strict=True) if left < line < right] == []


def test_late_is_told_by_shape_as_well() -> None:
    picture = scene()
    for late in (0, 100, 1000):
        see(picture, snapshot(10_000 + late), [(claim(10_000.0 + late, {f"k{late}": 10_000.0}), [])])
    svg = draw(picture.frame())
    shapes: dict[str, set[str]] = {}
    for each in ElementTree.fromstring(svg).iter():
        outline = re.sub(r"[\d. -]+", "", each.get("d", "round" if each.get("rx") else ""))
        shapes.setdefault(each.get("fill", ""), set()).add(outline)
    triangle, square = "MlVhVz", "Mhvhz"
    assert shapes[COLORS["ontime"].light] == {"round"}
    assert shapes[COLORS["late"].light] == {triangle, square}


def test_a_stopped_queue_is_said_in_grey_and_an_outage_in_red() -> None:
    frame = scene().frame()
    colors = {}
    for state in ("stopped", "away"):
        svg = draw({**frame, "state": state, "note": "something happened"})
        colors[state] = re.findall(r'fill="(#\w+)"[^>]*>something happened', svg)
    assert colors == {"stopped": [COLORS["faint"].light], "away": [COLORS["error"].light]}


def test_a_burst_is_as_tall_as_its_number_and_stays_in_its_lane() -> None:
    for lane in (None, lambda key: key[0], str):
        heights = []
        for keys in (1, 2, 10, 100, 1_000, 10_000, 100_000):
            frame = scene(lane).frame()
            marks = [["fired", 0, frame["now"] - 1000, keys, "", 0.0]]
            lanes = [f"lane {n}" for n in range(6)] if lane is str else ["a", "b"] if lane else [""]
            svg = draw({**frame, "marks": marks, "lanes": lanes})
            bars = [each for each in ElementTree.fromstring(svg).iter() if each.get("fill") == COLORS["ontime"].light]
            heights.append(float(bars[0].attrib["height"]))  # the other one is in the legend
        assert heights == sorted(heights)
        assert len({*heights[:-1]}) == 6
        assert heights[-1] == heights[-2] < 55


# The moving picture.


def test_the_script_and_the_style_load_nothing() -> None:
    here = Path(rx_runat.drawing.__file__).parent
    for name in ("timeline.js", "timeline.css"):
        text = (here / name).read_text()
        for word in ("http:", "https:", "//cdn", "import ", "@import", "url(", "fetch(", "eval("):
            assert word not in text
