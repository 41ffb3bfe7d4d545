"""The names of what lies in Redis: the only place that spells a Redis key.

    Q                       the schedule itself, as npm runat has it
    {Q}:receipt:<source>    a source's last claim
    {Q}:wake                no key but a channel: sinks publish there where a server does not track
    {Q}:claimed             the keys that are out under a lease, and its deadline
    {Q}:leases              what is known of them, and of keys between two attempts
    {Q}:dead                the dead letters

Derived names share Q's cluster slot: a name with a hash tag (`a{b}c`) takes `Q::suffix`, any other `{Q}:suffix`.
"""

from __future__ import annotations

import re

from rx_runat.errors import InvalidSetting
from rx_runat.model.checks import show

_TAG = re.compile(r"^[^{]*\{[^}]+\}")  # Redis hashes what stands between the first `{` and the next `}`
_OURS = re.compile(r":(receipt:[^:]*|claimed|leases|dead)$")


def check_queue_name(name: object) -> str:
    """The name itself, if a queue can bear it.

    >>> check_queue_name("RunAt~default")
    'RunAt~default'

    Raises:
        InvalidSetting: empty or not a str; `}` without a valid hash tag; it ends like one of our derived names.
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
    """Where a source's last claim is written down.

    >>> receipt_key("RunAt~default", "c0ffee")
    '{RunAt~default}:receipt:c0ffee'
    >>> receipt_key("jobs{eu}", "c0ffee")
    'jobs{eu}::receipt:c0ffee'
    """
    return _derived(queue_name, f"receipt:{source}")


def wake_channel(queue_name: str) -> str:
    """Where sinks tell sources of a write, where the server does not.

    >>> wake_channel("RunAt~default")
    '{RunAt~default}:wake'
    """
    return _derived(queue_name, "wake")


def claimed_key(queue_name: str) -> str:
    """Where the deadlines of living leases lie."""
    return _derived(queue_name, "claimed")


def leases_key(queue_name: str) -> str:
    """Where fences and attempts lie."""
    return _derived(queue_name, "leases")


def dead_key(queue_name: str) -> str:
    """Where the dead letters lie.

    >>> dead_key("RunAt~default")
    '{RunAt~default}:dead'
    """
    return _derived(queue_name, "dead")


def _derived(queue_name: str, suffix: str) -> str:
    return f"{queue_name}::{suffix}" if _TAG.match(queue_name) else f"{{{queue_name}}}:{suffix}"
