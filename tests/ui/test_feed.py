"""One look for all viewers, none while nobody looks, and a slow viewer who loses frames."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
import redis

from rx_runat import RunAt
from rx_runat.drawing import poller
from rx_runat.drawing.scene import Scene
from rx_runat.ui import stream
from rx_runat.ui.feed import Feed, Viewer
from rx_runat.ui.stream import Stream
from tests.support.servers import Server
from tests.support.waiting import wait_until

Events: TypeAlias = "list[tuple[str, Any]]"


def feed_of(queue: RunAt) -> Feed:
    return Feed(queue, lambda: Scene("jobs", 10_000, None))


def events(text: bytes) -> Events:
    """The kinds and values of server-sent events."""
    found: Events = []
    for each in text.decode("ascii").split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in each.splitlines())
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


async def until(condition: Callable[[], object], what: str) -> None:
    """As `wait_until`, on an event loop."""
    await asyncio.to_thread(wait_until, condition, what)


async def next_of(viewer: Viewer, kind: str) -> Any:
    """Take events until one of a kind comes, and return its value."""
    while True:
        for each, value in events(await viewer.take() or b""):
            if each == kind:
                return value


async def first_of(viewer: Viewer) -> tuple[Any, Any]:
    """Take events until a frame and tables have come, together or not, and return the first of each."""
    found: dict[str, Any] = {}
    while not {"frame", "tables"} <= found.keys():
        for kind, value in events(await viewer.take() or b""):
            found.setdefault(kind, value)
    return found["frame"], found["tables"]


def looks() -> int:
    return sum(each.name == "rx_runat timeline" for each in threading.enumerate())


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def test_twenty_viewers_share_one_look_which_ends_with_the_last(queue: RunAt) -> None:
    async def main() -> None:
        feed = feed_of(queue)
        viewers = [Viewer() for _ in range(20)]
        for each in viewers:
            feed.join(each)
        queue.schedule("a", 4e9)
        for each in viewers:
            while (await next_of(each, "frame"))["counts"]["scheduled"] != 1:
                pass
        assert looks() == 1
        for each in viewers[1:]:
            feed.leave(each)
        await until(lambda: feed.is_looking, "one is enough")
        feed.leave(viewers[0])
        feed.leave(viewers[0])
        await until(lambda: not feed.is_looking and not looks(), "nobody looks any more")

    run(main())


def test_nothing_is_asked_of_redis_while_nobody_looks(queue: RunAt, client: redis.Redis) -> None:
    def calls() -> int:
        return sum(each["calls"] for name, each in client.info("commandstats").items() if "eval" in name)

    async def main() -> None:
        feed = feed_of(queue)
        assert not feed.is_looking
        before = calls()
        viewer = Viewer()
        feed.join(viewer)
        await until(lambda: calls() > before + 3, "it looks")
        feed.leave(viewer)
        await until(lambda: not feed.is_looking and not looks(), "it looks no more")
        after = calls()
        await until(lambda: client.ping(), "Redis goes on")
        assert calls() == after

    run(main())


def test_the_tables_come_with_the_frames(queue: RunAt) -> None:
    queue.schedule("a", 4e9, data={"to": "ann"})

    async def main() -> None:
        feed = feed_of(queue)
        viewer = Viewer()
        feed.join(viewer)
        tables = await next_of(viewer, "tables")
        assert tables["next"] == [{"key": "a", "shown": "a", "at": 4e12, "data": '{"to":"ann"}'}]
        feed.leave(viewer)

    run(main())


def test_who_does_not_read_keeps_the_latest_frame_alone(queue: RunAt) -> None:
    async def main() -> None:
        viewer = Viewer()
        for number in range(10_000):
            viewer.offer("frame", b"event: frame\ndata: %d\n\n" % number)
            viewer.offer("tables", b"event: tables\ndata: %d\n\n" % number)
        assert events(await viewer.take() or b"") == [("frame", 9_999), ("tables", 9_999)]
        assert not viewer._events

    run(main())


def test_a_slow_viewer_delays_nobody(queue: RunAt) -> None:
    """One stream is stuck in its first send: the other one goes on, and the first one gets what is new then."""

    async def main() -> None:
        feed = feed_of(queue)
        stuck, sent, goes_on = [], [], asyncio.Event()

        async def send_never(message: Any) -> None:
            stuck.append(message.get("body", b""))
            await goes_on.wait()

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))

        async def receive() -> Any:
            return await asyncio.Future()

        streams = [asyncio.create_task(Stream(feed)({"type": "http"}, receive, each)) for each in (send_never, send)]
        for number in range(1, 6):
            queue.schedule(f"k{number}", 4e9)
            await until(lambda n=number: f'"scheduled":{n},' in b"".join(sent).decode(), "the other one saw it")
        assert stuck == [b""]
        goes_on.set()
        await until(lambda: '"scheduled"' in b"".join(stuck).decode(), "the first one goes on")
        frames = [value for kind, value in events(b"".join(stuck)) if kind == "frame"]
        assert frames[0]["counts"]["scheduled"] == 5
        feed.close()
        await asyncio.gather(*streams)

    run(main())


def test_a_viewer_who_comes_later_is_told_the_time_of_now(queue: RunAt) -> None:
    """At rest no frame is published, so the last one may be old."""
    queue.schedule("a", timedelta(days=1))

    async def main() -> None:
        feed = feed_of(queue)
        first, second = Viewer(), Viewer()
        feed.join(first)
        frame = await next_of(first, "frame")
        feed._frame_at -= 60  # as if a minute had passed since
        feed.join(second)
        late = await next_of(second, "frame")
        assert 60_000 <= late["now"] - frame["now"] < 80_000
        assert late["marks"] == frame["marks"]
        for each in (first, second):
            feed.leave(each)

    run(main())


def test_what_a_look_brings_after_its_end_is_shown_to_nobody(queue: RunAt) -> None:
    """A look that waits for Redis while the last viewer leaves brings its frame afterwards."""

    async def main() -> None:
        feed = feed_of(queue)
        first, second = Viewer(), Viewer()
        feed.join(first)
        frame, tables = await first_of(first)
        feed.leave(first)
        await until(lambda: not feed.is_looking, "nobody looks any more")
        feed._show_frame({**frame, "title": "late"})
        feed._show_tables({**tables, "next": "late"})
        feed.join(second)
        frame, tables = await first_of(second)
        assert (frame["title"], tables["next"]) == ("jobs", [])
        feed.leave(second)
        await until(lambda: not feed.is_looking, "nobody looks any more")

    run(main())


def test_a_stream_ends_when_its_viewer_leaves(queue: RunAt) -> None:
    async def main() -> None:
        feed = feed_of(queue)
        left = asyncio.Event()
        sent: list[Any] = []

        async def receive() -> Any:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        task = asyncio.create_task(Stream(feed)({"type": "http"}, receive, send))
        await until(lambda: any(b"event: frame" in each.get("body", b"") for each in sent), "a frame came")
        assert sent[0]["status"] == 200
        assert dict(sent[0]["headers"])[b"content-type"] == b"text/event-stream; charset=utf-8"
        left.set()
        await task
        await until(lambda: not feed.is_looking, "nobody looks any more")

    run(main())


def test_a_stream_gives_signs_of_life(queue: RunAt, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page cannot tell a quiet queue from a connection that is broken."""
    monkeypatch.setattr(stream, "_BEAT", 0.01)

    async def main() -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            await until(lambda: sum(b"event: alive" in each.get("body", b"") for each in sent) > 2, "three signs came")
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await Stream(feed_of(queue))({"type": "http"}, receive, send)

    run(main())


def test_close_ends_all_streams_and_those_that_come_later(queue: RunAt) -> None:
    async def main() -> None:
        feed = feed_of(queue)
        first, second = Viewer(), Viewer()
        feed.join(first)
        await next_of(first, "frame")
        feed.close()
        feed.close()
        await until(lambda: not feed.is_looking, "it looks no more")
        while await first.take() is not None:
            pass
        feed.join(second)
        assert await second.take() is None
        feed.leave(second)

    run(main())


@pytest.mark.parametrize("how", ["stop", "away"])
def test_what_ails_the_queue_is_in_the_frame(make: Callable[..., RunAt], own_server: Server, how: str) -> None:
    queue = make(own_server.url)

    async def main() -> None:
        feed = feed_of(queue)
        viewer = Viewer()
        feed.join(viewer)
        assert (await next_of(viewer, "frame"))["note"] == ""
        await asyncio.to_thread(queue.stop if how == "stop" else own_server.kill)
        while not (note := (await next_of(viewer, "frame"))["note"]):
            pass
        assert ("was stopped" in note) == (how == "stop")
        feed.leave(viewer)
        await until(lambda: not feed.is_looking, "nobody looks any more")

    run(main())


def test_it_looks_for_as_long_as_there_are_viewers_though_nothing_answers(
    make: Callable[..., RunAt], own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture in a notebook is looked at no more if it gives no sign for 70 s; here the open streams are the sign."""
    monkeypatch.setattr(poller, "_BEAT", 0.0)  # seconds: each look is published
    monkeypatch.setattr(poller, "_AWAY", 0.05)
    queue = make(own_server.url)

    async def main() -> None:
        feed = feed_of(queue)
        viewer = Viewer()
        feed.join(viewer)
        await next_of(viewer, "tables")
        own_server.kill()
        while not (await next_of(viewer, "frame"))["note"]:
            pass
        assert feed._looks
        looking = feed._looks[0]
        looking.viewers._silent = 60  # as if the server had been away for a minute
        frames = looking.frames
        await until(lambda: looking.frames > frames + 1, "it looks on")
        assert looking.viewers._silent < 10
        feed.leave(viewer)
        await until(lambda: not feed.is_looking, "nobody looks any more")

    run(main())


def test_viewers_who_come_and_go_while_redis_is_silent_take_no_more_than_two_threads_of_the_pool(
    queue: RunAt,
) -> None:
    """Others need the pool, such as the app in which the page is mounted."""

    async def main() -> None:
        feed = feed_of(queue)
        with feed._switch:  # a look that has to end waits for Redis
            for _ in range(100):
                viewer = Viewer()
                feed.join(viewer)
                feed.leave(viewer)
            taken = [each for each in threading.enumerate() if each.name.startswith("asyncio_")]
            assert len(taken) <= 2
        stays = Viewer()
        feed.join(stays)
        await until(lambda: feed.is_looking, "the last one is seen")
        feed.leave(stays)
        await until(lambda: not feed.is_looking, "nobody looks any more")

    run(main())


def test_close_does_not_block_the_event_loop(queue: RunAt) -> None:
    """28: a look that is under way may wait for a Redis that is silent."""

    async def main() -> None:
        feed = feed_of(queue)
        viewer = Viewer()
        feed.join(viewer)
        await next_of(viewer, "frame")
        assert feed._looks
        looking = feed._looks[0]
        holds, closed = threading.Event(), threading.Event()
        was_closed: list[bool] = []

        def look() -> None:
            with looking._lock:  # as a look holds it while it waits for a reply
                holds.set()
                was_closed.append(closed.wait(5))

        thread = threading.Thread(target=look)
        thread.start()
        assert holds.wait(20)
        feed.close()
        closed.set()
        thread.join()
        assert was_closed == [True]
        assert await viewer.take() is None
        await until(lambda: not feed.is_looking, "nobody looks any more")

    run(main())


def test_what_was_changed_by_hand_is_read_at_once(queue: RunAt) -> None:
    async def main() -> None:
        feed = feed_of(queue)
        feed.look_soon()  # nobody looks: nothing to do
        viewer = Viewer()
        feed.join(viewer)
        assert (await next_of(viewer, "tables"))["next"] == []
        queue.schedule("a", 4e9)
        feed.look_soon()
        while not (await next_of(viewer, "tables"))["next"]:
            pass
        feed.leave(viewer)

    run(main())
