"""What metrics and spans say of a queue, an operation, an error and keys. The names are the conventions'."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

from rx_runat.model.humanize import readable

Value: TypeAlias = str | int | float
Attributes: TypeAlias = dict[str, Value]

OperationType: TypeAlias = Literal["send", "receive", "process", "settle"]

ERROR_TYPE = "error.type"
ATTEMPT = "messaging.rx_runat.attempt"
LATENESS = "messaging.rx_runat.lateness"

_LONGEST_KEY = 200  # characters; a key may have millions, and exporters refuse batches of spans that are too large


def of_queue(name: str, where: str) -> Attributes:
    """Returns what all metrics and spans of a queue say.

    Args:
        name: of the queue.
        where: its server, as messages name it. Only a single server has an address: Sentinels and nodes of a cluster
            are several, and which of them is the primary changes.

    >>> of_queue("mail", "redis://localhost:6379")["server.port"]
    6379
    >>> of_queue("mail", "redis+cluster://a:1,b:2")
    {'messaging.system': 'rx_runat', 'messaging.destination.name': 'mail'}
    """
    attributes: Attributes = {"messaging.system": "rx_runat", "messaging.destination.name": name}
    if found := re.fullmatch(r"rediss?://([^,]+):(\d+)(/\d+)?", where):
        attributes |= {"server.address": found[1], "server.port": int(found[2])}
    elif where.startswith("unix://"):
        attributes["server.address"] = where.removeprefix("unix://")
    return attributes


def of_operation(name: str, kind: OperationType | None) -> Attributes:
    """Returns what an operation says of itself. None: it is of none of the types that the conventions know."""
    attributes: Attributes = {"messaging.operation.name": name}
    if kind is not None:
        attributes["messaging.operation.type"] = kind
    return attributes


def of_error(error: BaseException | None) -> Attributes:
    """Returns the class of an error, whose instances are not asked for anything; none for None.

    >>> of_error(ValueError()), of_error(None)
    ({'error.type': 'ValueError'}, {})
    """
    if error is None:
        return {}
    kind = type(error)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return {ERROR_TYPE: f"{module}{kind.__qualname__}"}


def of_keys(keys: Sequence[str]) -> Attributes:
    """Returns what a span says of the keys that it is about: the only one, or how many.

    >>> of_keys(["tea"]), of_keys(["tea", "milk"])
    ({'messaging.message.id': 'tea'}, {'messaging.batch.message_count': 2})
    """
    if len(keys) == 1:
        return {"messaging.message.id": readable(keys[0], _LONGEST_KEY)}  # UTF-8 alone can be exported
    return {"messaging.batch.message_count": len(keys)}
