"""What other clients put into Q, on a real server: any bytes with any score come out, go back and are settled.

npm runat, redis-cli or a bug of somebody else can write members that our sink refuses, the empty one above all.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable

import pytest
import redis
from reactivex import operators as ops

from rx_runat import Claim, Due, InvalidJob, Job, Outcome, RunAt, settle
from rx_runat.model.members import to_key
from rx_runat.notebook.cards import state
from tests.support.command import run
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"
DUE: dict[bytes, float | str] = {
    b"": 1,
    b"\xff\xfe": "-inf",
    b"\x1f": 0.5,
    b"\xed\xa0\x80": 2,
    b"\x00": -1e300,
    b"a\nb": 3,
}
NEVER = {b"never": "inf"}
KEYS = sorted(map(to_key, DUE))


def put(client: redis.Redis, members: dict[bytes, float | str]) -> None:
    client.zadd(Q, members)


def schedule(client: redis.Redis) -> dict[bytes, float]:
    return dict(client.zrange(Q, 0, -1, withscores=True))  # type: ignore[arg-type]


def test_20_foreign_members_come_out_of_the_plain_stream(queue: RunAt, client: redis.Redis) -> None:
    put(client, DUE | NEVER)
    keys: list[str] = []
    dues: list[Due] = []
    queue.jobs.subscribe(dues.append)
    queue.subscribe(keys.append)
    wait_until(lambda: len(dues) >= len(DUE), "all that is due came")
    assert sorted(due.key for due in dues) == KEYS
    assert set(keys) <= set(KEYS)
    assert list(schedule(client)) == list(NEVER)


def test_20_foreign_members_go_back_from_a_stop(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """An `on_next` stops its queue; the look that called it hands the rest back, and ends the source."""
    put(client, DUE)
    before = schedule(client)
    queue = make(limit=100)
    received: list[str] = []

    def stop_in_the_second_round(key: str) -> None:
        received.append(key)
        if len(received) > len(DUE):
            queue.stop()

    queue.subscribe(stop_in_the_second_round)
    wait_until(lambda: len(received) == len(DUE), "the source takes many keys in one claim from now on")
    put(client, DUE)
    wait_until(lambda: len(received) > len(DUE), "it stops in its first on_next")
    queue.stop()  # waits for the end
    assert len(received) == len(DUE) + 1
    assert set(before) - set(schedule(client)) == {received[-1].encode(errors="surrogateescape")}
    assert all(before[member] == score for member, score in schedule(client).items())


@pytest.mark.parametrize("take", [1, 3])
def test_20_foreign_members_that_nobody_received_go_back(queue: RunAt, client: redis.Redis, take: int) -> None:
    put(client, DUE)
    before = schedule(client)
    received = [member.encode(errors="surrogateescape") for member in queue.pipe(ops.take(take), ops.to_list()).run()]
    queue.stop()
    assert len(received) == take
    assert schedule(client) == {member: score for member, score in before.items() if member not in received}


def test_20_foreign_members_are_settled(queue: RunAt, client: redis.Redis) -> None:
    put(client, DUE | NEVER)
    outcomes: list[Outcome] = []
    work = settle(lambda claim: claim.attempt, backoff=lambda _: 0.0)
    queue.claims().pipe(work).subscribe(outcomes.append)
    wait_until(lambda: len(outcomes) == len(DUE), "every key is settled")
    assert sorted(each.claim.key for each in outcomes) == KEYS
    assert {each.verdict for each in outcomes} == {"acked"}
    queue.stop()
    assert client.keys() == [Q.encode()]


def test_20_foreign_members_fail_and_come_again(queue: RunAt, client: redis.Redis) -> None:
    put(client, DUE)
    outcomes: list[Outcome] = []

    def fail_once(claim: Claim) -> None:
        if claim.attempt == 1:
            raise ValueError("not yet")

    queue.claims().pipe(settle(fail_once, backoff=lambda _: 0.0)).subscribe(outcomes.append)
    wait_until(lambda: len(outcomes) == 2 * len(DUE), "every key is settled twice")
    assert sorted(each.claim.key for each in outcomes if each.verdict == "nacked") == KEYS
    assert sorted(each.claim.key for each in outcomes if each.verdict == "acked") == KEYS


def test_20_claims_of_foreign_members_that_nobody_received_go_back(queue: RunAt, client: redis.Redis) -> None:
    put(client, DUE)
    before = schedule(client)
    (claim,) = queue.claims().pipe(ops.take(1), ops.to_list()).run()
    wait_until(lambda: client.zcard(Q) == len(DUE) - 1, "the rest is back")
    assert schedule(client) == {member: score for member, score in before.items() if to_key(member) != claim.key}
    assert claim.extend(60)
    assert claim.nack()
    assert client.zcard(Q) == len(DUE)


def test_20_a_foreign_member_is_buried_shown_revived_and_dropped(queue: RunAt, client: redis.Redis) -> None:
    put(client, DUE)
    buried: list[bool] = []
    claims = queue.claims().subscribe(lambda claim: buried.append(claim.bury(f"no such key: {claim.key}")))
    wait_until(lambda: len(buried) == len(DUE), "all are dead letters")
    claims.dispose()
    assert sorted(letter.key for letter in queue.dead.peek(10)) == KEYS
    assert any("''" in html.unescape(letter._repr_html_()) for letter in queue.dead.peek(10))
    assert queue.dead.revive("") == 1
    assert schedule(client) == {b"": 1}
    assert queue.dead.revive("") == 0
    assert queue.dead.drop(to_key(b"\xff\xfe")) == 1
    assert queue.dead.revive(None) == len(DUE) - 2
    assert queue.size() == len(DUE) - 1


def test_20_the_verbs_take_any_key_and_only_scheduling_refuses_an_empty_one(queue: RunAt, client: redis.Redis) -> None:
    put(client, DUE | NEVER)
    assert sorted(due.key for due in queue.peek(100)) == sorted([*KEYS, "never"])
    for key in (*KEYS, "never"):
        assert queue.when(key) is not None
    assert [place.run_at for place in queue._store.locate(["", "never"])] == [1.0, float("inf")]
    for key in (*KEYS, "never"):
        assert queue.cancel(key) is True
        assert queue.cancel(key) is False
        assert queue.when(key) is None
    for schedules in (
        lambda: queue.schedule("", 1),
        lambda: queue.on_next(Due("", queue.schedule("a", 1))),
        lambda: queue.on_next({"runAt": 1, "key": ""}),
        lambda: queue.on_next([Job("b", 1), {"runAt": 1, "key": ""}]),
    ):
        with pytest.raises(InvalidJob, match="a key is a non-empty str"):
            schedules()
    assert schedule(client) == {b"a": 1000.0}


def test_20_cards_show_foreign_members(queue: RunAt, client: redis.Redis) -> None:
    put(client, {b"": "-inf", b"never": "inf"})
    (due, never) = queue.peek()
    assert "<b>Due</b>" in due._repr_html_()
    assert "''" in html.unescape(due._repr_html_())
    assert "never" in state(queue._store.snapshot(5))
    json.dumps([due.lateness, never.lateness], allow_nan=False)


def test_20_the_command_prints_foreign_members(
    server: Server, client: redis.Redis, here: Callable[..., int], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """An empty key is an empty line, and nothing is lost behind it; with --json it can be told from no key."""
    put(client, {b"": "-inf", b"\xff": 1, b"a": 2})
    at = ("--redis", server.url)
    assert here(*at, "peek") == 0
    peeked = capfdbinary.readouterr().out.splitlines()
    assert [line.rpartition(b" ")[0] for line in peeked] == [b"", b"\xff", b"a"]
    assert here(*at, "--json", "peek") == 0
    shown = [json.loads(line, parse_constant=pytest.fail) for line in capfdbinary.readouterr().out.splitlines()]
    assert [each["key"] for each in shown] == ["", "\udcff", "a"]
    assert here(*at, "cancel", "") == 0
    client.zadd(Q, {"": 1})
    followed = run(*at, feed=b"z +0.05\n")
    assert (followed.stdout.splitlines(), followed.stderr) == ([b"", b"\xff", b"a", b"z"], b"")
    assert client.zcard(Q) == 0
