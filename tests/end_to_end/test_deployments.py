"""The deployments that other tests use do what those tests count on: seen with redis-py alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.support.clusters import Cluster
from tests.support.node import Node
from tests.support.sentinels import Sentinels
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

KINDS = ["valkey-9", "redis-6.2", "redis-7"]
TWO_KEYS = ("EVAL", "return {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])}", 2, "{q}a", "{q}b")


def refusal(node: Node, *command: str | int) -> str:
    """Returns the first word of what the node refuses the command with."""
    with pytest.raises(redis.RedisError) as caught:
        node.call(*command)
    kinds = {redis.exceptions.AskError: "ASK", redis.exceptions.MovedError: "MOVED"}
    kinds |= {redis.exceptions.TryAgainError: "TRYAGAIN"}
    return kinds.get(type(caught.value), str(caught.value))


def test_sentinel_names_a_new_primary_when_the_old_one_is_killed(sentinels: Sentinels) -> None:
    old = sentinels.primary
    with sentinels.client() as client:
        client.set("a", "1")
        client.wait(2, 5000)
    old.kill()
    new = sentinels.wait_for_new_primary(old)
    assert new in sentinels.nodes
    assert new is sentinels.primary is not old
    with sentinels.client() as client:
        assert client.get("a") == b"1"
        client.set("a", "2")


def test_sentinel_names_a_new_primary_when_the_old_one_is_frozen_and_reset_thaws_it(sentinels: Sentinels) -> None:
    old = sentinels.primary
    old.freeze()
    new = sentinels.wait_for_new_primary(old)
    with new.client() as client:
        client.set("a", "1")
    sentinels.reset()
    assert sentinels.primary is new
    assert old in sentinels.replicas
    assert [node.call("DBSIZE") for node in sentinels.nodes] == [0, 0, 0]


def test_sentinel_changes_the_primary_by_order_there_and_back(sentinels: Sentinels) -> None:
    first = sentinels.primary
    with sentinels.client() as client:
        client.set("a", "1")
    sentinels.failover()
    second = sentinels.wait_for_new_primary(first)
    with sentinels.client() as client:
        assert client.get("a") == b"1"
    sentinels.failover()
    assert sentinels.wait_for_new_primary(second) is not second


def test_reset_heals_dead_replicas_and_frozen_sentinels(sentinels: Sentinels) -> None:
    with sentinels.client() as client:
        client.set("a", "1")
    for node in sentinels.replicas:
        node.kill()
    sentinels.sentinels[0].freeze()
    sentinels.sentinels[1].kill()
    sentinels.reset()
    assert all(process.is_running for process in (*sentinels.nodes, *sentinels.sentinels))
    assert [node.call("DBSIZE") for node in sentinels.nodes] == [0, 0, 0]
    sentinels.primary.kill()
    sentinels.wait_for_new_primary(sentinels.primary)


@pytest.mark.parametrize("kind", KINDS)
def test_sentinels_ask_for_the_passwords_that_they_were_given(
    own_sentinels: Callable[..., Sentinels], kind: str
) -> None:
    started = own_sentinels(kind=kind, user="worker", password="a/b#c", sentinel_password="watch", min_replicas=1)
    old = started.primary
    assert started.url.startswith("redis+sentinel://worker:a%2Fb%23c@127.0.0.1:")
    for node in (old, started.sentinels[0]):
        with node.client(username=None, password=None) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
    started.set_password("another")
    old.kill()
    with started.wait_for_new_primary(old).client() as client:
        assert client.set("a", "1") is True
    started.reset()


def test_sentinels_speak_tls(own_sentinels: Callable[..., Sentinels]) -> None:
    started = own_sentinels(tls=True, password="secret")
    old = started.primary
    assert started.url.startswith("rediss+sentinel://:secret@")
    with redis.Redis.from_url(old.url) as client:
        assert client.set("a", "1") is True
        client.wait(2, 5000)
    with old.client(ssl=False) as client, pytest.raises(redis.ConnectionError):
        client.ping()
    old.kill()
    with started.wait_for_new_primary(old).client() as client:
        assert client.get("a") == b"1"


@pytest.mark.parametrize("ordered", [True, False], ids=["ordered", "killed"])
def test_the_replica_of_a_slot_becomes_its_primary(cluster: Cluster, ordered: bool) -> None:
    old, replica = cluster.node_of("{q}a"), cluster.replica_of("{q}a")
    with old.client() as client:
        client.set("{q}a", "1")
        client.wait(1, 5000)
    if ordered:
        cluster.failover("{q}a")
    else:
        old.kill()
    new = cluster.wait_for_new_primary("{q}a", old)
    assert new is replica is cluster.node_of("{q}a")
    assert new.call("GET", "{q}a") == "1"
    if ordered:
        assert refusal(old, "SET", "{q}a", "2") == "MOVED"
    cluster.reset()
    assert all(node.is_running for node in cluster.nodes)
    assert len(cluster.primaries) == 3
    assert [node.call("DBSIZE") for node in cluster.nodes] == [0] * 6


def test_a_slot_moves_key_by_key(cluster: Cluster) -> None:
    source = cluster.node_of("{q}a")
    for key in ("{q}a", "{q}b", "{q}c"):
        source.call("SET", key, "1")
    migration = cluster.begin_migration("{q}a")
    assert migration.source is source is cluster.node_of("{q}a")
    assert source.call(*TWO_KEYS) == ["1", "1"]
    assert migration.move("{q}a") is True
    assert migration.move("{q}a") is False
    assert refusal(source, *TWO_KEYS) == "TRYAGAIN"
    assert refusal(source, "GET", "{q}a") == "ASK"
    assert source.call("GET", "{q}b") == "1"
    assert refusal(migration.target, "GET", "{q}a") == "MOVED"
    with migration.target.client(single_connection_client=True) as client:
        client.execute_command("ASKING")
        with pytest.raises(redis.exceptions.TryAgainError):
            client.execute_command(*TWO_KEYS)
    assert migration.move_all() == 2
    migration.finish()
    assert cluster.node_of("{q}a") is migration.target is not source
    assert migration.target.call(*TWO_KEYS) == ["1", "1"]
    assert refusal(source, "GET", "{q}a") == "MOVED"
    cluster.reset()
    assert cluster.node_of("{q}a") is source


def test_reset_ends_a_migration_half_way_and_heals_a_frozen_shard(cluster: Cluster) -> None:
    source = cluster.node_of("{q}a")
    for key in ("{q}a", "{q}b"):
        source.call("SET", key, "1")
    cluster.begin_migration("{q}a").move("{q}a")
    for node in cluster.nodes[:2]:
        node.freeze()
    cluster.reset()
    assert cluster.client("{q}a").execute_command(*TWO_KEYS) == [None, None]
    assert [node.call("DBSIZE") for node in cluster.nodes] == [0] * 6


@pytest.mark.parametrize("settings", [{"kind": kind} for kind in KINDS] + [{"tls": True}], ids=[*KINDS, "tls"])
def test_a_cluster_asks_for_the_password_that_it_was_given(
    own_cluster: Callable[..., Cluster], settings: dict[str, object]
) -> None:
    started = own_cluster(user="worker", password="secret", **settings)
    old = started.node_of("{q}a")
    with redis.RedisCluster.from_url(old.url) as client:
        assert client.set("{q}a", "1") is True
        assert client.set("{another}", "2") is True
    migration = started.begin_migration("{q}a")
    migration.finish()
    assert migration.target.call("GET", "{q}a") == "1"
    started.set_password("another")
    started.failover("{q}a")
    assert started.wait_for_new_primary("{q}a", migration.target).call("GET", "{q}a") == "1"
    started.reset()


def test_a_test_process_that_is_killed_leaves_no_server() -> None:
    program = """
import os, signal
from tests.support.node import Node
node = Node()
node.start()
print(node.port, node.home, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, timeout=30)
    port, home = killed.stdout.split()
    wait_until(lambda: not Path(home).exists(), "the files of the server are removed")
    with redis.Redis(port=int(port), retry=None) as client, pytest.raises(redis.ConnectionError):
        client.ping()
