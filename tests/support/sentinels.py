"""A primary with two replicas, and three Sentinels that watch over them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis

from tests.support.node import HOST, Access, Node, access, fields
from tests.support.servers import program
from tests.support.waiting import wait_until

NAME = "mymaster"
_QUORUM = 2
# A promotion must be seen within this time, or the failover is given up; it is seen once a second. A vote that nobody
# won is held again after twice this time.
_FAILOVER_TIMEOUT_MS = 2000


class Sentinel(Node):
    """A process that watches over a primary. It keeps what it has learnt over `kill` and `start`."""

    def __init__(self, primary: Node, down_after_ms: int, program: str | None, access: Access) -> None:
        super().__init__(program=program, access=access)
        data = primary.access
        ports = [("port", "0"), ("tls-port", str(self.port))] if access.certificate else [("port", str(self.port))]
        monitor = {
            "down-after-milliseconds": down_after_ms,
            "failover-timeout": _FAILOVER_TIMEOUT_MS,
            "parallel-syncs": 2,
            "auth-user": data.user,
            "auth-pass": data.password,
        }
        lines = [
            *ports,
            *(("bind", HOST), ("dir", str(self.home)), ("logfile", str(self.home / "log"))),
            *access.tls_options(),
            *(
                [("requirepass", access.password), ("sentinel sentinel-pass", access.password)]
                if access.password
                else []
            ),
            ("sentinel monitor", f"{NAME} {HOST} {primary.port} {_QUORUM}"),
            *((f"sentinel {name} {NAME}", str(value)) for name, value in monitor.items() if value is not None),
        ]
        self._file = self.home / "sentinel.conf"  # the Sentinel writes into it what it learns
        self._file.write_text("".join(f"{name} {value}\n" for name, value in lines))

    def command(self) -> list[str]:
        assert self._program, "no server was found"
        return [self._program, str(self._file), "--sentinel"]

    def primary(self) -> dict[str, str]:
        """Returns what it knows of the primary."""
        return _pairs(self.call("SENTINEL", "MASTER", NAME))

    def others(self, kind: str) -> list[dict[str, str]]:
        """Returns what it knows of the "REPLICAS", or of the other "SENTINELS"."""
        return [_pairs(each) for each in self.call("SENTINEL", kind, NAME)]

    def primary_port(self) -> int:
        """Returns the port that it tells to clients."""
        return int(self.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1])

    def is_lost(self) -> bool:
        """Whether it has noticed a jump of the clock, as after a freeze, and does nothing for half a minute."""
        return fields(self.call("INFO", "sentinel"))["sentinel_tilt"] != "0"


class Sentinels:
    """One primary, two replicas and three Sentinels on this host, started and in step.

    Args:
        options: of the data nodes' command line.
        password: of the data nodes.
        user: whose password it is; None: the default user's.
        sentinel_password: of the Sentinels.
        tls: all of them speak TLS alone; this needs Redis 7, because the other kinds were built without it.
        kind: of server, a name of `PROGRAMS`; with TLS it does not count.
        min_replicas: so many replicas must have written lately, or the primary refuses writes.
        down_after_ms: after this silence a Sentinel holds a node for dead.

    Attributes:
        name: under which Sentinel knows the primary.
        nodes: the three data nodes; the first one began as the primary.
        sentinels: the three Sentinels.
    """

    name = NAME

    def __init__(
        self,
        *options: str,
        password: str | None = None,
        user: str | None = None,
        sentinel_password: str | None = None,
        tls: bool = False,
        kind: str = "valkey-9",
        min_replicas: int = 0,
        down_after_ms: int = 1000,
    ) -> None:
        path = program("redis-7" if tls else kind)
        self.home = Path(tempfile.mkdtemp(prefix="rxs-"))
        self._access = access(self.home, password, user, tls)
        self._sentinel_access = Access(sentinel_password, None, self._access.certificate, self._access.key)
        options = ("--min-replicas-to-write", str(min_replicas), *options)
        self.nodes = [Node(*options, program=path, access=self._access) for _ in range(3)]
        first = self.nodes[0]
        self.sentinels = [Sentinel(first, down_after_ms, path, self._sentinel_access) for _ in range(3)]
        try:
            self._start()
        except BaseException:
            self.end()
            raise

    def _start(self) -> None:
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait()
        for node in self.nodes[1:]:
            node.call("REPLICAOF", *self.nodes[0].address)
        wait_until(lambda: self._follow(self.nodes[0]), "the replicas are in step")
        for sentinel in self.sentinels:
            sentinel.launch()
        for sentinel in self.sentinels:
            sentinel.wait()
        self._heal()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The hosts and ports of the Sentinels."""
        return [sentinel.address for sentinel in self.sentinels]

    @property
    def url(self) -> str:
        password = self._sentinel_access.password
        return self._access.url("+sentinel", self.addresses, f"/{NAME}", sentinel_password=password)

    @property
    def primary(self) -> Node:
        """The node that the Sentinels name at the moment: of those that can reply, the one that learnt last."""
        known = [(int(each.primary()["config-epoch"]), each.primary_port()) for each in self._running()]
        return self._node(max(known)[1])

    @property
    def replicas(self) -> list[Node]:
        """The other two nodes, whether they run or not."""
        primary = self.primary
        return [node for node in self.nodes if node is not primary]

    def _running(self) -> list[Sentinel]:
        return [sentinel for sentinel in self.sentinels if sentinel.is_running]

    def _node(self, port: int) -> Node:
        return next(node for node in self.nodes if node.port == port)

    def client(self, **settings: object) -> redis.Redis:
        """Returns a client of the primary of the moment."""
        return self.primary.client(**settings)

    def failover(self, *options: str) -> None:
        """Order a Sentinel to make another node the primary, and return as soon as it begins.

        Args:
            options: of SENTINEL FAILOVER: Valkey knows "COORDINATED".
        """
        wait_until(lambda: self._ordered(*options), "a Sentinel takes the order")

    def _ordered(self, *options: str) -> bool:
        try:
            return bool(self._running()[0].call("SENTINEL", "FAILOVER", NAME, *options))
        except redis.ResponseError as error:  # it fails over already, or has not yet heard from the replicas
            if str(error).startswith(("NOGOODSLAVE", "INPROG")):
                return False
            raise

    def wait_for_new_primary(self, old: Node) -> Node:
        """Wait until each Sentinel that runs names one new primary, and this takes writes. Returns it."""
        wait_until(lambda: self._new_primary(old), f"another node than {old} is the primary")
        return self.primary

    def _new_primary(self, old: Node) -> bool:
        named = {sentinel.primary_port() for sentinel in self._running()}
        return len(named) == 1 and old.port not in named and _takes_writes(self._node(*named))

    def set_password(self, password: str) -> None:
        """Give the data nodes another password, of the same user; connections that are open stay so.

        A node that is started later begins with it, too.
        """
        for node in self.nodes:
            node.set_password(password)
        for sentinel in self.sentinels:
            sentinel.call("SENTINEL", "SET", NAME, "auth-pass", password)
        self._access = replace(self._access, password=password)

    def reset(self) -> None:
        """Bring every process back to life and in step, and empty the data. Any node may be the primary then.

        What a test has set by CONFIG or ACL stays: such a test uses Sentinels of its own.
        """
        for process in (*self.nodes, *self.sentinels):
            process.revive()
        for sentinel in self.sentinels:
            if sentinel.is_lost():
                sentinel.kill()
                sentinel.start()
        self._heal()
        with self.client() as client:
            client.flushall()
            assert client.wait(2, 10_000) == 2, "the replicas are empty, too"

    def _heal(self) -> None:
        with self._hastened():
            wait_until(self._is_healthy, "the Sentinels and the nodes are in step", seconds=40)

    @contextlib.contextmanager
    def _hastened(self) -> Iterator[None]:
        """Sentinels look and tell ten times a second, not once in ten seconds and in two; those of Redis 6 cannot."""
        self._set_periods(100, 100)
        try:
            yield
        finally:
            self._set_periods(10_000, 2000)

    def _set_periods(self, info: int, publish: int) -> None:
        for sentinel in self.sentinels:
            with contextlib.suppress(redis.ResponseError):
                sentinel.call("SENTINEL", "DEBUG", "INFO-PERIOD", info, "PUBLISH-PERIOD", publish)

    def _is_healthy(self) -> bool:
        known = [sentinel.primary() for sentinel in self.sentinels]
        ports = {int(each["port"]) for each in known}
        if len(ports) > 1 or any(each["flags"] != "master" for each in known):
            return False
        primary = self._node(*ports)
        return self._follow(primary) and all(map(_knows_all, self.sentinels)) and _takes_writes(primary)

    def _follow(self, primary: Node) -> bool:
        """Whether the other nodes are in step with the primary; it tells those that believe to be one whom to follow.

        Sentinel does so, too, but only after eight seconds.
        """
        if primary.info("replication")["role"] != "master":
            return False
        in_step = 0
        for node in self.nodes:
            if node is not primary:
                said = node.info("replication")
                if said["role"] == "master":
                    node.call("REPLICAOF", *primary.address)
                elif said["master_link_status"] == "up" and int(said["master_port"]) == primary.port:
                    in_step += 1
        return in_step == len(self.nodes) - 1

    def end(self) -> None:
        """Kill every process and remove the directories."""
        for process in (*self.sentinels, *self.nodes):
            process.end()
        shutil.rmtree(self.home, ignore_errors=True)


def _pairs(reply: list[Any]) -> dict[str, str]:
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _knows_all(sentinel: Sentinel) -> bool:
    """Whether it knows both replicas and both other Sentinels, and finds no fault with them.

    It goes on to note of another Sentinel that this one held an earlier primary for dead: "sentinel,master_down".
    """
    replicas, others = sentinel.others("REPLICAS"), sentinel.others("SENTINELS")
    fine = all(each["flags"] == "slave" and each["master-link-status"] == "ok" for each in replicas)
    return fine and len(replicas) == 2 and len(others) == 2 and not any("s_down" in each["flags"] for each in others)


def _takes_writes(node: Node) -> bool:
    try:
        return node.call("DEL", "a key that nobody uses") == 0
    except redis.RedisError:  # it is still a replica, lacks replicas, or is down
        return False
