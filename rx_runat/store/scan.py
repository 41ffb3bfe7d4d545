"""A walk over all fields of a hash, in steps that are bounded in bytes as well as can be.

HSCAN cursor COUNT n  -->  some fields, the next cursor  -->  ...  -->  the cursor 0
"""

from __future__ import annotations

from collections.abc import Callable

from rx_runat.store.request import Plan, Request

# Fields in one step: 500 of a thousand bytes each are half a megabyte and some 2 ms of the server's time. A field may
# also be a hundred thousand bytes long, and no command tells that before it is read. So the first step asks for few.
FIRST = 50
MOST = 500
STEP_BYTES = 1 << 19


class Scan:
    """The steps over all fields: each that exists from the first step to the last; a field may come twice.

    A cursor is a place in the table of one server, and another one has the same fields in other places. So when
    another primary takes over, all begins anew.

    Args:
        name: of the hash.
        generation: of the present primary; see `Route`.
    """

    def __init__(self, name: str, generation: Callable[[], int]) -> None:
        self._name = name
        self._generation = generation
        self._began_at = generation()
        self._cursor: bytes | None = None  # None: at the beginning
        self._count = FIRST

    def is_over(self) -> bool:
        """True after the last step, if its fields were dealt with at the same primary."""
        generation = self._generation()
        if generation != self._began_at:
            self._cursor, self._began_at = None, generation
        return self._cursor is not None and int(self._cursor) == 0

    def step(self) -> Plan[dict[bytes, bytes]]:
        """Read some fields."""
        cursor = self._cursor or b"0"
        self._cursor, found = yield Request(("HSCAN", self._name, cursor, "COUNT", self._count), to_step)
        size = sum(map(len, found)) + sum(map(len, found.values()))
        self._count = max(1, min(MOST, self._count * 4, self._count * STEP_BYTES // max(size, 1)))
        return found


def to_step(reply: tuple[bytes, list[bytes]]) -> tuple[bytes, dict[bytes, bytes]]:
    """Returns the next cursor and the fields of a reply."""
    cursor, flat = reply
    return cursor, dict(zip(flat[::2], flat[1::2], strict=True))
