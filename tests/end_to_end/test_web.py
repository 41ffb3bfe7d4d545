"""The README's web app and worker, run as they stand there: real uvicorn, real HTTP, real signals."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from rx_runat import Claim, RunAt
from rx_runat.store.keys import claimed_key, leases_key
from tests.support.readme import files
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.web import Mailer, Process, WebApp

Q = "RunAt~default"
FAR = datetime(2096, 10, 2, 7, 6, 40, tzinfo=UTC)
FARTHER = datetime(2097, 1, 1, tzinfo=UTC)
PAST = "2020-01-01T00:00:00Z"
AT_ONCE = 8  # how many works `settle` has under way
LOOPS = pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.slow)])

# Tells which requests come, and which threads and connections are left when the lifespan is over.
WATCHED = """
import os, threading, redis
from web import app as inner

async def app(scope, receive, send):
    async def noted(message):
        if message["type"] == "lifespan.shutdown.complete":
            with redis.Redis.from_url(os.environ["REDIS_URL"].split("?")[0]) as client:
                left = [each["name"] for each in client.client_list() if each["name"] == "web"]
            print(left, [each.name for each in threading.enumerate()])
        await send(message)

    print(scope.get("path"))
    await inner(scope, receive, noted)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with the app and the worker of the README."""
    found = files()
    for name in ("web.py", "worker.py"):
        (tmp_path / name).write_text(found[name])
    (tmp_path / "watched.py").write_text(WATCHED)
    return tmp_path


@pytest.fixture
def run_app(home: Path) -> Iterator[Callable[..., WebApp]]:
    """Starts the app."""
    started: list[WebApp] = []

    def run(*args: str) -> WebApp:
        started.append(WebApp(home, *args))
        started[-1].wait_until_ready()
        return started[-1]

    yield run
    for app in started:
        app.kill()


@pytest.fixture
def run_worker(home: Path, server: Server, mailer: Mailer) -> Iterator[Callable[..., Process]]:
    """Starts a worker on an event loop; with a lease, its claims are shorter than those of the README."""
    started: list[Process] = []

    def run(loop: str, lease: float | None = None) -> Process:
        code = (home / "worker.py").read_text()
        assert code.count("import asyncio, ") == code.count("asyncio.run(") == code.count(".claims()") == 1
        name = f"worker_{loop}_{len(started)}"
        code = code if lease is None else code.replace(".claims()", f".claims(lease={lease})")
        (home / f"{name}.py").write_text(code.replace("asyncio", loop))
        started.append(Process(home, name, server.url, f"{name}.py", mailer.url))
        return started[-1]

    yield run
    for worker in started:
        worker.kill()


@pytest.fixture
def mailer() -> Iterator[Mailer]:
    mailer = Mailer()
    yield mailer
    mailer.end()


@LOOPS
def test_a_key_is_scheduled_moved_and_cancelled_over_http(
    loop: str, run_app: Callable[..., WebApp], server: Server, queue: RunAt, client: redis.Redis
) -> None:
    http = run_app(server.url, loop).http
    far, farther = {"at": FAR.isoformat()}, {"at": FARTHER.isoformat()}
    for key in ("tea", "post"):
        said = http.post(f"/reminders/{key}", params=far)
        assert (said.status_code, datetime.fromisoformat(said.json())) == (200, FAR)
    said = http.put("/reminders/tea", params=farther)
    assert (said.status_code, datetime.fromisoformat(said.json())) == (200, FARTHER)
    assert [(due.key, due.run_at) for due in queue.peek()] == [("post", FAR), ("tea", FARTHER)]
    assert http.put("/reminders/coffee", params=far).status_code == 404
    assert http.post("/reminders/coffee", params={"at": "2096-10-02T07:06:40"}).status_code == 422  # in which zone?
    assert [http.delete("/reminders/post").status_code for _ in range(2)] == [200, 404]
    assert client.keys() == [Q.encode()]
    assert client.zrange(Q, 0, -1) == [b"tea"]


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_worker_that_is_terminated_loses_nothing_and_does_nothing_twice(
    loop: str,
    run_app: Callable[..., WebApp],
    run_worker: Callable[..., Process],
    server: Server,
    mailer: Mailer,
    queue: RunAt,
    client: redis.Redis,
) -> None:
    keys = [f"mail:{n:02}" for n in range(40)]
    http = run_app(server.url, loop).http
    with ThreadPoolExecutor(8) as threads:
        written = threads.map(lambda key: http.post(f"/reminders/{key}", params={"at": FAR.isoformat()}), keys)
        assert {said.status_code for said in written} == {200}
        moved = threads.map(lambda key: http.put(f"/reminders/{key}", params={"at": PAST}), keys[:-1])
        assert {said.status_code for said in moved} == {200}
    assert http.delete(f"/reminders/{keys.pop()}").status_code == 200

    worker = run_worker(loop)
    wait_until(lambda: len(mailer.begun) == AT_ONCE, "work goes on")
    worker.terminate()
    wait_until(lambda: queue.size() == len(keys) - AT_ONCE, "claims that were not begun are back")
    assert worker.popen.poll() is None
    mailer.goes_on.set()
    assert (worker.wait(), worker.out, worker.err) == (0, f"{AT_ONCE} settled\n", "")
    assert {due.key for due in queue.peek(99)} == set(keys) - set(mailer.begun)
    assert client.keys() == [Q.encode()]

    worker = run_worker(loop)
    wait_until(lambda: len(mailer.begun) == len(keys), "the next worker does the rest")
    worker.terminate()
    assert (worker.wait(), worker.out, worker.err) == (0, f"{len(keys) - AT_ONCE} settled\n", "")
    assert sorted(mailer.begun) == keys
    assert client.keys() == []


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_second_sigterm_kills_the_worker_and_its_claims_come_again(
    loop: str,
    run_worker: Callable[..., Process],
    mailer: Mailer,
    queue: RunAt,
    client: redis.Redis,
) -> None:
    keys = [f"mail:{n:02}" for n in range(20)]
    queue.on_next([{"runAt": 1, "key": key} for key in keys])
    worker = run_worker(loop, lease=0.5)
    wait_until(lambda: len(mailer.begun) == AT_ONCE, "work goes on")
    begun = set(mailer.begun)
    worker.terminate()
    wait_until(lambda: queue.size() == len(keys) - AT_ONCE, "claims that were not begun are back")
    worker.terminate()
    assert worker.wait() == -signal.SIGTERM
    assert {key.decode() for key in client.zrange(claimed_key(Q), 0, -1)} == begun
    assert client.hlen(leases_key(Q)) == AT_ONCE
    got: list[Claim] = []
    queue.claims().subscribe(got.append)
    wait_until(lambda: len(got) == len(keys), "all keys come again")
    assert {claim.key: claim.attempt for claim in got} == {key: 2 if key in begun else 1 for key in keys}


@LOOPS
def test_28_while_redis_is_silent_the_app_serves_and_then_ends_in_order(
    loop: str, run_app: Callable[..., WebApp], own_server: Server
) -> None:
    """A request that waits for Redis when SIGTERM comes is answered; then no thread and no connection is left."""
    app = run_app(f"{own_server.url}?client_name=web", loop, "watched:app")
    assert app.http.post("/reminders/first", params={"at": FAR.isoformat()}).status_code == 200
    with own_server.client() as client:
        assert "web" in {each["name"] for each in client.client_list()}
        own_server.freeze()
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(app.http.post, "/reminders/second", params={"at": FAR.isoformat()})
            wait_until(lambda: "second" in app.out, "the request has come")
            for _ in range(20):
                assert app.http.get("/openapi.json").status_code == 200
            assert not waiting.done()
            app.terminate()
            wait_until(lambda: "Shutting down" in app.err, "uvicorn takes no more requests")
            own_server.thaw()
            assert waiting.result().status_code == 200
        assert app.wait() in (0, -signal.SIGTERM)
        assert client.zrange(Q, 0, -1) == [b"first", b"second"]
    assert app.out.splitlines()[-1] == "[] ['MainThread']"
    assert "Application shutdown complete." in app.err
    assert not [line for line in app.err.splitlines() if not line.startswith("INFO:")]
