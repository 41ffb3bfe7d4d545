"""The route to a slot's primary, on nodes that answer as a test says: what it asks, whom it believes, where it goes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.exceptions import MovedError

from rx_runat.errors import Refused, StoreError, Unavailable
from rx_runat.store import search, slot_route
from rx_runat.store.address import Address
from rx_runat.store.connection import OwnPool
from rx_runat.store.route import Settings
from rx_runat.store.slot_route import SlotRoute
from tests.support.waiting import wait_until

Q = "RunAt~default"  # its slot is 9030
SETTINGS = Settings(redis.Connection, {})
A, B, C, D, E, F = (("10.0.0.1", port) for port in range(1, 7))


def node(host: str | None, port: int, *facts: Any) -> list[Any]:
    return [host if host is None else host.encode(), port, b"id", *facts]


def shards(primary: tuple[str, int], *others: tuple[str, int]) -> list[Any]:
    """Returns a reply to CLUSTER SLOTS: the slot's shard is A, B and C, and its primary is as told."""
    shard = [primary, *(each for each in (A, B, C) if each != primary)]
    return [[0, 5000, node(*D)], [5001, 12_000, *(node(*each) for each in shard)], [12_001, 16_383, node(*E), node(*F)]]


class Cluster:
    """What each node answers, and who was asked."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, int], Any] = dict.fromkeys((A, B, C, D, E, F), shards(A))
        self.asked: list[tuple[str, int]] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.pools: list[OwnPool] = []

    def ask(self, pool: OwnPool, _: str, command: tuple[str, ...]) -> list[Any]:
        assert command == ("CLUSTER", "SLOTS")
        address = pool.connection_kwargs["host"], pool.connection_kwargs["port"]
        self.asked.append(address)
        self.pools.append(pool)
        self.meanwhile()
        answer = self.answers.get(address, Unavailable("no such node"))
        if isinstance(answer, StoreError):
            raise answer
        return [answer]

    def asks(self) -> list[tuple[str, int]]:
        """Returns who was asked since the last time, and forgets it."""
        asked, self.asked = self.asked, []
        return asked


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    monkeypatch.setattr(slot_route, "ask", cluster.ask)
    monkeypatch.setattr(slot_route, "_GOOD_SECONDS", -1.0)  # but for one test, each search is a new one
    return cluster


def place(pool: OwnPool) -> tuple[str, int]:
    return pool.connection_kwargs["host"], pool.connection_kwargs["port"]


def moved(address: tuple[str, int]) -> MovedError:
    return MovedError(f"9030 {address[0]}:{address[1]}")


def test_nothing_is_asked_before_the_first_call_and_one_node_is_enough(nodes: Cluster) -> None:
    route = SlotRoute(SETTINGS, [E, D], Q)
    assert nodes.asks() == []
    pool = route.pool()
    assert (place(pool), nodes.asks(), pool.generation) == (A, [E], 0)
    assert route.pool() is pool
    assert nodes.asks() == []
    assert all(each.has_ended for each in nodes.pools)


def test_a_lost_primary_is_not_asked_and_the_nodes_of_its_shard_come_first(nodes: Cluster) -> None:
    route = SlotRoute(SETTINGS, [D], Q)
    first = route.pool()
    nodes.asks()
    nodes.answers[B] = shards(B)
    route.lost(first)
    assert place(route.pool()) == B
    assert nodes.asks() == [B]
    assert (route.generation, route.pool().generation, first.has_ended) == (1, 1, True)


def test_a_node_that_is_cut_off_and_names_the_lost_primary_is_not_believed(nodes: Cluster) -> None:
    route = SlotRoute(SETTINGS, [D], Q)
    first = route.pool()
    nodes.answers[C] = shards(C)
    route.lost(first)
    assert place(route.pool()) == C
    assert nodes.asks() == [D, B, C]


def test_a_primary_that_all_nodes_name_is_tried_again(nodes: Cluster) -> None:
    route = SlotRoute(SETTINGS, [D], Q)
    first = route.pool()
    nodes.asks()
    for _ in range(2):
        route.lost(first)
        assert route.pool() is first
        asked = nodes.asks()
        assert len(asked) == 3
        assert A not in asked
    assert (route.generation, first.has_ended) == (0, False)


def test_a_primary_that_alone_answers_is_asked_last(nodes: Cluster) -> None:
    route = SlotRoute(SETTINGS, [D], Q)
    first = route.pool()
    nodes.asks()
    for each in (B, C, D, E, F):
        nodes.answers[each] = Unavailable("silent")
    route.lost(first)
    assert route.pool() is first
    assert nodes.asks()[-1] == A


def test_a_node_that_was_silent_is_asked_after_the_others_until_it_answers(nodes: Cluster) -> None:
    route = SlotRoute(SETTINGS, [D], Q)
    first = route.pool()
    nodes.answers[B] = Unavailable("silent")
    nodes.asks()
    route.lost(first)
    assert route.pool() is first
    assert nodes.asks()[0] == B
    route.lost(first)
    assert route.pool() is first
    assert B not in nodes.asks()
    for each in (C, D, E, F):
        nodes.answers[each] = Unavailable("silent")
    nodes.answers[B] = shards(B)
    route.lost(first)
    assert place(route.pool()) == B
    route.lost(route.pool())
    nodes.asks()
    nodes.answers[A] = shards(C)
    assert place(route.pool()) == C
    assert nodes.asks()[0] == A


def test_a_thousand_threads_that_lose_the_primary_at_once_ask_once(
    nodes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_route, "_GOOD_SECONDS", 60.0)
    route = SlotRoute(SETTINGS, [D], Q)
    waiting: list[int] = []
    pools: list[OwnPool] = []
    nodes.meanwhile = lambda: wait_until(lambda: len(waiting) == 1000, "all threads need the primary")

    def need() -> None:
        waiting.append(1)
        pools.append(route.pool())

    threads = [threading.Thread(target=need) for _ in range(1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert nodes.asks() == [D]
    assert len({id(pool) for pool in pools}) == 1
    for _ in range(1000):  # each of them sees that it does not answer, and tells so
        route.lost(pools[0])
        assert route.pool() is pools[0]
    assert nodes.asks() == []


def test_each_caller_gets_an_error_of_its_own_from_a_search_in_vain(
    nodes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_route, "_GOOD_SECONDS", 60.0)
    nodes.answers[D] = nodes.answers[E] = Unavailable("silent")
    route = SlotRoute(SETTINGS, [D, E], Q)
    errors: list[Unavailable] = []
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"nobody at .* says where the primary is: silent") as caught:
            route.pool()
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert nodes.asks() == [D, E]


def test_a_search_that_a_signal_ends_leaves_nobody_waiting(nodes: Cluster) -> None:
    route = SlotRoute(SETTINGS, [D], Q)

    def interrupt() -> None:
        nodes.meanwhile = lambda: None
        raise KeyboardInterrupt

    nodes.meanwhile = interrupt
    with pytest.raises(KeyboardInterrupt):
        route.pool()
    assert place(route.pool()) == A


def test_a_signal_handler_that_interrupts_a_search_searches_by_itself(nodes: Cluster) -> None:
    route = SlotRoute(SETTINGS, [D], Q)
    found: list[OwnPool] = []

    def handle() -> None:
        nodes.meanwhile = lambda: None
        found.append(route.pool())

    nodes.meanwhile = handle
    assert route.pool() is found[0]
    assert nodes.asks() == [D, D]


def test_a_handler_of_the_log_may_use_the_route(nodes: Cluster) -> None:
    route = SlotRoute(SETTINGS, [D], Q)
    first = route.pool()
    nodes.answers = dict.fromkeys(nodes.answers, shards(C))

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if route.generation == 1:
                route.lost(route.pool())
                assert place(route.pool()) == C

    handler = Handler()
    logging.getLogger("rx_runat").addHandler(handler)
    try:
        route.moved(moved(B), first)
    finally:
        logging.getLogger("rx_runat").removeHandler(handler)
    assert (place(route.pool()), route.generation) == (C, 2)


def test_where_three_nodes_know_nothing_new_others_are_asked_next_time(nodes: Cluster) -> None:
    route = SlotRoute(SETTINGS, [D], Q)
    first = route.pool()
    nodes.answers[F] = shards(B)
    searches = 0
    while route.generation == 0:
        route.lost(first)
        route.pool()
        searches += 1
        assert searches < 5
    assert place(route.pool()) == B


def test_a_search_among_many_silent_nodes_ends_and_the_next_one_asks_the_others(
    nodes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    for module in (slot_route, search):
        monkeypatch.setattr(module, "monotonic", lambda: clock[0])
    silent = [("10.0.0.2", port) for port in range(20)]

    def wait() -> None:
        clock[0] += 2.0 if nodes.asked[-1] in silent else 0.0

    nodes.meanwhile = wait
    route = SlotRoute(SETTINGS, [*silent, D], Q)
    with pytest.raises(Unavailable):
        route.pool()
    assert len(nodes.asks()) == 3
    for _ in range(5):
        with pytest.raises(Unavailable):
            route.pool()
    assert place(route.pool()) == A


def test_what_a_refusal_says_reaches_the_caller(nodes: Cluster) -> None:
    nodes.answers[E] = Unavailable("silent")
    nodes.answers[D] = Refused("10.0.0.1:4 refuses our user or password: wrong")
    with pytest.raises(Refused, match="user or password: wrong"):
        SlotRoute(SETTINGS, [D, E], Q).pool()
    nodes.answers[D] = Refused("10.0.0.1:4 refuses: This instance has cluster support disabled")
    with pytest.raises(Refused, match=r"^redis://10\.0\.0\.1:4 is no node of a cluster; "):
        SlotRoute(SETTINGS, [D, E], Q).pool()


def test_a_node_that_has_left_the_cluster_makes_nobody_forget_the_others(nodes: Cluster) -> None:
    route = SlotRoute(SETTINGS, [D], Q)
    first = route.pool()
    for each in (B, C, E, F):
        nodes.answers[each] = Unavailable("silent")
    nodes.answers[D] = []
    route.lost(first)
    assert route.pool() is first  # the only one that answers, and names itself
    nodes.answers[C] = shards(C)
    route.lost(first)
    assert place(route.pool()) == C


def test_moved_is_followed_without_a_question(nodes: Cluster) -> None:
    route = SlotRoute(SETTINGS, [D], Q)
    first = route.pool()
    nodes.asks()
    assert route.moved(moved(B), first) is route
    assert (place(route.pool()), route.generation, first.has_ended) == (B, 1, True)
    assert nodes.asks() == []


def test_moved_of_a_former_primary_is_not_followed(nodes: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    route = SlotRoute(SETTINGS, [D], Q)
    first = route.pool()
    route.moved(moved(B), first)
    second = route.pool()
    for _ in range(100):  # so many calls were under way
        route.moved(moved(C), first)
    assert route.pool() is second
    assert (route.generation, len(caplog.records)) == (1, 1)


def test_the_result_of_a_search_does_not_undo_a_newer_move(nodes: Cluster) -> None:
    route = SlotRoute(SETTINGS, [D], Q)
    first = route.pool()
    nodes.meanwhile = lambda: route.moved(moved(C), first)
    nodes.answers[B] = shards(B)
    route.lost(first)
    assert place(route.pool()) == C
    assert route.generation == 1


def test_a_loss_of_a_former_primary_changes_nothing(nodes: Cluster) -> None:
    route = SlotRoute(SETTINGS, [D], Q)
    first = route.pool()
    route.moved(moved(B), first)
    nodes.asks()
    route.lost(first)
    assert place(route.pool()) == B
    assert nodes.asks() == []


@pytest.mark.parametrize("host", [None, ""])
def test_a_host_that_is_not_told_is_the_one_that_was_asked(nodes: Cluster, host: str | None) -> None:
    nodes.answers[D] = [[0, 16_383, node(host, 7000), node(host, 7001)]]
    route = SlotRoute(SETTINGS, [D], Q)
    first = route.pool()
    assert place(first) == ("10.0.0.1", 7000)
    route.moved(MovedError("9030 :7002"), first)
    assert place(route.pool()) == ("10.0.0.1", 7002)


@pytest.mark.parametrize("facts", [{b"ip": b"10.0.0.7"}, [b"ip", b"10.0.0.7"]], ids=["RESP3", "RESP2"])
def test_a_node_that_does_not_know_its_name_is_found_by_its_ip_address(nodes: Cluster, facts: object) -> None:
    nodes.answers[D] = [[0, 16_383, node("?", 7000, facts)]]
    route = SlotRoute(SETTINGS, [D], Q)
    assert place(route.pool()) == ("10.0.0.7", 7000)


def test_a_node_that_does_not_know_its_name_and_tells_no_ip_address_is_where_it_was_asked(nodes: Cluster) -> None:
    nodes.answers[D] = [[0, 16_383, node("?", 7000, [])]]
    assert place(SlotRoute(SETTINGS, [D], Q).pool()) == ("10.0.0.1", 7000)


def test_moved_to_a_node_without_a_name_is_followed_by_a_search(nodes: Cluster) -> None:
    route = SlotRoute(SETTINGS, [D], Q)
    first = route.pool()
    nodes.answers[B] = [[0, 16_383, node("?", 7000, {b"ip": b"10.0.0.7"})]]
    route.moved(MovedError("9030 ?:7000"), first)
    assert place(route.pool()) == ("10.0.0.7", 7000)


def test_a_plain_address_becomes_a_route_to_the_slot_and_keeps_its_settings(
    nodes: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    address = Address(SETTINGS.but(host="10.0.0.1", port=4, socket_timeout=9), Q)
    before = address.pool()
    address.shorten_timeout(0.5)
    route = address.moved(moved(A), address.pool())
    assert isinstance(route, SlotRoute)
    assert (place(route.pool()), route.generation, before.has_ended) == (A, 1, True)
    assert route.pool().connection_kwargs["socket_timeout"] == 0.5
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "is one node of a cluster" in caplog.text
    route.lost(route.pool())
    nodes.answers[D] = shards(D)
    route.pool()
    assert D in nodes.asks()  # the address that the user gave is a node like others


def test_a_unix_socket_of_a_node_becomes_a_route_to_the_slot(nodes: Cluster) -> None:
    address = Address(Settings(redis.UnixDomainSocketConnection, {"path": "/run/node.sock", "password": "x"}), Q)
    route = address.moved(moved(B), address.pool())
    assert route is not None
    assert place(route.pool()) == B
    assert isinstance(route.pool().make_connection(), redis.Connection)


def test_a_closed_route_asks_nobody(nodes: Cluster) -> None:
    route = SlotRoute(SETTINGS, [D, E], Q)
    nodes.meanwhile = route.close
    nodes.answers[D] = Unavailable("cut")
    with pytest.raises(Unavailable):
        route.pool()
    assert nodes.asks() == [D]


def test_a_silent_node_is_not_waited_for_longer_than_a_primary(nodes: Cluster) -> None:
    SlotRoute(SETTINGS.but(socket_timeout=30), [D], Q).pool()
    SlotRoute(SETTINGS.but(socket_timeout=0.5), [D], Q).pool()
    assert [pool.connection_kwargs["socket_timeout"] for pool in nodes.pools] == [2.0, 0.5]
