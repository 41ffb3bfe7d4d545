"""In the pictures of streams, nothing is printed on something else, whatever the streams do."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reactivex.testing import ReactiveTest, TestScheduler

from rx_runat import Due
from rx_runat.notebook import lateness
from rx_runat.notebook.diagram import Track, draw
from tests.support.overprint import overprinted

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = st.text(st.sampled_from("abc:0189 茶ö"), max_size=40)
MARBLES = st.lists(st.tuples(st.floats(0, 10), WORDS), max_size=25).map(lambda marbles: sorted(marbles))
TRACKS = st.builds(
    Track, WORDS, MARBLES, st.none() | st.just(10.0), st.none() | st.text("abc ", min_size=1, max_size=80)
)


def late_by(*lates: float, error: Exception | None = None) -> str:
    """The picture of keys that came so many seconds late."""
    scheduler = TestScheduler()
    messages = [ReactiveTest.on_next(1 + i / 1e6, Due(f"k{i}", NOW, late)) for i, late in enumerate(lates)]
    messages += [ReactiveTest.on_error(5, error)] if error else []
    return lateness(scheduler.create_hot_observable(*messages), 10, scheduler=scheduler).svg()


@settings(max_examples=40)
@given(st.lists(TRACKS, max_size=4), st.sampled_from([10.0, 10.5, 70.0, 1e6]))
def test_nothing_is_overprinted_in_a_marble_diagram(tracks: list[Track], seconds: float) -> None:
    for track in tracks:
        track.error = track.error if track.ended_after else None
    assert overprinted(draw(tracks, seconds, 10.0)) == []


@pytest.mark.parametrize("at", [0.0, 5.0, 10.0])
@pytest.mark.parametrize("keys", [2, 60, 100_000])
def test_a_burst_covers_nothing_beside_it(at: float, keys: int) -> None:
    """Neither a mark, nor a name, nor the end of its line."""
    burst = [(at, "k")] * keys
    near = [(moment, "near") for moment in (at - 0.4, at + 0.4) if 0 <= moment <= 10]
    for ended_after, error in ((None, None), (10.0, None), (10.0, "broken")):
        svg = draw([Track("bursts of keys", sorted([*burst, *near]), ended_after, error)], 10.0, 10.0)
        assert overprinted(svg) == []
        assert any(f">{keys + taken:,}<" in svg for taken in range(3))  # it may take in what is near


def test_what_an_error_says_stands_beside_its_cross_or_below_the_line() -> None:
    marbles = [(moment / 2, f"k{moment}") for moment in range(20)]
    for ended_after in (0.0, 5.0, 9.5, 10.0):
        track = Track(
            "s", [marble for marble in marbles if marble[0] <= ended_after], ended_after, "E: " + "broken " * 11
        )
        svg = draw([track, track], 10.0, 10.0)
        assert "E: broken" in svg
        assert overprinted(svg) == []


@settings(max_examples=40)
@given(st.lists(st.floats(-9, 6).map(lambda power: 10**power), max_size=40))
def test_nothing_is_overprinted_in_a_picture_of_lateness(lates: list[float]) -> None:
    assert overprinted(late_by(*lates)) == []


@pytest.mark.parametrize("late", [0.0, 1e-5, 0.001, 0.0199, 0.02, 0.1, 1.0, 9.99, 3600.0, 1e9])
@pytest.mark.parametrize("spread", [0.0, 1e-6, 0.5])
def test_half_and_99_of_100_are_never_overprinted(late: float, spread: float) -> None:
    svg = late_by(*(late * (1 + spread * n / 200) for n in range(200)), error=ValueError("broken " * 20))
    assert ">half<" in svg
    assert ">99 of 100<" in svg
    assert overprinted(svg) == []
