"""Promise 25 under Sentinel: a failover is followed. The servers and the Sentinels are real; they fail by order."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TypeVar, get_args

import pytest
import redis
from reactivex import operators as ops

from rx_runat import Claim, OutcomeUnknown, Refused, RunAt, StoreError, Unavailable
from rx_runat.model.batch import Entry
from rx_runat.model.monotonic import monotonic
from rx_runat.store.connect import connect
from rx_runat.store.connection import OwnPool
from rx_runat.store.redis_store import RedisStore
from rx_runat.store.sentinel_route import SentinelRoute
from tests.support.forks import in_child
from tests.support.node import Node
from tests.support.sentinels import Sentinels
from tests.support.traffic import Kind, Traffic
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

Q = "RunAt~default"
# Seconds: a second for which an answer of Sentinel is good, and one for a machine that is busy.
A_SECOND = 2.0
KINDS: tuple[Kind, ...] = get_args(Kind)

T = TypeVar("T")
Fail = Callable[[Sentinels], Node]


def kill(sentinels: Sentinels) -> Node:
    old = sentinels.primary
    old.kill()
    return sentinels.wait_for_new_primary(old)


def freeze_and_thaw(sentinels: Sentinels) -> Node:
    """The old primary takes writes for eight seconds more, and none of ours may go there."""
    old = sentinels.primary
    old.freeze()
    new = sentinels.wait_for_new_primary(old)
    old.thaw()
    wait_until(lambda: not ours(old), "it has noticed that our connections ended")
    strays: list[str] = []

    def is_demoted() -> bool:
        with contextlib.suppress(redis.ConnectionError):  # it ends all connections when it becomes a replica
            strays.extend(ours(old))
            return old.info("replication")["role"] == "slave"
        return False

    wait_until(is_demoted, "it is a replica", seconds=30)
    assert not strays
    return new


def ours(node: Node) -> list[str]:
    """Returns the connections of queues that a server has."""
    clients: str = node.call("CLIENT", "LIST")
    return [line for line in clients.splitlines() if "name=ours" in line]


def order(sentinels: Sentinels) -> Node:
    old = sentinels.primary
    sentinels.failover()
    return sentinels.wait_for_new_primary(old)


@pytest.mark.parametrize("fail", [[kill], [freeze_and_thaw], [order, order]], ids=["killed", "frozen", "ordered"])
def test_25_streams_and_verbs_go_on_at_the_new_primary(
    sentinels: Sentinels, fail: list[Fail], make: Callable[..., RunAt]
) -> None:
    def begin_traffic(kind: Kind) -> Traffic:
        writer, reader = (make(f"{sentinels.url}?client_name=ours", queue_name=kind) for _ in range(2))
        return Traffic(writer, reader, kind)

    traffic = {kind: begin_traffic(kind) for kind in KINDS}
    spans: list[tuple[float, float]] = []
    try:
        for each in fail:
            for queue in traffic.values():
                queue.goes_on()
            begin = monotonic()
            each(sentinels)
            spans.append((begin - A_SECOND, monotonic() + A_SECOND))
            for queue in traffic.values():
                queue.goes_on()
    finally:
        for queue in traffic.values():
            queue.end()
    for kind, queue in traffic.items():
        assert all(isinstance(error, Unavailable) for error in queue.errors)
        for at in (*queue.lost.values(), *queue.doubled.values()):
            assert any(begin < at < end for begin, end in spans), f"a key of {kind}, {at} is not in {spans}"


# What a primary did that its replicas have not heard of.


@contextlib.contextmanager
def no_replication(primary: Node) -> Generator[Callable[[], None]]:
    """What a primary does after the function was called, no replica hears of; at the end it is killed."""

    def begin() -> None:
        primary.call("ACL", "SETUSER", "default", "-psync", "-sync")
        primary.call("CLIENT", "KILL", "TYPE", "replica")
        wait_until(lambda: primary.info("replication")["connected_slaves"] == "0", "it has no replica")

    try:
        yield begin
    finally:
        primary.kill()  # which ends these permissions, too


def in_time(act: Callable[[], T]) -> T:
    """Returns what a call returns as soon as the primary of the moment is there for it."""
    returned: list[T] = []

    def is_done() -> bool:
        try:
            returned.append(act())
        except OutcomeUnknown:
            raise
        except Unavailable:
            return False
        return True

    wait_until(is_done, "the primary is there")
    return returned[0]


def test_25_an_ack_that_a_promoted_replica_knows_nothing_of_is_never_yes(sentinels: Sentinels) -> None:
    old = sentinels.primary
    verbs: dict[str, Callable[[Claim], bool]] = {
        "ack": Claim.ack,
        "nack": Claim.nack,
        "bury": lambda claim: claim.bury("broken"),
        "extend": lambda claim: bool(claim.extend(60)),
    }
    claims: dict[str, Claim] = {}
    answers: dict[str, object] = {}

    def end(claim: Claim) -> object:
        try:
            return in_time(lambda: verbs[claim.key](claim))
        except OutcomeUnknown:
            return None

    # So patient that only the new primary ends the calls to the old one.
    patient = RunAt(f"{sentinels.url}?socket_timeout=15")
    with patient as queue, no_replication(old) as begin, ThreadPoolExecutor() as threads:
        for key in verbs:
            queue.schedule(key, 0)
        assert old.call("WAIT", 2, 10_000) == 2
        begin()
        subscription = queue.claims().subscribe(lambda claim: claims.update({claim.key: claim}))
        wait_until(lambda: len(claims) == len(verbs), "all are claimed")
        subscription.dispose()
        wait_until(lambda: not old.call("KEYS", "*receipt*"), "nothing is claimed any more")
        queue.size()  # leaves a connection that is open, so that one call is sent before the primary is frozen
        old.freeze()
        calls = {key: threads.submit(end, claim) for key, claim in claims.items()}
        new = sentinels.wait_for_new_primary(old)
        answers = {key: call.result(30) for key, call in calls.items()}
        assert new.call("ZCARD", Q) == len(verbs), "all of them wait, as before the claim"
        again = {key: end(claim) for key, claim in claims.items()}
    assert not [key for key in verbs if answers[key] or again[key]], (answers, again)
    assert None in answers.values(), "one call at least was under way, and its answer is unknown"


@pytest.mark.parametrize("is_replicated", [True, False], ids=["replicated", "not replicated"])
def test_25_what_goes_back_to_a_new_primary_undoes_nothing_that_was_done_there(
    sentinels: Sentinels, is_replicated: bool
) -> None:
    old = sentinels.primary
    keys = [f"key {number}" for number in range(10)]
    client = connect(sentinels.url).client
    store = RedisStore(client, Q)
    with RunAt(sentinels.url) as queue, no_replication(old) as begin:
        for key in keys:
            queue.schedule(key, 0)
        assert old.call("WAIT", 2, 10_000) == 2
        if not is_replicated:
            begin()
        claimer = store.plain_claimer()
        claimed = claimer.claim(8)
        assert claimed.keys == keys[:8]
        if is_replicated:
            assert old.call("WAIT", 2, 10_000) == 2
        old.kill()
        new = sentinels.wait_for_new_primary(old)
        assert new.call("ZCARD", Q) == (2 if is_replicated else 10)

        assert in_time(lambda: queue.cancel(keys[0])) is not is_replicated  # a key in hand counts as taken
        others = in_time(lambda: store.plain_claimer().claim(3)).keys
        assert others == (keys[8:] if is_replicated else keys[1:4])
        entries = [Entry(key, score) for key, score in zip(claimed.keys, claimed.scores, strict=True)]
        claimer.hand_back(entries[:4])
        claimer.hand_back(entries[4:])
        assert new.call("ZRANGE", Q, 0, -1) == (keys[:8] if is_replicated else keys[4:])
    client.close()


def test_25_stop_returns_what_is_in_hand_to_the_new_primary(sentinels: Sentinels) -> None:
    old = sentinels.primary
    keys = [f"key {number:02}" for number in range(40)]
    got: list[str] = []
    survived: list[StoreError] = []
    queue = RunAt(sentinels.url, interval=0.1)
    queue.errors.subscribe(survived.append)
    goes_down = threading.Event()

    def on_next(key: str) -> None:
        got.append(key)
        assert old.call("WAIT", 2, 10_000) == 2
        old.kill()
        goes_down.wait(20)

    taken = queue.pipe(ops.take(1))
    queue.on_next([{"runAt": 1, "key": key} for key in keys])
    taken.subscribe(on_next)
    wait_until(lambda: got and not old.is_alive, "the primary is killed while the first key is delivered")
    wait_until(
        lambda: any("o_down" in each.primary()["flags"] for each in sentinels.sentinels), "Sentinels begin a failover"
    )
    threading.Timer(0.1, goes_down.set).start()
    queue.stop()
    new = sentinels.wait_for_new_primary(old)
    assert new.call("ZRANGE", Q, 0, -1) == [key for key in keys if key not in got]
    assert not [error for error in survived if "could not hand back" in str(error)]


def test_25_keys_in_hand_go_back_to_the_new_primary(sentinels: Sentinels) -> None:
    old = sentinels.primary
    keys = [f"key {number:02}" for number in range(40)]
    got: dict[str, list[str]] = {"blocks": [], "takes three": []}
    all_hold = threading.Barrier(3)
    is_killed, go_on = threading.Event(), threading.Event()

    def on_next(name: str, key: str) -> None:
        got[name].append(key)
        if len(got[name]) == 3:
            all_hold.wait(20)
            (go_on if name == "blocks" else is_killed).wait(30)

    def waiting(node: Node, name: str) -> set[str]:
        return set(node.call("ZRANGE", name, 0, -1))

    with (
        RunAt(sentinels.url, queue_name="blocks") as blocks,
        RunAt(sentinels.url, queue_name="takes three") as takes_three,
    ):
        for queue in (blocks, takes_three):
            queue.on_next([{"runAt": 1, "key": key} for key in keys])
        blocks.subscribe(partial(on_next, "blocks"))
        takes_three.pipe(ops.take(3)).subscribe(partial(on_next, "takes three"))
        all_hold.wait(20)
        assert old.call("WAIT", 2, 10_000) == 2
        old.kill()
        is_killed.set()
        new = sentinels.wait_for_new_primary(old)
        for name in got:
            wait_until(
                lambda name=name: waiting(new, name) == set(keys) - set(got[name]),
                f"all that nobody received wait again, where a subscriber {name}",
            )
        go_on.set()
        wait_until(lambda: len(got["blocks"]) == len(keys), "they come when `on_next` has returned")
    for received in got.values():
        assert len(received) == len(set(received))


# Sentinels that are silent, or late.


@contextlib.contextmanager
def questions(monkeypatch: pytest.MonkeyPatch) -> Generator[list[str]]:
    """Notes each call that waits for an answer of Sentinel."""
    noted: list[str] = []
    ask = SentinelRoute._ask_now  # pyright: ignore[reportPrivateUsage]

    def note(route: SentinelRoute) -> OwnPool:
        noted.append(threading.current_thread().name)
        return ask(route)

    with monkeypatch.context() as patch:
        patch.setattr(SentinelRoute, "_ask_now", note)
        yield noted


def test_25_silent_sentinels_delay_nothing_and_are_followed_when_they_come_back(
    sentinels: Sentinels, make: Callable[..., RunAt], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    queue, stopped = make(sentinels.url), make(sentinels.url, queue_name="stopped")
    got: list[str] = []
    queue.subscribe(got.append)
    stopped.subscribe(print)
    queue.schedule("first", 0)
    stopped.schedule("first", timedelta(hours=1))
    wait_until(lambda: got, "the first key came")
    assert len(askers()) == 2
    for sentinel in sentinels.sentinels:
        sentinel.freeze()
    with questions(monkeypatch) as waited:

        def is_warned() -> list[str]:
            queue.schedule(f"key {len(got)}", 0)
            return [text for text in caplog.messages if "stays with the primary" in text]

        wait_until(lambda: len(is_warned()) == 2, "each queue warns of it once")
    assert len(waited) < 5, "of hundreds of calls; a question may be late where the machine is busy"
    assert len(is_warned()) == 2
    stopped.stop()
    assert len(askers()) == 1, "promise 14: `stop` does not wait for them, and no thread stays"
    for sentinel in sentinels.sentinels:
        sentinel.kill()
        sentinel.start()
    old = sentinels.primary
    new = kill(sentinels)
    assert new is not old
    writes(queue, "a key")
    before = len(got)
    wait_until(lambda: len(got) > before or not queue.schedule("last", 0), "keys come again")
    assert len(is_warned()) == 2


def askers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "rx_runat sentinel"]


def writes(queue: RunAt, key: str) -> None:
    """Write as soon as it is possible."""
    with contextlib.suppress(OutcomeUnknown):
        in_time(lambda: queue.schedule(key, 0))
        return
    in_time(lambda: queue.schedule(key, 0))


def test_25_a_frozen_sentinel_delays_no_failover_and_a_queue_may_be_made_meanwhile(
    sentinels: Sentinels, make: Callable[..., RunAt]
) -> None:
    queue = make(sentinels.url)
    got: list[str] = []
    queue.subscribe(got.append)
    writes(queue, "before")
    sentinels.sentinels[0].freeze()  # the one that was asked first
    old = sentinels.primary
    old.kill()
    late = make(sentinels.url, queue_name="late")
    late_got: list[str] = []
    late.subscribe(late_got.append)
    with pytest.raises(Unavailable):
        late.schedule("refused", 0)
    sentinels.wait_for_new_primary(old)
    writes(queue, "after")
    writes(late, "after")
    wait_until(lambda: "after" in got and late_got == ["after"], "keys come from the new primary")


# What is wrong at the start, in words.


def test_25_a_wrong_name_is_refused_at_once_and_no_sentinel_is_survived(
    sentinels: Sentinels, make: Callable[..., RunAt]
) -> None:
    ended: list[Exception] = []
    wrong = make(sentinels.url.replace("/mymaster", "/another"))
    wrong.subscribe(print, ended.append)
    with pytest.raises(Refused, match="knows no primary named 'another'"):
        wrong.schedule("a", 0)
    wait_until(lambda: ended, "the stream ends")
    assert isinstance(ended[0], Refused)
    for sentinel in sentinels.sentinels:
        sentinel.kill()
    queue = make(sentinels.url)
    got: list[str] = []
    queue.subscribe(got.append, ended.append)
    with pytest.raises(Unavailable, match="says where the primary is: nothing answers"):
        queue.schedule("a", 0)
    sentinels.sentinels[1].start()
    writes(queue, "a")
    wait_until(lambda: got == ["a"], "it goes on by itself")
    assert len(ended) == 1


def test_25_passwords_are_used_for_both_and_wrong_ones_refused_in_words(
    own_sentinels: Callable[..., Sentinels], make: Callable[..., RunAt], caplog: pytest.LogCaptureFixture
) -> None:
    started = own_sentinels(user="worker", password="a/b#c", sentinel_password="watch/1", min_replicas=1)
    said: list[str] = []
    for right, wrong in (("a%2Fb%23c", "hidden1"), ("sentinel_password=watch/1", "sentinel_password=hidden2")):
        assert right in started.url
        queue = make(started.url.replace(right, wrong))
        with pytest.raises(Refused, match="refuses our user or password") as refused:
            queue.schedule("a", 0)
        said += [str(refused.value), repr(queue)]
    queue = make(started.url)
    got: list[str] = []
    queue.subscribe(got.append)
    writes(queue, "before")
    # Without a replica, what a primary still took would be lost in a failover: so it takes nothing.
    for node in started.replicas:
        node.freeze()
    old = started.primary
    old.call("CLIENT", "KILL", "TYPE", "replica")
    with pytest.raises(Unavailable, match="NOREPLICAS"):
        queue.schedule("refused", 0)
    for node in started.nodes:
        node.thaw()
    wait_until(lambda: old.info("replication")["connected_slaves"] == "2", "the replicas are back")
    writes(queue, "between")
    kill(started)
    writes(queue, "after")
    wait_until(lambda: set(got) == {"before", "between", "after"}, "keys come")
    said += caplog.messages
    assert not [text for text in said if any(each in text for each in ("hidden", "a/b#c", "a%2Fb", "watch"))]


def test_25_tls_is_spoken_to_both(own_sentinels: Callable[..., Sentinels], make: Callable[..., RunAt]) -> None:
    started = own_sentinels(tls=True, password="secret", sentinel_password="watch")
    queue = make(started.url)
    got: list[str] = []
    queue.subscribe(got.append)
    writes(queue, "a")
    wait_until(lambda: got == ["a"], "it comes")
    with pytest.raises(Refused, match=r"the certificate of the Sentinel .* is not trusted") as refused:
        make(started.url.partition("?")[0] + "?sentinel_password=watch").schedule("a", 0)
    assert not [secret for secret in ("secret", "watch") if secret in str(refused.value)]


# Threads, connections, forks.


def test_14_many_queues_leave_no_thread_and_no_connection(sentinels: Sentinels) -> None:
    def connections() -> int:
        processes = (*sentinels.sentinels, sentinels.primary)
        clients = [str(each.call("CLIENT", "LIST")).splitlines() for each in processes]
        return sum("name=ours" in client for each in clients for client in each)

    queues = [RunAt(f"{sentinels.url}?client_name=ours", queue_name=f"queue {number}") for number in range(50)]
    got: list[str] = []
    for queue in queues:
        queue.subscribe(got.append)
        queue.schedule("a", 0)
    wait_until(lambda: len(got) == 50, "all keys came")
    assert connections() >= 100
    stopping = [threading.Thread(target=queue.stop) for queue in queues]
    for each in stopping:
        each.start()
    for each in stopping:
        each.join()
    assert not [each for each in threading.enumerate() if each.name.startswith("rx_runat")]
    wait_until(lambda: not connections(), "no connection is left")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_24_a_forked_child_finds_the_primary_by_itself(sentinels: Sentinels, make: Callable[..., RunAt]) -> None:
    queue = make(sentinels.url)
    got: list[str] = []
    queue.subscribe(got.append)
    writes(queue, "a")

    def child() -> bool:
        queue.schedule("b", timedelta(hours=1))
        return queue.cancel("b")

    assert in_child(child) is True
    writes(queue, "c")
    wait_until(lambda: got == ["a", "c"], "the parent goes on")
