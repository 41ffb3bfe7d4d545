"""Under many writes, most reads of the head cause no push; nothing is missed all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest
import redis
from reactivex.testing import TestScheduler

from rx_runat import RunAt
from rx_runat.store.connect import connect
from rx_runat.store.tracking import RedisHeadTracker
from rx_runat.stream.listener import HeadListener
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"
FAR = 4_000_000_000_000
MANY = 10  # pushes, after which most reads need none
POLLS = 9  # reads without a push between two that have one


class Storm(RedisHeadTracker):
    """A real tracker behind a listener in virtual time; somebody writes after each read, for as long as is wanted.

    Args:
        server: a real one.
        client: of who writes.
        late: returns the virtual seconds that the next push takes.

    Attributes:
        seen: a `t` for each read that was tracked, and a `-` for each other one.
        writes: what is written after each read: the run_at of a new key; None: nothing.
    """

    def __init__(self, server: Server, client: redis.Redis, late: Callable[[], float]) -> None:
        self.store_client = connect(server.url).client
        super().__init__(self.store_client, Q)
        self.client = client
        self.late = late
        self.numbers = count()
        self.seen = ""
        self.writes: Callable[[int], int | None] = lambda _: FAR + 1
        self.scheduler = TestScheduler()
        self.listener = HeadListener(self, self.scheduler, lambda: False, lambda _, __: None)

    def write(self, run_at: float) -> None:
        self.client.zadd(Q, {f"far:{next(self.numbers)}": run_at})

    def head(self, pushes: bool = True) -> float:
        head = super().head(pushes)
        self.seen += "t" if self.client.info("stats")["tracking_total_keys"] == 1 else "-"  # type: ignore[index]
        run_at = self.writes(len(self.seen))
        if run_at is not None:
            self.write(run_at)
        return head

    def wait(self, seconds: float) -> None:
        if self.writes(len(self.seen)) is None:  # nobody writes any more, so it would wait for ever
            self.listener.close()
            return
        super().wait(3600)
        self.scheduler.sleep(self.late())

    def reads(self, n: int) -> str:
        """Let the listener read n times. Returns what it has seen."""
        self.listener.start()
        while len(self.seen) < n and not self.listener.is_over:
            self.scheduler.advance_by(0.001)
        return self.seen[:n]


@pytest.fixture
def storm(server: Server, client: redis.Redis) -> Iterator[Callable[[Callable[[], float]], Storm]]:
    made: list[Storm] = []

    def make(late: Callable[[], float]) -> Storm:
        made.append(Storm(server, client, late))
        made[-1].write(FAR)
        return made[-1]

    yield make
    for each in made:
        each.listener.close()
        each.store_client.close()


def always_soon() -> float:
    return 0.0


def test_after_many_pushes_that_came_soon_one_read_of_ten_is_tracked(storm: Callable[..., Storm]) -> None:
    assert storm(always_soon).reads(MANY + 2 * (POLLS + 1)) == "t" * MANY + 2 * ("-" * POLLS + "t")


def test_after_a_read_that_is_not_tracked_nobody_waits(storm: Callable[..., Storm]) -> None:
    writes = storm(always_soon)
    writes.writes = lambda read: FAR + 1 if read <= MANY else None
    assert writes.reads(99) == "t" * MANY + "-" * POLLS + "t", "the writes have ended, so it waits for the next one"


def test_after_a_push_that_came_late_every_read_is_tracked(storm: Callable[..., Storm]) -> None:
    late = iter([0.0] * MANY + [0.1] + [0.0] * 99)
    seen = storm(late.__next__).reads(MANY + POLLS + 1 + MANY - 1)
    assert seen == "t" * MANY + "-" * POLLS + "t" + "t" * (MANY - 1)


def test_pushes_that_come_one_in_a_while_are_all_waited_for(storm: Callable[..., Storm]) -> None:
    assert storm(lambda: 0.11).reads(3 * MANY) == "t" * 3 * MANY


def test_a_head_that_came_nearer_makes_the_next_read_a_tracked_one(storm: Callable[..., Storm]) -> None:
    writes = storm(always_soon)
    writes.writes = lambda read: FAR - 5 if read == MANY else FAR + 1
    assert writes.reads(MANY + 1 + MANY) == "t" * MANY + "-" + "t" * MANY


def test_an_earlier_write_after_a_storm_wakes_a_source(
    make: Callable[..., RunAt], client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat is an hour away."""
    monkeypatch.setattr("rx_runat.stream.listener._LONGEST_PAUSE", 0.005)  # between two of eighty reads
    got: list[str] = []
    make(interval=3600).subscribe(got.append)
    numbers = count()

    def reads_under_writes() -> int:
        client.zadd(Q, {f"far:{next(numbers)}": FAR})
        return client.info("commandstats").get("cmdstat_zrange", {"calls": 0})["calls"]  # type: ignore[index, union-attr]

    for number in range(3):
        client.config_resetstat()
        wait_until(lambda: reads_under_writes() > 2 * MANY + number * 7, "the listener polls")  # noqa: B023
        client.zadd(Q, {f"now:{number}": 1})
        wait_until(lambda: len(got) == number + 1, "it came")  # noqa: B023
    assert got == ["now:0", "now:1", "now:2"]
