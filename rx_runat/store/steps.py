"""How a list of jobs is cut into steps, each of which is written in one request: all of it or nothing.

    [time, key, time, key, ...]  -->  (range(100_000), the first step), (range(100_000, 200_000), the second), ...
    [time, key, data, ...]            the same, three words for each job

A full step holds the server for 50 to 100 ms, in which all others wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from operator import add
from typing import cast

from rx_runat.errors import InvalidJob
from rx_runat.model.checks import short

# Measured on a virtual machine with two slow cores: ZADD takes 0.8 us for a moment, the script 2.2 us for a delay and
# 3.2 us for a policy. So a full step takes 80, 44 or 64 ms there.
MOMENTS = 100_000
DELAYS = 20_000

# A request of more than `client-query-buffer-limit` bytes, by default 1 GiB, makes a server close the connection: the
# list could never be written, and every error would say that it may have been. Half of that leaves room for the times
# and for what the server adds to each word. Only keys of more than 5 KiB on average meet this limit, or, with their
# data, of more than 25 KiB.
BYTES = 512 * 1024**2


Word = int | str | bytes
"""A time, a key or data, as it is sent."""


def cut(words: list[Word], most: int, width: int = 2) -> Iterator[tuple[range, list[Word]]]:
    """Yields the words in steps, each with the places of its jobs; words that fit into one step are not copied.

    >>> list(cut([1, "a", 2, "b", 3, "c"], 2))
    [(range(0, 2), [1, 'a', 2, 'b']), (range(2, 3), [3, 'c'])]

    Args:
        words: time, key, time, key, ...; a key in ASCII as a str, any other as bytes.
        most: how many jobs one step may have.
        width: how many words each job has; with 3, its data is the third one.

    Raises:
        InvalidJob: a key is longer than Redis takes. Raised before the first step.
    """
    keys = cast("list[str | bytes]", words[1::width])
    data = cast("list[bytes]", words[2::3]) if width == 3 else []
    if sum(map(len, keys)) + sum(map(len, data)) <= BYTES:
        if len(keys) <= most:
            yield range(len(keys)), words
            return
        for start in range(0, len(keys), most):
            yield range(start, min(start + most, len(keys))), words[width * start : width * (start + most)]
        return
    check_lengths(keys)
    start = size = 0
    for place, more in enumerate(map(add, map(len, keys), map(len, data) if data else repeat(0))):
        size += more
        if place - start == most or (size > BYTES and place > start):
            yield range(start, place), words[width * start : width * place]
            start, size = place, more
    yield range(start, len(keys)), words[width * start :]


def check_lengths(keys: Sequence[str | bytes]) -> None:
    """Raise InvalidJob if one of the keys is longer than Redis takes."""
    for key in keys:
        if len(key) > BYTES:  # just as much is `proto-max-bulk-len`, the longest word that a server reads
            raise InvalidJob(
                f"key: got {short(key)} with {len(key):,} bytes; Redis takes keys of at most {BYTES:,} bytes"
            )
