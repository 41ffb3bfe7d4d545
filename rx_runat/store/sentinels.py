"""Asks Sentinels where the primary is, one after the other, until one of them answers.

A   epoch 7, primary x     believed, and asked first the next time
B   silent                 asked last from now on, because it costs a second
C   epoch 6, primary y     not believed: it has not yet learnt of the last failover
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from rx_runat.errors import Refused, StoreError, Unavailable
from rx_runat.model.monotonic import monotonic
from rx_runat.store.connection import OwnPool
from rx_runat.store.primary import HostPort, ask, none_answers
from rx_runat.store.route import Settings

# Sentinels tell each other of a failover within two seconds. Those that still know of none after this time have been
# set up anew, and so count their failovers from 0 again.
LONGEST_LAG = 10.0


class Answer(NamedTuple):
    """What a Sentinel has answered.

    Attributes:
        epoch: the number of the last failover that it knows of.
        primary: where the primary is.
        asked_at: monotonic seconds.
        sentinel: which one it was.
        is_back: True if there were failovers since the last answer. Two of them, there and back, are noticed so even if
            nobody asked between them; and what the primary did before the first one, it may lack now.
    """

    epoch: int
    primary: HostPort
    asked_at: float
    sentinel: HostPort
    is_back: bool = False


class Sentinels:
    """The Sentinels of one primary, and a connection to the one that answered last. One call at a time, but `close`.

    Args:
        settings: of the connections, without an address.
        addresses: of the Sentinels.
        service: the name by which they know the primary.
        where: the name in messages of all of them.

    Attributes:
        settings, service: as above.
        addresses: in the order in which they are asked.
    """

    def __init__(self, settings: Settings, addresses: Sequence[HostPort], service: str, where: str) -> None:
        self.settings = settings
        self.addresses = tuple(addresses)
        self.service = service
        self._where = where
        self._epoch = -1  # of the last answer that was believed
        self._lags_since = math.inf  # since when all answers were older than that
        self._silent: set[HostPort] = set()  # those that did not answer when they were asked last
        self._line: tuple[HostPort, OwnPool] | None = None
        self._is_closed = False

    def ask(self, lost: HostPort | None) -> Answer:
        """Ask until one of them answers.

        Args:
            lost: the primary, if it does not answer any more.

        Raises:
            StoreError: none has answered, or none knows of the last failover that was heard of.
        """
        errors: list[StoreError] = []
        older: list[Answer] = []
        for address in self.addresses:
            try:
                answer = self._answer_of(address)
            except StoreError as error:
                self.hang_up()
                self._silent.add(address)
                errors.append(error)
                continue
            self._silent.discard(address)
            if answer.epoch >= self._epoch:
                return self._believe(answer, lost)
            older.append(answer)
            errors.append(Unavailable(f"the Sentinel {_named(address)} has missed the last failover"))
        if self._are_right(older):
            return self._believe(max(older), lost)
        raise none_answers(errors, self._where)

    def hang_up(self) -> None:
        """End the connection; the next question opens another one."""
        line, self._line = self._line, None
        if line is not None:
            line[1].end()

    def close(self) -> None:
        """End the connection for good, and a question under way. From any thread."""
        self._is_closed = True
        line = self._line
        if line is not None:
            line[1].end()

    def _are_right(self, older: Sequence[Answer]) -> bool:
        """True if most Sentinels have said for long that there was no such failover as was heard of."""
        if 2 * len(older) <= len(self.addresses):
            self._lags_since = math.inf
            return False
        now = monotonic()
        self._lags_since = min(self._lags_since, now)
        return now - self._lags_since > LONGEST_LAG

    def _believe(self, answer: Answer, lost: HostPort | None) -> Answer:
        is_back = -1 < self._epoch != answer.epoch
        self._epoch, self._lags_since = answer.epoch, math.inf
        others = [each for each in self.addresses if each != answer.sentinel]
        if answer.primary == lost:
            # Perhaps this Sentinel is the last one to learn of a failover: so another one is asked the next time. Those
            # that were silent come last all the same.
            self.addresses = tuple(sorted([*others, answer.sentinel], key=self._silent.__contains__))
        else:
            self.addresses = answer.sentinel, *others
        return answer._replace(is_back=is_back)

    def _answer_of(self, address: HostPort) -> Answer:
        if self._line is None or self._line[0] != address:
            self.hang_up()
            self._line = address, self.settings.at(*address).pool(protocol=2)  # old Sentinels know no other
        line = self._line[1]
        if self._is_closed:  # `close` may have run before it could see this connection
            raise Unavailable(f"the connections to {self._where} are closed")
        where = f"the Sentinel {_named(address)}"
        asked_at = monotonic()
        (found,) = ask(line, where, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service))
        if not found:
            raise Refused(f"{where} knows no primary named {self.service!r}")
        (state,) = ask(line, where, ("SENTINEL", "MASTER", self.service))
        try:
            return Answer(_epoch(state), _pair(found), asked_at, address)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Refused(f"{where} answers as no Sentinel does: {error!r}") from error


def _named(address: HostPort) -> str:
    return f"{address[0]}:{address[1]}"


def _pair(found: Any) -> HostPort:
    host, port = found
    return host.decode(), int(port)


def _epoch(state: Any) -> int:
    fields = dict(zip(state[::2], state[1::2], strict=True))
    return int(fields[b"config-epoch"])
