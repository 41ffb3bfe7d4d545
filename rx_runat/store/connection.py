"""One connection that stays open: commands go out on it, and what the server says unasked comes in."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (redis-py's connections are not annotated)
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis

from rx_runat.errors import OutcomeUnknown, Unavailable

Arg = str | bytes | int | float
"""A word of a command."""

# What a call meets whose connection breaks; the last three, where another thread closes it.
BROKEN = (redis.RedisError, OSError, TypeError, AttributeError, ValueError)


class Line:
    """A connection that one caller keeps, because the server may say something on it unasked.

    Args:
        ask: sends a command on a connection and reads its answer.
        connection: ours to close.
    """

    def __init__(self, ask: Callable[..., Any], connection: Any) -> None:
        self._send = ask
        self._connection = connection
        self.is_open = True

    def ask(self, *command: Arg, pushed: bool = False) -> Any:
        """Send a command, once. Raises as `RedisClient.call`.

        Args:
            command: its words.
            pushed: whether the server answers it as it says things unasked, as SUBSCRIBE; else what it said unasked
                before the answer is dropped.
        """
        if not self.is_open:
            raise OutcomeUnknown("this connection was closed")
        try:
            return self._send(self._connection, *command, pushed=pushed)
        except Unavailable:
            self.close()
            raise
        finally:
            if not self.is_open:
                self._connection.disconnect()  # it may have been made beside our closing

    def listen(self, seconds: float) -> None:
        """Return when the server says something unasked, or after so many seconds.

        Raises:
            OutcomeUnknown: the connection is gone.
        """
        try:
            while self.is_open and self._connection.can_read(timeout=seconds):
                self._connection.read_response(push_request=True)
                seconds = 0
        except BROKEN as error:
            self.close()
            raise OutcomeUnknown(f"the connection is gone: {error}") from error

    def close(self) -> None:
        """Close the connection, and so break off what is under way on it; from any thread, may be repeated."""
        self.is_open = False
        self._connection.disconnect()
