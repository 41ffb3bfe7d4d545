"""Every way of saying where Redis is, on real Sentinels and real clusters of each kind of server."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.sentinel
import redis.cluster
import redis.sentinel
import valkey
import valkey.asyncio
import valkey.cluster
import valkey.sentinel

from rx_runat import Job, Refused, RunAt
from tests.support.clusters import Cluster
from tests.support.node import HOST, Node
from tests.support.providers import USER, Rotated, Streaming
from tests.support.sentinels import Sentinels
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

KINDS = ["valkey-9", "redis-6.2", "redis-7"]
PAST = 1.0
FIRST, SECOND = "first-secret", "second-secret"


def passes(target: Any) -> None:
    """Keys go through a queue, and a bare write of another client wakes its source."""
    got: list[str] = []
    heard: list[Exception] = []
    with RunAt(target, interval=60) as queue:
        queue.errors.subscribe(heard.append)
        queue.on_next([Job("a", PAST), Job("🐢", PAST + 1)])
        plain = queue.subscribe(got.append, heard.append)
        wait_until(lambda: got == ["a", "🐢"], "the keys came")
        queue._store._client.call("ZADD", "RunAt~default", "500", "b")
        wait_until(lambda: got[2:] == ["b"], "the key of another client came")
        plain.dispose()
        queue.claims().subscribe(lambda claim: got.append(claim.key) if claim.ack() else None, heard.append)
        queue.schedule("c", PAST)
        wait_until(lambda: got[3:] == ["c"], "the claim came, and was acked")
    assert heard == []


def values_of(client: Any) -> Any:
    """The settings of a client, and of the pools below it."""
    nodes = getattr(client, "nodes_manager", None)
    if nodes is None:
        return dict(client.connection_pool.connection_kwargs), client.connection_pool.connection_class
    kept = getattr(client, "connection_kwargs", None) or nodes.connection_kwargs
    return dict(kept), sorted(nodes.startup_nodes), sorted(nodes.nodes_cache)


@contextlib.contextmanager
def left_alone(client: Any, nodes: list[Any]) -> Iterator[None]:
    """The user's client has the same settings and the same connections afterwards, and no others are left."""
    before, open_before = copy.copy(values_of(client)), connections(nodes)
    yield
    assert values_of(client) == before
    wait_until(lambda: connections(nodes) == open_before, "our connections are closed, and no other ones")


def connections(nodes: list[Any], user: str | None = None) -> set[tuple[int, str]]:
    """The ids of the connections of clients, each with the port of its server.

    Those between the servers are left out: replicas and Sentinels renew theirs when they like.
    """
    found: set[tuple[int, str]] = set()
    for node in nodes:
        if node.is_running:
            with node.client() as client:
                own, listed = client.client_id(), client.client_list()
            clients = [each for each in listed if each["id"] != str(own) and not is_of_a_server(each)]
            found |= {(node.port, each["id"]) for each in clients if user in (None, each.get("user"))}
    return found


def is_of_a_server(listed: dict[str, str]) -> bool:
    """Whether a line of CLIENT LIST is of a replica (flag S), of its primary (M) or of a Sentinel, which has a name."""
    return bool({"S", "M"} & set(listed["flags"])) or listed["name"].startswith("sentinel-")


def announces_itself(connection: Any) -> None:
    connection.send_command("CLIENT", "SETNAME", "announced")
    connection.read_response()


# Cluster.

ON_CLUSTER: dict[str, Callable[[Cluster], Any]] = {
    "a URL of all nodes": lambda cluster: cluster.url,
    "a URL of one node": lambda cluster: f"redis+cluster://{HOST}:{cluster.nodes[0].port}",
    "a URL of a replica": lambda cluster: f"redis+cluster://{HOST}:{cluster.replica_of('RunAt~default').port}",
    "a URL of Valkey": lambda cluster: cluster.url.replace("redis+", "valkey+") + "/0",
    "a URL of a server, which is another node": lambda cluster: other_node(cluster).url,
    "a client of a server, which is another node": lambda cluster: redis.Redis(port=other_node(cluster).port),
    "a client, by a host": lambda cluster: redis.RedisCluster(HOST, cluster.nodes[1].port),
    "a client, by nodes": lambda cluster: redis.RedisCluster(
        startup_nodes=[redis.cluster.ClusterNode(*address) for address in cluster.addresses]
    ),
    "a client, by a URL": lambda cluster: redis.RedisCluster.from_url(cluster.nodes[2].url, decode_responses=True),
    "a client that reads from replicas": lambda cluster: redis.RedisCluster(
        HOST, cluster.nodes[0].port, load_balancing_strategy=redis.cluster.LoadBalancingStrategy.ROUND_ROBIN
    ),
    "a client with a function that connects": lambda cluster: redis.RedisCluster(
        HOST, cluster.nodes[0].port, redis_connect_func=announces_itself
    ),
    "asyncio, by a host": lambda cluster: redis.asyncio.RedisCluster(HOST, cluster.nodes[1].port),
    "asyncio, by nodes": lambda cluster: redis.asyncio.RedisCluster(
        startup_nodes=[redis.asyncio.cluster.ClusterNode(*address) for address in cluster.addresses]
    ),
    "asyncio, by a URL": lambda cluster: redis.asyncio.RedisCluster.from_url(cluster.nodes[2].url),
    "valkey": lambda cluster: valkey.ValkeyCluster(HOST, cluster.nodes[1].port),
    "valkey, asyncio": lambda cluster: valkey.asyncio.ValkeyCluster(HOST, cluster.nodes[1].port),
}


def other_node(cluster: Cluster) -> Node:
    """A primary that does not have the slot of the queue."""
    return next(node for node in cluster.primaries if node is not cluster.node_of("RunAt~default"))


def test_every_way_to_a_cluster_gives_the_same_stream(cluster: Cluster) -> None:
    for form, make in ON_CLUSTER.items():
        target = make(cluster)
        with left_alone(target, cluster.nodes) if not isinstance(target, str) else contextlib.nullcontext():
            passes(target)
        if isinstance(target, redis.Redis | redis.RedisCluster | valkey.ValkeyCluster):
            target.close()
        assert [node.call("DBSIZE") for node in cluster.nodes] == [0] * 6, form


def test_a_function_that_connects_runs_on_our_connections_too(cluster: Cluster) -> None:
    with RunAt(redis.RedisCluster(HOST, cluster.nodes[0].port, redis_connect_func=announces_itself)) as queue:
        queue.size()
        assert b"name=announced" in queue._store._client.call("CLIENT", "INFO")


@pytest.mark.parametrize("settings", [{"kind": kind} for kind in KINDS] + [{"tls": True}], ids=[*KINDS, "tls"])
def test_a_cluster_of_each_kind_is_reached_with_a_password(
    own_cluster: Callable[..., Cluster], settings: dict[str, Any]
) -> None:
    started = own_cluster(user="me", password="a/b#c,d@e", **settings)
    login = started.nodes[0].access.settings()
    passes(started.url)
    passes(f"{started.nodes[0].url}")
    with redis.RedisCluster(HOST, started.nodes[0].port, **login) as client:
        passes(client)
    passes(redis.asyncio.RedisCluster(HOST, started.nodes[0].port, **login))
    with RunAt(started.url.replace("a%2F", "b%2F")) as queue, pytest.raises(Refused, match="password"):
        queue.size()


# Sentinel.


def managed(kind: Any, sentinels: Sentinels, **settings: Any) -> Any:
    return kind(sentinels.addresses, **settings).master_for(sentinels.name)


ON_SENTINELS: dict[str, Callable[[Sentinels], Any]] = {
    "a URL of all": lambda sentinels: sentinels.url,
    "a URL of one, with a database": lambda sentinels: (
        f"redis+sentinel://{HOST}:{sentinels.addresses[1][1]}/mymaster/3"
    ),
    "a URL of Valkey": lambda sentinels: sentinels.url.replace("redis+", "valkey+"),
    "a client": lambda sentinels: managed(redis.sentinel.Sentinel, sentinels),
    "a client that decodes": lambda sentinels: managed(redis.sentinel.Sentinel, sentinels, decode_responses=True, db=3),
    "asyncio": lambda sentinels: managed(redis.asyncio.sentinel.Sentinel, sentinels),
    "valkey": lambda sentinels: managed(valkey.sentinel.Sentinel, sentinels),
    "valkey, asyncio": lambda sentinels: managed(valkey.asyncio.Sentinel, sentinels),
}


def test_every_way_to_sentinels_gives_the_same_stream(sentinels: Sentinels) -> None:
    for form, make in ON_SENTINELS.items():
        target = make(sentinels)
        everywhere = [*sentinels.nodes, *sentinels.sentinels]
        with left_alone(target, everywhere) if not isinstance(target, str) else contextlib.nullcontext():
            passes(target)
        assert sentinels.primary.call("DBSIZE") == 0, form


@pytest.mark.parametrize("settings", [{"kind": kind} for kind in KINDS] + [{"tls": True}], ids=[*KINDS, "tls"])
def test_sentinels_of_each_kind_are_reached_with_passwords(
    own_sentinels: Callable[..., Sentinels], settings: dict[str, Any]
) -> None:
    started = own_sentinels(user="me", password="a/b#c,d@e", sentinel_password="watch@e,r", **settings)
    passes(started.url)
    login = started.primary.access.settings()
    asked = started.sentinels[0].access.settings()
    for kind in (redis.sentinel.Sentinel, redis.asyncio.sentinel.Sentinel):
        passes(managed(kind, started, sentinel_kwargs=asked, **login))
    with RunAt(started.url.replace("a%2F", "b%2F")) as queue, pytest.raises(Refused, match="password"):
        queue.size()
    with RunAt(started.url.partition("?sentinel_password")[0] if not settings.get("tls") else started.url) as queue:
        if settings.get("tls"):
            assert queue.size() == 0
        else:
            with pytest.raises(Refused, match=r"the Sentinel .* refuses"):
                queue.size()


# Credentials.


def each_node(started: Sentinels | Cluster, *command: str) -> None:
    for node in started.nodes:
        node.call("ACL", "SETUSER", USER, *command)


@contextlib.contextmanager
def with_user(started: Sentinels | Cluster) -> Iterator[None]:
    """USER has the password FIRST on each node."""
    each_node(started, "reset", "on", f">{FIRST}", "~*", "&*", "+@all")
    yield
    for node in started.nodes:
        node.call("ACL", "DELUSER", USER)


def targets_of(started: Sentinels | Cluster, provider: Any) -> list[Any]:
    if isinstance(started, Cluster):
        # The synchronous client connects when it is made, and keeps connections of its own.
        return [redis.asyncio.RedisCluster(*started.addresses[0], credential_provider=provider)]
    kinds = (redis.sentinel.Sentinel, redis.asyncio.sentinel.Sentinel)
    return [managed(kind, started, credential_provider=provider) for kind in kinds]


@pytest.mark.parametrize("form", ["sentinels", "cluster"])
def test_new_credentials_renew_connections_to_the_primary(form: str, request: pytest.FixtureRequest) -> None:
    started: Sentinels | Cluster = request.getfixturevalue(form)
    with with_user(started):
        for place in range(len(targets_of(started, None))):
            provider = Streaming(FIRST)
            each_node(started, "resetpass", f">{FIRST}")
            got: list[str] = []
            heard: list[Exception] = []
            with RunAt(targets_of(started, provider)[place], interval=60) as queue:
                queue.errors.subscribe(heard.append)
                queue.subscribe(got.append, heard.append)
                queue.schedule("a", PAST)
                wait_until(lambda got=got: got == ["a"], "the key came")
                wait_until(lambda: len(connections(started.nodes, USER)) >= 2, "the source watches")
                old = connections(started.nodes, USER)
                each_node(started, "resetpass", f">{SECOND}")
                provider.announce(SECOND)
                wait_until(lambda old=old: not old & connections(started.nodes, USER), "the old connections are closed")
                queue.schedule("b", PAST)
                wait_until(lambda got=got: got == ["a", "b"], "the next key came")
                assert heard == []


@pytest.mark.parametrize("form", ["sentinels", "cluster"])
def test_25_the_next_primary_is_told_the_password_of_the_moment(form: str, request: pytest.FixtureRequest) -> None:
    started: Sentinels | Cluster = request.getfixturevalue(form)
    with with_user(started):
        provider = Rotated(FIRST)
        got: list[str] = []
        with RunAt(targets_of(started, provider)[0], interval=0.1) as queue:
            queue.subscribe(got.append)
            queue.schedule("a", PAST)
            wait_until(lambda: got == ["a"], "the key came")
            each_node(started, "resetpass", f">{SECOND}")
            provider.password = SECOND
            if isinstance(started, Cluster):
                old = started.node_of("RunAt~default")
                started.failover("RunAt~default")
                started.wait_for_new_primary("RunAt~default", old)
            else:
                old = started.primary
                started.failover()
                started.wait_for_new_primary(old)

            def written() -> bool:
                with contextlib.suppress(Exception):
                    queue.schedule("b", PAST)
                    return True
                return False

            wait_until(written, "the new primary takes writes")
            wait_until(lambda: "b" in got, "the key came")
