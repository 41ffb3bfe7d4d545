"""Frames that are hard to draw, and what `timeline.js` writes when it draws one in a browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import rx_runat.drawing
from rx_runat.drawing.frame import Frame
from rx_runat.drawing.scene import Scene
from rx_runat.model.snapshot import Place
from tests.support.browser import CHROMIUM, FLAGS
from tests.support.scenes import claim, see, snapshot

_DRAWING = Path(rx_runat.drawing.__file__).parent
_LONG = "RunAt~default on embedded:///home/ada/a/rather/long/path/to/all/the/queues"


@cache
def busy() -> Frame:
    """One lane of single keys: some in time, some late, some about to come."""
    picture = Scene(_LONG, 3_000.0, None)
    keys = {f"mail:{n}": 10_000.0 + 170 * n for n in range(20)}
    taken = [(claim(at + n * n * 9, {key: at}), []) for n, (key, at) in enumerate(list(keys.items())[:6])]
    see(picture, snapshot(11_060, coming={key: at for key, at in keys.items() if at > 11_060}), taken)
    return picture.frame()


@cache
def bursts() -> Frame:
    """Lanes with long names, bursts of 3 to 30,000 keys, and one key that nobody takes."""
    picture = Scene("RunAt~default on embedded://", 3_000.0, lambda key: key.split(":")[0])
    coming = {f"mail:{n}": 10_000.0 + 400 * n for n in range(3, 8)} | {
        f"news:{n}": 11_000.0 + 5 * n for n in range(300)
    }
    coming |= {f"subscriptions of a very long name:{n}": 10_820.0 + 900 * n for n in range(3)}
    sizes = {3: 10_100.0, 30: 10_200.0, 300: 10_300.0, 3_000: 10_450.0, 30_000: 10_600.0}
    taken = [(claim(at + n % 290, {f"burst:{n}:{i}": at for i in range(n)}), []) for n, at in sizes.items()]
    see(picture, snapshot(10_800, coming=coming, due={"mail:stuck": 9_000.0}), taken)
    return picture.frame()


@cache
def crowd() -> Frame:
    """More lanes than there is room for, all with keys about to come."""
    picture = Scene("jobs on redis://localhost:6379/0", 10_000.0, lambda key: key.split(":")[0])
    coming = {f"lane{n}:{i}": 13_000.0 + 40 * n + 130 * i for n in range(14) for i in range(5)}
    taken = [(claim(12_900.0, {f"lane{n}:x{i}": 12_000.0 + 90 * i for i in range(3)}), []) for n in range(8)]
    see(picture, snapshot(12_990, coming=coming), taken)
    return picture.frame()


@cache
def claims() -> Frame:
    """Claims that are out, came back or were given up."""
    picture = Scene("jobs on memory://", 10_000.0, lambda key: key.split(":")[0])
    see(picture, snapshot(10_000, leases=[("old:1", 30_000.0)]))
    out = [("order:1", 30_000.0), ("order:2", 24_000.0), ("buried:7", 30_000.0), ("old:1", 30_000.0), ("zen", 20_000.0)]
    see(picture, snapshot(19_000, leases=out, coming={"order:9": 21_000.0}))
    places = {"order:1": Place("again"), "buried:7": Place("gone", died=19_010.0)}
    still = snapshot(19_050, leases=[out[1], *out[3:]], coming={"order:1": 22_000.0}, dead=1, claimed=3)
    see(picture, still, locate=lambda keys: [places.get(key, Place("gone")) for key in keys])
    return picture.frame()


FRAMES = {each.__name__: each for each in (busy, bursts, crowd, claims)}


class Text(NamedTuple):
    """A text in a picture, and where it stands, in px."""

    text: str
    left: float
    top: float
    right: float
    bottom: float


def overlaps(one: Text, other: Text) -> bool:
    """True if two texts cover each other by more than the rim of a letter."""
    return (
        min(one.right, other.right) - max(one.left, other.left) > 0.5
        and min(one.bottom, other.bottom) - max(one.top, other.top) > 0.5
    )


# Notes every text of the last picture, and what was drawn of it when: `resize` clears the canvas first.
_RECORD = """
window.texts = [];
const prototype = CanvasRenderingContext2D.prototype, { clearRect, fillText } = prototype;
prototype.clearRect = function (...place) { window.texts = []; return clearRect.apply(this, place); };
prototype.fillText = function (text, x, y) {
  const { width } = this.measureText(text), left = x - width * { left: 0, center: .5, right: 1 }[this.textAlign];
  window.texts.push([text, left, y - 8, left + width, y + 2]);
  return fillText.call(this, text, x, y);
};
"""
_PAGE = """<!doctype html><style>%s
body { margin: 0 }
[data-jp-theme-light="false"] { background: #111111 }
</style>
<body data-jp-theme-light="%s"><div id="here"></div>
<script>%s</script>
<script type="module">%s
const listeners = {}, model = {
  frame: null, sent: [], get: () => model.frame, send: (message) => model.sent.push(message),
  on: (name, listener) => { listeners[name] = listener; }, off: (name) => { delete listeners[name]; },
};
window.model = model;
window.tell = (name) => listeners[name]?.();
window.show = (frame) => { model.frame = frame; window.tell("change:frame"); };
render({ model, el: document.querySelector("#here") });
window.isReady = true;
</script>"""


class Picture:
    """A page with one timeline."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def show(self, frame: Frame, **changes: object) -> None:
        """Give the timeline a frame, and wait until it is drawn."""
        self.page.evaluate("window.texts = []")
        self.page.evaluate("frame => show(frame)", json.loads(json.dumps({**frame, **changes})))
        self.page.wait_for_function("window.texts.length > 3")
        self.page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")

    def texts(self) -> list[Text]:
        """What is written in the picture, the empty names of lanes apart."""
        return [Text(*each) for each in self.page.evaluate("window.texts") if each[0].strip()]

    @property
    def label(self) -> str:
        """The description of the picture for screen readers."""
        return self.page.evaluate("document.querySelector('canvas').getAttribute('aria-label')")

    @property
    def sent(self) -> list[Any]:
        """The messages to the kernel."""
        return self.page.evaluate("model.sent")


@contextmanager
def timeline_pages() -> Iterator[Callable[..., Picture]]:
    """Start a browser. Yields a function that opens a timeline `width` px wide, on light paper or `is_dark`."""
    from playwright.sync_api import sync_playwright

    script, css = ((_DRAWING / f"timeline.{kind}").read_text() for kind in ("js", "css"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)

        def open_page(width: int, *, is_dark: bool = False) -> Picture:
            page = browser.new_page(viewport={"width": width, "height": 800})
            page.set_content(_PAGE % (css, str(not is_dark).lower(), _RECORD, script))
            page.wait_for_function("window.isReady")
            return Picture(page)

        try:
            yield open_page
        finally:
            browser.close()
