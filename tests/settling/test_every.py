"""`every`: the next run is at the first slot after the moment at which this one was claimed, on Redis's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rx_runat import Due, InvalidSetting, every

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def next_seconds(lateness: float, period: float = 10) -> float:
    """The seconds from the run's own moment to the next run."""
    found = every(period)(Due("a", AT, lateness))
    assert isinstance(found, datetime)
    return (found - AT).total_seconds()


@pytest.mark.parametrize(
    "lateness, seconds",
    [
        (0.0, 10),
        (0.000001, 10),
        (9.999999, 10),
        (10.0, 20),  # claimed just at a slot: the first one after it
        (10.000001, 20),
        (23.0, 30),  # slots that were missed become one
        (86_400.0, 86_410),
        (-1.0, 10),  # only a Due that was seen, and not claimed, is early
    ],
)
def test_27_slots_that_were_missed_become_one(lateness: float, seconds: float) -> None:
    assert next_seconds(lateness) == seconds


def test_27_runs_do_not_drift() -> None:
    """However late each run is claimed, its run_at is a multiple of the period after the first one."""
    again, due = every(timedelta(milliseconds=333)), Due("a", AT, 0.0)
    for n in range(1, 10_001):
        found = again(due)
        assert found == AT + n * timedelta(milliseconds=333)
        due = Due("a", found, (n % 7) * 0.04)


@pytest.mark.parametrize("period", [0, -1, float("nan"), float("inf"), 0.0001, True, "1h", None])
def test_a_period_that_is_none_is_refused(period: object) -> None:
    with pytest.raises(InvalidSetting, match="period: got"):
        every(period)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_run_that_a_foreign_score_makes_ages_late_comes_again_in_our_time() -> None:
    first = datetime(1, 1, 1, tzinfo=UTC)
    late = (AT - first).total_seconds()
    found = every(3600)(Due("a", first, late))
    assert isinstance(found, datetime)
    assert AT < found <= AT + timedelta(hours=1)


def test_its_repr_says_how_often() -> None:
    assert repr(every(timedelta(hours=1))) == "every(1 h)"
