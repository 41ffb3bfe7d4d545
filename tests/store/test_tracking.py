"""Waking: the head of the schedule, whoever changes it; hints that may be lost, late or false, and cost no key."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator

import pytest
import redis

from rx_runat import Claim, Job, OutcomeUnknown, RunAt, Unavailable
from rx_runat.store.claimers import LEASE
from rx_runat.store.connect import connect
from rx_runat.store.keys import claimed_key, data_key, leases_key, receipt_key, wake_channel
from rx_runat.store.tracking import RedisHeadTracker
from tests.support.permissions import forbidden, worker_url
from tests.support.scripts import runs_of, watched
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"
MS = 1_700_000_000_000
DEAF = "ACL SETUSER {name} on >pw ~* &* +@all {rules}"


@pytest.fixture(params=["tracking", "channel", "fakeredis"])
def target(request: pytest.FixtureRequest, server: Server, client: redis.Redis) -> str:
    """Where the server tracks, and where it refuses to."""
    if request.param == "channel":
        client.execute_command(DEAF.format(name="deaf", rules="-client|tracking"))
        return f"unix://deaf:pw@{server.path}"
    return server.url if request.param == "tracking" else "memory://of test_tracking"


@pytest.fixture
def tracked(target: str) -> Iterator[tuple[RedisHeadTracker, RunAt]]:
    """A tracker, and a queue that others write through."""
    store_client = connect(target).client
    tracker = RedisHeadTracker(store_client, Q)
    with RunAt(target) as queue:
        yield tracker, queue
        for due in queue.peek():
            queue.cancel(due.key)
    tracker.close()
    store_client.close()


def test_the_head_is_the_earliest_run_at(tracked: tuple[RedisHeadTracker, RunAt]) -> None:
    tracker, queue = tracked
    assert tracker.head() == math.inf
    queue.on_next([Job("b", 1_800_000_000), Job("a", 1_700_000_000.5)])
    assert tracker.head() == MS + 500


def test_a_write_ends_the_wait(tracked: tuple[RedisHeadTracker, RunAt]) -> None:
    tracker, queue = tracked
    tracker.head()
    for number in range(5):
        queue.schedule("a", 1_700_000_000 - number)
        tracker.wait(3600)
        assert tracker.head() == MS - number * 1000


def test_closing_ends_the_wait_of_another_thread(tracked: tuple[RedisHeadTracker, RunAt]) -> None:
    tracker, _ = tracked
    tracker.head()
    ended = threading.Event()

    def wait() -> None:
        try:
            tracker.wait(3600)
        except Unavailable:
            pass
        ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    tracker.close()
    assert ended.wait(20)
    thread.join()
    with pytest.raises(Unavailable):
        tracker.head()


def test_the_first_end_of_a_lease_is_read_beside_the_head(target: str) -> None:
    with RunAt(target) as queue:
        tracker = queue._store.head_tracker()

        def heads() -> tuple[float, float]:
            return tracker.head(), tracker.lease_end()

        queue.on_next([Job("a", 1), Job("b", 2), Job("later", 4_000_000_000)])
        assert heads() == (1000, math.inf)
        one, other = (queue._store.leasing_claimer(lease_ms).claim(1) for lease_ms in (60_000, 30_000))
        assert heads() == (4_000_000_000_000, other.deadline)
        queue.schedule("c", 3)
        assert heads() == (3000, other.deadline)
        assert queue.cancel("c")
        assert queue.cancel("b")
        assert queue.cancel("later")
        assert heads() == (math.inf, one.deadline)
        queue.schedule("a", 1)
        assert queue._store.plain_claimer().claim(1).keys == [], "it waits for the end of its lease"
        assert heads() == (one.deadline, one.deadline), "half a millisecond earlier it would not be due"
        assert queue.cancel("a")
        assert heads() == (math.inf, math.inf)
        tracker.close()


def test_a_claim_of_another_ends_the_wait_where_the_server_tracks(server: Server) -> None:
    with RunAt(server.url) as queue, RunAt(server.url) as another:
        tracker = queue._store.head_tracker()
        leasing_claimer = another._store.leasing_claimer(60_000)
        for _ in range(5):
            another.schedule("a", 1)
            assert tracker.head() == 1000
            leased = leasing_claimer.claim(1)
            tracker.wait(3600)
            assert (tracker.head(), tracker.lease_end()) == (math.inf, leased.deadline)
            another.cancel("a")  # which frees nobody: no reason to wake up
            assert tracker.lease_end() == math.inf
        leasing_claimer.close()
        tracker.close()


def test_where_the_server_does_not_track_a_claim_of_another_is_found_by_the_next_read(
    make: Callable[..., RunAt], server: Server, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rx_runat.stream.listener.CHECK_SECONDS", 0.05)
    client.execute_command(DEAF.format(name="deaf", rules="-client|tracking"))
    got: list[Claim] = []
    make(f"unix://deaf:pw@{server.path}", interval=3600).claims().subscribe(got.append)
    wait_until(lambda: client.pubsub_numsub(wake_channel(Q))[0][1] == 1, "it listens, and sleeps")
    seconds, microseconds = client.time()
    client.zadd(claimed_key(Q), {"a": seconds * 1000 + microseconds // 1000 + 100})
    wait_until(lambda: got, "the key came back, long before the heartbeat")
    assert (got[0].key, got[0].attempt) == ("a", 2)
    assert got[0].ack()


def test_3_sources_are_woken_again_when_a_refusal_is_over(
    make: Callable[..., RunAt], server: Server, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listener's connection breaks at a moment when the user may neither track nor subscribe."""
    monkeypatch.setattr("rx_runat.stream.listener.CHECK_SECONDS", 0.05)
    url = worker_url(server)
    got: list[str] = []
    make(url, interval=3600).subscribe(got.append, pytest.fail)
    (ours,) = wait_for_trackers(client, 1)
    with forbidden(client, "client|tracking", "subscribe", "ssubscribe"):
        client.execute_command("CLIENT", "KILL", "ID", ours)
        refused = client.info("errorstats")["errorstat_NOPERM"]["count"]
        wait_until(lambda: client.info("errorstats")["errorstat_NOPERM"]["count"] > refused + 3, "it tries again")
    wait_for_trackers(client, 1)
    client.zadd(Q, {"a": 1})
    wait_until(lambda: got == ["a"], "a bare ZADD wakes the source, long before the heartbeat")


def test_a_dead_connection_is_noticed_and_renewed(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make(interval=3600)
    got: list[str] = []
    queue.subscribe(got.append)
    for number in range(3):
        ours = wait_for_trackers(client, 1)
        client.execute_command("CLIENT", "KILL", "ID", ours[0])
        wait_until(lambda: wait_for_trackers(client, 1) != ours, "it has a new connection")  # noqa: B023
        client.zadd(Q, {f"k{number}": 1})
        wait_until(lambda: len(got) == number + 1, "and is woken on it")  # noqa: B023


def wait_for_trackers(client: redis.Redis, n: int) -> list[str]:
    """The ids of the connections that track."""
    found: list[str] = []

    def there_are() -> bool:
        found[:] = [each["id"] for each in client.client_list() if "t" in each["flags"]]
        return len(found) == n

    wait_until(there_are, f"{n} connections track")
    return found


def test_the_tracker_ends_with_the_ticks(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make(interval=60)
    for _ in range(3):
        subscription = queue.subscribe()
        wait_for_trackers(client, 1)
        subscription.dispose()
        wait_for_trackers(client, 0)
    wait_until(lambda: not [t for t in threading.enumerate() if "listener" in t.name], "its thread has ended")


def test_a_server_that_tracks_is_not_published_to(make: Callable[..., RunAt], client: redis.Redis) -> None:
    client.config_resetstat()
    make().on_next(Job("a", 1))
    assert "cmdstat_publish" not in client.info("commandstats")


@pytest.mark.slow
def test_an_idle_source_asks_once_in_a_heartbeat(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """With interval=5 and nothing due, at most one round trip a second: here none in the first two, after the start."""
    queue = make(interval=5)
    queue.subscribe()
    wait_for_trackers(client, 1)
    wait_until(lambda: client.info("commandstats").get("cmdstat_zrange"), "the head was read")
    client.config_resetstat()
    threading.Event().wait(2)
    commands = {name: stat["calls"] for name, stat in client.info("commandstats").items()}
    ours = {name: calls for name, calls in commands.items() if name not in ("cmdstat_config|resetstat", "cmdstat_info")}
    assert sum(ours.values()) <= 10, ours  # a heartbeat is a script of seven: room for one, on a busy machine


def test_a_source_that_saw_nothing_of_a_claim_wakes_when_its_lease_ends(
    make: Callable[..., RunAt], client: redis.Redis
) -> None:
    """Another one schedules and claims in one transaction, and dies; the next heartbeat is an hour away."""
    got: list[Claim] = []
    make(interval=3600).claims().subscribe(got.append)
    wait_for_trackers(client, 1)
    names = (Q, claimed_key(Q), leases_key(Q), receipt_key(Q, "dead"), data_key(Q))
    with client.pipeline(transaction=True) as both:
        both.zadd(Q, {"a": 1000})
        both.eval(LEASE.body, 5, *names, 1, "token", 3_600_000, 0, 100, 1, 100, 100, 1)
        *_, (now, _, leased, _, _) = both.execute()
    assert leased.split(b"token")[3:] == [b"a", b"1000", b"1", b"now"]
    wait_until(lambda: got, "it came back")
    (claim,) = got
    assert (claim.key, claim.attempt) == ("a", 2)
    assert round((claim.deadline.timestamp() - claim.lease) * 1000) >= now // 1000 + 100
    assert claim.ack()


def looks(server: Server, act: Callable[[], object]) -> int:
    """How often sources of claims have looked meanwhile."""
    return len(runs_of("lease", watched(server, act)))


def test_claims_and_acks_of_its_own_wake_no_source(
    make: Callable[..., RunAt], server: Server, client: redis.Redis
) -> None:
    """Two looks for each key: when it is scheduled, and when it is due. That its lease begins or ends is no news."""
    got: list[Claim] = []
    make(interval=3600).claims(lease=3600).subscribe(got.append)
    wait_for_trackers(client, 1)
    a_moment = 0.01  # in which a push would come

    def work() -> None:
        for number in range(5):
            seconds, microseconds = client.time()
            client.zadd(Q, {f"k{number}": seconds * 1000 + microseconds // 1000 + 30})
            wait_until(lambda: len(got) == number + 1, "it came")  # noqa: B023
            threading.Event().wait(a_moment)
            assert got[-1].ack()
            threading.Event().wait(a_moment)

    assert looks(server, work) <= 2 * 5 + 2  # the first look, and one more, may come beside the first key


def test_a_full_source_is_not_woken_by_the_leases_of_others(make: Callable[..., RunAt], server: Server) -> None:
    queue, another = make(interval=3600), make()
    got: list[Claim] = []
    queue.claims(lease=3600, max_in_flight=1).subscribe(got.append)
    queue.schedule("a", 1)
    wait_until(lambda: got, "the only slot is taken")
    with server.client() as client:
        wait_for_trackers(client, 1)
    leasing_claimer = another._store.leasing_claimer(60_000)

    def work() -> None:
        for number in range(10):
            another.schedule(f"k{number}", 1)
            assert leasing_claimer.claim(1).keys == [f"k{number}"]
            threading.Event().wait(0.01)  # in which a push would come

    assert looks(server, work) <= 10 + 2
    assert got[0].ack()
    for number in range(10):
        assert another.cancel(f"k{number}")
    leasing_claimer.close()


@pytest.mark.slow
def test_an_idle_source_of_claims_asks_no_more_than_a_plain_one(
    make: Callable[..., RunAt], client: redis.Redis
) -> None:
    """While another process holds a lease, and nothing changes: no round trip in two seconds, or a heartbeat's."""
    queue, another = make(interval=5), make()
    another.schedule("a", 1)
    leasing_claimer = another._store.leasing_claimer(3_600_000)
    leasing_claimer.claim(1)
    client.config_resetstat()
    queue.claims().subscribe()
    wait_for_trackers(client, 1)
    read = {"calls": 0}  # three in a look, two by the tracker
    wait_until(lambda: client.info("commandstats").get("cmdstat_zrange", read)["calls"] >= 5, "the head was read")
    before = client.info("stats")["total_reads_processed"]
    threading.Event().wait(2)
    assert client.info("stats")["total_reads_processed"] - before <= 1 + 2  # one is our own
    another.cancel("a")
    leasing_claimer.close()


def test_sixteen_idle_sources_and_one_key_are_no_stampede(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """One claim of each when the key is scheduled, one when it is due."""
    got: list[str] = []
    for _ in range(16):
        make(interval=60).subscribe(got.append)
    wait_for_trackers(client, 16)
    for number in range(2):
        client.config_resetstat()
        seconds, microseconds = client.time()
        client.zadd(Q, {f"k{number}": seconds * 1000 + microseconds // 1000 + 100})
        wait_until(lambda: len(got) == number + 1, "the key came")  # noqa: B023
        threading.Event().wait(0.05)
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] <= 2 * 16 + 2
    assert sorted(got) == [f"k{number}" for number in range(2)]


def test_a_connection_that_is_closed_just_before_it_waits_does_not_wait(server: Server) -> None:
    """redis-py would connect anew, and then wait for pushes on a connection that nobody closes."""
    store_client = connect(server.url).client
    dedicated = store_client.open()
    dedicated.call("PING")
    inner = dedicated._connection
    wait = inner.can_read

    def close_and_wait(timeout: float) -> bool:
        dedicated.close()
        return wait(timeout)

    inner.can_read = close_and_wait
    with pytest.raises(OutcomeUnknown):
        dedicated.listen(3600)
    store_client.close()


def test_calls_that_are_closed_open_nothing(server: Server) -> None:
    store_client = connect(server.url).client
    eye = RedisHeadTracker(store_client, Q)
    eye.head()
    store_client.close()
    with pytest.raises(Unavailable):
        eye.head()
