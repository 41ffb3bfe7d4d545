"""The primary that Sentinel names.

    calls       . . .. .   .  .                   ... .        connections to the primary that was named last
    the asker   ?----?----?----?----             ?----?---->   twice a second, while there are calls or listeners

An answer is good for a second. After a switch the former primary accepts writes for some seconds, and loses them when
it becomes a replica. So no call goes there later than a second after Sentinel knows of the switch. The asker is a
thread of its own, so a Sentinel that is silent delays no call while the primary answers.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence

from rx_runat.errors import StoreError, Unavailable
from rx_runat.model.monotonic import monotonic
from rx_runat.model.safe_log import fault, warn
from rx_runat.store.connection import OwnPool
from rx_runat.store.meaning import own_copy
from rx_runat.store.primary import HostPort, PrimaryRoute
from rx_runat.store.route import Settings
from rx_runat.store.sentinels import Sentinels

GOOD_SECONDS = 1.0  # how long an answer is good, counted from the question
_LONGEST_ANSWER = GOOD_SECONDS  # a later answer is good no more, whatever patience the user has with a primary
_EVERY = 0.4  # seconds between two questions: an answer that is late does not make calls wait, if it comes within 0.6 s
_UNUSED = 3.0  # seconds without a call, after which nothing is asked any more
_PATIENCE = 0.25  # seconds that a call waits for an answer, if it knows a primary: Sentinel needs a millisecond
_LONGEST_END = 1.0  # seconds to wait for the asker at the end: it may be connecting to a host that is silent


class SentinelRoute(PrimaryRoute):
    """A `Route` to the primary of the moment, as Sentinel names it.

    Args:
        settings: of the connections to the primary, without its address.
        sentinels: of the connections to Sentinel, without an address.
        addresses: of the Sentinels; the one that answered last is asked first.
        service: the name by which Sentinel knows the primary.
    """

    def __init__(self, settings: Settings, sentinels: Settings, addresses: Sequence[HostPort], service: str) -> None:
        named = ",".join(f"{host}:{port}" for host, port in addresses)
        db = f"/{settings.values['db']}" if settings.values.get("db") else ""
        super().__init__(settings, f"{settings.scheme}+sentinel://{named}/{service}{db}")
        sentinels = sentinels.with_timeout(_LONGEST_ANSWER, is_default=True)
        patience = min(sentinels.values["socket_timeout"], _LONGEST_ANSWER)
        self._sentinels = Sentinels(sentinels.with_timeout(patience), addresses, service, self.where)
        self._changed = threading.Condition()  # over the nine below
        self._thread: threading.Thread | None = None
        self._answered_at = -math.inf  # when the question was asked whose answer is the newest one
        self._asking_since = math.inf
        self._lost_at = -math.inf
        self._error: StoreError | None = None  # why the last question brought no answer
        self._is_warned = False  # of Sentinels that do not answer
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
        if pool.generation == self.generation:
            with self._changed:
                self._lost_at = monotonic()
                self._answered_at, self._error = -math.inf, None

    def renewed(self, _: Callable[[], str] | None = None, /) -> SentinelRoute:
        """Returns a route by the same Sentinels with connections of its own."""
        known = self._sentinels
        return SentinelRoute(self.settings, known.settings, known.addresses, known.service)

    def close(self) -> None:
        """End all connections, and the asker. May be repeated."""
        super().close()
        with self._changed:
            self._changed.notify_all()
            thread = self._thread
        self._sentinels.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_LONGEST_END)

    def _is_silent(self, now: float) -> bool:
        """True if Sentinel does not answer: then calls use its last answer and do not wait."""
        return self._error is not None or now - self._asking_since > _PATIENCE

    def _ask_now(self) -> OwnPool:
        with self._changed:
            if self._is_closed:
                raise self._closed()
            try:
                self._start()
            except RuntimeError as error:  # the system's limit, or from Python 3.12 on the end of the interpreter
                if self._pool is None:
                    raise Unavailable(f"{self.where} cannot be asked for the primary: {error}") from error
                return self._pool
            self._is_wanted = True
            self._changed.notify_all()
            # A question that is under way may have been answered before the primary was lost: wait for the one after.
            is_asking = not math.isinf(self._asking_since)
            enough = self._rounds + (2 if is_asking and self._pool is not None else 1)
            self._changed.wait_for(
                lambda: self._rounds >= enough or self._is_closed, None if self._pool is None else _PATIENCE
            )
            if self._pool is not None:
                return self._pool
            why = self._error or self._closed()
        raise own_copy(why)

    def _start(self) -> None:
        """Start the asker if it has ended. Raises RuntimeError if no thread can be started."""
        if self._thread is None or not self._thread.is_alive():
            # Noted before it starts: if a signal's handler raises in `start`, the next call must not start another one.
            self._thread = threading.Thread(target=self._run, name="rx_runat sentinel", daemon=True)
            self._thread.start()

    def _closed(self) -> StoreError:
        return Unavailable(f"the connections to {self.where} are closed")

    # The asker.

    def _run(self) -> None:
        try:
            while self._waits_for_turn():
                self._ask()
        except BaseException as error:  # a bug of ours: who waits for an answer must not wait for ever
            self._sentinels.hang_up()
            self._note(None, Unavailable(f"the asker of {self.where} failed"), ends=True)
            fault("the asker of %s failed", self.where, error=error)

    def _waits_for_turn(self) -> bool:
        """Wait until it is time to ask. Returns False at the end, and when nobody needs an answer any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_wanted or self._is_closed, _EVERY)
            if self._thread is not threading.current_thread():
                return False  # a signal interrupted its start, and another one was started
            is_in_use = monotonic() - self._used_at < _UNUSED or any(pool.has_listeners for pool in self._pools)
            if self._is_closed or not (self._is_wanted or is_in_use):
                self._sentinels.hang_up()  # before the next asker can begin
                self._thread = self._error = None
                return False
            self._is_wanted = False
            self._asking_since = monotonic()
            return True

    def _ask(self) -> None:
        try:
            answer = self._sentinels.ask(self._primary if self._lost_at > self._answered_at else None)
        except StoreError as error:
            self._note(None, error)
        else:
            self._use(answer.primary, answer.is_back)
            self._note(answer.asked_at, None)

    def _note(self, asked_at: float | None, error: StoreError | None, ends: bool = False) -> None:
        """Note how a question ended: when it was asked, if it was answered, and else why not."""
        with self._changed:
            warns = error is not None and self._pool is not None and not (self._is_warned or self._is_closed)
            self._is_warned = warns or (self._is_warned and error is not None)
            if asked_at is not None and asked_at > self._lost_at:
                self._answered_at = asked_at
            self._error = error
            self._rounds += 1
            self._asking_since = math.inf
            if ends:
                self._thread = None
            self._changed.notify_all()
        if warns:  # outside of the lock, because a handler of the log may use the queue
            warn("%s; the queue stays with the primary that it knows", error)
