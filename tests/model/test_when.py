"""Moments and lengths of time, as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rx_runat import InvalidJob
from rx_runat.model.times import EPOCH, RunAtTime
from rx_runat.model.when import parse_duration, parse_when

NOON = datetime(2026, 12, 24, 12, tzinfo=UTC)
UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds", "ms": "milliseconds"}


@pytest.mark.parametrize(
    "when, moment",
    [
        ("+0", timedelta(0)),
        ("+0.5", timedelta(milliseconds=500)),
        ("+.5", timedelta(milliseconds=500)),
        ("+5.", timedelta(seconds=5)),
        ("+0.56", timedelta(milliseconds=560)),
        ("+250ms", timedelta(milliseconds=250)),
        ("+10s", timedelta(seconds=10)),
        ("+5m", timedelta(minutes=5)),
        ("+1.5h", timedelta(minutes=90)),
        ("+1d", timedelta(days=1)),
        ("+2d", timedelta(days=2)),
        ("+1w", timedelta(weeks=1)),
        ("+1h30m", timedelta(minutes=90)),
        ("+1w2d3h4m5s6ms", timedelta(weeks=1, days=2, hours=3, minutes=4, seconds=5, milliseconds=6)),
        ("+1m500ms", timedelta(seconds=60.5)),
        ("+1h.5s", timedelta(seconds=3600.5)),
        ("+0w0d", timedelta(0)),
        ("1700000000000ms", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("0ms", EPOCH),
        ("-1ms", EPOCH - timedelta(milliseconds=1)),
        ("2026-12-24T18:00:00+01:00", datetime(2026, 12, 24, 18, tzinfo=timezone(timedelta(hours=1)))),
        ("2026-12-24T12:00:00Z", NOON),
        ("2026-12-24T12:00:00.000001-00:00", NOON + timedelta(microseconds=1)),
    ],
)
def test_when_names_a_moment(when: str, moment: RunAtTime) -> None:
    assert parse_when(when) == moment


@pytest.mark.parametrize(
    "when",
    [
        *("", "soon", "5", "1700000000", "1700000000000", "1700000000.5", "12:00", "2026-13-01T00:00:00Z"),
        *(
            "+",
            "+-5",
            "++5",
            "-5",
            "+1e3",
            "+5 ",
            "+5M",
            "+5min",
            *("+h", "+1h30", "+30m1h", "+1h1h", "+1h 30m", "+1h+30m", "+1h-30m", "+1y", "+1W", "+1h30M", "+.h", "+1mm"),
            "+inf",
            "+nan",
            "+1_0",
            "+\u0665",
            "1.5ms",
            "ms",
        ),
        *(
            "+99999999999d",
            "+9999999999w1s",
            "+" + "9" * 400 + "w",
            "+" + "9" * 400,
            "9" * 5000 + "ms",
            "2026-12-24T18:00:00+99:00",
        ),
    ],
    ids=lambda when: when[:20],
)
def test_any_other_when_is_refused_with_the_forms_that_are_allowed(when: str) -> None:
    with pytest.raises(InvalidJob) as refusal:
        parse_when(when)
    message = str(refusal.value)
    assert message.startswith("WHEN: got '")
    for form in ("(str)", "+0.5", "+10s", "+1h30m", "+2d", "2026-12-24T18:00:00+01:00", "1700000000000ms"):
        assert form in message


def test_milliseconds_after_the_year_9999_are_refused() -> None:
    with pytest.raises(InvalidJob, match=r"^WHEN: got 253402300800000 \(int\); .*years 1 and 9999"):
        parse_when("253402300800000ms")


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(list(UNITS)), st.integers(0, 1000), min_size=1))
def test_a_delay_is_the_sum_of_its_parts(parts: dict[str, int]) -> None:
    text = "".join(f"{parts[unit]}{unit}" for unit in UNITS if unit in parts)
    length = timedelta(**{UNITS[unit]: number for unit, number in parts.items()})
    assert parse_duration(text) == parse_when(f"+{text}") == length
