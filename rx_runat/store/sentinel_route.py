"""The primary that Sentinel names.

    calls       . . .. .   .  .                   ... .        connections to the primary that was named last
    the asker   ?----?----?----?----             ?----?---->   twice a second, while there are calls or listeners

An answer is good for a second. So after a switch, which the former primary does not notice at once, no call goes there
for longer than a second after Sentinel knows of it: what it still wrote would be lost when it becomes a replica. The
asker is a thread of its own. Thus a Sentinel that is silent delays no call while the primary answers.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

from rx_runat.errors import Refused, StoreError, Unavailable
from rx_runat.model.monotonic import monotonic
from rx_runat.model.safe_log import fault, warn
from rx_runat.store.connection import OwnPool
from rx_runat.store.primary import Address, PrimaryRoute, ask, none_answers
from rx_runat.store.route import Settings

GOOD_SECONDS = 1.0  # how long an answer is good
_EVERY = 0.4  # seconds between two questions: an answer that is late does not make calls wait, if it comes within 0.6 s
_UNUSED = 3.0  # seconds without a call, after which nothing is asked any more
_PATIENCE = 0.25  # seconds that a call waits for an answer, if it knows a primary: Sentinel needs a millisecond
_LONGEST_END = 1.0  # seconds to wait for the asker at the end: it may be connecting to a Sentinel that is silent


class SentinelRoute(PrimaryRoute):
    """A `Route` to the primary of the moment, as Sentinel names it.

    Args:
        settings: of the connections to the primary, without its address.
        sentinels: of the connections to Sentinel, without an address.
        addresses: of the Sentinels; the one that answered last is asked first.
        service: the name by which Sentinel knows the primary.
    """

    def __init__(self, settings: Settings, sentinels: Settings, addresses: Sequence[Address], service: str) -> None:
        named = ",".join(f"{host}:{port}" for host, port in addresses)
        db = f"/{settings.values['db']}" if settings.values.get("db") else ""
        super().__init__(settings, f"{settings.scheme}+sentinel://{named}/{service}{db}")
        self._sentinels = sentinels.with_timeout(GOOD_SECONDS, is_default=True)
        self._addresses = list(addresses)
        self._service = service
        self._epoch = -1  # of the newest answer: a Sentinel that knows only an older state is not believed
        self._line: tuple[Address, OwnPool] | None = None  # the connection to the Sentinel that answered last
        self._changed = threading.Condition()  # over the six below
        self._thread: threading.Thread | None = None
        self._answered_at = -math.inf
        self._asking_since = math.inf
        self._error: StoreError | None = None  # why the last question brought no answer
        self._rounds = 0  # how many questions have ended
        self._is_wanted = False  # a call waits for an answer
        self._used_at = -math.inf

    def pool(self) -> OwnPool:
        """Returns the connections to the primary of the moment."""
        now = self._used_at = monotonic()
        pool = self._pool
        if pool is not None and (now - self._answered_at < GOOD_SECONDS or self._is_silent(now)):
            return pool
        return self._ask_now()

    def lost(self, pool: OwnPool) -> None:
        """The next call waits for a new answer, for a moment."""
        if pool is self._pool:
            with self._changed:
                self._answered_at, self._error = -math.inf, None

    def renewed(self, _: Callable[[], str] | None = None, /) -> SentinelRoute:
        """Returns a route by the same Sentinels with connections of its own."""
        return SentinelRoute(self.settings, self._sentinels, self._addresses, self._service)

    def close(self) -> None:
        """End all connections, and the asker. May be repeated."""
        super().close()
        with self._changed:
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(_LONGEST_END)

    def _is_silent(self, now: float) -> bool:
        """True if Sentinel does not answer. Then its last answer is the best one, and no call waits for another."""
        return self._error is not None or now - self._asking_since > _PATIENCE

    def _ask_now(self) -> OwnPool:
        with self._changed:
            if self._is_closed:
                raise Unavailable(f"the connections to {self.where} are closed")
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="rx_runat sentinel", daemon=True)
                thread.start()
                self._thread = thread
            self._is_wanted = True
            self._changed.notify_all()
            # A question that is under way may have been answered before the primary was lost: wait for the one after.
            enough = self._rounds + (1 if math.isinf(self._asking_since) else 2)
            self._changed.wait_for(
                lambda: self._rounds >= enough or self._is_closed, None if self._pool is None else _PATIENCE
            )
            if self._pool is not None:
                return self._pool
            raise self._error or Unavailable(f"the connections to {self.where} are closed")

    # The asker.

    def _run(self) -> None:
        try:
            while self._waits_for_turn():
                self._ask()
        except Exception as error:  # a bug of ours: who waits for an answer must not wait for ever
            fault("the asker of %s failed", self.where, error=error)
            self._note(None, Unavailable(f"the asker of {self.where} failed"))
            self._thread = None
        finally:
            self._hang_up()

    def _waits_for_turn(self) -> bool:
        """Wait until it is time to ask. Returns False at the end, and when nobody needs an answer any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_wanted or self._is_closed, _EVERY)
            pool = self._pool
            is_in_use = monotonic() - self._used_at < _UNUSED or (pool is not None and pool.has_listeners)
            if self._is_closed or not (self._is_wanted or is_in_use):
                self._thread = self._error = None
                return False
            self._is_wanted = False
            self._asking_since = monotonic()
            return True

    def _ask(self) -> None:
        errors: list[StoreError] = []
        for address in tuple(self._addresses):
            if self._is_closed:
                break
            try:
                primary, is_back = self._answer_of(address)
            except StoreError as error:
                self._hang_up()
                errors.append(error)
                continue
            self._addresses.remove(address)
            self._addresses.insert(0, address)
            self._use(primary, is_back)
            self._note(monotonic(), None)
            return
        self._note(None, none_answers(errors or [Unavailable("it was closed")], self.where))

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line[1].end()
            self._line = None

    def _note(self, answered_at: float | None, error: StoreError | None) -> None:
        with self._changed:
            if error is not None and self._error is None and self._pool is not None and not self._is_closed:
                warn("%s; the queue stays with the primary that it knows", error)
            self._answered_at = self._answered_at if answered_at is None else answered_at
            self._error = error
            self._rounds += 1
            self._asking_since = math.inf
            self._changed.notify_all()

    def _answer_of(self, address: Address) -> tuple[Address, bool]:
        """Returns where the primary is, and whether it has become the primary anew.

        Each failover counts the epoch one up. So two failovers, there and back, are noticed also if nobody asked
        between them: what the primary did before the first one, it may lack now.
        """
        if self._line is None or self._line[0] != address:
            self._hang_up()
            self._line = address, self._sentinels.at(*address).pool(protocol=2)  # old Sentinels know no other
        where = f"the Sentinel {address[0]}:{address[1]}"
        found, state = ask(
            self._line[1],
            where,
            ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service),
            ("SENTINEL", "MASTER", self._service),
        )
        if not found:
            raise Refused(f"{where} knows no primary named {self._service!r}")
        epoch = _epoch(state)
        if epoch < self._epoch:
            raise Unavailable(f"{where} has missed the last failover")
        is_back = -1 < self._epoch < epoch
        self._epoch = epoch
        return _pair(found), is_back


def _pair(found: Any) -> Address:
    host, port = found
    return host.decode(), int(port)


def _epoch(state: Any) -> int:
    fields = dict(zip(state[::2], state[1::2], strict=True))
    return int(fields[b"config-epoch"])
