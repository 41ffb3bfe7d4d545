"""A claim is bounded in bytes: what it reads and what it takes. A long reply that was lost is read again in pieces."""

from __future__ import annotations

import pytest

from rx_runat import OutcomeUnknown
from rx_runat.model.batch import Claimed, Leased
from rx_runat.model.protocols import Claimer
from rx_runat.store import claimers, receipts
from rx_runat.store.client import TRIES, RedisClient
from rx_runat.store.connect import connect
from rx_runat.store.receipts import CLAIM_BYTES, PIECE_BYTES
from rx_runat.store.redis_store import RedisStore
from tests.support.leases import LEASE, LEASE_S
from tests.support.redis_content import content, entries, put
from tests.support.redis_content import receipts as receipts_in
from tests.support.scripts import watched
from tests.support.servers import Server
from tests.support.stores import MS, Clock, FlakyClient, Q

KILOBYTE = 1024
MEGABYTE = KILOBYTE * KILOBYTE
KINDS = ["plain", "leasing"]


def claimer_of(store: RedisStore, kind: str) -> Claimer[Claimed | Leased]:
    return store.plain_claimer() if kind == "plain" else store.leasing_claimer(LEASE)


def large(number: int, size: int) -> str:
    return f"{number:04d}" + "x" * (size - 4)


def numbers(keys: list[str]) -> list[int]:
    return [int(key[:4]) for key in keys]


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim of 400 bytes, read again in pieces of 7."""
    for module in (claimers, receipts):
        monkeypatch.setattr(module, "CLAIM_BYTES", 400)
        monkeypatch.setattr(module, "PIECE_BYTES", 7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "size",
    [
        *(20, 100 * KILOBYTE, MEGABYTE),
        *(pytest.param(each, marks=pytest.mark.slow) for each in (300 * KILOBYTE, 3 * MEGABYTE)),
    ],
)
def test_a_claim_takes_a_megabyte_or_one_key(store: RedisStore, flaky: FlakyClient, kind: str, size: int) -> None:
    count = 4 if size >= MEGABYTE else 30
    put(flaky, *((large(number, size), MS - 100 + number) for number in range(count)))
    claimer = claimer_of(store, kind)
    came: list[int] = []
    while (claimed := claimer.claim(1000)).keys:
        assert len(claimed.keys) == min(max(1, CLAIM_BYTES // (size + 40)), count - len(came))
        assert (claimed.wait == 0.0) is (len(came) + len(claimed.keys) < count)
        came += numbers(claimed.keys)
    assert came == list(range(count))


@pytest.mark.parametrize("kind", KINDS)
def test_short_keys_are_taken_up_to_the_limit(store: RedisStore, flaky: FlakyClient, kind: str) -> None:
    put(flaky, *((f"{number:04d}", MS - 2000 + number) for number in range(1500)))
    claimer = claimer_of(store, kind)
    assert [numbers(claimer.claim(limit).keys) for limit in (1000, 7, 1000)] == [
        [*range(1000)],
        [*range(1000, 1007)],
        [*range(1007, 1500)],
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_short_keys_before_long_ones_are_taken_alone(store: RedisStore, flaky: FlakyClient, kind: str) -> None:
    put(flaky, *((f"{number:04d}", MS - 2000 + number) for number in range(64)))
    put(flaky, *((large(number, 2 * MEGABYTE), MS - 2000 + number) for number in (64, 65)))
    claimer = claimer_of(store, kind)
    assert [numbers(claimer.claim(1000).keys) for _ in range(3)] == [[*range(64)], [64], [65]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_claim_reads_few_keys_that_it_does_not_take(server: Server, kind: str) -> None:
    """Reading a megabyte costs a millisecond, also where it stays: 4 at first, then half of what may still fit."""
    store_client = connect(server.url).client
    store = RedisStore(store_client, Q, Clock())
    for number in range(40):
        put(store_client, (large(number, MEGABYTE // 8), MS - 100 + number))
    claimer = claimer_of(store, kind)
    seen = watched(server, lambda: claimer.claim(1000))
    reads = [words[2:4] for kind, words in seen if kind == "lua" and words[0].upper() == "ZRANGE" and words[1] == Q]
    assert [int(last) - int(first) + 1 for first, last in reads] == [4, 1, 1, 1, 1, 1]
    store_client.close()


def test_ended_leases_are_bounded_in_bytes_too(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    put(flaky, *((large(number, 300 * KILOBYTE), MS - 100 + number) for number in range(9)))
    leasing_claimer = store.leasing_claimer(LEASE)
    while leasing_claimer.claim(1000).keys:
        pass
    clock.advance(LEASE_S)
    for came_back in (3, 6, 9):
        assert leasing_claimer.claim(0).wait == (None if came_back == 9 else 0.0)
        assert len(content(flaky)) == came_back


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lost", range(2 * TRIES))
def test_a_long_reply_that_was_lost_is_read_in_pieces(
    store: RedisStore, flaky: FlakyClient, kind: str, lost: int
) -> None:
    sizes = [200 * KILOBYTE] * 3
    put(flaky, *((large(number, size), MS - 100 + number) for number, size in enumerate(sizes)))
    claimer = claimer_of(store, kind)
    flaky.fates = ["lost"] * lost
    claimed = None
    while claimed is None:
        try:
            claimed = claimer.claim(1000)
        except OutcomeUnknown:
            assert claimer.is_owed
    assert numbers(claimed.keys) == [0, 1, 2]
    assert [len(key) for key in claimed.keys] == sizes
    pieces = [command for command in flaky.sent if command[0] == "GETRANGE"]
    assert len(pieces) == (-(-sum(sizes) // PIECE_BYTES) - 1 if lost else 0)
    if kind == "plain":
        assert content(flaky) == []
    assert claimer.close() == []
    assert len(receipts_in(flaky)) == bool(lost), "which a delayed duplicate of the first request must find"


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("broken", range(8))
def test_pieces_that_are_lost_themselves_lose_no_key(
    store: RedisStore, flaky: FlakyClient, kind: str, broken: int
) -> None:
    """The reply to the claim is lost, and then so many replies to a piece that the claimer gives up."""
    put(flaky, *((f"é{number}", MS - 100 + number) for number in range(5)))
    claimer = claimer_of(store, kind)
    flaky.fates = ["lost", *[None] * (broken + 1), *["lost"] * TRIES]
    with pytest.raises(OutcomeUnknown):
        claimer.claim(1000)
    assert claimer.is_owed
    claimed = claimer.claim(1)
    assert claimed.keys == [f"é{number}" for number in range(5)]
    claimer.hand_back(entries(claimed))
    assert len(content(flaky)) == 5
    claimer.close()


@pytest.mark.usefixtures("small_bounds")
def test_a_receipt_that_vanishes_between_two_pieces_is_told(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, *((f"k{number}", MS - 100 + number) for number in range(5)))
    plain_claimer = store.plain_claimer()
    flaky.fates = ["lost", None, *["lost"] * TRIES]
    with pytest.raises(OutcomeUnknown):
        plain_claimer.claim(1000)
    (receipt,) = receipts_in(flaky)
    left = RedisClient.call(flaky, "STRLEN", receipt)
    RedisClient.call(flaky, "SET", receipt, RedisClient.call(flaky, "GETRANGE", receipt, 0, left - 3), "KEEPTTL")
    real_call, asked = flaky.call, 0

    def vanishing(*command: object, **more: object) -> object:
        nonlocal asked
        asked += command[0] == "GETRANGE"
        if asked == 2:
            RedisClient.call(flaky, "DEL", receipt)
        return real_call(*command, **more)  # type: ignore[arg-type]

    flaky.call = vanishing  # type: ignore[method-assign]
    with pytest.raises(OutcomeUnknown, match="receipt of the last claim is gone"):
        plain_claimer.claim(1000)
    put(flaky, ("new", MS))
    assert plain_claimer.claim(1000).keys == ["new"]
