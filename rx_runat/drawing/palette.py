"""The colours of all pictures, each for light and for dark paper. `timeline.css` repeats them for the moving picture.

Red is for errors alone. What is late differs from what is on time by its shape as well, and the two colours stay far
apart for people who do not see red, green or blue. Each colour has a contrast of at least 4.5 against its paper, so
that it can be read as text.
"""

from __future__ import annotations

from typing import NamedTuple


class Hue(NamedTuple):
    """A colour as `#rrggbb`: on light paper, and on dark paper."""

    light: str
    dark: str


COLORS = {
    "ink": Hue("#24292f", "#d9dde3"),  # text, and the line of now
    "faint": Hue("#57606a", "#a3adb8"),  # waiting and taken keys, ticks, titles of axes
    "ontime": Hue("#0072b2", "#56b4e9"),
    "late": Hue("#a85400", "#f0a030"),
    "claimed": Hue("#7b3fa0", "#c9a0f0"),
    "error": Hue("#c62828", "#ff8a80"),  # errors and dead letters
}
PAPER = Hue("#ffffff", "#111111")
RULE = Hue("#d0d4d9", "#3a3f46")  # grid lines, which carry no text and need no contrast
KEYS = (  # tell values apart that have no state. Only marks have these colours, so a contrast of 3 is enough
    Hue("#3d41e6", "#bf96e8"),
    Hue("#418a92", "#1a918c"),
    Hue("#6b8622", "#96d841"),
    Hue("#214420", "#3bdc9b"),
    Hue("#a160c5", "#b443e0"),
    Hue("#4d325c", "#5f8222"),
)
