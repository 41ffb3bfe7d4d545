"""What metrics and spans say of a queue, an operation, an error and keys. The names are the conventions'."""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal, TypeAlias

from rx_runat.model.humanize import readable

Value: TypeAlias = str | int | float
Attributes: TypeAlias = dict[str, Value]

OperationType: TypeAlias = Literal["send", "receive", "process", "settle"]

ERROR_TYPE = "error.type"
ATTEMPT = "messaging.rx_runat.attempt"
LATENESS = "messaging.rx_runat.lateness"

# Characters. Keys and texts of errors may have millions. Exporters lose a whole batch of spans that is too large, or of
# which one span holds what UTF-8 cannot encode.
_LONGEST_KEY = 200
_LONGEST_TEXT = 1000
_LONGEST_TRACEBACK = 10_000


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
    >>> of_queue("mail", "unix:///run/redis.sock/3")["server.address"]
    '/run/redis.sock'
    """
    attributes: Attributes = {"messaging.system": "rx_runat", "messaging.destination.name": name}
    if found := re.fullmatch(r"rediss?://([^,]+):(\d+)(/\d+)?", where):
        attributes |= {"server.address": found[1], "server.port": int(found[2])}
    elif found := re.fullmatch(r"unix://(.+?)(/\d+)?", where):  # the number is that of a database
        attributes["server.address"] = found[1]
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


def of_exception(error: BaseException) -> Attributes:
    """Returns what the event of an exception says. What the error's own methods raise goes no further.

    >>> of_exception(ValueError("no"))["exception.message"]
    'no'
    """
    said: Attributes = {"exception.type": str(of_error(error)[ERROR_TYPE])}
    with suppress(BaseException):
        said["exception.message"] = exportable(str(error))
    with suppress(BaseException):
        said["exception.stacktrace"] = exportable("".join(traceback.format_exception(error)), _LONGEST_TRACEBACK)
    return said


def exportable(text: str, longest: int = _LONGEST_TEXT) -> str:
    r"""Returns a text that a span can hold: not too long, and with nothing that UTF-8 cannot encode.

    >>> exportable("naïve \udcff")
    'naïve \\udcff'
    """
    return text[:longest].encode(errors="backslashreplace").decode()


def of_keys(keys: Sequence[str]) -> Attributes:
    """Returns what a span says of the keys that it is about: the only one, or how many.

    >>> of_keys(["tea"]), of_keys(["tea", "milk"])
    ({'messaging.message.id': 'tea'}, {'messaging.batch.message_count': 2})
    """
    if len(keys) == 1:
        return {"messaging.message.id": readable(keys[0], _LONGEST_KEY)}
    return {"messaging.batch.message_count": len(keys)}
