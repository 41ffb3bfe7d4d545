"""The scripts: their contracts, the keys and commands that they use, and the clock that they read."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import timedelta
from importlib.resources import files

import pytest
from reactivex.testing import TestScheduler

from rx_runat import Job
from rx_runat.model.job import KEEP
from rx_runat.queue import RunAt
from rx_runat.store.connect import connect
from rx_runat.store.redis_store import RedisStore
from tests.support.redis_content import entries, put
from tests.support.scripts import SCRIPTS, inside, lua, runs_of, watched
from tests.support.servers import Server
from tests.support.stores import Q
from tests.support.waiting import wait_until


def test_every_file_is_a_script_or_a_prelude() -> None:
    found = {path.name.removesuffix(".lua") for path in files("rx_runat.store").joinpath("lua").iterdir()}
    assert found == {*SCRIPTS, "prelude", "record", "read_first"}
    assert all(script.body.decode().endswith(lua(name)) for name, script in SCRIPTS.items())


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_every_key_that_a_script_touches_is_declared(name: str) -> None:
    code = re.sub(r"--[^\n]*", "", SCRIPTS[name].body.decode())
    declared = {"KEYS[1]", "KEYS[2]"}
    for names_, values in re.findall(r"local ([\w, ]+?) = ([^\n]+)", code):
        pairs = zip(map(str.strip, names_.split(",")), map(str.strip, values.split(",")), strict=False)
        declared |= {name for name, value in pairs if re.fullmatch(r"KEYS\[\d\]", value)}
    shared = ["redis.call(command, name, unpack(words, i, math.min(i + 3999, #words)))", "redis.call('ZRANGE', name,"]
    own = functools.reduce(lambda text, call: text.replace(call, ""), shared, code)
    calls = re.findall(r"(?:redis\.p?call|(?<!function )bulk)\(\s*([^,)]+)(?:,\s*([^,)]+))?", own)
    calls += [("'ZRANGE'", key) for key in re.findall(r"(?<!function )read_first\((\w+)", own)]
    assert calls
    for command, key in calls:
        if command == "'MEMORY'":  # the key is behind a subcommand: see below
            continue
        assert re.fullmatch(r"'[A-Z]+'", command), "no command is made up at run time"
        assert key.strip() in declared or (command == "'TIME'" and not key), f"{command} {key}"
    assert re.findall(r"'MEMORY', '\w+', (?!Q\b)", own) == []
    for key in declared - {"KEYS[1]", "KEYS[2]"}:
        assert len(re.findall(rf"\b{key}\b\s*(?:,\s*\w+\s*)*=[^=]", code)) == 1, f"{key} is given one value"


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_every_script_begins_with_its_contract(name: str) -> None:
    head = lua(name).split("\nlocal ", 1)[0]
    for part in ("KEYS", "ARGV", "->", "cost"):
        assert re.search(rf"^-- {part}\b|^-- {part} ", head, re.MULTILINE), part
    for index in map(int, re.findall(r"KEYS\[(\d)\]", lua(name))):
        assert index <= len(re.findall(r"^-- (?:KEYS)? +\d \{?Q", head, re.MULTILINE))


def test_a_user_limited_to_the_queues_keys_can_do_everything(own_server: Server) -> None:
    with own_server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "me", "on", "nopass", "resetkeys", f"~{Q}", f"~{{{Q}}}:*", "resetchannels", "+@all"
        )
    got: list[str] = []
    with RunAt(f"unix://me:x@{own_server.path}") as queue:
        queue.on_next([Job("a", 1.0), Job("b", timedelta(0)), Job("c", timedelta(hours=1))])
        for keep in KEEP:
            queue.schedule("d", timedelta(hours=1), keep=keep)
        assert queue.cancel("d")
        assert queue.when("c") is not None
        assert [due.key for due in queue.peek(1)] == ["a"]
        assert queue.size() == 3
        assert queue.size(until=timedelta(minutes=1)) == 2
        assert queue.stats().scheduled == 3
        plain_claimer = queue._store.plain_claimer()
        plain_claimer.hand_back(entries(plain_claimer.claim(1)))
        plain_claimer.close()
        queue.subscribe(got.append, lambda error: pytest.fail(str(error)))
        wait_until(lambda: got == ["a", "b"], "the keys came")
    with own_server.client() as client:
        assert client.keys() == [Q.encode()]
        assert client.execute_command("ACL", "LOG") == []


def use_all(queue: RunAt, wait: Callable[[Callable[[], bool]], None]) -> None:
    got: list[str] = []
    queue.schedule("a", 1.0, keep="first")
    queue.schedule("b", timedelta(0))
    queue.schedule("c", timedelta(hours=1), keep="latest")
    queue.peek(3)
    queue.size(until=timedelta(minutes=1))
    queue.stats()
    plain_claimer = queue._store.plain_claimer()
    plain_claimer.hand_back(entries(plain_claimer.claim(1)))
    plain_claimer.close()
    queue.subscribe(got.append)
    wait(lambda: {"a", "b"} <= set(got))


def test_a_queue_of_real_time_never_tells_redis_the_time(taught: Server) -> None:
    def act() -> None:
        with RunAt(taught.url) as queue:
            use_all(queue, lambda condition: wait_until(condition, "the keys came"))

    seen = watched(taught, act)
    claims, peeks = runs_of("claim", seen), runs_of("peek", seen)
    schedules, backs = runs_of("schedule", seen), runs_of("hand_back", seen)
    stats = runs_of("stats", seen)
    assert len(claims) >= 2
    assert {len(each) for each in claims} == {6}
    assert peeks == [["3"]]
    assert stats == [[]]
    assert [each[:2] for each in schedules] == [["first", ""], ["", ""], ["latest", ""]], "no time where one may stand"
    assert len(backs) == 1
    assert not [words for kind, words in seen if kind != "lua" and words[0].upper() == "EVAL"], "all by their hash"
    times = [words for kind, words in seen if kind == "lua" and words[0].upper() == "TIME"]
    assert len(times) == len(claims) + len(peeks) + len(stats) + len(schedules), "each reads Redis's own clock"


def test_a_queue_of_virtual_time_always_does(taught: Server) -> None:
    scheduler = TestScheduler()

    def wait(condition: Callable[[], bool]) -> None:
        scheduler.advance_by(60)
        assert condition()

    def act() -> None:
        with RunAt(taught.url, interval=10, scheduler=scheduler) as queue:
            use_all(queue, wait)

    seen = watched(taught, act)
    claims, peeks, schedules = (runs_of(f"{name}", seen) for name in ("claim", "peek", "schedule"))
    assert len(claims) >= 7
    assert {len(each) for each in claims} == {7}
    assert [len(each) for each in peeks] == [2]
    assert [len(each) for each in runs_of("stats", seen)] == [1]
    assert len(schedules) == 3
    assert not [words for _, words in seen if words[0].upper() == "TIME"], "none reads Redis's clock"
    assert all(0 <= int(each[6]) <= 60_000_000 for each in claims)


def test_a_claims_work_does_not_grow_with_the_queue(taught: Server) -> None:
    store_client = connect(taught.url).client
    store = RedisStore(store_client, Q)
    plain_claimer = store.plain_claimer()
    works: list[list[str]] = []
    for waiting in (2, 5000):
        store.schedule([Job(f"k{number}", 1) for number in range(waiting)], "last")
        works.append(inside(taught, lambda: plain_claimer.claim(1)))
        plain_claimer.close()
    assert works[0] == works[1]
    assert len(works[0]) <= 9
    store_client.close()


def test_a_look_that_finds_nothing_writes_nothing(taught: Server) -> None:
    store_client = connect(taught.url).client
    plain_claimer = RedisStore(store_client, Q).plain_claimer()
    put(store_client, ("later", "inf"))

    def changes() -> bytes:
        return re.findall(rb"rdb_changes_since_last_save:(\d+)", store_client.call("INFO", "persistence"))[0]

    before = changes()
    work = inside(taught, lambda: plain_claimer.claim(1000))
    assert not {"ZPOPMIN", "SET", "ZADD"} & set(work)
    assert len(work) <= 6
    assert changes() == before, "there is nothing to resend_lost or to replicate"
    store_client.close()


def test_a_hand_back_is_one_command_for_all_keys(taught: Server) -> None:
    store_client = connect(taught.url).client
    plain_claimer = RedisStore(store_client, Q).plain_claimer()
    put(store_client, ("a", 1), ("b", 2))
    mine = entries(plain_claimer.claim(10))
    assert inside(taught, lambda: plain_claimer.hand_back(mine)) == ["GET", "EXISTS", "ZREM", "ZADD", "SET", "ZADD"]
    plain_claimer.close()
    store_client.close()
