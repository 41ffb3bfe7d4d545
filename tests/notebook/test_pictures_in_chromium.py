"""Pictures of streams, and cards, in Chromium: they fit the page, nothing is overprinted, dark pages get dark pictures.

Pictures of what was on the screen go to pytest's temporary directory, or to `$RX_RUNAT_SCREENSHOTS`.
"""

from __future__ import annotations

import base64
import os
import random
import re
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import reactivex as rx
from PIL import Image
from reactivex import operators as ops

from rx_runat import Job, RunAt
from rx_runat.drawing.palette import COLORS, PAPER
from rx_runat.notebook import lateness
from rx_runat.notebook.diagram import Track, draw
from tests.support.browser import CHROMIUM, chromium
from tests.support.colors import contrast

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]

CROWD = ((1, "first"), (1.3, "second"), (1.6, "third"), (4, "a long label"), (4.6, "another long label"), (9.9, "last"))
TRACKS = [
    Track("crowd", [*CROWD]),
    Track("bursts", [*((2 + n / 1000, "k") for n in range(1200)), *((9.9, "k") for _ in range(60_000))]),
    Track("orders of 2026-11-27 and of the days before", [(5, "order:2026-11-27:customer-00042:line-7")], 7.0),
    Track("broken", [(3, "a"), (9.5, "b")], 9.5, "ValueError: the post office is closed until Monday, so is the bank"),
]


class Late:
    """A key that came late, by so many seconds."""

    def __init__(self, late: float) -> None:
        self.lateness = late


def late_by(*lates: float) -> str:
    jobs: Any = rx.of(*map(Late, lates))
    return lateness(jobs, 60).run().svg()


def pictures() -> list[str]:
    chance = random.Random(7)
    return [
        draw(TRACKS, 10, 10),
        draw(TRACKS[:1], 10, 6),
        late_by(*(chance.lognormvariate(-4, 1.2) for _ in range(3000))),
        late_by(*(0.001 + chance.random() * 1e-6 for _ in range(300))),
        late_by(),
    ]


OVERPRINTED = """() => {
  const found = [];
  for (const svg of document.querySelectorAll('svg')) {
    const page = document.documentElement.clientWidth, whole = svg.getBoundingClientRect();
    if (whole.right > page || whole.width > 1000) found.push(`a picture of ${whole.width} px`);
    const texts = [...svg.querySelectorAll('text')].map(each => [each.textContent, each.getBoundingClientRect()]);
    texts.forEach(([words, box], n) => {
      if (box.left < whole.left - 1 || box.right > whole.right + 1) found.push(`${words} outside`);
      for (const [other, that] of texts.slice(n + 1)) {
        const isBeside = box.right <= that.left || that.right <= box.left;
        const height = Math.min(box.bottom, that.bottom) - Math.max(box.top, that.top);
        if (!isBeside && height > 4) found.push(`${words} on ${other}`);  // boxes of two lines touch, letters do not
      }
    });
  }
  return found;
}"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("shots")) as browser:
        yield browser.page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 640, 1200])
def test_pictures_fit_the_page_and_nothing_is_overprinted(page: Any, tmp_path: Path, width: int, scheme: str) -> None:
    shots = Path(os.environ.get("RX_RUNAT_SCREENSHOTS", tmp_path))
    shots.mkdir(exist_ok=True)
    page.set_viewport_size({"width": width, "height": 1200})
    page.emulate_media(color_scheme=scheme)
    page.set_content(f"<body style='margin:8px;color-scheme:{scheme}'>{'<p>'.join(pictures())}")
    page.screenshot(path=shots / f"streams-{scheme}-{width}.png", full_page=True)
    assert page.evaluate(OVERPRINTED) == []


def corner(page: Any) -> str:
    """The colour of the page at a place where a picture has paper."""
    png = page.screenshot(clip={"x": 30, "y": 12, "width": 1, "height": 1})
    pixel = Image.open(BytesIO(png)).convert("RGB").getpixel((0, 0))
    return f"#{bytes(pixel).hex()}"


@pytest.mark.parametrize("width", [400, 640, 1200])
def test_an_image_of_a_picture_takes_the_width_of_the_page(page: Any, width: int) -> None:
    """JupyterLab shows such an image, without a style."""
    svg = draw(TRACKS, 10, 10)
    page.set_viewport_size({"width": width, "height": 1200})
    page.set_content(f"<body style='margin:0'>{as_image(svg)}")
    script = "[...document.images].flatMap(each => [each.clientWidth, each.clientHeight])"
    _, _, wide, tall = map(float, ElementTree.fromstring(svg).attrib["viewBox"].split())
    assert page.evaluate(script) == pytest.approx([width, width * tall / wide], abs=1)


def as_image(svg: str) -> str:
    return f"<img src='data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}'>"


@pytest.mark.parametrize("system", ["light", "dark"])
@pytest.mark.parametrize("of_page", ["", "light", "dark"])
@pytest.mark.parametrize("is_image", [True, False], ids=["image", "part"])
def test_a_picture_is_as_dark_as_its_page(page: Any, system: str, of_page: str, is_image: bool) -> None:
    """A page that names no scheme is light, also on a dark system; an image in it cannot know that."""
    svg = draw(TRACKS[:1], 10, 10)
    page.set_viewport_size({"width": 900, "height": 400})
    page.emulate_media(color_scheme=system)
    style = f"color-scheme:{of_page};" if of_page else ""
    page.set_content(f"<html style='{style}'><body style='margin:8px'>{as_image(svg) if is_image else svg}")
    assert corner(page) == getattr(PAPER, of_page or (system if is_image else "light"))


@pytest.mark.parametrize("dark", ["class='vscode-dark'", "data-jp-theme-light='false'"])
def test_in_a_dark_editor_a_part_of_the_page_is_dark(page: Any, dark: str) -> None:
    page.emulate_media(color_scheme="light")
    page.set_content(f"<body {dark} style='margin:8px'>{draw(TRACKS[:1], 10, 10)}")
    assert corner(page) == PAPER.dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_labels_have_a_contrast_of_4_5(page: Any, scheme: str) -> None:
    page.set_content(f"<body style='color-scheme:{scheme}'>{'<p>'.join(pictures())}")
    script = """() => [...document.querySelectorAll('svg text')].map(each =>
        [each, each.closest('svg').querySelector('rect')].map(one => getComputedStyle(one).fill))"""
    paper = getattr(PAPER, scheme)
    colours = {tuple(map(from_css, pair)) for pair in page.evaluate(script)}
    texts = {text for text, _ in colours}
    assert {under for _, under in colours} == {paper}
    assert texts == {getattr(COLORS[name], scheme) for name in ("ink", "faint", "error")} | {paper}  # paper: on bursts
    assert all(contrast(text, paper) >= 4.5 for text in texts - {paper})


def from_css(color: str) -> str:
    """A colour as `#rrggbb`, from `rgb(...)`."""
    return f"#{bytes(map(int, re.findall('[0-9]+', color))).hex()}"


@pytest.fixture(scope="module")
def cards() -> str:
    """Cards of long names."""
    keys = [f"order:2026-11-27T08:00:00:customer-00042:line-{n}" for n in range(8)]
    with RunAt("memory://", queue_name="orders of 2026-11-27 and of the days before, in the north") as queue:
        queue.on_next([Job(key, timedelta(hours=n), data={"cups": n}) for n, key in enumerate(keys)])
        claim = queue.claims(lease=30).pipe(ops.first()).run()
        seen = [queue, claim, Job(keys[1], 1, data="x" * 200)]
        html = [each._repr_html_() for each in seen]
        claim.bury("the post office is closed until Monday, and so is the other one, which is across the street")
        return "<p>".join([*html, queue.dead._repr_html_()])


@pytest.mark.parametrize("width", [400, 640, 1200])
def test_cards_fit_the_page(page: Any, cards: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.set_content(f"<body style='font:13px sans-serif'>{cards}")
    assert page.evaluate("document.documentElement.scrollWidth") == width


# What JupyterLab's themes give outputs: the colour of text, and of the paper.
@pytest.mark.parametrize("text, paper", [("#212121", "#ffffff"), ("#e0e0e0", "#111111")])
def test_what_is_faint_on_a_card_has_a_contrast_of_4_5(page: Any, cards: str, text: str, paper: str) -> None:
    page.set_content(f"<body style='color:{text};background:{paper}'>{cards}")
    opacities = page.evaluate("[...document.querySelectorAll('span')].map(each => +getComputedStyle(each).opacity)")
    assert min(opacities) < 1
    seen = (
        round(int(text[n : n + 2], 16) * min(opacities) + int(paper[n : n + 2], 16) * (1 - min(opacities)))
        for n in (1, 3, 5)
    )
    assert contrast(f"#{bytes(seen).hex()}", paper) >= 4.5


def test_the_style_of_a_picture_leaves_the_page_alone(page: Any) -> None:
    other = f"<svg id='other'><text fill='{COLORS['ink'].light}' class='own'>x</text></svg>"
    look = "Object.fromEntries(['fill', 'stroke'].map(e => [e, getComputedStyle(document.querySelector('.own'))[e]]))"
    seen = []
    for picture in ("", draw(TRACKS[:1], 10, 10)):
        page.set_content(f"<body style='color-scheme:dark'>{other}{picture}")
        seen.append(page.evaluate(look))
    assert seen[0] == seen[1]
