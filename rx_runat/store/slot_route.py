"""The primary of the queue's slot in a cluster. All keys of a queue lie in one slot, so one connection serves them.

    asks any node that it knows --CLUSTER SLOTS--> the primary of the slot, and all other nodes
    MOVED                       -----------------> the primary of the slot

What the cluster's own clients do for all slots is not needed for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redis.crc import key_slot
from redis.exceptions import MovedError

from rx_runat.errors import StoreError, Unavailable
from rx_runat.store.connection import OwnPool
from rx_runat.store.primary import Address, PrimaryRoute, ask, none_answers
from rx_runat.store.route import Settings


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
        nodes: Sequence[Address],
        queue_name: str,
        where: str | None = None,
        first_generation: int = 0,
    ) -> None:
        named = ",".join(f"{host}:{port}" for host, port in nodes)
        super().__init__(settings, where or f"{settings.scheme}+cluster://{named}", first_generation)
        self._seeds = tuple(nodes)
        self._queue_name = queue_name
        self._slot = key_slot(queue_name.encode())
        self._nodes: dict[Address, None] = dict.fromkeys(nodes)  # in the order in which they are asked
        self._is_lost = False  # the primary does not answer, or is none any more

    def pool(self) -> OwnPool:
        """Returns the connections to the primary of the slot, and finds it first if it is not known."""
        pool = self._pool
        return self._find() if pool is None or self._is_lost else pool

    def lost(self, pool: OwnPool) -> None:
        """Ask for the primary before the next call: all other nodes first."""
        if pool is self._pool:
            self._is_lost = True

    def moved(self, error: MovedError) -> SlotRoute:
        """Go where the node says. It was right at its last word from the cluster, and else says MOVED again."""
        host: str = error.host  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        primary = str(host or self._asked_host()), int(error.port)  # pyright: ignore[reportUnknownArgumentType]
        self._nodes.setdefault(primary)
        self._use(primary)
        self._is_lost = False
        return self

    def renewed(self, _: Callable[[], str] | None = None, /) -> SlotRoute:
        """Returns a route to the same slot with connections of its own."""
        route = SlotRoute(self.settings, self._seeds, self._queue_name, self.where)
        route._nodes = dict(self._nodes)
        return route

    def _asked_host(self) -> str:
        return self._primary[0] if self._primary else self._seeds[0][0]

    def _find(self) -> OwnPool:
        errors: list[StoreError] = []
        lost = self._primary
        for node in sorted(self._nodes, key=lambda node: node == lost):
            pool = self.settings.at(*node).pool()
            try:
                (slots,) = ask(pool, f"{node[0]}:{node[1]}", ("CLUSTER", "SLOTS"))
            except StoreError as error:
                errors.append(error)
                continue
            finally:
                pool.end()
            primary = self._note(slots, node[0])
            if primary is not None:
                self._is_lost = False
                return self._use(primary)
            errors.append(Unavailable(f"the node {node[0]}:{node[1]} knows no primary of slot {self._slot}"))
        raise none_answers(errors, self.where)

    def _note(self, slots: Any, asked: str) -> Address | None:
        """Note all nodes in a reply to CLUSTER SLOTS. Returns the primary of the slot, if the reply names one."""
        found: dict[Address, None] = {}
        primary: Address | None = None
        for first, last, *nodes in slots:
            addresses = list(_addresses(nodes, asked))
            found.update(dict.fromkeys(addresses))
            if first <= self._slot <= last and addresses:
                primary = addresses[0]
        self._nodes = found | dict.fromkeys(self._seeds)
        return primary


def _addresses(nodes: Any, asked: str) -> Iterator[Address]:
    """Yields the nodes of a range of slots, its primary first. A node that does not know its own host names none."""
    for host, port, *_ in nodes:
        text = (host or b"").decode()
        yield text if text not in ("", "?") else asked, int(port)
