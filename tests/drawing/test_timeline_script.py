"""The moving picture in a browser, without a kernel: what it writes where, and when it sends a message."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.browser import CHROMIUM
from tests.support.pictures import FRAMES, Picture, busy, claims, overlaps, timeline_pages

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]


PASSED = (0, 60, 170, 390)  # ms after the moment of the frame: the marks move by themselves


@pytest.fixture(scope="module")
def pages() -> Iterator[Callable[..., Picture]]:
    with timeline_pages() as open_page:
        yield open_page


@pytest.fixture(scope="module", params=[(640, False), (640, True), (1200, False), (1200, True)])
def sized(pages: Callable[..., Picture], request: pytest.FixtureRequest) -> Picture:
    """A picture of 640 or 1200 px, on light or on dark paper."""
    return pages(request.param[0], is_dark=request.param[1])


@pytest.fixture(scope="module")
def page(pages: Callable[..., Picture]) -> Picture:
    return pages(760)


@pytest.mark.parametrize("name", FRAMES)
def test_no_text_covers_another_or_leaves_the_picture(sized: Picture, name: str, tmp_path: Path) -> None:
    width = sized.page.viewport_size["width"]
    for passed in PASSED:
        frame = FRAMES[name]()
        sized.show({**frame, "now": frame["now"] + passed}, state="still")
        texts = sized.texts()
        assert [(a.text, b.text) for a, b in itertools.combinations(texts, 2) if overlaps(a, b)] == []
        assert [each.text for each in texts if each.left < 0 or each.right > width] == []
    shots = Path(os.environ.get("RX_RUNAT_SCREENSHOTS", tmp_path))
    theme = "light" if sized.page.locator("[data-jp-theme-light=true]").count() else "dark"
    sized.page.locator("#here").screenshot(path=shots / f"timeline-{name}-{width}-{theme}.png")


@pytest.mark.parametrize("name", FRAMES)
def test_no_label_crosses_the_line_of_now(sized: Picture, name: str) -> None:
    for passed in PASSED:
        frame = FRAMES[name]()
        sized.show({**frame, "now": frame["now"] + passed}, state="still")
        texts = sized.texts()
        (now,) = (each for each in texts if each.text == "now")
        line = (now.left + now.right) / 2
        labels = [each for each in texts if 45 < each.bottom < now.top]
        assert labels
        assert [each.text for each in labels if each.left < line < each.right] == []


def test_the_axis_has_a_title(sized: Picture) -> None:
    sized.show(busy(), state="still")
    assert "time from now" in [each.text for each in sized.texts()]


def test_the_description_counts_keys_by_what_became_of_them(page: Picture) -> None:
    page.show(busy(), state="still")
    assert page.label.endswith("6 received. It shows 13 waiting, 2 on time, 3 over 20 ms late, 1 over 0.2 s late.")
    page.show(claims(), state="still")
    assert page.label.endswith("It shows 1 waiting, 3 claimed, 1 came back, 1 dead.")


def test_a_view_sends_a_message_only_if_it_is_asked_for_one(page: Picture) -> None:
    before = page.sent
    page.show(busy())
    page.page.wait_for_timeout(2_500)  # two looks
    assert page.sent == before
    page.show(busy(), asks=1)
    page.show(busy(), asks=1)
    assert page.sent == [*before, {"view": "here"}]


def test_a_view_says_that_its_kernel_has_restarted(page: Picture) -> None:
    page.show(busy())
    page.page.evaluate("tell('comm_live_update')")
    assert "the kernel was restarted · 13 scheduled" in page.label
    page.show(busy())  # the kernel is there after all
    assert "restarted" not in page.label
    for state in ("still", "stopped"):  # these have nothing to lose
        page.show(busy(), state=state)
        page.page.evaluate("tell('comm_live_update')")
        assert "restarted" not in page.label


def test_a_view_out_of_sight_answers_when_it_comes_into_sight(page: Picture) -> None:
    before = page.sent
    page.page.evaluate("document.querySelector('#here').style.marginTop = '3000px'")
    page.page.wait_for_timeout(200)  # the browser tells the view so
    page.page.evaluate("frame => show(frame)", {**busy(), "asks": 7})
    page.page.wait_for_timeout(2_500)  # two looks
    assert page.sent == before
    page.page.evaluate("document.querySelector('#here').style.marginTop = 0")
    page.page.wait_for_function("n => model.sent.length > n", arg=len(before))
    assert page.sent == [*before, {"view": "here"}]


def test_a_view_that_gets_no_frames_says_so_and_stands_still(pages: Callable[..., Picture]) -> None:
    page = pages(760)
    page.show(busy())
    assert "no news" not in page.label
    page.page.evaluate("const real = performance.now.bind(performance); performance.now = () => real() + 16e3")
    page.page.wait_for_function("document.querySelector('canvas').ariaLabel.includes('no news')")
    written = page.texts()
    page.page.wait_for_timeout(1_500)
    assert page.texts() == written
    page.show(busy())
    assert "no news" not in page.label
