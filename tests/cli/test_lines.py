"""Jobs and Dues as lines of text."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rx_runat import Due, InvalidJob, Job
from rx_runat.cli.lines import parse_line, to_line
from rx_runat.model.times import EPOCH

NOON = datetime(2026, 12, 24, 12, tzinfo=UTC)
words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1).filter(lambda key: key[0] != "{")


@pytest.mark.parametrize(
    "line, job",
    [
        ("first +0.33", Job("first", timedelta(milliseconds=330))),
        ("  padded   +1 \r\n", Job("padded", timedelta(seconds=1))),
        ("with spaces in it +1", Job("with spaces in it", timedelta(seconds=1))),
        ("+1 +2", Job("+1", timedelta(seconds=2))),
        ("é€😀\udcff +1", Job("é€😀\udcff", timedelta(seconds=1))),
        ("ping 1500ms", Job("ping", EPOCH + timedelta(milliseconds=1500))),
        ("report 2026-12-24T12:00:00Z", Job("report", NOON)),
        ('{"runAt": 1500, "key": "with spaces"}', Job("with spaces", EPOCH + timedelta(milliseconds=1500))),
        (' {"key":"a","runAt":1500.2} ', Job("a", EPOCH + timedelta(milliseconds=1501))),
    ],
)
def test_a_line_is_a_job(line: str, job: Job) -> None:
    assert parse_line(line) == job


@pytest.mark.parametrize(
    "line, words",
    [
        ("", ["line: got ''", "KEY WHEN"]),
        ("alone", ["line: got 'alone' (str)", "KEY WHEN"]),
        (" +1", ["line: got '+1' (str)", "KEY WHEN"]),
        ("a soon", ["WHEN: got 'soon' (str)", "+0.5"]),
        ("a 1700000000000", ["WHEN: got '1700000000000' (str)", "1700000000000ms"]),
        ("a 2026-12-24T18:00:00", ["WHEN: got '2026-12-24T18:00:00' (str)", "with an offset"]),
        ("a 2026-12-24", ["WHEN: got '2026-12-24' (str)", "with an offset"]),
        ("{", ["line: got '{' (str)", "no JSON", '{"runAt": 1700000000000, "key": "a"}']),
        ("{eu}a +1", ["line: got '{eu}a +1' (str)", "no JSON"]),
        ('{"a":' * 100_000, ["line: got ", "no JSON"]),
        ('{"runAt": 1}', ["key: missing", "(dict)"]),
        ('{"key": "a"}', ["runAt: missing", "(dict)"]),
        ('{"key": "a", "runAt": 1, "x": 1}', ["'x' (str)", "unknown field"]),
        ('{"key": "a", "runAt": "1"}', ["runAt: got '1' (str)", "epoch milliseconds"]),
        ('{"key": "a", "runAt": NaN}', ["runAt: got nan (float)", "finite"]),
        ('{"key": "a", "runAt": 1e400}', ["runAt: got inf (float)", "finite"]),
        ('{"key": "a", "runAt": true}', ["runAt: got True (bool)", "epoch milliseconds"]),
        ('{"key": "a", "runAt": ' + "9" * 4000 + "}", ["runAt: got ", "(int)", "years 1 and 9999"]),
        ('{"key": "a", "runAt": ' + "9" * 5000 + "}", ["got ", "5000"]),
        ('{"key": "", "runAt": 1}', ["key: got ''", "non-empty str"]),
        ('{"key": 7, "runAt": 1}', ["key: got 7 (int)", "non-empty str"]),
        ('{"key": "\\ud800", "runAt": 1}', ["key: got ", "UTF-8"]),
        ('{"key": "a", "runAt": 1, "data": NaN}', ["data: got nan (float)", "no JSON"]),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else value[0],
)
def test_any_other_line_is_refused_with_a_reason(line: str, words: list[str]) -> None:
    with pytest.raises(InvalidJob) as refusal:
        parse_line(line)
    assert [word for word in words if word not in str(refusal.value)] == []


@pytest.mark.parametrize("data", [None, 0, False, "", "ann", [1, None], {"to": "ann"}])
def test_a_line_of_json_names_data(data: object) -> None:
    job = parse_line(json.dumps({"runAt": 1500, "key": "a", "data": data}))
    assert job == Job("a", EPOCH + timedelta(milliseconds=1500), data=data)


@settings(deadline=None)
@given(words, st.integers(0, 10**9))
def test_any_word_and_a_delay_are_a_job(key: str, milliseconds: int) -> None:
    assert parse_line(f"{key} +{milliseconds}ms") == Job(key, timedelta(milliseconds=milliseconds))


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(-(10**12), 10**14))
def test_runats_json_can_hold_any_key(key: str, milliseconds: int) -> None:
    line = json.dumps({"runAt": milliseconds, "key": key})
    assert parse_line(line) == Job(key, EPOCH + timedelta(milliseconds=milliseconds))


@settings(deadline=None, max_examples=500)
@given(st.text() | st.text("+-.0123456789smhdT:Z {}\"'", max_size=12) | words.map("a +{}".format))
def test_any_line_is_a_job_or_refused(line: str) -> None:
    try:
        assert isinstance(parse_line(line), Job)
    except InvalidJob as refusal:
        assert len(str(refusal)) < 1000  # noqa: PT017


def test_a_due_is_printed_as_its_key() -> None:
    assert to_line(Due("a b\udcff", NOON, 1.5), as_json=False) == "a b\udcff"


def test_a_due_as_json_has_key_run_at_and_lateness() -> None:
    line = to_line(Due('é "b"\n', NOON, 0.00123449), as_json=True)
    assert json.loads(line) == {"key": 'é "b"\n', "run_at": "2026-12-24T12:00:00+00:00", "lateness": 0.001234}
    assert "\n" not in line


@pytest.mark.parametrize("lateness", [0.0, -3600.5, 1e9])
def test_lateness_is_in_seconds(lateness: float) -> None:
    assert math.isclose(json.loads(to_line(Due("a", NOON, lateness), as_json=True))["lateness"], lateness)


@pytest.mark.parametrize("data", [0, False, "", [], {}, {"to": "\u00e9\n"}])
def test_a_due_as_json_has_its_data_even_if_that_is_empty(data: object) -> None:
    line = to_line(Due("a", NOON, data=data), as_json=True)
    assert json.loads(line)["data"] == data
    assert "\n" not in line


def test_a_due_without_data_has_no_data_in_its_line() -> None:
    assert "data" not in json.loads(to_line(Due("a", NOON), as_json=True))
