"""Commands and replies in the form of the protocol, by hiredis alone.

What redis-py does beside it takes as long again; and it cannot receive a reply and parse it later. Where a claim is
asked for ahead, the server is idle until the next request comes, so whatever can wait is done after that was sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from itertools import islice
from typing import Any

from redis import InvalidResponse
from redis.utils import HIREDIS_AVAILABLE

from rx_runat.store.request import Arg

HAS_HIREDIS = HIREDIS_AVAILABLE
"""Whether what follows can be used."""

_hiredis: Any = import_module("hiredis") if HIREDIS_AVAILABLE else None

_INCOMPLETE = object()

Command = tuple[Arg, ...]


class ErrorReply(Exception):
    """An error that the server replied with."""


def pack(commands: Iterable[Command]) -> bytes:
    r"""Returns commands as they are sent.

    >>> pack([("ECHO", "hi")])
    b'*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n'
    """
    return b"".join(map(_hiredis.pack_command, commands))


def bulk(text: bytes) -> bytes:
    r"""Returns a string as a server replies with it.

    >>> bulk(b"hi")
    b'$2\r\nhi\r\n'
    """
    return b"$%d\r\n%s\r\n" % (len(text), text)


def replies(received: bytes | bytearray, count: int) -> list[Any]:
    r"""Returns so many replies, or those that are complete; an error is in its place, as an `ErrorReply`.

    >>> replies(b":1\r\n$2\r\nhi\r\n$2\r\n", 3)
    [1, b'hi']
    """
    reader = _hiredis.Reader(replyError=ErrorReply, protocolError=InvalidResponse, notEnoughData=_INCOMPLETE)
    reader.feed(received)
    return list(islice(iter(reader.gets, _INCOMPLETE), count))


def texts(received: bytes) -> list[str]:
    r"""Returns a reply that is a list of strings, each decoded as `to_key` does it.

    >>> texts(b"*2\r\n$1\r\na\r\n$2\r\nhi\r\n")
    ['a', 'hi']
    """
    reader = _hiredis.Reader(protocolError=InvalidResponse, encoding="utf-8", errors="surrogateescape")
    reader.feed(received)
    return reader.gets()


def count_of(received: bytes) -> int:
    r"""Returns how many items a reply has that is a list; 0 if it is an error.

    >>> count_of(b"*2\r\n$1\r\na\r\n$2\r\nhi\r\n"), count_of(b"-ERR no\r\n")
    (2, 0)
    """
    head, _, _ = received.partition(b"\r\n")
    return int(head[1:]) if head.startswith(b"*") else 0
