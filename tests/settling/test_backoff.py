"""`exponential`: how long a failed key waits."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from rx_runat import InvalidSetting, exponential


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"first": -1}, "first: got -1 (int); it must be between 0 seconds and a year"),
        ({"longest": math.inf}, "longest: got inf (float); it must be between 0 seconds and a year"),
        ({"longest": "1 h"}, "longest: got '1 h' (str); it must be seconds, such as 30.0, or a timedelta"),
        ({"jitter": 1.5}, "jitter: got 1.5 (float); it must be between 0 and 1"),
        ({"jitter": math.nan}, "jitter: got nan (float); it must be between 0 and 1"),
    ],
)
def test_an_exponential_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    """`exponential` raises at once, not when the first work fails."""
    with pytest.raises(InvalidSetting) as refused:
        exponential(**settings)
    assert str(refused.value) == said


def test_exponential_takes_a_timedelta() -> None:
    assert exponential(timedelta(minutes=1), timedelta(hours=1), jitter=0)(3) == 240


def test_exponential_stays_within_its_bounds() -> None:
    backoff = exponential(first=2, longest=60, jitter=0.25)
    for attempt in range(1, 100):
        most = min(2 * 2 ** (attempt - 1), 60)
        assert 0.75 * most <= backoff(attempt) <= most
    assert len({backoff(5) for _ in range(100)}) > 90
