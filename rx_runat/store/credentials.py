"""Credentials that change while we are connected, such as tokens that expire.

redis-py asks a `credential_provider` each time that it connects. One that streams (`StreamingCredentialProvider`) also
tells when there are new credentials: then our connections are made anew, those that listen included, because a server
closes a connection whose token has expired, or refuses what comes on it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Generator
from typing import Any, Protocol

from redis.credentials import CredentialProvider, StreamingCredentialProvider

from rx_runat.errors import Refused, Unavailable
from rx_runat.model.forks import in_child
from rx_runat.model.safe_log import warn


class Renewable(Protocol):
    """Connections that can be made anew."""

    def renew(self) -> None:
        """Connect anew from now on."""
        ...


class AskedProvider(CredentialProvider):
    """Asks a provider of the user's, and says in words why there is no answer.

    What the provider raises is the cause of our error and no part of its message: it may hold a secret.
    """

    def __init__(self, provider: Any) -> None:
        self._provider = provider

    def get_credentials(self) -> Any:
        """Returns the user and the password, or the password alone.

        Raises:
            Unavailable: the provider has failed; it may succeed later.
            Refused: it gives nothing that can be used.
        """
        try:
            credentials = self._provider.get_credentials()
        except NotImplementedError as error:
            raise Refused("the credential provider has no get_credentials(); a queue calls it from threads") from error
        except Exception as error:
            raise Unavailable(f"the credential provider raised {type(error).__name__}") from error
        if (
            isinstance(credentials, tuple | list)
            and 1 <= len(credentials) <= 2  # pyright: ignore[reportUnknownArgumentType]
            and all(isinstance(word, str | bytes) for word in credentials)  # pyright: ignore[reportUnknownVariableType]
        ):
            return credentials  # pyright: ignore[reportUnknownVariableType]
        raise Refused("the credential provider must return (user, password) or (password,), and returned neither")


class _Done:
    """The answer of a callback. A provider that was started on an event loop awaits it; others do not look at it."""

    def __await__(self) -> Generator[Any, Any, None]:
        return
        yield


_lock = threading.Lock()  # guards the pools of all providers


class _Renewal:
    """Called by a provider when it has new credentials: renews the pools that use them."""

    def __init__(self) -> None:
        self._pools: weakref.WeakSet[Any] = weakref.WeakSet()

    def add(self, pool: Renewable) -> None:
        with _lock:
            self._pools.add(pool)

    def register(self, provider: StreamingCredentialProvider) -> None:
        provider.on_next(self)
        provider.on_error(_failed)

    def __call__(self, _: object) -> Any:
        with _lock:
            pools = tuple(self._pools)
        for pool in pools:
            pool.renew()
        return _Done()


def _failed(error: object) -> Any:
    # Our connections go on: when the server closes one, the provider is asked for the next one.
    warn("the credential provider could not renew what it gives: %s", type(error).__name__)
    return _Done()


# By id, because a provider need not be hashable. Some providers keep one callback only, so all of our pools share one.
_renewals: dict[int, _Renewal] = {}


def _new_lock() -> object:
    global _lock
    inherited, _lock = _lock, threading.Lock()
    return inherited


in_child(_new_lock)


def renew_with(provider: object, pool: Renewable) -> None:
    """Renew a pool whenever a provider has new credentials. Does nothing with any other object."""
    if isinstance(provider, StreamingCredentialProvider):
        _renewal_of(provider).add(pool)


def listen_to(provider: object) -> None:
    """Tell a provider to call us from now on; another client may have taken our place. Does nothing with any other."""
    if isinstance(provider, StreamingCredentialProvider):
        _renewal_of(provider).register(provider)


def _renewal_of(provider: StreamingCredentialProvider) -> _Renewal:
    renewal = _renewals.get(id(provider))
    if renewal is None:
        new = _Renewal()
        renewal = _renewals.setdefault(id(provider), new)
        if renewal is new:
            weakref.finalize(provider, _renewals.pop, id(provider), None).atexit = False
            renewal.register(provider)
    return renewal
