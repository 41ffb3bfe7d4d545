"""Moments: how they are written as scores, how scores are read, and which values are refused."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rx_runat import InvalidJob
from rx_runat.model.times import EPOCH, from_milliseconds, from_score, to_microseconds, to_sent, to_time
from tests.support.awkward_values import NoOffsetZone, RaisingRepr, RaisingZone, name_of

quick = settings(deadline=None, max_examples=100)

MICROSECOND = timedelta(microseconds=1)
FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
MOMENT = datetime(2026, 12, 24, 18, 0, 0, 1, tzinfo=UTC)

offsets = st.builds(timezone, st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)))
moments = st.datetimes(timezones=offsets | st.just(UTC))
near = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1), timezones=offsets)


# Moments are written.


@quick
@given(moments)
def test_a_datetime_of_any_zone_is_rounded_up_to_the_millisecond(moment: datetime) -> None:
    late = int(to_time(moment)) * 1000 - (moment - EPOCH) // MICROSECOND
    assert 0 <= late < 1000


@quick
@given(near, offsets)
def test_the_same_moment_in_two_zones_is_the_same_on_the_wire(moment: datetime, zone: timezone) -> None:
    assert to_time(moment) == to_time(moment.astimezone(zone))


@pytest.mark.parametrize(
    "moment, wire",
    [
        (EPOCH, "0"),
        (EPOCH + MICROSECOND, "1"),
        (EPOCH + timedelta(microseconds=1000), "1"),
        (EPOCH + timedelta(microseconds=1001), "2"),
        (EPOCH - MICROSECOND, "0"),
        (EPOCH - timedelta(microseconds=1001), "-1"),
        (datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), "0"),
        (FIRST, "-62135596800000"),
    ],
)
def test_rounding_up_is_towards_the_future_on_both_sides_of_1970(moment: datetime, wire: str) -> None:
    assert to_time(moment) == wire


@quick
@given(st.timedeltas(timedelta(0), timedelta(days=3_000)))
def test_a_delay_stays_a_delay_rounded_up(delay: timedelta) -> None:
    wire = to_time(delay)
    assert wire[0] == "+"
    assert 0 <= int(wire[1:]) * 1000 - delay // MICROSECOND < 1000


@quick
@given(st.timedeltas(max_value=timedelta(0)))
def test_a_delay_in_the_past_is_no_delay(delay: timedelta) -> None:
    assert to_time(delay) == "+0"


@quick
@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_whole_epoch_seconds_are_exact(seconds: int) -> None:
    assert to_time(seconds) == str(seconds * 1000)


@quick
@given(st.integers(-(2**32) * 1000, 2**32 * 1000))  # until 2106 a float of epoch seconds is precise to the microsecond
def test_a_float_that_means_a_millisecond_is_that_millisecond(milliseconds: int) -> None:
    assert to_time(milliseconds / 1000) == str(milliseconds)


@quick
@given(st.floats(-9e9, 9e9))
def test_a_float_is_rounded_up_after_the_microsecond(seconds: float) -> None:
    late = int(to_time(seconds)) * 1000 - Fraction(seconds) * 1_000_000
    assert -1 < late < 1001


def beside(milliseconds: int, microseconds: float, steps: int) -> float:
    """Returns a float of epoch seconds near a whole millisecond: so many floats away from a time beside it."""
    seconds = (milliseconds * 1000 + microseconds) / 1_000_000
    for _ in range(abs(steps)):
        seconds = math.nextafter(seconds, math.copysign(math.inf, steps))
    return seconds


eras = st.sampled_from([0, 10**12, 1_700_000_000_000, 4_499_999_999_000, 4_600_000_000_000, -(10**12)])
whole = st.builds(int.__add__, eras, st.integers(-2000, 2000))


@pytest.mark.parametrize("examples", [400, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_float_is_rounded_to_the_nearest_microsecond_and_then_up(examples: int) -> None:
    @settings(deadline=None, max_examples=examples)
    @given(st.floats(-1e9, 6e9) | st.builds(beside, whole, st.sampled_from([0.0, 0.5, 1.0, 999.5]), st.integers(-3, 3)))
    def check(seconds: float) -> None:
        assert to_sent(seconds) == -(-round(seconds * 1_000_000) // 1000)

    check()


class Epoch(int):
    def __mul__(self, other: object) -> Epoch:
        return Epoch(int(self) * int(other))  # type: ignore[call-overload]


@pytest.mark.parametrize("run_at", [Epoch(5), 5, 5.0, EPOCH + timedelta(seconds=5)], ids=repr)
def test_a_moment_is_sent_as_a_plain_int(run_at: datetime | float) -> None:
    sent = to_sent(run_at)
    assert (type(sent), sent) == (int, 5000)


def test_a_moment_in_the_past_is_written_unchanged() -> None:
    assert to_time(-1.5) == "-1500"


@quick
@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_runats_milliseconds_are_exact(milliseconds: int) -> None:
    moment = from_milliseconds(milliseconds)
    assert moment == EPOCH + timedelta(milliseconds=milliseconds)
    assert to_time(moment) == str(milliseconds)


@pytest.mark.parametrize("given_ms, milliseconds", [(1500.2, 1501), (1500.0, 1500), (-0.5, 0), (-1500.7, -1500)])
def test_runats_fractions_are_rounded_up(given_ms: float, milliseconds: int) -> None:
    assert from_milliseconds(given_ms) == EPOCH + timedelta(milliseconds=milliseconds)


# Scores are read.


@quick
@given(moments.filter(lambda moment: moment <= LAST - timedelta(milliseconds=1)))
def test_a_moment_is_read_as_it_was_written_rounded_up(moment: datetime) -> None:
    assert timedelta(0) <= from_score(to_time(moment).encode()) - moment < timedelta(milliseconds=1) or moment < FIRST


@pytest.mark.parametrize(
    "score, moment",
    [
        (b"1700000000000", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (b"1500.5", datetime(1970, 1, 1, 0, 0, 1, 500_500, tzinfo=UTC)),
        (1500.5, datetime(1970, 1, 1, 0, 0, 1, 500_500, tzinfo=UTC)),
        (b"-0.5", datetime(1969, 12, 31, 23, 59, 59, 999_500, tzinfo=UTC)),
        (b"1.7e+12", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (b"inf", LAST),
        (math.inf, LAST),
        (b"1e300", LAST),
        (1e300, LAST),
        (b"253402300800000", LAST),
        (b"-inf", FIRST),
        (-math.inf, FIRST),
        (-1e300, FIRST),
        (b"-62135596800001", FIRST),
        (b"253402300799999", LAST.replace(microsecond=999_000)),
        (b"-62135596800000", FIRST),
    ],
)
def test_every_score_has_a_moment(score: bytes | float, moment: datetime) -> None:
    assert from_score(score) == moment


@quick
@given(st.floats(allow_nan=False))
def test_no_score_of_redis_is_refused_and_all_are_in_utc(score: float) -> None:
    moment = from_score(score)
    assert moment.tzinfo is UTC
    assert from_score(repr(score).encode()) == moment


@quick
@given(st.floats(-7e13, 3e14), st.floats(-7e13, 3e14))
def test_moments_keep_the_order_of_their_scores(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert from_score(low) <= from_score(high)


@quick
@given(moments)
def test_a_virtual_clock_tells_whole_microseconds(moment: datetime) -> None:
    assert EPOCH + timedelta(microseconds=to_microseconds(moment)) == moment or not FIRST <= moment <= LAST


# Moments that are refused.


@pytest.mark.parametrize(
    "run_at, words",
    [
        (datetime(2026, 1, 1), ["datetime.datetime(2026, 1, 1", "(datetime)", "aware datetime", "timezone.utc"]),
        (datetime(2026, 1, 1, tzinfo=NoOffsetZone()), ["(datetime)", "aware datetime", "time zone"]),
        (
            datetime(2026, 1, 1, tzinfo=RaisingZone()),
            ["(datetime)", "time zone", "no offset today", "ZeroDivisionError"],
        ),
        (math.nan, ["nan (float)", "finite epoch seconds"]),
        (math.inf, ["inf (float)", "finite epoch seconds"]),
        (-math.inf, ["-inf (float)", "finite epoch seconds"]),
        (True, ["True (bool)", "epoch seconds", "timedelta", "aware datetime"]),
        (False, ["False (bool)", "aware datetime"]),
        (None, ["None (NoneType)", "aware datetime", "epoch seconds"]),
        ("2026-12-24", ["'2026-12-24' (str)", "aware datetime"]),
        (b"1", ["b'1' (bytes)", "aware datetime"]),
        (date(2026, 1, 1), ["(date)", "aware datetime"]),
        (Decimal(1), ["Decimal('1') (Decimal)", "epoch seconds"]),
        (1j, ["1j (complex)", "epoch seconds"]),
        ((1, 2), ["(1, 2) (tuple)", "epoch seconds"]),
        (RaisingRepr(), ["(RaisingRepr)", "epoch seconds"]),
        (1_700_000_000_000, ["1700000000000 (int)", "milliseconds", "divide by a thousand", '{"runAt": <mill']),
        (1_700_000_000_000.5, ["(float)", "milliseconds", "divide by a thousand", '"key": <str>}']),
        (253_402_300_800, ["253402300800 (int)", "milliseconds"]),
        (-1_700_000_000_000, ["-1700000000000 (int)", "epoch seconds", "years 1 and 9999"]),
        (-62_135_596_801, ["(int)", "years 1 and 9999"]),
        (10**18, ["(int)", "epoch seconds", "years 1 and 9999"]),
        (1e17, ["1e+17 (float)", "years 1 and 9999"]),
        (10**400, ["(int)", "years 1 and 9999"]),
        (10**5000, ["(int)", "years 1 and 9999"]),
        (-(10**5000), ["(int)", "years 1 and 9999"]),
        (1e308, ["1e+308 (float)", "years 1 and 9999"]),
        (-1e308, ["-1e+308 (float)", "years 1 and 9999"]),
        (timedelta.max, ["(timedelta)", "9999", "shorter delay"]),
    ],
    ids=name_of,
)
def test_a_value_that_is_no_moment_is_refused_with_field_type_and_remedy(run_at: object, words: list[str]) -> None:
    with pytest.raises(InvalidJob) as refusal:
        to_time(run_at)
    message = str(refusal.value)
    assert message.startswith("run_at: got ")
    assert [word for word in words if word not in message] == []


def test_the_field_can_have_another_name() -> None:
    with pytest.raises(InvalidJob, match=r"^until: got None \(NoneType\)"):
        to_time(None, "until")


@pytest.mark.parametrize("value", [10**5000, -(10**5000), 10**400, 1e308, -1e308, 253_402_300_800_000], ids=name_of)
def test_runats_milliseconds_end_with_the_year_9999(value: float) -> None:
    with pytest.raises(InvalidJob, match=r"^runAt: got .*milliseconds that is not between the years 1 and 9999"):
        from_milliseconds(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_runats_milliseconds_are_finite(value: float) -> None:
    with pytest.raises(InvalidJob, match=r"^runAt: got .*\(float\); it must be finite epoch milliseconds"):
        from_milliseconds(value)


@pytest.mark.parametrize("value", [True, None, "1700000000000", MOMENT, timedelta(1), RaisingRepr()])
def test_runats_milliseconds_are_a_number(value: object) -> None:
    with pytest.raises(InvalidJob, match=rf"^runAt: got .*\({type(value).__name__}\); .*epoch milliseconds, a number"):
        from_milliseconds(value)
