"""Credential providers of users: one whose password is rotated, and one that tells when there are new credentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis.credentials import CredentialProvider, StreamingCredentialProvider

USER = "worker"


class Rotated(CredentialProvider):
    """Gives the password of the moment.

    Attributes:
        password: of `USER`.
        asked: how often it was asked.
        error: raised in place of a password; None: nothing is raised.
    """

    def __init__(self, password: str) -> None:
        self.password = password
        self.asked = 0
        self.error: Exception | None = None

    def get_credentials(self) -> Any:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return USER, self.password


class Streaming(Rotated, StreamingCredentialProvider):
    """Keeps one callback only, as the providers do that are made for redis-py."""

    def __init__(self, password: str) -> None:
        super().__init__(password)
        self._renewed: Callable[[Any], Any] = print
        self._failed: Callable[[Exception], Any] = print

    def on_next(self, callback: Callable[[Any], Any]) -> None:
        self._renewed = callback

    def on_error(self, callback: Callable[[Exception], Any]) -> None:
        self._failed = callback

    def is_streaming(self) -> bool:
        return True

    def announce(self, password: str) -> Any:
        """Have new credentials, and tell of them. Returns what the callback returned."""
        self.password = password
        return self._renewed(object())

    def fail(self, error: Exception) -> Any:
        """Tell that there are no new credentials. Returns what the callback returned."""
        return self._failed(error)
