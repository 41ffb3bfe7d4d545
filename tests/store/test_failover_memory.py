"""What a queue remembers of one server is not believed of the next one."""

from __future__ import annotations

from typing import cast

import pytest
import redis
from redis.exceptions import MovedError

from rx_runat import Job, Refused
from rx_runat.store import primary, sentinel_route, sentinels
from rx_runat.store.address import Address
from rx_runat.store.connect import connect
from rx_runat.store.connection import DedicatedConnection
from rx_runat.store.eviction import EvictionCheck
from rx_runat.store.redis_store import RedisStore
from rx_runat.store.route import Settings
from rx_runat.store.slot_route import SlotRoute
from tests.support.failovers import FailoverClient
from tests.support.leases import LEASE
from tests.support.redis_content import content, entries, put
from tests.support.servers import Server
from tests.support.stores import MS, Clock, Q, T
from tests.support.waiting import wait_until


def test_25_a_generation_is_never_ahead_of_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or what the former primary replied would count as known by the new one."""
    route = SlotRoute(Settings(redis.Connection, {}), [("here", 1)], Q)
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(primary, "warn", lambda *_: seen.append((route.generation, route.pool().generation)))
    pool = route.settings.at("here", 1).pool()
    for host in ("here", "there", "here"):
        route.moved(MovedError(f"1 {host}:1"), pool)
        pool = route.pool()
        seen.append((route.generation, route.pool().generation))
    assert seen == [(0, 0), (1, 1), (1, 1), (2, 2), (2, 2)]


def test_25_a_primary_that_became_one_anew_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two failovers, there and back, of which nobody heard: what the primary did before, it may lack now."""
    epoch = 1

    def ask(pool: object, where: str, *commands: tuple[str, ...]) -> list[object]:
        says = {"GET-MASTER-ADDR-BY-NAME": [b"here", b"1"], "MASTER": [b"config-epoch", b"%d" % epoch]}
        return [says[command[1]] for command in commands]

    monkeypatch.setattr(sentinels, "ask", ask)
    settings = Settings(redis.Connection, {})
    route = sentinel_route.SentinelRoute(settings, settings, [("sentinel", 1)], "mymaster")
    first = route.pool()
    route.lost(first)
    assert route.pool() is first
    epoch = 3
    route.lost(first)
    wait_until(lambda: route.pool() is not first, "the connections are new")
    assert first.has_ended
    assert (route.generation, route.pool().generation) == (1, 1)
    route.close()


def test_25_each_primary_is_asked_whether_it_tracks_reads(failing: FailoverClient) -> None:
    store = RedisStore(failing, Q)
    refuses = False

    class Connection:
        def call(self, *command: str) -> bytes:
            if refuses and command[0] == "CLIENT":
                raise Refused("no tracking here")
            return b""

        def close(self) -> None: ...

    failing.open = Connection  # type: ignore[method-assign, assignment]
    for refuses in (False, True, False):
        failing.sent.clear()
        store.schedule([Job("a", T)], "last")
        store.schedule([Job("a", T)], "last")
        assert [command[0] for command in failing.sent].count("PUBLISH") == (2 if refuses else 0)
        failing.fail_over()


def test_25_each_primary_is_asked_whether_it_may_evict(
    failing: FailoverClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Connection:
        def call(self, *_: str) -> bytes:
            return b"maxmemory_policy:allkeys-lru"

    check = EvictionCheck(failing)
    connection = cast("DedicatedConnection", Connection())
    for warned in (1, 2):
        check.warn_once(connection)
        check.warn_once(connection)
        assert len(caplog.records) == warned
        failing.fail_over()


def test_25_a_new_primary_that_lacks_the_scripts_is_taught_them(server: Server, clock: Clock) -> None:
    client = connect(server.url).client
    store = RedisStore(client, Q, clock)
    put(client, ("a", MS - 2), ("b", MS - 1))
    plain_claimer, leasing_claimer = store.plain_claimer(), store.leasing_claimer(LEASE)
    mine, leased = entries(plain_claimer.claim(1)), leasing_claimer.claim(1)
    client.call("SCRIPT", "FLUSH")
    route = cast("Address", client.route)
    route.generation += 1
    route.pool().generation = route.generation
    plain_claimer.hand_back(mine)
    leasing_claimer.hand_back(entries(leased))
    assert [member for member, _ in content(client)] == [b"a", b"b"]
    client.close()
