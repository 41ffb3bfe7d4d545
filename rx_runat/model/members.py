"""A key as a member of the zset, and back."""

from __future__ import annotations

from rx_runat.errors import InvalidJob
from rx_runat.model.checks import show


def to_member(key: object) -> bytes:
    """Returns the member of a key. Every key that came out of Redis has one, the empty key included.

    Raises:
        InvalidJob: the key is not a str, or holds a character that UTF-8 cannot encode.
    """
    if not isinstance(key, str):
        raise InvalidJob(f"key: got {show(key)}; a key is a non-empty str")
    try:
        return key.encode()
    except UnicodeEncodeError:
        pass
    try:  # `to_key` turned a member that is not UTF-8 into a key with surrogates: return the member's original bytes
        member = key.encode(errors="surrogateescape")
        if to_key(member) == key:
            return member
    except UnicodeEncodeError:
        pass
    raise InvalidJob(f"key: got {show(key)}, which UTF-8 cannot hold; take out the lone surrogates")


def to_new_member(key: object) -> bytes:
    """Returns the member of a key that is to be scheduled.

    An empty key is refused here only: most likely it is a mistake of the caller. Other clients of the same queue may
    schedule one, and then it comes out, goes back and is settled like any other.

    Raises:
        InvalidJob: the key is empty, or `to_member` raises it.
    """
    member = to_member(key)
    if not member:
        raise InvalidJob("key: got ''; a key is a non-empty str")
    return member


def to_key(member: bytes) -> str:
    """Returns the key of a member, which may be any bytes: `to_member(to_key(member)) == member`."""
    return member.decode(errors="surrogateescape")
