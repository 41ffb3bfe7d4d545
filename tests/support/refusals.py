"""One cell of the refusal matrix: a queue in a known state, a fault, a verb; and what must be true afterwards.

    state --fault--> verb --repair--> verb --> everything that is due comes out, once
           |                   |           |
           '---- compared -----'-----------'    with the whole of Redis, by what the verb replied

A verb that raised has changed nothing; one that replied has done what its reply says, which is what it would have done
without the fault.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import redis

from rx_runat.errors import OutcomeUnknown, Refused, StoreError, Unavailable
from rx_runat.model.batch import to_entries
from rx_runat.model.members import to_key
from rx_runat.store.connect import connect
from rx_runat.store.redis_store import RedisStore
from rx_runat.testing import FailingClient
from tests.support.servers import Server
from tests.support.verb import Setup, Verb, member_of
from tests.support.verbs_of_claims import taken
from tests.support.whereabouts import (
    NAMES,
    PLACES,
    READ,
    Raw,
    Where,
    Whole,
    batch,
    is_due,
    place,
    relative_to,
    to_whole,
    writes,
)

SHARE = 5  # on the Redis servers, of the cells that Valkey runs all
T = TypeVar("T")
WORKER = "worker"
RECEIPT = "the receipt"
KEPT = "kept-by-the-test"  # where what lay at a name waits while something of a wrong type lies there


class Fault(NamedTuple):
    """What goes wrong.

    Attributes:
        name: in complaints.
        begin: the commands that bring it about.
        end: those that repair it.
        error: what a verb raises that meets it.
        fresh: True if a store that was used before would not meet it, because it remembers a reply of the server.
        kind: the type of what lies at a name of ours meanwhile; the reply to the first command of `end` tells it.
    """

    name: str
    begin: tuple[tuple[Any, ...], ...] = ()
    end: tuple[tuple[Any, ...], ...] = ()
    error: type[StoreError] = Refused
    fresh: bool = False
    kind: bytes = b""


def forbidden(command: str) -> Fault:
    """The ACL forbids a command or a subcommand (`client|tracking`)."""
    remembered = command.split("|")[0] in ("client", "publish", "subscribe")  # by the store, when it asked once
    begin, end = ("ACL", "SETUSER", WORKER, f"-{command}"), ("ACL", "SETUSER", WORKER, "+@all")
    return Fault(f"-{command}", (begin,), (end,), fresh=remembered)


def forbidden_name(name: str) -> Fault:
    """The ACL forbids one of our names."""
    others = [f"~{each}" for each in (*NAMES, f"{KEPT}*", "*:receipt:*") if each != name]
    begin, end = ("ACL", "SETUSER", WORKER, "resetkeys", *others), ("ACL", "SETUSER", WORKER, "allkeys")
    return Fault(f"-~{name}", (begin,), (end,))


WRONG: Mapping[str, tuple[Any, ...]] = {
    "string": ("SET", "{}", "x"),
    "zset": ("ZADD", "{}", 1, "x"),
    "hash": ("HSET", "{}", "x", "1"),
    "list": ("RPUSH", "{}", "x"),
    "set": ("SADD", "{}", "x"),
    "stream": ("XADD", "{}", "*", "x", "1"),
}
RIGHT = {NAMES.schedule: "zset", NAMES.claimed: "zset", NAMES.leases: "hash", NAMES.dead: "hash", NAMES.data: "hash"}


def _aside(name: str, other: str) -> tuple[Any, ...]:
    """Returns the command that renames what lies at a name, if something does."""
    script = "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], KEYS[2]) end"
    return "EVAL", script, 2, name, other


def wrong_type(name: str, kind: str) -> Fault:
    """Something of another type lies at one of our names; what lay there is kept, and put back by the repair."""
    begin = (_aside(name, KEPT), tuple(name if word == "{}" else word for word in WRONG[kind]))
    end = (("TYPE", name), ("DEL", name), _aside(KEPT, name))
    return Fault(f"a {kind} at {name}", begin, end, kind=b"" if name == RECEIPT else kind.encode())


FULL = Fault("full memory", (("CONFIG", "SET", "maxmemory", "1"),), (("CONFIG", "SET", "maxmemory", "0"),), Unavailable)
DEMOTED = Fault("read-only", (("REPLICAOF", "127.0.0.1", "1"),), (("REPLICAOF", "NO", "ONE"),), Unavailable)
NONE = Fault("no fault")


def share_of(items: Sequence[T], share: int, turn: int) -> Sequence[T]:
    """Returns one item in `share`; the next turn gets the next ones, so that `share` turns in a row meet all items."""
    return items[turn % share :: share]


class Laboratory:
    """Runs cells on one server, which nothing else uses meanwhile.

    Args:
        server: is emptied at each cell.
        thorough: False: leave out cells that differ little from others.
        share: see `share_of`; of the cells that only a thorough one runs.

    Attributes:
        cells: how many it ran.
    """

    def __init__(self, server: Server, thorough: bool = True, share: int = 1) -> None:
        self._thorough = thorough
        self._share = share
        self._admin_client = server.client(protocol=3)
        self._admin = self._admin_client.connection_pool.get_connection()
        batch(self._admin, [("ACL", "SETUSER", WORKER, "reset", "on", "nopass", "~*", "&*", "+@all")])
        self._began = int(time.time() * 1000)
        self._usual = {name: place(self._began, name) for name in PLACES}
        self._last: tuple[Sequence[Any], tuple[Whole, list[bytes]]] = ((), ({}, []))
        self._known: dict[str, bool] = {}
        self._refusals: dict[tuple[str, str], StoreError | None] = {}
        self._setup = Setup(FailingClient(connect(f"unix://{WORKER}@{server.path}").client, "the server"))
        self._expected: dict[tuple[str, str], Any] = {}
        self.cells = 0

    def close(self) -> None:
        self._setup.client.close()
        batch(self._admin, [("FLUSHALL",), ("ACL", "DELUSER", WORKER)])
        self._admin_client.close()

    def some(self, items: Sequence[T], n: int, turn: int) -> Sequence[T]:
        """Returns the first n items, which differ most; if it is thorough, its share of the others as well."""
        return [*items[:n], *(share_of(items[n:], self._share, turn) if self._thorough else ())]

    def can_forbid(self, command: str) -> bool:
        """True if an ACL of this server knows the command; subcommands came with Redis 7."""
        if command not in self._known:
            try:
                batch(self._admin, [("ACL", "SETUSER", WORKER, f"-{command}", "+@all")])
                self._known[command] = True
            except redis.ResponseError:
                self._known[command] = False
        return self._known[command]

    def commands_of(self, verb: Verb) -> set[str]:
        """Returns the commands that the server ran for a verb, and for what the laboratory does beside it."""
        batch(self._admin, [("CONFIG", "RESETSTAT")])
        self.complaint(verb, NONE)
        (stats,) = batch(self._admin, [("INFO", "commandstats")])
        return set(re.findall(r"cmdstat_([a-z|_]+):", stats.decode() if isinstance(stats, bytes) else stats))

    def has_receipt(self, verb: Verb) -> bool:
        """True if the source of a verb has a receipt when the verb is asked for."""
        batch(self._admin, [("FLUSHALL",), ("ZADD", NAMES.schedule, 1, "a")])
        verb.prepare(self._setup)
        return bool(to_whole(batch(self._admin, READ))[1])

    def refuses(self, verb: Verb, fault: Fault) -> bool:
        """True if the last cell of these two ended with an error."""
        return self._refusals[verb.name, fault.name] is not None

    def complaint(
        self, verb: Verb, fault: Fault, odd: Raw | None = None, key: str | None = None, label: str = ""
    ) -> str:
        """Returns what is wrong with one cell, or "".

        Args:
            verb: what is asked for.
            fault: what goes wrong meanwhile.
            odd: what lies at the verb's place instead of what should.
            key: the key at the verb's place, instead of one that is called like the place.
            label: what is odd, in the complaint.
        """
        self.cells += 1
        try:
            self._run(verb, fault, odd, key)
        except Exception as error:
            what = f"{label or fault.name}" + ("" if key is None else f", key {key[:20]!r}")
            return f"{verb.name} | {what} | {type(error).__name__}: {error}"
        return ""

    def _run(self, verb: Verb, fault: Fault, odd: Raw | None, key: str | None) -> None:
        setup, admin = self._setup, self._admin
        if fault.fresh:
            setup.store = RedisStore(setup.client, "RunAt~default")
        setup.now = self._began
        setup.keys = {name: name for name in PLACES} | ({} if key is None else {verb.place: key})
        setup.odd = None if odd is None else member_of(setup.keys[verb.place])
        lies = dict(self._usual)
        if verb.plain:
            lies = {name: Raw(raw.score if name in ("due", "coming") else None) for name, raw in lies.items()}
        if odd is not None:
            lies[verb.place] = odd
        batch(admin, [("FLUSHALL",), *writes({member_of(setup.keys[name]): raw for name, raw in lies.items()})])
        setup.scheduled = [setup.keys[name] for name, raw in lies.items() if raw.score is not None]
        verb.prepare(setup)
        before, receipts = self._read(batch(admin, READ))
        if fault.begin:
            batch(admin, self._spelled(fault.begin, receipts))
        try:
            reply, error = verb.act(setup), None
        except StoreError as raised:
            reply, error = None, raised
        finally:
            replies = batch(admin, [*self._spelled(fault.end, receipts), *READ])
        self._refusals[verb.name, fault.name] = error
        after, later = self._read(replies[len(fault.end) :])
        assert replies[0] == fault.kind or not fault.kind, f"what lay there was replaced by a {replies[0]}"
        if error is None:
            self._compare(verb, before, after, reply)
            self._check_reply(verb, fault, reply, odd is None and key is None)
        else:
            assert fault is not NONE, f"raised {error!r}"
            assert isinstance(error, fault.error), f"raised {error!r}"
            assert not isinstance(error, OutcomeUnknown), f"raised {error!r}"
            self._same(self._done_in_part(verb, before, after), after, "it raised, and yet")
            assert set(later) <= set(receipts), f"it raised, and left {later}, before {receipts}"
            reply = verb.act(setup)
            before, (after, _) = after, self._read(batch(admin, READ))
            self._compare(verb, before, after, reply)
            self._check_reply(verb, NONE, reply, True)
        if fault is NONE or self._thorough:  # else Redis is as it is without a fault, where all came out
            self._drain(after)

    def _read(self, replies: Sequence[Any]) -> tuple[Whole, list[bytes]]:
        """As `to_whole`; most cells read twice the same."""
        if replies[1:] != self._last[0]:
            self._last = replies[1:], to_whole(replies)
        return self._last[1]

    @staticmethod
    def _spelled(commands: tuple[tuple[Any, ...], ...], receipts: list[bytes]) -> list[tuple[Any, ...]]:
        """Puts the name of the live source's receipt where a fault is about it."""
        return [tuple(receipts[0] if word == RECEIPT else word for word in command) for command in commands]

    def _compare(self, verb: Verb, before: Whole, after: Whole, reply: Any) -> None:
        expected = dict(before)
        verb.effect(self._setup, expected, reply)
        self._same(expected, after, f"it replied {reply!r}, and yet")

    def _done_in_part(self, verb: Verb, before: Whole, after: Whole) -> Whole:
        """Returns what may be there after an error: `before`; of a verb with parts, some of them may be done."""
        if not verb.parts:
            return before
        done = dict(before)
        verb.effect(self._setup, done, None)
        return {key: (done if done.get(key) == where else before).get(key, Where()) for key, where in after.items()}

    def _same(self, expected: Whole, after: Whole, words: str) -> None:
        odd = self._setup.odd
        wrong = [
            f"{key!r} is {after.get(key, Where())} and not {expected.get(key, Where())}"
            for key in sorted({*expected, *after})
            if (_seen(expected, key) != _seen(after, key) if key == odd else expected.get(key) != after.get(key))
        ]
        assert not wrong, f"{words} {'; '.join(wrong)}"

    def _check_reply(self, verb: Verb, fault: Fault, reply: Any, strict: bool) -> None:
        """The reply is the same as without a fault; of a settling in bulk, single answers may be refusals."""
        if not strict:
            return
        usual = self._expected.setdefault(verb.name, reply) if fault is NONE else self._expected.get(verb.name, reply)
        parts = (
            zip(usual, reply, strict=True) if isinstance(usual, list) and len(usual) == len(reply) else [(usual, reply)]
        )
        same = all(one == other or (other == -2 and fault is not NONE) for one, other in parts)
        assert same, f"it replied {reply!r}, without a fault {usual!r}"

    def _drain(self, before: Whole) -> None:
        """Whatever is due comes out exactly once, leases that have ended included; nothing else does."""
        setup, admin = self._setup, self._admin
        claimers = setup.store.leasing_claimer(1), setup.store.plain_claimer()
        claimers[0].claim(0)
        claimed = claimers[1].claim(1000)
        reply = [(key, relative_to(setup.now)(float(score)), text) for key, score, text in to_entries(claimed)]
        assert len(set(claimed.keys)) == len(claimed.keys), f"twice in a claim: {claimed.keys}"
        due = {to_key(key) for key, where in before.items() if is_due(where)}
        came = set(claimed.keys) - ({to_key(setup.odd)} if setup.odd is not None else set())
        assert came == due - ({to_key(setup.odd)} if setup.odd is not None else set()), f"{came ^ due} came or did not"
        after, _ = self._read(batch(admin, READ))
        taken(setup, before, reply)
        self._same(before, after, "all was claimed, and yet")


def _seen(whole: Whole, key: bytes) -> tuple[bool, bool, bool]:
    where = whole.get(key, Where())
    return where.waits is not None, where.out is not None, where.letter is not None
