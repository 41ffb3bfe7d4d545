"""A request to Redis as a value: what is sent, how the reply is read, and what is known if a reply was lost.

    verbs.cancel(keys, "a")  -->  Request  -->  RedisClient.send  -->  True

The code that makes a request needs no connection, and the code that sends it knows no verb.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from rx_runat.errors import OutcomeUnknown

T = TypeVar("T")

Arg = str | bytes | int | float
"""A word of a command."""


_FOLDER = Path(__file__).with_name("lua")


class Script:
    """A Lua script, known to the server by the hash of its text.

    Args:
        name: of its file in `lua/`, without the suffix.
        preludes: names of files there that go in front of it, with what several scripts share.

    Attributes:
        body: the whole text.
        sha: the hash of `body`, for EVALSHA.
    """

    def __init__(self, name: str, *preludes: str) -> None:
        self.body = b"\n".join((_FOLDER / f"{each}.lua").read_bytes() for each in (*preludes, name))
        self.sha = hashlib.sha1(self.body, usedforsecurity=False).hexdigest()


def new_token() -> str:
    """Returns a token that is part of no key: a control character, and 48 random bits.

    The bits are drawn at each request, after the keys that it is about were scheduled, so no key can have been made to
    contain them. The token is short, because the reply to a claim has it between any two of 2,000 strings: a token
    twice as long would double the time for splitting the reply.
    """
    return f"\x1f{secrets.token_urlsafe(6)}"


def _no_doubt(result: Any) -> str | None:
    """The result can be trusted, even if an earlier reply was lost."""


class Request(NamedTuple, Generic[T]):
    """One verb of the store, ready to be sent at any time.

    Attributes:
        words: a command; with a `script`: the number of its keys, the keys, then its ARGV.
        read: turns the reply into the result.
        script: the script to run; None: `words` are a command.
        resent_at: the index of the word that is 0 at first, 1 when the request is sent once more, and 2 when it is sent
            once more to another primary, which may lack what the first one did, or what the request relies on; None:
            there is no such word, because sending it once more does no harm.
        doubt: called with a result that came after an earlier reply was lost; returns what is unknown, in words, or
            None if the result is true all the same.
        once: True if the request is not sent once more after a lost reply, because the caller soon makes another one.
        relies_on: the generation (see `Route`) of the primary that replied to what this request follows up; None: it
            does not matter.
        moved_at: the index of the word that is 0, and 1 if the request goes to a primary of another generation than
            that; None: there is no such word.
    """

    words: Sequence[Arg]
    read: Callable[[Any], T]
    script: Script | None = None
    resent_at: int | None = None
    doubt: Callable[[T], str | None] = _no_doubt
    once: bool = False
    relies_on: int | None = None
    moved_at: int | None = None

    def to_send(self, generation: int, sent_at: int | None) -> Sequence[Arg]:
        """Returns the words to send.

        Args:
            generation: of the primary that they go to.
            sent_at: the generation before an earlier sending, which may have been done; None: there was none.

        >>> request = Request((1, "Q", 0, "token"), bytes, resent_at=2)
        >>> request.to_send(generation=7, sent_at=7), request.to_send(generation=8, sent_at=7)
        ([1, 'Q', 1, 'token'], [1, 'Q', 2, 'token'])
        """
        is_moved = self.relies_on is not None and self.relies_on != generation
        other: dict[int, int] = {}
        if sent_at is not None and self.resent_at is not None:
            other[self.resent_at] = 1 if sent_at == generation and not is_moved else 2
        if is_moved and self.moved_at is not None:
            other[self.moved_at] = 1
        return [other.get(at, word) for at, word in enumerate(self.words)] if other else self.words

    def depends_on_primary(self, sent_at: int | None) -> bool:
        """True if the words are for a primary of one generation only."""
        return self.moved_at is not None or (sent_at is not None and self.resent_at is not None)

    def result(self, reply: Any, resent: bool, where: str) -> T:
        """Returns what the reply means.

        Args:
            reply: as redis-py returns it.
            resent: whether an earlier reply was lost.
            where: the server's name, for the message.

        Raises:
            OutcomeUnknown: an earlier reply was lost, and this one does not show whether that sending was done.
        """
        result = self.read(reply)
        unknown = self.doubt(result) if resent else None
        if unknown:
            raise OutcomeUnknown(f"{unknown} is unknown, because an earlier reply of {where} was lost")
        return result


Plan = Generator[Request[Any], Any, T]
"""A verb that needs any number of requests: it yields each, is sent its result, and returns the verb's."""
