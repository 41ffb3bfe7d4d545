"""Keys of many kilobytes: a claim is bounded in bytes, and a lost reply is read again in pieces.

A server disconnects a client whose replies exceed `client-output-buffer-limit`. So a reply that is too large is lost
each time it is sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest
import redis

import rx_runat.stream.source
from rx_runat import Claim, RunAt, StoreError, settle
from rx_runat.store.client import TRIES
from tests.support.proxy import Proxy
from tests.support.scripts import watched
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"
RECEIPTS = b":receipt:"
MIB = 1 << 20
KB = 1000
MB = 1000 * KB


@pytest.fixture
def server(server: Server) -> Iterator[Server]:
    yield server
    with server.client() as client:
        client.config_set("client-output-buffer-limit", "normal 0 0 0")


def limit_replies(client: redis.Redis, size: str) -> None:
    """Let the server disconnect a client as soon as more than `size` bytes wait to be sent to it."""
    client.config_set("client-output-buffer-limit", f"normal {size} 0 0")


def fill(client: redis.Redis, *sizes: int) -> list[str]:
    """Schedule keys of so many bytes that have been due for long, and return them in their order."""
    keys = [f"{number:06}".ljust(size, "x") for number, size in enumerate(sizes)]
    together = max(1, MIB // max(sizes))  # a command of many megabytes makes the server slow
    for first in range(0, len(keys), together):
        client.zadd(Q, {key: first + at + 1 for at, key in enumerate(keys[first : first + together])})
    return keys


def whats_left(client: redis.Redis) -> list[bytes]:
    """Returns what is in Redis, but for receipts: that of a lost reply stays for an hour."""
    return [name for name in client.scan_iter() if RECEIPTS not in name]


# Either way to receive: plain keys, and claims that are acked.


def plain(queue: RunAt, receive: Callable[[str], object]) -> None:
    queue.subscribe(receive)


def claims(queue: RunAt, receive: Callable[[str], object]) -> None:
    def on_next(claim: Claim) -> None:
        receive(claim.key)
        assert claim.ack()

    queue.claims().subscribe(on_next)


def settled(queue: RunAt, receive: Callable[[str], object]) -> None:
    queue.claims().pipe(settle(lambda claim: receive(claim.key))).subscribe()


both = pytest.mark.parametrize("way", [plain, claims])


@pytest.mark.parametrize(
    "count, size, buffer",
    [(200, 20 * KB, "2mb"), pytest.param(1_500, 100 * KB, "16mb", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("way", [plain, settled])
def test_a_backlog_of_large_keys_comes_each_once_through_a_small_output_buffer(
    way: Callable[..., None],
    count: int,
    size: int,
    buffer: str,
    make: Callable[..., RunAt],
    server: Server,
    client: redis.Redis,
) -> None:
    keys = fill(client, *[size] * count)
    limit_replies(client, buffer)
    queue, got, lost = make(), list[str](), list[StoreError]()
    queue.errors.subscribe(lost.append)
    way(queue, got.append)
    wait_until(lambda: len(got) == count, "all keys came")
    assert sorted(got) == keys
    queue.stop()
    assert lost == []
    assert whats_left(client) == []


@pytest.mark.parametrize("way", [plain, settled])
def test_stop_loses_none_of_a_backlog_of_large_keys(
    way: Callable[..., None], make: Callable[..., RunAt], server: Server, client: redis.Redis
) -> None:
    keys = fill(client, *[20 * KB] * 300)
    limit_replies(client, "2mb")
    queue, got = make(), list[str]()
    way(queue, got.append)
    wait_until(lambda: len(got) > 100, "many keys came")
    queue.stop()
    limit_replies(client, "0")
    waiting = [key.decode() for key in client.zrange(Q, 0, -1)]
    assert Counter(got + waiting) == Counter(keys)
    assert not client.exists(f"{{{Q}}}:claimed")


def test_25_claims_of_a_megabyte_come_through_an_output_buffer_of_16_megabytes(
    make: Callable[..., RunAt], server: Server, client: redis.Redis
) -> None:
    keys = fill(client, *[MB] * 25)
    limit_replies(client, "16mb")
    queue, got = make(), list[str]()
    settled(queue, got.append)
    wait_until(lambda: len(got) == 25, "all keys came")
    assert sorted(got) == keys
    queue.stop()
    assert whats_left(client) == []


@pytest.mark.parametrize("way", [plain, claims, settled])
def test_a_key_larger_than_the_output_buffer_comes_out_and_so_do_the_keys_behind_it(
    way: Callable[..., None], make: Callable[..., RunAt], server: Server, client: redis.Redis
) -> None:
    """Its reply is lost. The receipt has the key, and is read in pieces that fit."""
    keys = fill(client, 10, 3 * MB, 10, 3 * MB, 20 * KB, 10)
    limit_replies(client, "1mb")
    queue, got = make(interval=0.05), list[str]()
    way(queue, got.append)
    wait_until(lambda: len(got) == len(keys), "all keys came")
    assert sorted(got) == keys
    queue.stop()
    assert whats_left(client) == []


# What one claim reads and takes.


BOUNDS = pytest.mark.parametrize("size, most", [(MB, 1), (100 * KB, 10), (20 * KB, 52)])


@BOUNDS
def test_a_claim_of_plain_keys_takes_a_mebibyte_or_one_key(
    size: int, most: int, make: Callable[..., RunAt], server: Server, client: redis.Redis
) -> None:
    claims = read_and_taken(make(), server, fill(client, *[size] * (3 * most)))
    assert max(len(taken) for _, taken in claims) == most


@BOUNDS
def test_a_claim_under_a_lease_takes_a_mebibyte_or_one_key(
    size: int, most: int, make: Callable[..., RunAt], server: Server, client: redis.Redis
) -> None:
    fill(client, *[size] * (3 * most))
    counts, receipts = leased_at_once(make(), client)
    assert max(counts) == most
    assert max(receipts) <= MIB + 200


MIX = [*[10] * 150, *[MB] * 3, *[10] * 10]


def test_large_plain_keys_behind_small_ones_wait_for_the_next_claim(
    make: Callable[..., RunAt], server: Server, client: redis.Redis
) -> None:
    """The claim that reads the first large key began with small ones, so the size of a key cannot be guessed."""
    claims = read_and_taken(make(), server, fill(client, *MIX))
    assert all(len(taken) == 1 or sum(map(len, taken)) <= MIB for _, taken in claims)


def test_large_keys_behind_small_ones_wait_for_the_next_claim_under_a_lease(
    make: Callable[..., RunAt], server: Server, client: redis.Redis
) -> None:
    fill(client, *MIX)
    counts, receipts = leased_at_once(make(), client)
    assert sum(counts) == len(MIX)
    assert max(receipts) <= MIB + 200


def leased_at_once(queue: RunAt, client: redis.Redis) -> tuple[list[int], list[int]]:
    """Receive all claims. Returns how many keys each call of the script leased, and the sizes of the receipts.

    While a claim is delivered its source claims no more, so the schedule and the receipt are as that call left them.
    """
    seen: list[tuple[int, int]] = []

    def receive(claim: Claim) -> None:
        receipts = list(client.scan_iter(f"{{{Q}}}:receipt:*"))
        seen.append((client.zcard(Q), sum(map(client.strlen, receipts))))
        assert claim.ack()

    count = client.zcard(Q)
    queue.claims().subscribe(receive)
    wait_until(lambda: len(seen) == count, "all keys came")
    return list(Counter(waiting for waiting, _ in seen).values()), [size for _, size in seen]


def test_a_claim_of_small_keys_takes_as_many_as_the_limit_says(
    make: Callable[..., RunAt], server: Server, client: redis.Redis
) -> None:
    claims = read_and_taken(make(), server, fill(client, *[40] * 8_000))
    assert max(len(taken) for _, taken in claims) == 1_000


@pytest.mark.slow
@pytest.mark.parametrize("small, more", [(0, 4), (400, 64)], ids=["large keys", "small keys first"])
def test_a_claim_reads_few_keys_more_than_it_takes(
    small: int, more: int, make: Callable[..., RunAt], server: Server, client: redis.Redis
) -> None:
    """What a script reads it copies, and the server does nothing else meanwhile. A step reads at most 64 keys."""
    claims = read_and_taken(make(), server, fill(client, *[10] * small, *[200 * KB] * 70))
    assert all(read <= len(taken) + more for read, taken in claims)
    assert max(read for read, taken in claims if len(taken[0]) > 10) > 1


def read_and_taken(queue: RunAt, server: Server, keys: Sequence[str]) -> list[tuple[int, Sequence[str]]]:
    """Receive these keys. Returns how many keys each claim read, and which it took, by its script's commands."""
    got: list[str] = []

    def receive_all() -> None:
        queue.subscribe(got.append)
        wait_until(lambda: len(got) == len(keys), "all keys came")

    claims: list[tuple[int, Sequence[str]]] = []
    read = first = 0
    for kind, (command, *words) in watched(server, receive_all):
        if kind == "lua" and command == "ZRANGE" and words[0] == Q:
            read += int(words[2]) - int(words[1]) + 1
        if kind == "lua" and command == "ZREMRANGEBYRANK" and words[1] == "0":
            taken = int(words[2]) + 1
            claims.append((read, keys[first : first + taken]))
            read, first = -1, first + taken  # the script goes on to read the head of the schedule
    assert first == len(keys)
    return claims


# Replies that are cut.


# The first claim takes one key. In each of these schedules it, or the second claim, has several pieces.
SCHEDULES = {"one key": [200 * KB, 10], "several keys": [10, *[50 * KB] * 4]}


@pytest.mark.parametrize("cuts", [1, 2, TRIES, TRIES + 2])
@pytest.mark.parametrize("sizes", SCHEDULES.values(), ids=SCHEDULES)
@both
def test_a_long_reply_that_is_cut_brings_the_same_keys(
    way: Callable[..., None],
    sizes: Sequence[int],
    cuts: int,
    make: Callable[..., RunAt],
    proxy: Proxy,
    client: redis.Redis,
) -> None:
    receive_all_with_cuts(way, make(proxy.url, interval=0.05), proxy, client, sizes, [0] * cuts)


@pytest.mark.parametrize(
    "sizes",
    [pytest.param(sizes, id=name, marks=[pytest.mark.slow] * (name == "one key")) for name, sizes in SCHEDULES.items()],
)
@both
def test_pieces_that_are_cut_bring_the_same_keys(
    way: Callable[..., None], sizes: Sequence[int], proxy: Proxy, make: Callable[..., RunAt], client: redis.Redis
) -> None:
    """One cut at any reply, then another one at any of those that follow: the last ones find all pieces whole."""
    for first in range(2):
        for second in range(5):
            receive_all_with_cuts(way, make(proxy.url, interval=0.01), proxy, client, sizes, [first, second])


@both
def test_a_piece_that_is_cut_again_and_again_brings_the_same_keys(
    way: Callable[..., None], proxy: Proxy, make: Callable[..., RunAt], client: redis.Redis
) -> None:
    """So often that the claim fails, and the next look at the queue asks for it."""
    queue = make(proxy.url, interval=0.05)
    receive_all_with_cuts(way, queue, proxy, client, SCHEDULES["one key"], [0, 2, *[0] * TRIES, 3, 1])


@pytest.fixture(autouse=True)
def each_heartbeat_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the cuts that are left when all keys have come do not wait for the next claim, which is seconds away."""
    monkeypatch.setattr(rx_runat.stream.source, "_LONGEST_WITHOUT_CLAIM", 0.0)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim that fails is made again soon: one test has twenty of them."""
    monkeypatch.setattr("rx_runat.stream.outage.FIRST_BACKOFF", 0.005)


def receive_all_with_cuts(
    way: Callable[..., None],
    queue: RunAt,
    proxy: Proxy,
    client: redis.Redis,
    sizes: Sequence[int],
    spared: Sequence[int],
) -> None:
    """Cut replies to claims, with so many that pass before each cut, and check that each key comes once."""
    keys, got, before = fill(client, *sizes), list[str](), proxy.cuts
    proxy.of, proxy.spared, proxy.cut = RECEIPTS, list(spared), len(spared)
    way(queue, got.append)
    wait_until(lambda: len(got) >= len(keys) and proxy.cuts == before + len(spared), "all keys came, and all cuts")
    queue.stop()
    assert got == keys
    assert whats_left(client) == []
