"""Jobs: checked once, when they are made; what the sink takes, and what it refuses before any request to Redis."""

from __future__ import annotations

import copy
import dataclasses
import enum
import inspect
import math
import pickle
from collections import OrderedDict, UserDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rx_runat import Due, InvalidJob, InvalidSetting, Job, RunAtError
from rx_runat.model.job import KEEP, check_keep, to_jobs
from rx_runat.model.times import EPOCH
from rx_runat.testing import Faults, virtual_queue
from tests.support.awkward_values import RaisingRepr, RaisingZone

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Color(enum.StrEnum):
    RED = "red"


# Job and Due.


@pytest.mark.parametrize("run_at", [NOON, 1700000000, 1700000000.5, timedelta(minutes=5), -1, timedelta(days=-1)])
def test_a_job_keeps_its_moment_as_it_was_given(run_at: datetime | float | timedelta) -> None:
    assert Job("a", run_at).run_at is run_at


def test_a_job_is_a_value() -> None:
    assert Job("a", 1) == Job("a", 1)
    assert len({Job("a", 1), Job("a", 1), Job("b", 1), Job("a", 2)}) == 3
    assert eval(repr(Job("a", 1.5))) == Job("a", 1.5)


def test_a_job_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Job("a", 1).key = "b"  # type: ignore[misc]


def test_a_job_is_a_dataclass() -> None:
    job = Job("a", 1.5, data=[1])
    assert [field.name for field in dataclasses.fields(job)] == ["key", "run_at", "data"]
    assert str(inspect.signature(Job)) == "(key: 'str', run_at: 'RunAtTime', *, data: 'Any' = <not named>) -> 'None'"
    assert dataclasses.replace(job, key="b") == Job("b", 1.5, data=[1])
    assert to_jobs(dataclasses.replace(job, key="b"))[0].wire == (1500, "b", b"[1]")
    with pytest.raises(InvalidJob, match=r"^key: got ''"):
        dataclasses.replace(job, key="")
    match job:
        case Job(key, run_at):
            assert (key, run_at) == ("a", 1.5)


@pytest.mark.parametrize("job", [Job("a", 1.5), Job("é", NOON, data=None), Due("a", NOON, 2.0, data=[1])], ids=repr)
def test_a_job_can_be_copied_and_pickled(job: Job) -> None:
    for same in (copy.copy(job), copy.deepcopy(job), pickle.loads(pickle.dumps(job))):
        assert (type(same), same, same.wire, repr(same)) == (type(job), job, job.wire, repr(job))


@dataclasses.dataclass(frozen=True)
class Tagged(Job):
    tag: str


def test_a_dataclass_that_derives_from_job_is_checked_when_it_is_made() -> None:
    assert Tagged("a", 1, "t").wire == (1000, "a")
    with pytest.raises(InvalidJob, match=r"^key: got ''"):
        Tagged("", 1, "t")


def test_a_due_is_a_job_that_can_be_scheduled_again() -> None:
    queue, _ = virtual_queue()
    queue.schedule("a", NOON)
    (due,) = queue.peek()
    assert isinstance(due, Job)
    queue.cancel("a")
    queue.on_next(due)
    assert queue.peek() == [due]


def test_dues_that_differ_in_lateness_alone_are_equal() -> None:
    assert Due("a", NOON, 1.0) == Due("a", NOON, 2.0)
    assert Due("a", NOON) != Due("b", NOON)


def test_a_due_is_not_checked_because_a_store_made_it() -> None:
    assert Due("", NOON).key == ""


@pytest.mark.parametrize("in_a_list", [False, True], ids=["alone", "in a list"])
def test_a_due_with_an_empty_key_is_refused_where_it_is_scheduled(faults: Faults, in_a_list: bool) -> None:
    queue, _ = virtual_queue(faults=faults)
    with pytest.raises(InvalidJob, match="^job 1 of the list: key: got ''" if in_a_list else "^key: got ''"):
        queue.on_next([Job("a", NOON), Due("", NOON)] if in_a_list else Due("", NOON))
    assert faults.commands == []


@pytest.mark.parametrize("key", ["a", " ", "\n", "\0", "é€😀", "x" * 10_000, "\udc80", Color.RED])
def test_any_non_empty_str_is_a_key(key: str) -> None:
    queue, _ = virtual_queue()
    queue.on_next(Job(key, NOON))
    assert [due.key for due in queue.peek()] == [key]
    assert queue.cancel(key)


# What the sink takes.


def test_runats_own_form_is_milliseconds() -> None:
    assert to_jobs({"runAt": 1500, "key": "a"}) == [Job("a", EPOCH + timedelta(milliseconds=1500))]


@pytest.mark.parametrize("kind", [dict, OrderedDict, UserDict])
def test_any_mapping_is_taken(kind: Callable[..., Any]) -> None:
    assert [job.key for job in to_jobs(kind({"key": "a", "runAt": 1}))] == ["a"]


def test_a_list_may_mix_both_forms_and_keeps_its_order() -> None:
    assert [job.key for job in to_jobs([Job("c", 3), {"runAt": 1, "key": "a"}, Job("b", 2)])] == ["c", "a", "b"]


def test_an_empty_list_is_nothing_to_do(faults: Faults) -> None:
    queue, _ = virtual_queue(faults=faults)
    queue.on_next([])
    assert faults.commands == []


# What is refused, and how the message says why.


@pytest.mark.parametrize(
    "item, words",
    [
        (None, ["job: got None (NoneType)", "Job(key, run_at)", '{"runAt": <epoch ms>, "key": <str>}', "list"]),
        ("a", ["job: got 'a' (str)", "Job(key, run_at)"]),
        (b"a", ["job: got b'a' (bytes)", "Job(key, run_at)"]),
        (("a", 1), ["job: got ('a', 1) (tuple)", "Job(key, run_at)", "list of them"]),
        ({"a", "b"}, ["(set)", "Job(key, run_at)"]),
        (1, ["job: got 1 (int)", "Job(key, run_at)"]),
        (Job, ["(type)", "Job(key, run_at)"]),
        (iter([Job("a", 1)]), ["(list_iterator)", "list of them"]),
        (RaisingRepr(), ["(RaisingRepr)", "Job(key, run_at)"]),
        ({}, ["key: missing in {} (dict)", '{"runAt": <epoch ms>, "key": <str>}']),
        ({"runAt": 1}, ["key: missing", "(dict)", '{"runAt": <epoch ms>, "key": <str>}']),
        ({"key": "a"}, ["runAt: missing", "(dict)", '{"runAt": <epoch ms>, "key": <str>}']),
        ({"key": "a", "run_at": 1}, ["runAt: missing", '"run_at" is for Job(key, run_at)']),
        ({"key": "a", "runAt": 1, "prio": 2}, ["'prio' (str)", "unknown field", 'only "runAt", "key"']),
        ({"key": "a", "runAt": 1, RaisingRepr(): 2}, ["(RaisingRepr)", "unknown field"]),
        ({"key": "", "runAt": 1}, ["key: got ''", "non-empty str"]),
        ({"key": 7, "runAt": 1}, ["key: got 7 (int)", "non-empty str"]),
        ({"key": "a", "runAt": "soon"}, ["runAt: got 'soon' (str)", "epoch milliseconds"]),
        ({"key": "a", "runAt": True}, ["runAt: got True (bool)", "epoch milliseconds"]),
        ({"key": "a", "runAt": math.nan}, ["runAt: got nan (float)", "finite"]),
        ({"key": "a", "runAt": 10**5000}, ["runAt: got ", "(int)", "years 1 and 9999"]),
        ({"key": "a", "runAt": NOON}, ["runAt: got ", "(datetime)", "epoch milliseconds"]),
        ([Job("a", 1), None], ["job 1 of the list", "None (NoneType)", "Job(key, run_at)"]),
        ([Job("a", 1), {"key": "b"}], ["job 1 of the list", "runAt: missing"]),
        ([[Job("a", 1)]], ["job 0 of the list", "(list)", "Job(key, run_at)"]),
    ],
    ids=lambda value: " " if not isinstance(value, list) else str(value[0])[:30],
)
def test_a_refusal_names_the_field_the_type_and_the_remedy(item: Any, words: list[str], faults: Faults) -> None:
    queue, _ = virtual_queue(faults=faults)
    with pytest.raises(InvalidJob) as refusal:
        queue.on_next(item)
    assert [word for word in words if word not in str(refusal.value)] == []
    assert faults.commands == []


@pytest.mark.parametrize(
    "key, run_at, words",
    [
        ("", 1, ["key: got ''", "non-empty str"]),
        (None, 1, ["key: got None (NoneType)", "non-empty str"]),
        (b"a", 1, ["key: got b'a' (bytes)", "non-empty str"]),
        (RaisingRepr(), 1, ["key: got ", "(RaisingRepr)", "non-empty str"]),
        ("a", datetime(2026, 1, 1), ["run_at: got ", "(datetime)", "aware datetime", "timezone.utc"]),
        ("a", datetime(2026, 1, 1, tzinfo=RaisingZone()), ["run_at: got ", "time zone", "no offset today"]),
        ("a", math.inf, ["run_at: got inf (float)", "finite"]),
        ("a", True, ["run_at: got True (bool)", "epoch seconds"]),
        ("a", 1_700_000_000_000, ["run_at: got 1700000000000 (int)", "milliseconds", '{"runAt": <milliseconds>']),
        ("a", "tomorrow", ["run_at: got 'tomorrow' (str)", "aware datetime"]),
        ("a", 1e308, ["run_at: got 1e+308 (float)", "years 1 and 9999"]),
        ("a", 10**5000, ["run_at: got ", "(int)", "years 1 and 9999"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else type(value).__name__,
)
def test_a_job_that_cannot_be_scheduled_cannot_be_made(key: Any, run_at: Any, words: list[str], faults: Faults) -> None:
    with pytest.raises(InvalidJob) as refusal:
        Job(key, run_at)
    assert [word for word in words if word not in str(refusal.value)] == []
    queue, _ = virtual_queue(faults=faults)
    with pytest.raises(InvalidJob):
        queue.schedule(key, run_at)
    assert faults.commands == []


def test_a_refusal_is_a_value_error_and_one_of_ours() -> None:
    with pytest.raises(ValueError, match=r"^key: ") as refusal:
        Job("", 1)
    assert isinstance(refusal.value, RunAtError)


def test_one_bad_job_in_a_list_leaves_the_good_ones_unwritten(faults: Faults) -> None:
    queue, _ = virtual_queue(faults=faults)
    bad: Any = [Job("a", 1), {"runAt": 2, "key": "b"}, "c"]
    with pytest.raises(InvalidJob, match=r"^job 2 of the list: job: got 'c' \(str\)"):
        queue.on_next(bad)
    assert faults.commands == []
    assert queue.size() == 0


@pytest.mark.parametrize("keep", KEEP)
def test_there_are_five_policies(keep: str) -> None:
    assert check_keep(keep) == keep


@pytest.mark.parametrize("keep", ["", "LAST", "newest", None, 1, b"last", RaisingRepr()])
def test_another_policy_is_refused_with_those_there_are(keep: Any, faults: Faults) -> None:
    queue, _ = virtual_queue(faults=faults)
    with pytest.raises(InvalidSetting, match=r"^keep: got .*'last', 'first', 'earliest', 'latest', 'absent'$"):
        queue.schedule("a", 1, keep=keep)
    assert faults.commands == []


# Any value at all is either written or refused.

zones = st.builds(timezone, st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)))
oddities = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**16), 10**16),
    st.sampled_from([10**400, -(10**400), 10**5000, -(10**5000), 2**63, 2**53 + 1, 253_402_300_799, 253_402_300_800]),
    st.floats(),
    st.sampled_from([1e300, 1e308, -1e308, 253_402_300_799.9999, -62_135_596_800.5, 5e-324]),
    st.text(max_size=3),
    st.text(st.characters(categories=["Cs"]) | st.sampled_from("a\udcc3\udca9\udc80"), max_size=3),
    st.binary(max_size=3),
    st.datetimes(),
    st.datetimes(timezones=zones),
    st.datetimes().map(lambda moment: moment.replace(tzinfo=RaisingZone())),
    st.sampled_from([datetime.max.replace(tzinfo=timezone(timedelta(hours=-23))), datetime.min.replace(tzinfo=UTC)]),
    st.timedeltas(),
    st.builds(RaisingRepr),
    st.builds(object),
    st.sampled_from([Job, Due, math, Color.RED, NOON.date(), 1j, range(3), iter("ab")]),
)
fields = st.sampled_from(["key", "runAt", "run_at", "", 0, None])
jobs = st.builds(lambda key, run_at: lambda: Job(key, run_at), oddities, oddities)
plain_jobs = st.builds(lambda key, run_at: lambda: Job(key, run_at), st.text(max_size=3), oddities)
mappings = st.fixed_dictionaries({"key": oddities, "runAt": oddities}) | st.dictionaries(fields, oddities, max_size=3)
plain_mappings = st.fixed_dictionaries({"key": st.text(max_size=3), "runAt": oddities})
dues = st.builds(lambda key, run_at: lambda: Due(key, run_at), oddities, oddities)
items = st.one_of(oddities, jobs, plain_jobs, mappings, plain_mappings, dues)


def made(item: Any) -> Any:
    """Returns the item. A job is made inside the test, because the test catches its refusal."""
    if isinstance(item, list | tuple):
        return type(item)(map(made, item))
    return item() if callable(item) and getattr(item, "__name__", "") == "<lambda>" else item


@pytest.mark.parametrize("examples", [300, pytest.param(1500, marks=pytest.mark.slow)])
def test_anything_is_either_written_or_refused_with_nothing_written(examples: int) -> None:
    given(items | st.lists(items, max_size=3) | st.lists(items, max_size=2).map(tuple))(
        settings(deadline=None, max_examples=examples)(is_written_or_refused)
    )()


def is_written_or_refused(item: Any) -> None:
    queue, faults = SHARED
    refusal = None
    try:
        value = made(item)
        queue.on_next(value)
    except InvalidJob as error:
        refusal = error
    try:
        if refusal is None:
            assert {due.key for due in queue.peek()} == keys_of(value)
        else:
            assert faults.commands == []
            assert queue.size() == 0
            assert len(str(refusal)) < 2000
    finally:
        faults.call("DEL", "RunAt~default")
        del faults.commands[:]


def keys_of(value: Any) -> set[str]:
    given_jobs = value if isinstance(value, list) else [value]
    return {job.key if isinstance(job, Job) else job["key"] for job in given_jobs}


def _shared() -> tuple[Any, Faults]:
    faults = Faults()
    return virtual_queue(faults=faults)[0], faults


SHARED = _shared()  # one queue for thousands of examples: each example leaves it empty
