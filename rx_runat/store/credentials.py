"""Credentials that change while we are connected, such as tokens that expire.

redis-py asks a `credential_provider` each time that it connects. One that streams (`StreamingCredentialProvider`) also
tells when there are new credentials: then our connections are made anew, those that listen included, because a server
closes a connection whose token has expired, or refuses what comes on it.
"""

from __future__ import annotations

import weakref
from typing import Any, Protocol

from redis.credentials import StreamingCredentialProvider


class Renewable(Protocol):
    """Connections that can be made anew."""

    def renew(self) -> None:
        """Connect anew from now on."""
        ...


# The pools of each provider: some providers keep one callback only, so all of our pools share one.
_pools: weakref.WeakKeyDictionary[Any, weakref.WeakSet[Any]] = weakref.WeakKeyDictionary()


def renew_with(provider: object, pool: Renewable) -> None:
    """Renew a pool whenever a provider has new credentials. Does nothing with any other object."""
    if not isinstance(provider, StreamingCredentialProvider):
        return
    pools = _pools.get(provider)
    if pools is None:
        found: weakref.WeakSet[Any] = weakref.WeakSet()
        pools = _pools.setdefault(provider, found)

        def renew(_: object) -> None:
            for each in tuple(found):
                each.renew()

        if pools is found:
            provider.on_next(renew)
            provider.on_error(lambda _: None)  # the provider tries again; what it cannot renew, the server refuses
    pools.add(pool)
