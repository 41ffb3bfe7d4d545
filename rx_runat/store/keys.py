"""The names of what lies in Redis: the only place that spells a Redis key.

    Q                       the schedule itself, as npm runat has it
    {Q}:receipt:<source>    the last claim of a source
    {Q}:claimed             the keys that are under a lease, each with its deadline
    {Q}:leases              a record of each of these keys, and of each key between two attempts
    {Q}:dead                the dead letters
    {Q}:data                what keys carry, each as JSON
    {Q}:wake                a channel, not a key: where the server refuses CLIENT TRACKING, sinks publish there

Derived names share Q's cluster slot: a name with a hash tag (`a{b}c`) takes `Q::suffix`, any other `{Q}:suffix`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rx_runat.errors import InvalidSetting
from rx_runat.model.checks import show

_TAG = re.compile(r"^[^{]*\{[^}]+\}")  # a cluster hashes only the text between the first `{` and the next `}`
_OURS = re.compile(r":(receipt:[^:]*|claimed|leases|dead|data)$")


class QueueKeys(NamedTuple):
    """The Redis keys of one queue, spelled once for all its requests.

    Attributes:
        schedule: the zset key -> run_at.
        claimed: the zset key -> deadline of its lease.
        leases: the hash key -> record of its lease.
        dead: the hash key -> dead letter.
        data: the hash key -> JSON.
    """

    schedule: str
    claimed: str
    leases: str
    dead: str
    data: str


def queue_keys(queue_name: str) -> QueueKeys:
    """Returns the Redis keys of a queue."""
    names = claimed_key(queue_name), leases_key(queue_name), dead_key(queue_name), data_key(queue_name)
    return QueueKeys(queue_name, *names)


def check_queue_name(name: object) -> str:
    """Returns the name, if a queue can have it.

    >>> check_queue_name("RunAt~default")
    'RunAt~default'

    Raises:
        InvalidSetting: the name is no str or empty, has a `}` but no valid hash tag, or ends like a derived name.
    """
    if not isinstance(name, str) or not name:
        raise InvalidSetting(f"queue_name: got {show(name)}; it must be a non-empty str, such as 'RunAt~default'")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidSetting(
            f"queue_name: got {show(name)}, which UTF-8 cannot hold; take out the lone surrogates"
        ) from None
    if "}" in name and not _TAG.match(name):
        raise InvalidSetting(f"queue_name: got {show(name)}; a name with '}}' needs a hash tag such as 'jobs{{eu}}'")
    if _OURS.search(name):
        raise InvalidSetting(f"queue_name: got {show(name)}; names that end like our own keys (':dead', ...) are taken")
    return name


def receipt_key(queue_name: str, source: str) -> str:
    """Returns the key of a source's receipt.

    >>> receipt_key("RunAt~default", "c0ffee")
    '{RunAt~default}:receipt:c0ffee'
    >>> receipt_key("jobs{eu}", "c0ffee")
    'jobs{eu}::receipt:c0ffee'
    """
    return _derived(queue_name, f"receipt:{source}")


def wake_channel(queue_name: str) -> str:
    """Returns the channel on which sinks announce writes, where the server refuses CLIENT TRACKING.

    >>> wake_channel("RunAt~default")
    '{RunAt~default}:wake'
    """
    return _derived(queue_name, "wake")


def claimed_key(queue_name: str) -> str:
    """Returns the key of the zset of deadlines."""
    return _derived(queue_name, "claimed")


def leases_key(queue_name: str) -> str:
    """Returns the key of the hash of lease records."""
    return _derived(queue_name, "leases")


def dead_key(queue_name: str) -> str:
    """Returns the key of the hash of dead letters.

    >>> dead_key("RunAt~default")
    '{RunAt~default}:dead'
    """
    return _derived(queue_name, "dead")


def data_key(queue_name: str) -> str:
    """Returns the key of the hash of what keys carry."""
    return _derived(queue_name, "data")


def _derived(queue_name: str, suffix: str) -> str:
    return f"{queue_name}::{suffix}" if _TAG.match(queue_name) else f"{{{queue_name}}}:{suffix}"
