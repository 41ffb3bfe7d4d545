"""Warns once where the server may evict the schedule: it is one key, and is gone as a whole."""

from __future__ import annotations

import re

from rx_runat.errors import Refused, StoreError
from rx_runat.model.safe_log import warn
from rx_runat.store.connection import DedicatedConnection


class EvictionCheck:
    """Reads a server's `maxmemory-policy`, once, where INFO is permitted; what refuses it is not asked again.

    Args:
        where: the server, in messages.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._is_done = False

    def warn_once(self, connection: DedicatedConnection) -> None:
        """Log a warning if the server may evict keys that do not expire. Raises nothing."""
        if self._is_done:
            return
        self._is_done = True
        try:
            said = connection.call("INFO", "memory")
        except Refused:
            return
        except StoreError:
            self._is_done = False  # the next connection asks
            return
        found = re.search(rb"maxmemory_policy:(allkeys[\w-]*)", said)
        if found:
            warn(
                "%s may evict the whole schedule when its memory is full, because its maxmemory-policy is %s; set it "
                "to noeviction",
                self._where,
                found[1].decode(),
            )
