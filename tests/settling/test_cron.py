"""`cron`: the next run is at the first time of a crontab line after the claim; both clock changes of a year by hand."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
import pytz

from rx_runat import Due, InvalidSetting, cron

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


def after(line: str, zone: str, claimed: str) -> str:
    """The next run after a claim; all moments in UTC. The run itself was due an hour before."""
    at = datetime.fromisoformat(f"{claimed}+00:00")
    found = cron(line, tz=zone)(Due("a", at - timedelta(hours=1), lateness=3600.0))
    assert isinstance(found, datetime)
    assert found.utcoffset() == timedelta(0)
    return found.replace(tzinfo=None).isoformat(sep=" ")


# Berlin goes from UTC+1 to UTC+2 on 2026-03-29 at 01:00 UTC (02:00 becomes 03:00), and back on 2026-10-25 at 01:00 UTC
# (03:00 becomes 02:00). New York goes from UTC-5 to UTC-4 on 2026-03-08 at 07:00 UTC, and back on 2026-11-01 at 06:00.
# Lord Howe goes back by half an hour on 2026-04-04 at 15:00 UTC (02:00 becomes 01:30), from UTC+11 to UTC+10:30.
@pytest.mark.parametrize(
    "line, zone, claimed, next_run",
    [
        # Forward in Berlin.
        ("30 2 * * *", BERLIN, "2026-03-27 12:00", "2026-03-28 01:30:00"),  # 02:30 at UTC+1
        ("30 2 * * *", BERLIN, "2026-03-28 01:30", "2026-03-29 01:00:00"),  # 02:30 is in the gap: 03:00 at UTC+2
        ("30 2 * * *", BERLIN, "2026-03-29 01:00", "2026-03-30 00:30:00"),  # 02:30 at UTC+2
        ("0 9 * * 1-5", BERLIN, "2026-03-27 08:00", "2026-03-30 07:00:00"),  # from Friday 9:00 to Monday 9:00
        ("0 * * * *", BERLIN, "2026-03-29 00:00", "2026-03-29 01:00:00"),  # after 01:00 comes 03:00, an hour later
        ("*/30 * * * *", BERLIN, "2026-03-29 00:30", "2026-03-29 01:00:00"),
        ("@daily", BERLIN, "2026-03-28 23:00", "2026-03-29 22:00:00"),  # this day has 23 hours
        # Back in Berlin.
        ("30 2 * * *", BERLIN, "2026-10-24 12:00", "2026-10-25 00:30:00"),  # the first 02:30, at UTC+2
        ("30 2 * * *", BERLIN, "2026-10-25 00:30", "2026-10-26 01:30:00"),  # it comes once
        ("*/30 * * * *", BERLIN, "2026-10-25 00:30", "2026-10-25 01:00:00"),  # from the first 02:30 to the second 02:00
        ("*/30 * * * *", BERLIN, "2026-10-25 01:00", "2026-10-25 01:30:00"),
        ("0 * * * *", BERLIN, "2026-10-25 00:00", "2026-10-25 01:00:00"),  # both hours
        ("0 9 * * 1-5", BERLIN, "2026-10-23 07:00", "2026-10-26 08:00:00"),
        ("@daily", BERLIN, "2026-10-24 22:00", "2026-10-25 23:00:00"),  # this day has 25 hours
        # Claimed late, over a change.
        ("0 9 * * *", BERLIN, "2026-03-29 06:59:59.999999", "2026-03-29 07:00:00"),
        ("0 9 * * *", BERLIN, "2026-10-25 09:30", "2026-10-26 08:00:00"),
        # Elsewhere.
        ("30 2 * * *", NEW_YORK, "2026-03-07 12:00", "2026-03-08 07:00:00"),  # in the gap: 03:00 at UTC-4
        ("30 1 * * *", NEW_YORK, "2026-10-31 12:00", "2026-11-01 05:30:00"),  # the first 01:30
        ("30 1 * * *", NEW_YORK, "2026-11-01 05:30", "2026-11-02 06:30:00"),
        ("45 1 * * *", LORD_HOWE, "2026-04-04 14:00", "2026-04-04 14:45:00"),  # the first 01:45, at UTC+11
        ("45 1 * * *", LORD_HOWE, "2026-04-04 14:45", "2026-04-05 15:15:00"),  # the next day's, at UTC+10:30
        # Without a change.
        ("0 9 * * *", "UTC", "2026-05-01 09:00", "2026-05-02 09:00:00"),  # claimed just at a slot
        ("*/15 * * * * *", "UTC", "2026-05-01 09:00:01", "2026-05-01 09:00:15"),  # six fields: the first is the second
        ("@hourly", "UTC", "2026-05-01 09:30", "2026-05-01 10:00:00"),
        ("@weekly", "UTC", "2026-05-01 09:30", "2026-05-03 00:00:00"),
        ("@monthly", "UTC", "2026-05-01 09:30", "2026-06-01 00:00:00"),
        ("@yearly", "UTC", "2026-05-01 09:30", "2027-01-01 00:00:00"),
        (" @Midnight ", "UTC", "2026-05-01 09:30", "2026-05-02 00:00:00"),
        ("0 0 29 2 *", "UTC", "2026-05-01 09:30", "2028-02-29 00:00:00"),
        ("0 0 L * *", "UTC", "2026-05-01 09:30", "2026-05-31 00:00:00"),
    ],
)
def test_27_the_next_slot_is_the_first_after_the_claim(line: str, zone: str, claimed: str, next_run: str) -> None:
    assert after(line, zone, claimed) == next_run


def test_a_zone_may_be_a_tzinfo() -> None:
    claimed = Due("a", datetime(2026, 5, 1, 12, tzinfo=UTC))
    assert cron("0 9 * * *", tz=timezone(timedelta(hours=2)))(claimed) == datetime(2026, 5, 2, 7, tzinfo=UTC)


@pytest.mark.parametrize("line", ["0 9 * * 1-5", "*/30 * * * *", "30 2 * * *"])
def test_27_a_zone_of_pytz_follows_the_changes_of_the_clocks(line: str) -> None:
    ours, theirs = cron(line, tz="Europe/Berlin"), cron(line, tz=pytz.timezone("Europe/Berlin"))
    for day in range(365):
        claimed = Due("a", datetime(2026, 1, 1, 0, 7, tzinfo=UTC) + timedelta(days=day))
        assert theirs(claimed) == ours(claimed)
    assert cron(line, tz=pytz.FixedOffset(120))(claimed) == cron(line, tz=timezone(timedelta(hours=2)))(claimed)


@pytest.mark.parametrize("line", ["", "bad", "60 * * * *", "0 0 30 2 *", "@never", None, 5])
def test_a_line_that_names_no_time_is_refused(line: object) -> None:
    with pytest.raises(InvalidSetting, match=r"expression: got .*; it must be a crontab line, such as"):
        cron(line)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "", "..", None, 2])
def test_a_zone_that_is_none_is_refused(zone: object) -> None:
    with pytest.raises(InvalidSetting, match=r"tz: got .*; it must be a time zone, such as 'Europe/Berlin'"):
        cron("@daily", tz=zone)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_its_repr_says_which_line_and_zone() -> None:
    assert repr(cron("@daily", tz=BERLIN)) == "cron('@daily', tz='Europe/Berlin')"


def test_without_cronsim_the_error_names_the_extra() -> None:
    script = "import sys; sys.modules['cronsim'] = None\nfrom rx_runat import cron\ncron('@daily')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith("ImportError: cron needs cronsim; pip install 'rx-runat[cron]'")
