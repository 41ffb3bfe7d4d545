"""Labels above a line: none covers another one, or the stem of another one."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from rx_runat.notebook.labels import ROWS, put_labels

LEFT, RIGHT = 100.0, 700.0
MARKS = st.lists(st.tuples(st.floats(LEFT, RIGHT - 20), st.floats(5, 180)), max_size=30, unique_by=lambda mark: mark[0])


@settings(max_examples=60)
@given(MARKS)
def test_no_label_covers_another_one_or_its_stem(marks: list[tuple[float, float]]) -> None:
    for one, other in permutations(put_labels(sorted(marks), LEFT, RIGHT), 2):
        assert one.row != other.row or one.end <= other.start or other.end <= one.start
        if one.row and other.row <= one.row:
            assert not other.start < one.x < other.end


@settings(max_examples=60)
@given(MARKS)
def test_labels_stay_inside_and_the_first_that_chooses_has_room(marks: list[tuple[float, float]]) -> None:
    labels = put_labels(sorted(marks), LEFT, RIGHT)
    assert bool(labels) == bool(marks)
    assert all(label.start >= LEFT and label.end <= RIGHT + 1e-6 for label in labels)
    assert {(label.x, round(label.end - label.start, 6)) for label in labels} <= {(x, round(w, 6)) for x, w in marks}


def rows(*marks: tuple[float, float]) -> list[int]:
    """The rows of the labels, from left to right."""
    return [label.row for label in sorted(put_labels(marks, LEFT, RIGHT))]


def test_a_label_with_room_stands_in_the_middle_above_its_mark() -> None:
    assert sorted(put_labels([(200, 40), (300, 60)], LEFT, RIGHT)) == [(200, 180, 220, 0), (300, 270, 330, 0)]


def test_in_a_crowd_each_label_reaches_over_those_that_follow() -> None:
    assert rows((200, 80), (215, 80), (230, 80)) == [2, 1, 0]


def test_at_the_right_edge_each_label_reaches_over_those_before() -> None:
    assert rows((660, 80), (675, 80), (690, 80)) == [0, 1, 2]


def test_a_label_without_room_is_not_written() -> None:
    assert ROWS <= len(rows(*((200.0 + 12 * n, 150.0) for n in range(20)))) < 20
