"""Replies that a proxy cuts: no key is lost or comes twice, and verbs return the truth."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
import redis

from rx_runat import Claim, Job, OutcomeUnknown, RunAt, StoreError
from rx_runat.store.client import TRIES
from rx_runat.store.keys import claimed_key
from tests.support.jobs import overdue_jobs
from tests.support.proxy import Proxy, script_argument
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"
HOUR = 3600.0

# The plain stream, and the verbs of a queue.


@pytest.mark.parametrize("cuts", [1, 2, 5])
def test_a_claim_whose_reply_is_cut_brings_the_same_keys(
    proxy: Proxy, make: Callable[..., RunAt], client: redis.Redis, cuts: int
) -> None:
    queue = make(proxy.url, limit=10, interval=0.05)
    queue.on_next(overdue_jobs(50))
    got: list[str] = []
    proxy.of, proxy.cut = b":receipt:", cuts
    queue.subscribe(got.append)
    wait_until(lambda: len(got) == 50, "all keys came")
    assert got == [job.key for job in overdue_jobs(50)]
    assert proxy.cuts == cuts
    assert client.zcard(Q) == 0


@pytest.mark.parametrize("cuts", [1, 2, 5])
def test_a_hand_back_whose_reply_is_cut_is_done_once(
    proxy: Proxy, make: Callable[..., RunAt], client: redis.Redis, cuts: int
) -> None:
    """Before the request is resent, another client takes some of the keys: they must not come back."""
    queue = make(proxy.url, interval=0.05)
    queue.on_next(overdue_jobs(10))
    taken: list[bytes] = []

    def cut_and_leave(_: str) -> None:
        proxy.of, proxy.cut = b":receipt:", cuts
        subscription.dispose()
        threading.Thread(target=steal).start()

    def steal() -> None:
        wait_until(lambda: client.zcard(Q) > 0, "the first request has acted")
        taken.extend(member for member, _ in client.zpopmin(Q, 4))

    subscription = queue.subscribe(cut_and_leave)
    wait_until(lambda: len(taken) == 4 and proxy.cuts == cuts, "another client took keys that were handed back")
    queue.stop()
    assert Counter(taken + client.zrange(Q, 0, -1)) == Counter(job.key.encode() for job in overdue_jobs(10)[1:])


@pytest.mark.parametrize("cuts", [1, 2])
def test_verbs_of_a_queue_whose_replies_are_cut_return_the_truth(
    proxy: Proxy, make: Callable[..., RunAt], client: redis.Redis, cuts: int
) -> None:
    queue = make(proxy.url)

    assert queue.size() == 0  # makes a connection first: a cut while it is made would not be a lost reply
    assert not queue.cancel("nobody")  # loads the script first: the loss of a NOSCRIPT error would not be one either

    def cut() -> None:
        proxy.cut = cuts

    cut()
    queue.on_next(overdue_jobs(3))
    assert client.zcard(Q) == 3
    cut()
    stands = queue.schedule("a", timedelta(hours=1), keep="first")
    assert queue.when("a") == stands
    cut()
    assert queue.schedule("a", timedelta(hours=2), keep="first") == stands
    cut()
    assert queue.size() == 4
    cut()
    assert [each.key for each in queue.peek(1)] == ["k000000"]
    cut()
    assert queue.when("a") == stands
    cut()
    with pytest.raises(OutcomeUnknown, match="does not wait any more"):
        queue.cancel("a")
    assert queue.when("a") is None
    assert not queue.cancel("a")


def test_the_outcome_of_a_write_without_any_reply_is_unknown(
    proxy: Proxy, make: Callable[..., RunAt], client: redis.Redis
) -> None:
    queue = make(proxy.url)
    queue.size()
    proxy.of, proxy.cut = b"ZADD", 3
    with pytest.raises(OutcomeUnknown):
        queue.on_next(Job("a", 1))
    assert client.zscore(Q, "a") == 1000


def test_a_lost_reply_to_an_empty_claim_is_resolved_on_a_full_server(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rx_runat.stream.source._LONGEST_WITHOUT_CLAIM", 0.0)  # the first claim may come before the cut
    proxy = Proxy(own_server)
    try:
        with RunAt(proxy.url, interval=0.05) as queue, own_server.client() as client:
            notices: list[StoreError] = []
            got: list[str] = []
            queue.errors.subscribe(notices.append)
            queue.subscribe(got.append)
            client.config_set("maxmemory", 1)
            proxy.of, proxy.cut = b":receipt:", 1
            wait_until(lambda: proxy.cuts == 1, "a reply was cut")
            client.config_set("maxmemory", 0)
            queue.schedule("a", 1)
            wait_until(lambda: got == ["a"], "the source goes on")
        assert notices == []
    finally:
        proxy.end()


# Claims.

VERBS: dict[str, Callable[[Claim], bool]] = {
    "ack": Claim.ack,
    "nack": lambda claim: claim.nack(HOUR),
    "bury": lambda claim: claim.bury("poison"),
    "extend": lambda claim: claim.extend(HOUR),
}


@pytest.mark.parametrize("cuts", [1, 2, TRIES, TRIES + 2])
def test_claims_whose_replies_are_cut_come_once(
    cuts: int, proxy: Proxy, make: Callable[..., RunAt], client: redis.Redis
) -> None:
    queue = make(proxy.url, interval=0.05)
    keys = [f"k{number:03}" for number in range(50)]
    queue.on_next([Job(key, 1) for key in keys])
    got: list[tuple[str, int]] = []
    proxy.of, proxy.cut = b":receipt:", cuts
    queue.claims(max_in_flight=20).subscribe(lambda claim: claim.ack() and got.append((claim.key, claim.attempt)))
    wait_until(lambda: len(got) == 50, "all were acked")
    assert got == [(key, 1) for key in keys]
    assert proxy.cuts == cuts


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("cuts", [1, TRIES - 1, TRIES])
def test_verbs_of_a_claim_whose_replies_are_cut_return_the_truth(
    verb: str, cuts: int, proxy: Proxy, make: Callable[..., RunAt], client: redis.Redis
) -> None:
    queue = make(proxy.url)
    got: list[Claim] = []
    queue.claims().subscribe(got.append)
    queue.schedule("a", 1)
    wait_until(lambda: got, "it came")
    (claim,) = got
    proxy.of, proxy.cut = script_argument(verb), cuts
    if cuts == TRIES:
        with pytest.raises(OutcomeUnknown):
            VERBS[verb](claim)
    assert VERBS[verb](claim)
    assert proxy.cuts == cuts
    assert VERBS[verb](claim) is (verb == "extend")
    assert client.zrange(claimed_key(Q), 0, -1) == ([b"a"] if verb == "extend" else [])
    assert queue.size() == (verb == "nack")
    assert queue.dead.size() == (verb == "bury")
    if verb == "extend":
        assert client.zscore(claimed_key(Q), "a") == claim.deadline.timestamp() * 1000
