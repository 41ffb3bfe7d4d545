"""A cluster of three primaries, each with a replica, and a slot that moves in steps."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from pathlib import Path

import redis
from redis.crc import key_slot

from tests.support.node import BUS, Access, Node, access, fields
from tests.support.servers import program
from tests.support.waiting import wait_until

SLOTS = 16_384
_SHARDS = 3


@dataclass(frozen=True)
class Entry:
    """What a node knows of one node.

    Attributes:
        id: its name in the cluster.
        flags: such as "myself", "master", "slave", "fail", "fail?", "handshake".
        primary: the id of its primary; "-": it is one.
        epoch: of its configuration: of two that claim a slot, the greater one has it.
        connected: whether the bus between both is up.
        slots: its slots.
        open: its own slots that are on their way, in either direction; only a node itself tells them.
    """

    id: str
    flags: frozenset[str]
    primary: str
    epoch: int
    connected: bool
    slots: frozenset[int]
    open: frozenset[int]

    @staticmethod
    def read(line: str) -> Entry:
        """Returns a line of CLUSTER NODES."""
        name, _, flags, primary, _, _, epoch, link, *ranges = line.split()
        held = tuple(each for each in ranges if not each.startswith("["))
        moving = frozenset(int(each[1:].split("-")[0]) for each in ranges if each.startswith("["))
        return Entry(
            name, frozenset(flags.split(",")), primary, int(epoch), link == "connected", _slots_of(held), moving
        )


@functools.lru_cache(maxsize=1000)  # who waits for a change reads the same slots hundreds of times a second
def _slots_of(ranges: tuple[str, ...]) -> frozenset[int]:
    slots = set[int]()
    for each in ranges:
        first, _, last = each.partition("-")
        slots |= set(range(int(first), int(last or first) + 1))
    return frozenset(slots)


class ClusterNode(Node):
    """A node of a cluster, on its port and the bus port above it.

    Attributes:
        id: its name in the cluster.
    """

    id = ""

    def __init__(self, node_timeout_ms: int, options: Iterable[str], program: str | None, access: Access) -> None:
        ours = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(node_timeout_ms),
            "cluster-require-full-coverage": "no",  # the other slots go on while one has no primary
            "cluster-replica-validity-factor": "0",  # a replica stands for election, however long it heard nothing
            "cluster-migration-barrier": "9",  # a replica stays with its shard
        }
        words = [word for name, value in ours.items() for word in (f"--{name}", value)]
        super().__init__(*words, *options, program=program, access=access)

    def table(self) -> list[Entry]:
        """Returns what it knows of every node."""
        return [Entry.read(line) for line in self.call("CLUSTER", "NODES").splitlines()]

    def myself(self) -> Entry:
        """Returns what it knows of itself."""
        return next(entry for entry in self.table() if "myself" in entry.flags)


class Migration:
    """A slot on its way from one primary to another, key by key.

    Attributes:
        slot: its number.
        source: the node that has it.
        target: the node that gets it.
    """

    def __init__(self, cluster: Cluster, slot: int, source: ClusterNode, target: ClusterNode) -> None:
        self._cluster, self.slot, self.source, self.target = cluster, slot, source, target
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)

    def move(self, key: str) -> bool:
        """Move one key. Returns False if the source does not have it."""
        access = self.source.access
        login = ["AUTH2", access.user or "default", access.password] if access.password else []
        return self.source.call("MIGRATE", *self.target.address, key, 0, 5000, *login) == "OK"

    def move_all(self) -> int:
        """Move every key that is left. Returns how many those were."""
        moved = 0
        while keys := self.source.call("CLUSTER", "GETKEYSINSLOT", self.slot, 100):
            moved += sum(map(self.move, keys))
        return moved

    def finish(self) -> None:
        """Move every key that is left, and give the slot to the target; all primaries learn of it."""
        self.move_all()
        self._cluster.assign(self.slot, self.target)


class Cluster:
    """Three primaries and three replicas on this host, in one cluster, started and in step.

    Args:
        options: of the nodes' command line.
        password: of the nodes.
        user: whose password it is; None: the default user's.
        tls: they speak TLS alone; this needs Redis 7, because the other kinds were built without it.
        kind: of server, a name of `PROGRAMS`; with TLS it does not count.
        node_timeout_ms: after this silence a node holds another one for dead.

    Attributes:
        nodes: six nodes; the last three began as the replicas of the first three.
    """

    def __init__(
        self,
        *options: str,
        password: str | None = None,
        user: str | None = None,
        tls: bool = False,
        kind: str = "valkey-9",
        node_timeout_ms: int = 1000,
    ) -> None:
        path = program("redis-7" if tls else kind)
        self.home = Path(tempfile.mkdtemp(prefix="rxc-"))
        self._access = access(self.home, password, user, tls)
        self.nodes = [ClusterNode(node_timeout_ms, options, path, self._access) for _ in range(2 * _SHARDS)]
        bounds = [SLOTS * shard // _SHARDS for shard in range(_SHARDS + 1)]
        self._homes = [range(first, end) for first, end in pairwise(bounds)]
        try:
            self._form()
        except BaseException:
            self.end()
            raise

    def _form(self) -> None:
        for node in self.nodes:
            node.launch()
        for epoch, node in enumerate(self.nodes, 1):
            node.wait()
            node.id = node.call("CLUSTER", "MYID")
            node.call("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for node, slots in zip(self.nodes, self._homes, strict=False):
            node.call("CLUSTER", "ADDSLOTS", *slots)
        for one, other in combinations(self.nodes, 2):  # each pair: gossip alone takes some seconds
            one.call("CLUSTER", "MEET", *other.address, other.port + BUS)
        wait_until(lambda: all(map(self._knows_all, self.nodes)), "every node knows every node")
        for primary, replica in self._shards():
            replica.call("CLUSTER", "REPLICATE", primary.id)
        wait_until(self._is_healthy, "the nodes of the cluster are in step")

    def _shards(self) -> list[tuple[ClusterNode, ClusterNode]]:
        return list(zip(self.nodes[:_SHARDS], self.nodes[_SHARDS:], strict=True))

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The hosts and ports of all nodes."""
        return [node.address for node in self.nodes]

    @property
    def url(self) -> str:
        return self._access.url("+cluster", self.addresses)

    @property
    def primaries(self) -> list[ClusterNode]:
        """The nodes that run and are primaries of slots at the moment."""
        return [node for node in self.nodes if any(node is self._claimant(slots[0]) for slots in self._homes)]

    def slot(self, key: str) -> int:
        """Returns the slot of a key."""
        return key_slot(key.encode())  # type: ignore[no-untyped-call]

    def node_of(self, key: str) -> ClusterNode:
        """Returns the primary of a key's slot at the moment: of the running nodes that claim it, the latest one.

        Waits while none does: its primary was killed, or hands over in this moment.
        """
        return self._owner(self.slot(key))

    def replica_of(self, key: str) -> ClusterNode:
        """Returns a running replica of the primary of a key's slot."""
        primary = self.node_of(key)
        return next(node for node in self._running() if node.myself().primary == primary.id)

    def _owner(self, slot: int) -> ClusterNode:
        found: list[ClusterNode] = []

        def look() -> bool:
            if claimant := self._claimant(slot):
                found.append(claimant)
            return bool(found)

        wait_until(look, f"a node that runs has slot {slot}")
        return found[0]

    def _claimant(self, slot: int) -> ClusterNode | None:
        claims = [(entry.epoch, node.port, node) for node in self._running() if slot in (entry := node.myself()).slots]
        return max(claims)[2] if claims else None

    def _running(self) -> list[ClusterNode]:
        return [node for node in self.nodes if node.is_running]

    def client(self, key: str, **settings: object) -> redis.Redis:
        """Returns a client of the primary of a key's slot."""
        return self.node_of(key).client(**settings)

    def failover(self, key: str, *options: str) -> None:
        """Order the replica of a key's slot to become its primary, and return as soon as it begins.

        Args:
            key: of the slot.
            options: of CLUSTER FAILOVER: "FORCE" or "TAKEOVER" where the primary is down.
        """
        self.replica_of(key).call("CLUSTER", "FAILOVER", *options)

    def wait_for_new_primary(self, key: str, old: Node) -> ClusterNode:
        """Wait until all nodes that run agree on another primary of a key's slot, and it takes writes. Returns it."""
        wait_until(lambda: self._has_moved(key, old), f"another node than {old} has the slot of {key}")
        return self.node_of(key)

    def _has_moved(self, key: str, old: Node) -> bool:
        slot = self.slot(key)
        known = [[entry.id for entry in node.table() if slot in entry.slots] for node in self._running()]
        owners = {owner[0] for owner in known if owner}
        if not all(known) or len(owners) > 1 or owners == {getattr(old, "id", "")}:
            return False
        tag = key[key.index("{") + 1 : key.index("}")] if "{" in key and "}" in key else key
        try:
            return self._node(*owners).call("DEL", f"{{{tag}}}a key that nobody uses") == 0
        except redis.RedisError:  # it has not noticed yet, or is down
            return False

    def _node(self, name: str) -> ClusterNode:
        return next(node for node in self.nodes if node.id == name)

    def begin_migration(self, key: str, target: ClusterNode | None = None) -> Migration:
        """Open the slot of a key towards another primary: None: the next one. No key moves yet."""
        source = self.node_of(key)
        others = [node for node in self.primaries if node is not source]
        return Migration(self, self.slot(key), source, target or others[0])

    def assign(self, slot: int, target: ClusterNode) -> None:
        """Give a slot to a primary, and tell all primaries. The target goes first: it then has the latest epoch."""
        for node in (target, *(node for node in self.primaries if node is not target)):
            node.call("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def set_password(self, password: str) -> None:
        """Give the nodes another password, of the same user; connections that are open stay so.

        A node that is started later begins with it, too.
        """
        for node in self.nodes:
            node.set_password(password)
        self._access = replace(self._access, password=password)

    def reset(self) -> None:
        """Bring every node back to life and in step, empty the data, and bring slots back to their shards.

        Either node of a shard may be its primary then. What a test has set by CONFIG or ACL stays: such a test uses a
        cluster of its own.
        """
        for node in self.nodes:
            node.revive()
        wait_until(self._is_in_step, "the nodes agree on who has which slot", seconds=40)
        primaries = [node for node in self.nodes if node.myself().primary == "-"]
        for node in primaries:
            node.call("FLUSHALL")
            for slot in node.myself().open:
                node.call("CLUSTER", "SETSLOT", slot, "STABLE")
        for slots, shard in zip(self._homes, self._shards(), strict=True):
            home = next(node for node in shard if node in primaries)
            for slot in sorted(set(slots) - home.myself().slots):
                home.call("CLUSTER", "SETSLOT", slot, "IMPORTING", self._owner(slot).id)
                self.assign(slot, home)
        wait_until(self._is_healthy, "the nodes of the cluster are in step", seconds=40)
        for node in primaries:
            assert node.call("WAIT", 1, 10_000) == 1, "the replica is empty, too"

    def _knows_all(self, node: ClusterNode) -> bool:
        table = node.table()
        return len(table) == len(self.nodes) and all(not entry.flags & {"handshake", "noaddr"} for entry in table)

    def _is_healthy(self) -> bool:
        """Whether the nodes are in step and each slot is at home."""
        if not self._is_in_step():
            return False
        held = {node.id: entry.slots for node in self.nodes if not (entry := node.myself()).open and entry.slots}
        return all(
            held.get(one.id, held.get(other.id)) == frozenset(slots) and (one.id in held) != (other.id in held)
            for slots, (one, other) in zip(self._homes, self._shards(), strict=True)
        )

    def _is_in_step(self) -> bool:
        """Whether all agree on every node and every slot, find no fault, and the replicas follow."""
        tables = [node.table() for node in self.nodes]
        known = {frozenset((entry.id, entry.primary, entry.slots) for entry in table) for table in tables}
        entries = [entry for table in tables for entry in table]
        faulty = any(entry.flags & {"fail", "fail?", "handshake"} or not entry.connected for entry in entries)
        if faulty or len(known) > 1 or sum(entry.primary == "-" for entry in tables[0]) != _SHARDS:
            return False
        return all(map(_is_fine, self.nodes))

    def end(self) -> None:
        """Kill every process and remove the directories."""
        for node in self.nodes:
            node.end()
        shutil.rmtree(self.home, ignore_errors=True)


def _is_fine(node: ClusterNode) -> bool:
    state, replication = fields(node.call("CLUSTER", "INFO")), node.info("replication")
    follows = replication["role"] == "master" or replication["master_link_status"] == "up"
    return state["cluster_state"] == "ok" and state["cluster_slots_ok"] == str(SLOTS) and follows
