"""How late keys come, as text and as a picture."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
import reactivex as rx
from reactivex.testing import ReactiveTest, TestScheduler

from rx_runat import Due, Job, RunAt
from rx_runat.drawing.palette import COLORS
from rx_runat.notebook import lateness

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def recorded(*lates: float, error: Exception | None = None):
    scheduler = TestScheduler()
    messages = [ReactiveTest.on_next(1 + i / 1e6, Due(f"k{i}", NOW, late)) for i, late in enumerate(lates)]
    messages += [ReactiveTest.on_error(5, error)] if error else []
    return lateness(scheduler.create_hot_observable(*messages), 10, scheduler=scheduler)


def words(svg: str) -> str:
    return " ".join(ElementTree.fromstring(svg).itertext())


def test_none() -> None:
    assert str(recorded()) == "no key has come"
    assert "no key has come" in words(recorded().svg())


def test_one() -> None:
    assert str(recorded(0.0021)) == "1 key, 2.1 ms late"
    words(recorded(0.0021).svg())


def test_many() -> None:
    picture = recorded(*(i / 1000 for i in range(1, 1001)))
    assert str(picture) == "1,000 keys: half within 501 ms, 99 of 100 within 1 s, the latest 1 s"
    assert "99 of 100" in words(picture.svg())


@pytest.mark.parametrize("percent", [1, 50, 90, 99, 100])
def test_percentiles_are_within_four_percent_and_never_above_the_worst(percent: float) -> None:
    picture = recorded(*(i / 1000 for i in range(1, 1001)))
    assert percent / 100 <= picture.percentile(percent) <= min(percent / 100 * 1.04, 1.0)


def test_late_keys_differ_by_stripes_as_well_as_by_colour() -> None:
    """Keys up to 20 ms late are on time, as in a timeline."""
    on_time, late = (COLORS[name].light for name in ("ontime", "late"))
    calm, busy = recorded(0.001, 0.019).svg(), recorded(0.001, 0.021, 0.5).svg()
    assert late not in calm
    assert "over 20 ms late" not in words(calm)
    assert "over 20 ms late" in words(busy)
    bars = {f'fill="{on_time}"': 2, f'stroke="{late}"': 3}  # one of each is in the legend
    assert {each: busy.count(f" {each}") for each in bars} == bars
    striped = re.findall(rf'd="([^"]+)" stroke="{late}"', busy)
    assert all(path.count("M") > 1 for path in striped)


def test_a_bar_may_be_part_on_time_part_late() -> None:
    svg = recorded(0.0196, 0.0204).svg()
    assert all(color in svg for color in (f'fill="{COLORS["ontime"].light}"', f'stroke="{COLORS["late"].light}"'))
    assert svg.count("<title>2 keys</title>") == 2


def test_red_is_for_errors_alone() -> None:
    assert COLORS["error"].light not in recorded(0.001, 0.5, 100.0).svg()
    assert COLORS["error"].light in recorded(0.001, error=ValueError("broken")).svg()


def test_axes_have_titles() -> None:
    for title in ("keys", "how late, on a logarithmic scale"):
        assert title in words(recorded(0.001).svg())


def test_memory_is_bounded_whatever_the_lateness() -> None:
    picture = recorded(*(10.0**power for power in range(-9, 9)), -1.0, 0.0)
    assert picture.keys == 20
    assert len(picture._bins) <= 20
    words(picture.svg())


def test_an_error_is_shown() -> None:
    assert str(recorded(0.001, error=ValueError("broken"))) == "1 key, 1 ms late; ValueError: broken"


def test_any_value_with_a_lateness_counts() -> None:
    class Bare:
        lateness = 0.5

    assert str(lateness(rx.of(Bare()), 60).run()) == "1 key, 500 ms late"  # type: ignore[arg-type]


def test_live(queue: RunAt) -> None:
    queue.on_next([Job(f"k{i}", timedelta(milliseconds=20 + i)) for i in range(50)])
    picture = lateness(queue.jobs, 0.3).run()
    assert picture.keys == 50
    assert 0 < picture.percentile(50) <= picture.worst < 5
    assert str(picture).startswith("50 keys: half within ")
