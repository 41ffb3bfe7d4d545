"""How colours look: contrast, distance, and what the colour-blind see of them. Colours are `#rrggbb`."""

from __future__ import annotations

import math
from typing import TypeAlias

Triple: TypeAlias = tuple[float, float, float]

# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency" (2009),
# severity 1.0; for linear RGB.
BLINDNESS: dict[str, tuple[Triple, Triple, Triple]] = {
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG 2 defines it: 1 to 21."""
    darker, lighter = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (_linear(one), _linear(other)))
    return (lighter + 0.05) / (darker + 0.05)


def distance(one: str, other: str, blindness: str) -> float:
    """How far apart somebody with this colour blindness sees two colours: CIE 1976, where 2.3 is just noticeable."""
    return math.dist(_lab(_seen(one, blindness)), _lab(_seen(other, blindness)))


def _linear(color: str) -> Triple:
    r, g, b = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return _expand(r), _expand(g), _expand(b)


def _expand(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _seen(color: str, blindness: str) -> Triple:
    linear = _linear(color)
    r, g, b = (min(1, max(0, sum(x * y for x, y in zip(row, linear, strict=True)))) for row in BLINDNESS[blindness])
    return r, g, b


def _lab(linear: Triple) -> Triple:
    r, g, b = linear
    x = _root((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505)
    y = _root(0.2126 * r + 0.7152 * g + 0.0722 * b)
    z = _root((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _root(value: float) -> float:
    return value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116
