"""The primary of the queue's slot in a cluster. All keys of a queue lie in one slot, so one connection serves them.

    asks nodes that it knows --CLUSTER SLOTS--> the primary of the slot, and all other nodes
    MOVED                    -----------------> the primary of the slot

A queue has one slot, so the table of all slots that a RedisCluster keeps is not needed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from redis.crc import key_slot
from redis.exceptions import MovedError

from rx_runat.errors import Refused, StoreError, Unavailable
from rx_runat.model.monotonic import monotonic
from rx_runat.store.connection import OwnPool
from rx_runat.store.primary import FAILOVER_TIMEOUT, HostPort, PrimaryRoute, ask, none_answers
from rx_runat.store.route import Settings
from rx_runat.store.search import Search

# A node that is cut off from the others goes on naming the former primary. If three name the primary that was lost,
# there is no other one yet; to ask all nodes of a large cluster would take long.
_ENOUGH = 3

# Seconds after which a search ends: in a large cluster many nodes may be silent, and each costs a timeout. The next
# search asks them last.
_LONGEST_SEARCH = 5.0

# Seconds for which the result of a search is good: a thousand sources that lose the primary at the same moment ask
# once, and the first backoff of a source is as long.
_GOOD_SECONDS = 0.05

_UNKNOWN = "?"  # the host of a node that has not told its name to the node that was asked


class SlotRoute(PrimaryRoute):
    """A `Route` to the primary of a slot.

    Args:
        settings: of the connections to each node.
        nodes: at least one; the others are found.
        queue_name: tells the slot.
        where: the name in messages; None: of the nodes.
        first_generation: of the first primary.
    """

    is_cluster = True

    def __init__(
        self,
        settings: Settings,
        nodes: Sequence[HostPort],
        queue_name: str,
        where: str | None = None,
        first_generation: int = 0,
    ) -> None:
        named = ",".join(f"{host}:{port}" for host, port in nodes)
        super().__init__(settings, where or f"{settings.scheme}+cluster://{named}", first_generation)
        self._seeds = tuple(nodes)
        self._queue_name = queue_name
        self._slot = key_slot(queue_name.encode())
        self._turn = threading.RLock()  # held while another primary takes over; a log handler may call us meanwhile
        self._lost: OwnPool | None = None  # the connections that were lost: if they are the present ones, search
        self._search_lock = threading.RLock()  # guards the next one; a signal handler may call us meanwhile
        self._search: Search | None = None  # the last one
        self._asking: OwnPool | None = None  # to the node that is asked at the moment
        # What the search knows. Each is replaced as a whole, because `moved` adds a node meanwhile.
        self._nodes = tuple(dict.fromkeys(nodes))
        self._shard: frozenset[HostPort] = frozenset()  # the nodes of the slot: a new primary is one of them
        self._silent: frozenset[HostPort] = frozenset()  # those that did not answer when they were asked last

    def pool(self) -> OwnPool:
        """Returns the connections to the primary of the slot, and finds it first if it is not known."""
        pool = self._pool
        return self._found() if pool is None or pool is self._lost else pool

    def lost(self, pool: OwnPool) -> None:
        """Ask for the primary before the next call: all other nodes first."""
        if pool is self._pool:
            self._lost = pool

    def moved(self, error: MovedError, pool: OwnPool) -> SlotRoute:
        """Go where the node says. The node may be behind; then the one that it names says MOVED again."""
        host = str(error.host or pool.connection_kwargs.get("host", "localhost"))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        primary = host, int(error.port)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        if host == _UNKNOWN:
            self.lost(pool)  # CLUSTER SLOTS tells its IP address as well
            return self
        if primary not in self._nodes:
            self._nodes = (*self._nodes, primary)
        self._go(pool, primary)
        return self

    def close(self) -> None:
        """End all connections for good, those of a search too. May be repeated."""
        super().close()
        asking = self._asking
        if asking is not None:
            asking.end()

    def renewed(self, _: Callable[[], str] | None = None, /) -> SlotRoute:
        """Returns a route to the same slot with connections of its own."""
        route = SlotRoute(self.settings, self._seeds, self._queue_name, self.where)
        route._nodes = self._nodes
        return route

    def _go(self, former: OwnPool | None, primary: HostPort) -> OwnPool:
        """Use a primary instead of a former one. If another has taken its place meanwhile, that is later news."""
        with self._turn:
            pool = self._pool
            if pool is None or pool is former:
                pool = self._use(primary)
                self._lost = None
            return pool

    def _found(self) -> OwnPool:
        """Search, or wait for the search that is under way. Returns the connections to what it finds."""
        with self._search_lock:
            search = self._search
            leads = search is None or self._is_outdated(search)
            if search is None or leads:
                search = self._search = Search()
        if not leads and search.thread == threading.get_ident() and search.ended_at is None:
            return self._find()  # a signal handler has interrupted that search: to wait for it would take for ever
        if not leads:
            search.wait()
            return search.result()
        try:
            search.pool = self._find()
        except StoreError as error:
            search.error = error
        finally:
            search.end()
        return search.result()

    def _is_outdated(self, search: Search) -> bool:
        if search.ended_at is None:
            return False
        is_past = search.pool is not None and search.pool is not self._pool
        return is_past or monotonic() - search.ended_at > _GOOD_SECONDS

    def _find(self) -> OwnPool:
        former, lost = self._pool, self._primary
        errors: list[StoreError] = []
        until, answers = monotonic() + _LONGEST_SEARCH, 0
        for node in sorted(self._nodes, key=lambda node: (node == lost, node in self._silent, node not in self._shard)):
            # The lost one is asked last, and only if no other answers: to connect to it is to ask it.
            if answers >= _ENOUGH or (answers > 0 and node == lost):
                break
            if self._is_closed or monotonic() > until:
                break
            try:
                slots = self._slots(node)
            except StoreError as error:
                self._silent |= {node}
                errors.append(error)
                continue
            self._silent -= {node}
            primary = self._note(slots, node[0])
            if primary is None:
                errors.append(Unavailable(f"the node {node[0]}:{node[1]} knows no primary of slot {self._slot}"))
                continue
            if primary != lost or former is None:
                return self._go(former, primary)
            answers += 1
            self._nodes = (*(each for each in self._nodes if each != node), node)  # next time, others are asked first
        if lost is None or not answers:
            raise none_answers(errors or [Unavailable("the connections are closed")], self.where)
        return self._go(former, lost)

    def _slots(self, node: HostPort) -> Any:
        """Ask a node for CLUSTER SLOTS."""
        seconds = min(FAILOVER_TIMEOUT, self.settings.values["socket_timeout"])
        pool = self._asking = self.settings.with_timeout(seconds).at(*node).pool()
        try:
            return ask(pool, f"{node[0]}:{node[1]}", ("CLUSTER", "SLOTS"))[0]
        except Refused as error:
            if "cluster support disabled" not in str(error):
                raise
            form = f"{self.settings.scheme}://{node[0]}:{node[1]}"
            raise Refused(f"{form} is no node of a cluster; its URL is as written here, without +cluster") from error
        finally:
            self._asking = None
            pool.end()

    def _note(self, slots: Any, asked: str) -> HostPort | None:
        """Note all nodes in a reply to CLUSTER SLOTS. Returns the primary of the slot, if the reply names one."""
        found: dict[HostPort, None] = {}
        shard: list[HostPort] = []
        for first, last, *nodes in slots:
            addresses = list(_addresses(nodes, asked))
            found.update(dict.fromkeys(addresses))
            if first <= self._slot <= last:
                shard = addresses
        # A node that does not know the slot may have left the cluster: then what was known before is better.
        kept = [each for each in self._nodes if not shard or each in found or each in self._seeds]
        self._nodes = tuple(dict.fromkeys((*kept, *found)))
        if not shard:
            return None
        self._shard = frozenset(shard)
        return shard[0]


def _addresses(nodes: Any, asked: str) -> Iterator[HostPort]:
    """Yields the nodes of a range of slots, its primary first.

    A host that is null or empty is the one that was asked. For one that is unknown, Redis 7 tells the IP address apart.
    """
    for host, port, *more in nodes:
        text = (host or b"").decode()
        if text == _UNKNOWN:
            text = _facts(more[1]).get(b"ip", b"").decode() if len(more) > 1 else ""
        yield text or asked, int(port)


def _facts(told: Any) -> Mapping[bytes, bytes]:
    """Returns name and value of what CLUSTER SLOTS tells beside an address: RESP3 has a map there, RESP2 a list."""
    if isinstance(told, dict):
        return cast("dict[bytes, bytes]", told)
    return dict(zip(told[::2], told[1::2], strict=False))
