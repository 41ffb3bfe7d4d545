"""Times, lengths of time and counts of other libraries: accepted where they are exact, else refused with a way out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pendulum
import pytest

from rx_runat import Due, InvalidJob, InvalidSetting, Job, RunAt, exponential, settle
from rx_runat.model.checks import check_count
from rx_runat.model.times import from_milliseconds, to_microseconds, to_ms, to_time
from rx_runat.notebook.recording import seconds_of
from rx_runat.stream.settings import check_settings
from tests.support.waiting import wait_until

MOMENT = pendulum.datetime(2026, 12, 24, 18, 0, 0, 1, tz="Europe/Paris")
PLAIN = datetime(2026, 12, 24, 17, 0, 0, 1, tzinfo=UTC)


class NotATime(datetime):
    """What pandas's NaT is: an instance of datetime whose methods raise, and which differs from itself."""

    def utcoffset(self) -> timedelta:
        raise ValueError("NaTType does not support utcoffset")

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = datetime.__hash__


class InSeconds(timedelta):
    """What a Timedelta in seconds is in pandas 2: the fields of the base class hold 0."""

    def __new__(cls, seconds: float) -> InSeconds:
        return super().__new__(cls)

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def to_pytimedelta(self) -> timedelta:
        return timedelta(seconds=self._seconds)  # raises OverflowError if it is too long, as that of pandas


class BeyondPython(datetime):
    """What a Timestamp of the year 20260 is in pandas: the fields of the base class hold another year."""

    def to_pydatetime(self, warn: bool = True) -> datetime:
        raise ValueError("year 20260 is out of range")


LENGTHS: list[tuple[Any, timedelta]] = [
    (pendulum.duration(seconds=1.5), timedelta(seconds=1.5)),
    (pendulum.duration(days=2, microseconds=1), timedelta(days=2, microseconds=1)),
    (pendulum.duration(days=1, seconds=-1), timedelta(seconds=86_399)),
    (MOMENT.add(days=40, microseconds=3) - MOMENT, timedelta(days=40, microseconds=3)),
    (abs(MOMENT - MOMENT.add(hours=1)), timedelta(hours=1)),
    (InSeconds(3600), timedelta(hours=1)),
    (np.int64(7), timedelta(seconds=7)),
    (np.uint8(7), timedelta(seconds=7)),
    (np.float64(0.25), timedelta(seconds=0.25)),
]


def test_24_a_time_of_pendulum_is_the_moment_that_it_reads() -> None:
    assert to_time(MOMENT) == to_time(PLAIN)
    assert to_microseconds(MOMENT) == to_microseconds(PLAIN)


@pytest.mark.parametrize("length, plain", LENGTHS, ids=lambda value: repr(value)[:30])
def test_24_a_length_of_time_is_taken_to_the_microsecond(length: Any, plain: timedelta) -> None:
    assert to_ms(length, "delay", 0) == to_ms(plain, "delay", 0)
    assert check_settings(length, 1, None)[:2] == (plain.total_seconds(), 1)
    assert seconds_of(length) == plain.total_seconds()
    if isinstance(length, timedelta):
        assert to_time(length) == to_time(plain)


def test_24_a_time_of_pandas_that_python_cannot_express_is_refused() -> None:
    with pytest.raises(InvalidJob, match="which ends after the year 9999"):
        Job("a", InSeconds(1e15))
    with pytest.raises(InvalidJob, match="which is not between the years 1 and 9999"):
        Job("a", BeyondPython(1971, 1, 1, tzinfo=UTC))
    with pytest.raises(InvalidSetting):
        to_ms(InSeconds(1e15), "delay", 0)


@pytest.mark.parametrize("past", [pendulum.duration(seconds=-1.5), MOMENT - MOMENT.add(days=2)], ids=repr)
def test_24_a_negative_length_of_pendulum_is_no_delay(past: timedelta) -> None:
    assert to_time(past) == "+0"
    with pytest.raises(InvalidSetting):
        to_ms(past, "delay", 0)


@pytest.mark.parametrize("number", [np.int64(1_700_000_000), np.uint32(1_700_000_000), np.float64(1_700_000_000)])
def test_24_numbers_of_numpy_are_epoch_seconds(number: Any) -> None:
    assert to_time(number) == "1700000000000"
    assert from_milliseconds(number) == datetime(1970, 1, 20, 16, 13, 20, tzinfo=UTC)


def test_24_integers_of_numpy_are_counts() -> None:
    count = check_count(np.int64(3), "n", "a count")
    assert (count, type(count)) == (3, int)


WAYS_OUT = [
    (np.float32(1.5), "pass float(value)"),
    (np.datetime64("2026-01-01"), "pass value.astype('datetime64[us]').item().replace(tzinfo=timezone.utc)"),
    (np.timedelta64(5, "s"), "pass value.astype('timedelta64[us]').item()"),
    (np.datetime64("NaT", "s"), "leave it out"),
    (np.timedelta64("NaT", "s"), "leave it out"),
    (NotATime(2026, 1, 1), "leave it out"),
]


@pytest.mark.parametrize("value, way_out", WAYS_OUT, ids=lambda value: str(value)[:20])
def test_24_what_is_not_exact_is_refused_with_a_way_out(value: Any, way_out: str) -> None:
    refusals: list[tuple[type[Exception], Callable[[], object]]] = [
        (InvalidJob, lambda: Job("a", value)),
        (InvalidJob, lambda: from_milliseconds(value)),
        (InvalidSetting, lambda: to_ms(value, "delay", 0)),
        (InvalidSetting, lambda: check_settings(value, 1, None)),
        (InvalidSetting, lambda: check_count(value, "n", "a count")),
        (InvalidSetting, lambda: exponential(jitter=value)),
        (InvalidSetting, lambda: seconds_of(value)),
    ]
    for kind, refused in refusals:
        with pytest.raises(kind) as caught:
            refused()
        assert way_out in str(caught.value)


def test_24_the_ways_out_lead_to_exact_values() -> None:
    moment, length = np.datetime64("2026-01-01T00:00:00.000001"), np.timedelta64(5, "s")
    assert moment.astype("datetime64[us]").item().replace(tzinfo=UTC) == datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert length.astype("timedelta64[us]").item() == timedelta(seconds=5)


@pytest.mark.parametrize("value", [np.True_, pendulum.date(2026, 1, 1), date(2026, 1, 1), pendulum.naive(2026, 1, 1)])
def test_24_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(InvalidJob):
        Job("a", value)


@pytest.mark.parametrize("length", [10**400, float("inf"), np.float64("nan")], ids=["huge", "inf", "nan"])
def test_24_a_length_that_no_clock_can_count_is_refused(length: Any) -> None:
    for refused in (lambda: check_settings(length, 1, None), lambda: seconds_of(length)):
        with pytest.raises(InvalidSetting, match="finite"):
            refused()


def test_24_a_queue_works_with_the_values_of_other_libraries(make: Callable[..., RunAt]) -> None:
    queue = make(interval=pendulum.duration(seconds=0.05), limit=np.int64(10))
    assert queue.schedule("moment", MOMENT) == PLAIN.replace(microsecond=1000)
    queue.on_next([Job("delay", pendulum.duration(minutes=1)), {"runAt": np.int64(4e12), "key": "last"}])
    assert [due.key for due in queue.peek(np.int64(2))] == ["delay", "moment"]
    assert queue.size(MOMENT.add(seconds=1)) == 2
    assert queue.size(pendulum.duration(minutes=2)) == 1
    assert "2026-12-24 17:00:00.000 UTC" in Job("moment", MOMENT)._repr_html_()
    assert "1 min" in Job("delay", pendulum.duration(minutes=1))._repr_html_()

    got: list[Due] = []
    queue.jobs.subscribe(got.append)
    queue.schedule("soon", pendulum.duration(seconds=0.05))
    wait_until(lambda: [due.key for due in got] == ["soon"], "the key came")


def test_24_claims_work_with_the_values_of_other_libraries(queue: RunAt) -> None:
    verdicts: list[str] = []

    def fail_once(claim: Any) -> None:
        assert claim.extend(pendulum.duration(seconds=30))
        if claim.attempt == 1:
            raise ZeroDivisionError

    claims = queue.claims(lease=pendulum.duration(seconds=20), max_in_flight=np.int64(5))
    work = settle(
        fail_once,
        max_attempts=np.int64(2),
        max_concurrent=np.int64(2),
        timeout=pendulum.duration(seconds=20),
        backoff=lambda attempt: pendulum.duration(seconds=0.01 * attempt),
    )
    claims.pipe(work).subscribe(lambda outcome: verdicts.append(outcome.verdict))
    queue.schedule("a", np.float64(1.0))
    wait_until(lambda: verdicts == ["nacked", "acked"], "the work was done at the second attempt")
