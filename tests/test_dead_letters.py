"""The dead letters from a user's seat; their scripts are in `test_leases.py`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from rx_runat import Claim, DeadLetter, InvalidJob, InvalidSetting, Job, RunAt, Stopped
from rx_runat.cli import main
from rx_runat.model.batch import SettleRequest
from rx_runat.model.times import from_score
from rx_runat.testing import Faults, virtual_queue
from tests.support.servers import Server


def test_a_revived_key_is_due_at_once_and_begins_anew() -> None:
    queue, scheduler = virtual_queue()
    got: list[tuple[str, int, float]] = []

    def bury(claim: Claim) -> None:
        got.append((claim.key, claim.attempt, claim.run_at.timestamp()))
        claim.bury("poison")

    queue.claims().subscribe(bury)
    queue.schedule("a", 1)
    queue.schedule("b", 2)
    scheduler.advance_to(10)
    assert [(each.key, each.reason, each.time.timestamp()) for each in queue.dead.peek()] == [
        ("a", "poison", 1),
        ("b", "poison", 2),
    ]
    assert (queue.dead.size(), len(queue.dead.peek(1))) == (2, 1)
    assert queue.dead.revive("a") == 1
    scheduler.advance_to(11)
    assert queue.dead.revive("nobody") == 0
    assert queue.dead.revive(None) == 2
    scheduler.advance_to(12)
    assert got == [("a", 1, 1), ("b", 1, 2), ("a", 1, 1), ("a", 1, 1), ("b", 1, 2)]


def test_a_dropped_letter_is_forgotten() -> None:
    queue, scheduler = virtual_queue()
    queue.claims().subscribe(lambda claim: claim.bury("poison"))
    for number in range(4):
        queue.schedule(f"k{number}", 1)
    scheduler.advance_to(2)
    assert (queue.dead.drop("k1"), queue.dead.drop("k1"), queue.dead.drop(None)) == (1, 0, 3)
    assert (queue.dead.size(), queue.size()) == (0, 0)


def test_bad_arguments_and_a_stopped_queue_are_refused() -> None:
    queue, _ = virtual_queue()
    for n in (-1, True, 1.5):
        with pytest.raises(InvalidSetting, match="n: got"):
            queue.dead.peek(n)  # type: ignore[arg-type]
    with pytest.raises(InvalidJob):
        queue.dead.revive(7)  # type: ignore[arg-type]
    queue.stop()
    for call in (queue.dead.peek, queue.dead.size, lambda: queue.dead.revive(None), lambda: queue.dead.drop("a")):
        with pytest.raises(Stopped):
            call()


def test_a_letter_shows_what_it_is() -> None:
    letter = DeadLetter("<a>\n", from_score(1000), 5, "ValueError: <no>\n" + "x" * 500, from_score(61_000))
    assert repr(letter).startswith("<DeadLetter '<a>\\n', 5 attempts: ValueError: <no>\\nxxx")
    assert len(repr(letter)) < 110
    card = letter._repr_html_()
    assert "&lt;a&gt;\\n" in card
    assert "5 attempts, 1970-01-01 00:01:01.000 UTC: ValueError: &lt;no&gt;\\nxxx" in card
    assert len(card) < 700


def test_a_card_shows_how_many_and_the_oldest() -> None:
    queue, scheduler = virtual_queue(queue_name="jobs")
    assert repr(queue.dead) == "<dead letters of <RunAt 'jobs' on memory://>>"
    assert "<b>0</b> dead" in queue.dead._repr_html_()
    queue.claims().subscribe(lambda claim: claim.bury(f"<poison> of {claim.key}"))
    queue.on_next([Job(f"k{number}", number) for number in range(1, 9)])
    scheduler.advance_to(8)
    card = queue.dead._repr_html_()
    assert "dead letters of RunAt</b>" in card
    assert "<b>8</b> dead" in card
    assert "&lt;poison&gt; of k5" in card
    assert "k6" not in card
    assert "1 attempt<" in card
    assert "1970-01-01 00:00:05.000 UTC" in card
    assert "… 3 more" in card
    queue.stop()
    assert "stopped" in queue.dead._repr_html_()


def test_a_card_costs_two_calls_and_a_plain_repr_none(faults: Faults) -> None:
    queue, _ = virtual_queue(faults=faults)
    queue.dead._repr_html_()
    faults.commands.clear()
    repr(queue.dead)
    assert not faults.commands
    queue.dead._repr_html_()
    assert len(faults.commands) == 2
    faults.away = True
    assert "nothing answers at memory://" in queue.dead._repr_html_()


def test_a_card_of_very_many_reads_none_of_them(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    queue.claims().subscribe(lambda claim: claim.bury("poison"))
    queue.on_next([Job(f"k{number}", 1) for number in range(3)])
    scheduler.advance_to(2)
    monkeypatch.setattr("rx_runat.dead_letters._MOST_READ", 2)
    faults.commands.clear()
    card = queue.dead._repr_html_()
    assert len(faults.commands) == 1
    assert "<b>3</b> dead" in card
    assert "k0" not in card


def test_the_command(make: Callable[..., RunAt], server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    queue = make()
    for key in ("a", "two words"):
        queue.schedule(key, 1)
        leased = queue._store.leasing_claimer(10_000)
        got = leased.claim(1)
        queue._store.settle([SettleRequest("bury", key, got.fence, "no\nluck", got.deadline)])
        leased.close()

    def run(*words: str) -> tuple[int, str, str]:
        status = main(["--redis", server.url, "dead", *words])
        said = capfd.readouterr()
        return status, said.out, said.err

    status, out, _ = run()
    first, second = out.splitlines()
    assert (status, first.split()[0], first.split()[1:3]) == (0, "a", ["1970-01-01T00:00:01+00:00", "1"])
    assert second.startswith("two words ")
    assert second.endswith(" 'no\\nluck'")
    assert run("peek", "1")[1].splitlines() == [first]
    assert run("revive", "a", "b") == (1, "", "rx-runat: 'b' is no dead letter that can be revived\n")
    with pytest.raises(SystemExit):
        run("revive")
    capfd.readouterr()
    assert run("drop", "--all") == (0, "1\n", "")
    assert (queue.dead.size(), queue.size()) == (0, 1)


def test_20_a_letter_that_cannot_be_read_is_seen_everywhere_and_hides_no_other(
    queue: RunAt, client: redis.Redis, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    client.hset("{RunAt~default}:dead", mapping={"bad": b"\xff nonsense", "good": "1000 2 500 poison", "": "x"})
    assert [letter.key for letter in queue.dead.peek()] == ["", "bad", "good"]
    assert "0 attempts" in queue.dead._repr_html_()
    at = ("--redis", server.url, "dead")
    assert main([*at, "peek"]) == 0
    out = capfd.readouterr().out
    assert [line.split()[-2:] for line in out.splitlines()] == [
        ["1970-01-01T00:00:00+00:00", "'x'"],
        ["'\N{REPLACEMENT CHARACTER}", "nonsense'"],
        ["1970-01-01T00:00:01+00:00", "'poison'"],
    ]
    assert main([*at, "--json", "peek"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 3
    assert main([*at, "revive", "bad"]) == 1
    assert "'bad' is no dead letter that can be revived" in capfd.readouterr().err
    assert main([*at, "revive", "--all"]) == 0
    assert capfd.readouterr().out == "1\n"
    assert main([*at, "drop", "bad", ""]) == 0
    assert (queue.size(), queue.dead.size()) == (1, 0)
