"""A key as a member of the zset, and back."""

from __future__ import annotations

from rx_runat.errors import InvalidJob
from rx_runat.model.checks import show


def to_member(key: object) -> bytes:
    """The member of a key.

    Raises:
        InvalidJob: the key is not a str, is empty, or holds what UTF-8 cannot.
    """
    if not isinstance(key, str):
        raise InvalidJob(f"key: got {show(key)}; a key is a non-empty str")
    if not key:
        raise InvalidJob("key: got ''; a key is a non-empty str")
    try:
        return key.encode()
    except UnicodeEncodeError:
        pass
    try:  # a key that came out of Redis as no UTF-8 goes back as the bytes that it was
        member = key.encode(errors="surrogateescape")
        if to_key(member) == key:
            return member
    except UnicodeEncodeError:
        pass
    raise InvalidJob(f"key: got {show(key)}, which UTF-8 cannot hold; take out the lone surrogates")


def to_key(member: bytes) -> str:
    """The key of a member; `to_member(to_key(m)) == m` for any bytes."""
    return member.decode(errors="surrogateescape")
