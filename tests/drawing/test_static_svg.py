"""The timeline as a static SVG, and the files of the moving one."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import rx_runat.drawing
from rx_runat.drawing.static_svg import draw
from rx_runat.model.snapshot import Place
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


# The moving picture.


def test_the_script_and_the_style_load_nothing() -> None:
    here = Path(rx_runat.drawing.__file__).parent
    for name in ("timeline.js", "timeline.css"):
        text = (here / name).read_text()
        for word in ("http:", "https:", "//cdn", "import ", "@import", "url(", "fetch(", "eval("):
            assert word not in text
