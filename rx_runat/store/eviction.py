"""Warns once where the server may evict the schedule: it is one key, and is gone as a whole."""

from __future__ import annotations

import re

from rx_runat.errors import Refused, StoreError
from rx_runat.model.safe_log import warn
from rx_runat.store.client import RedisClient
from rx_runat.store.connection import DedicatedConnection


class EvictionCheck:
    """Reads a server's `maxmemory-policy`, where INFO is permitted: once, and of each primary that takes its place.

    Args:
        client: leads to the server.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._done_at: int | None = None  # the generation of the primary that was asked last

    def warn_once(self, connection: DedicatedConnection) -> None:
        """Log a warning if the server may evict keys that do not expire. Raises nothing."""
        generation = self._client.generation
        if self._done_at == generation:
            return
        self._done_at = generation
        try:
            said = connection.call("INFO", "memory")
        except Refused:
            return
        except StoreError:
            self._done_at = None  # the next connection asks
            return
        found = re.search(rb"maxmemory_policy:(allkeys[\w-]*)", said)
        if found:
            warn(
                "%s may evict the whole schedule when its memory is full, because its maxmemory-policy is %s; set it "
                "to noeviction",
                self._client.where,
                found[1].decode(),
            )
