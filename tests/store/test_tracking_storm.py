"""Under many writes, most reads of the head cause no push; nothing is missed all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest
import redis

from rx_runat import RunAt
from rx_runat.store import tracking
from rx_runat.store.connect import connect
from rx_runat.store.tracking import RedisHeadTracker
from rx_runat.stream import listener
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"
FAR = 4_000_000_000_000
LONGEST = 3600.0  # seconds, as good as for ever: a wait that ends was ended by a push, or did not begin
MANY = 10  # pushes, after which most reads need none
POLLS = 9  # reads without a push between two that have one


class Storm:
    """A tracker, and who writes between its reads."""

    def __init__(self, server: Server, client: redis.Redis, now: Callable[[], float]) -> None:
        self.store_client = connect(server.url).client
        self.tracker = RedisHeadTracker(self.store_client, Q, now=now)
        self.client = client
        self.numbers = count()

    def write(self, run_at: float = FAR + 1) -> None:
        self.client.zadd(Q, {f"far:{next(self.numbers)}": run_at})

    def is_tracked(self) -> bool:
        """Read the head. Returns whether the server will push."""
        self.tracker.head()
        return self.client.info("stats")["tracking_total_keys"] == 1

    def reads(self, n: int) -> str:
        """Read, write and wait n times. Returns a `t` for each read that was tracked, and a `-` for each other one."""
        seen = ""
        for _ in range(n):
            seen += "t" if self.is_tracked() else "-"
            self.write()
            self.tracker.wait(LONGEST)
        return seen


@pytest.fixture
def storm(server: Server, client: redis.Redis) -> Iterator[Callable[[Callable[[], float]], Storm]]:
    made: list[Storm] = []

    def make(now: Callable[[], float]) -> Storm:
        made.append(Storm(server, client, now))
        made[-1].write(FAR)
        return made[-1]

    yield make
    for each in made:
        each.tracker.close()
        each.store_client.close()


def always_soon() -> float:
    return 0.0


def test_after_many_pushes_that_came_soon_one_read_of_ten_is_tracked(storm: Callable[..., Storm]) -> None:
    writes = storm(always_soon)
    assert writes.reads(MANY + 2 * (POLLS + 1)) == "t" * MANY + 2 * ("-" * POLLS + "t")


def test_after_a_read_that_is_not_tracked_nobody_waits(storm: Callable[..., Storm]) -> None:
    writes = storm(always_soon)
    writes.reads(MANY)
    for _ in range(POLLS):
        assert not writes.is_tracked()
        writes.tracker.wait(LONGEST)
    assert writes.is_tracked(), "the writes have ended, so the tracker waits for the next one"


def test_after_a_push_that_came_late_every_read_is_tracked(storm: Callable[..., Storm]) -> None:
    seconds = [0.0]
    writes = storm(lambda: seconds[0])
    writes.reads(MANY)
    assert writes.reads(POLLS) == "-" * POLLS
    assert writes.is_tracked()
    seconds[0] = 0.08
    writes.write()
    writes.tracker.wait(LONGEST)
    assert writes.reads(MANY - 1) == "t" * (MANY - 1)


def test_pushes_that_come_one_in_a_while_are_all_waited_for(storm: Callable[..., Storm]) -> None:
    assert storm(count(0.0, 0.09).__next__).reads(3 * MANY) == "t" * 3 * MANY


def test_a_head_that_came_nearer_makes_the_next_read_a_tracked_one(storm: Callable[..., Storm]) -> None:
    writes = storm(always_soon)
    writes.reads(MANY)
    writes.write(FAR - 5)
    assert not writes.is_tracked()
    writes.tracker.wait(LONGEST)
    assert writes.reads(MANY) == "t" * MANY


def test_a_push_is_soon_if_it_comes_within_the_longest_pause_of_the_listener() -> None:
    assert tracking._SOON == listener._LONGEST_PAUSE


def test_an_earlier_write_after_a_storm_wakes_a_source(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """The heartbeat is an hour away."""
    got: list[str] = []
    make(interval=3600).subscribe(got.append)
    numbers = count()

    def reads_under_writes() -> int:
        client.zadd(Q, {f"far:{next(numbers)}": FAR})
        return client.info("commandstats").get("cmdstat_zrange", {"calls": 0})["calls"]

    for number in range(3):
        client.config_resetstat()
        wait_until(lambda: reads_under_writes() > 2 * MANY + number * 7, "the listener polls")  # noqa: B023
        client.zadd(Q, {f"now:{number}": 1})
        wait_until(lambda: len(got) == number + 1, "it came")  # noqa: B023
    assert got == ["now:0", "now:1", "now:2"]
