"""`cron` in the hour that comes twice, and around any change of the clocks: always the first slot after the claim."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rx_runat import Due, InvalidSetting, cron, every, settle
from rx_runat.testing import virtual_queue

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
STEP = timedelta(minutes=10)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def next_run(line: str, zone: str, claimed: datetime) -> datetime:
    found = cron(line, tz=zone)(Due("a", claimed - timedelta(days=1), lateness=86_400.0))
    assert isinstance(found, datetime)
    return found


# Berlin has 02:00 to 03:00 twice: from 00:00 UTC at UTC+2, and from 01:00 UTC at UTC+1. New York has 01:00 to 02:00
# twice: from 05:00 UTC at UTC-4, and from 06:00 UTC at UTC-5. Lord Howe has 01:30 to 02:00 twice: from 14:30 UTC at
# UTC+11, and from 15:00 UTC at UTC+10:30.
@pytest.mark.parametrize(
    "line, zone, claimed, expected",
    [
        ("30 2 * * *", BERLIN, "2026-10-25 00:29:59.999999", "2026-10-25 00:30"),  # first pass, before the slot
        ("30 2 * * *", BERLIN, "2026-10-25 00:59", "2026-10-26 01:30"),  # first pass, after it
        ("30 2 * * *", BERLIN, "2026-10-25 01:10", "2026-10-26 01:30"),  # second pass, clocks show 02:10: it has been
        ("30 2 * * *", BERLIN, "2026-10-25 01:30", "2026-10-26 01:30"),  # second pass, clocks show 02:30
        ("30 2,3 * * *", BERLIN, "2026-10-25 01:10", "2026-10-25 02:30"),  # 02:30 has been, 03:30 has not
        ("*/30 * * * *", BERLIN, "2026-10-25 01:10", "2026-10-25 01:30"),  # such a line goes through both hours
        ("0 * * * *", BERLIN, "2026-10-25 00:10", "2026-10-25 01:00"),
        ("0 30 2 * * *", BERLIN, "2026-10-25 01:10", "2026-10-25 01:30"),  # and so does one of six fields
        ("@daily", BERLIN, "2026-10-25 01:10", "2026-10-25 23:00"),
        ("0 9 * * 1-5", BERLIN, "2026-10-25 01:10", "2026-10-26 08:00"),
        ("15 1 * * *", NEW_YORK, "2026-11-01 06:05", "2026-11-02 06:15"),  # second pass, clocks show 01:05
        ("45 1 * * *", LORD_HOWE, "2026-04-04 15:05", "2026-04-05 15:15"),  # second pass, clocks show 01:35
        ("15 2 * * *", LORD_HOWE, "2026-10-03 15:00", "2026-10-03 15:30"),  # in the gap 02:00 to 02:30: at its end
    ],
)
def test_27_a_slot_of_the_first_pass_does_not_come_in_the_second(
    line: str, zone: str, claimed: str, expected: str
) -> None:
    assert next_run(line, zone, moment(claimed)) == moment(expected)


@pytest.mark.parametrize(
    "line",
    [
        *("30 2 * * *", "*/30 2 * * *", "0 * * * *", "@daily"),
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("15 1 * * *", "0 0-4 * * *")),
    ],
)
@pytest.mark.parametrize(
    "zone, day",
    [
        (BERLIN, "2026-03-28"),
        (BERLIN, "2026-10-24"),
        (NEW_YORK, "2026-03-07"),
        (NEW_YORK, "2026-10-31"),
        ("America/Havana", "2026-03-07"),  # midnight does not come
        ("America/Havana", "2026-10-31"),  # midnight comes twice
        (LORD_HOWE, "2026-04-04"),
        (LORD_HOWE, "2026-10-03"),
    ],
)
def test_27_two_claims_before_the_same_slot_agree_on_it(line: str, zone: str, day: str) -> None:
    """Else a run that is claimed late would come twice, or not at all."""
    claims = [moment(f"{day} 00:00") + n * STEP for n in range(2 * 24 * 6)]
    found = [next_run(line, zone, claimed) for claimed in claims]
    assert all(slot > claimed for claimed, slot in zip(claims, found, strict=True))
    for slot, following, its_slot in zip(found[:-1], claims[1:], found[1:], strict=True):
        assert following >= slot or its_slot == slot


def test_27_a_chain_that_was_late_into_the_second_pass_does_not_spin() -> None:
    """Each run would be due as soon as it had ended, for the rest of the hour."""
    queue, scheduler = virtual_queue()
    begun: list[datetime] = []
    scheduler.advance_to(moment("2026-10-25 01:10").timestamp())
    queue.schedule("report", moment("2026-10-24 00:30"))
    queue.claims().pipe(
        settle(lambda claim: begun.append(scheduler.now), again=cron("30 2 * * *", tz=BERLIN))
    ).subscribe()
    scheduler.advance_by(60)
    assert len(begun) == 1
    assert queue.when("report") == moment("2026-10-26 01:30")


def test_a_number_that_nobody_can_read_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="expression: got"):
        cron("9" * 5000 + " * * * *")


def test_27_after_the_last_year_no_work_is_done_in_silence() -> None:
    """The chain ends with an error that says so, and the claim goes back."""
    last = datetime.max.replace(tzinfo=UTC) - timedelta(seconds=5)
    for again in (every(10), cron("* * * * *"), cron("@yearly", tz=BERLIN)):
        with pytest.raises(OverflowError):
            again(Due("a", last))
