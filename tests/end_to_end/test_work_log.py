"""The check of the workers' log finds every broken promise: `test_survival.py` relies on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.work_log import Summary, WorkLog, check_work_log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[WorkLog]:
    log = WorkLog(tmp_path / "log")
    yield log
    log.close()


RUN = [
    *("1 claimed a 1 0 1000", "1 done a 1 0 1000"),
    *("2 claimed a 2 1000 2000", "2 done a 2 1000 2000", "2 acked a 2 1000 2000"),
]


@pytest.mark.parametrize(
    "lines, message",
    [
        (RUN[:1], "keys are missing"),
        ([*RUN, "1 claimed b 1 0 1000", "1 done b 1 0 1000"], "keys came that nobody scheduled"),
        ([*RUN, "3 claimed a 2 1000 2000"], "one claim came twice"),
        (["1 claimed a 1 0 1000", "1 begun a 1 0 1000", "3 claimed a 1 1000 2000"], "one claim came twice"),
        ([*RUN, "3 claimed a 3 1999 2999"], "claimed during a lease"),
        ([*RUN, "3 claimed a 3 2000 3000"], "came again after its ack"),
        ([*RUN[:4], "2 lost a 2 1000 2000"], "the last verdict on a: lost"),
        ([*RUN[:4], "2 away a 2 1000 2000"], "the last verdict on a: away"),
        (RUN[:4], "the last verdict on a: None"),
    ],
)
def test_the_check_finds_what_is_wrong(lines: list[str], message: str, log: WorkLog) -> None:
    log.path.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(AssertionError, match=message):
        check_work_log(log, ["a"], killed={1})


def test_the_check_counts(log: WorkLog) -> None:
    log.path.write_text("".join(f"{line}\n" for line in RUN))
    assert check_work_log(log, ["a"], killed={1}) == Summary(
        keys=1, claims=2, unsettled_by_kill=1, twice=1, by_kill=1, by_lease=0, late_ms=(0, 0)
    )


def test_an_attempt_that_has_not_begun_may_come_again(log: WorkLog) -> None:
    again = "2 claimed a 1 1005 2005", "2 begun a 1 1005 2005", "2 done a 1 1005 2005", "2 acked a 1 1005 2005"
    log.path.write_text("".join(f"{line}\n" for line in ("1 claimed a 1 0 1000", *again)))
    summary = check_work_log(log, ["a"], killed={1})
    assert (summary.claims, summary.unsettled_by_kill, summary.late_ms) == (2, 1, (5, 5))
