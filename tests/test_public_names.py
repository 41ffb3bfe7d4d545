"""The public names are few, documented, and shadow no name of Rx."""

from __future__ import annotations

import inspect

import pytest
from reactivex import Observable

import rx_runat
import rx_runat.notebook
from rx_runat import RunAt

NAMES = [
    "Claim",
    "DeadLetter",
    "Due",
    "InvalidJob",
    "InvalidSetting",
    "Job",
    "NotReturned",
    "Outcome",
    "OutcomeUnknown",
    "Recovered",
    "Refused",
    "RunAt",
    "RunAtError",
    "ServerError",
    "Stats",
    "Stopped",
    "StoreError",
    "Unavailable",
    "claim_from",
    "cron",
    "every",
    "exponential",
    "settle",
    "signals",
]
OURS = {
    "aio",
    "cancel",
    "claims",
    "dead",
    "dispose",
    "errors",
    "jobs",
    "on_completed",
    "on_error",
    "on_next",
    "peek",
    "reschedule",
    "schedule",
    "sink",
    "size",
    "stats",
    "stop",
    "subscribe",
    "waiting",
    "when",
}


def test_the_public_names() -> None:
    assert rx_runat.__all__ == NAMES == sorted(NAMES)


def test_the_names_of_the_notebook() -> None:
    names = rx_runat.notebook.__all__
    assert names == ["Lateness", "Marbles", "fresh", "lateness", "marbles", "timeline"]
    assert all(inspect.getdoc(getattr(rx_runat.notebook, name)) for name in names)


def test_the_names_of_a_queue() -> None:
    assert {name for name in set(dir(RunAt)) - set(dir(Observable)) | {"subscribe"} if not name.startswith("_")} == OURS


def test_none_of_our_names_shadows_one_of_rx() -> None:
    queue = RunAt("memory://")
    theirs = {name for name in (*dir(Observable), *vars(Observable())) if not name.startswith("__")}
    ours = {name for name in {*vars(RunAt), *vars(queue)} if not name.startswith("__")}
    assert ours & theirs <= {"lock", "_subscribe", "_abc_impl", "_is_protocol", "_subscribe_core"}
    queue.stop()


@pytest.mark.parametrize("name", NAMES)
def test_public_names_are_documented(name: str) -> None:
    thing = getattr(rx_runat, name)
    assert inspect.getdoc(thing)
    for member, value in vars(thing).items() if inspect.isclass(thing) else ():
        if not member.startswith("_") and (callable(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{member}"


def test_a_repr_says_which_queue_where() -> None:
    with RunAt("memory://", queue_name="jobs") as queue:
        assert repr(queue) == "<RunAt 'jobs' on memory://>"
    assert repr(queue) == "<RunAt 'jobs' on memory://, stopped>"
