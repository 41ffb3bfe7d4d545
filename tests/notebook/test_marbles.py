"""Marble diagrams: what streams did, recorded side by side."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
import reactivex as rx
from reactivex import Observable, Subject
from reactivex import operators as ops
from reactivex.testing import ReactiveTest, TestScheduler

from rx_runat import DeadLetter, InvalidSetting, Job, RunAt, settle
from rx_runat.drawing.svg import ERROR, hue
from rx_runat.model.humanize import columns
from rx_runat.notebook import marbles
from rx_runat.testing import virtual_queue
from tests.support.waiting import wait_until

TIME = datetime(2026, 1, 1, tzinfo=UTC)
on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed


def recorded(*messages: object, hot: bool = True, **settings: object):
    """A stream of these messages, recorded for ten seconds of virtual time."""
    scheduler = TestScheduler()
    stream = scheduler.create_hot_observable(*messages)
    recording = marbles(10, {"s": stream}, scheduler=scheduler, **settings)  # type: ignore[arg-type]
    return recording, recording.tracks["s"], stream


def parse(svg: str) -> str:
    """The text of a picture; fails if it is no XML."""
    return " ".join(ElementTree.fromstring(svg).itertext())


# The six cases.


def test_never() -> None:
    recording, track, stream = recorded()
    assert (track.marbles, track.ended_after, track.error) == ([], None, None)
    assert str(recording).splitlines()[0] == "s  " + "-" * 72 + "->"
    assert [(each.subscribe, each.unsubscribe) for each in stream.subscriptions] == [(0, 10)]


def test_empty() -> None:
    recording, track, stream = recorded(on_completed(5))
    assert (track.marbles, track.ended_after, track.error) == ([], 5.0, None)
    assert str(recording).splitlines()[0] == "s  " + "-" * 36 + "|"
    assert [(each.subscribe, each.unsubscribe) for each in stream.subscriptions] == [(0, 5)]


def test_values() -> None:
    recording, track, _ = recorded(on_next(1, "a"), on_next(5, 12), on_completed(9))
    assert track.marbles == [(1.0, "a"), (5.0, "12")]
    assert str(recording).splitlines()[0] == "s  -------a----------------------------12--------------------------|"
    assert "12" in parse(recording.svg())


def test_error() -> None:
    recording, track, stream = recorded(on_next(1, "a"), on_error(5, ValueError("no <b>")))
    assert (track.ended_after, track.error) == (5.0, "ValueError: no <b>")
    assert str(recording).splitlines()[0].endswith("-X ValueError: no <b>")
    assert "ValueError: no <b>" in parse(recording.svg())
    assert [(each.subscribe, each.unsubscribe) for each in stream.subscriptions] == [(0, 5)]


def test_endless() -> None:
    """A stream that has not ended is unsubscribed at the end."""
    _, track, stream = recorded(*(on_next(second, second) for second in range(1, 100)))
    assert len(track.marbles) == 10
    assert [(each.subscribe, each.unsubscribe) for each in stream.subscriptions] == [(0, 10)]


def test_early_disposal() -> None:
    streams = [Subject[int](), Subject[int]()]
    recording = marbles(60, a=streams[0], b=streams[1])
    streams[0].on_next(1)
    recording.dispose()
    recording.dispose()
    streams[0].on_next(2)
    assert recording.is_over
    assert recording.run() is recording
    assert [label for _, label in recording.tracks["a"].marbles] == ["1"]
    assert not streams[0].observers
    assert not streams[1].observers


def test_a_label_function_that_raises_hides_no_value() -> None:
    _, track, _ = recorded(on_next(1, 0), on_next(2, 1), label=lambda value: 1 / value)
    assert track.marbles == [(1.0, "?"), (2.0, "1.0")]


def test_a_stream_that_cannot_be_subscribed_is_an_error_on_its_line() -> None:
    class Broken(Observable[int]):
        def subscribe(self, *_: object, **__: object):  # type: ignore[override]
            raise OSError("broken")

    recording = marbles(60, broken=Broken(), other=rx.of(1)).run()
    assert recording.tracks["broken"].error == "OSError: broken"
    assert len(recording.tracks["other"].marbles) == 1


# Many at once.


def test_bursts_are_counted() -> None:
    recording, _, _ = recorded(*(on_next(5 + i / 20_000, i) for i in range(1200)))
    assert "-(1,200)-" in str(recording)
    assert "1,200" in parse(recording.svg())


def words_of(svg: str, tag: str) -> list[str]:
    """The words of all texts, or of all titles, which the pointer shows."""
    return [each.text or "" for each in ElementTree.fromstring(svg).iter(f"{{http://www.w3.org/2000/svg}}{tag}")]


def test_labels_stand_in_rows_and_hints_have_those_without_room() -> None:
    recording, _, _ = recorded(*(on_next(5 + i / 5, f"a long label {i}") for i in range(6)))
    written, hints = (
        [each for each in words_of(recording.svg(), tag) if each.startswith("a long")] for tag in ("text", "title")
    )
    assert len(written) == 4
    assert len(hints) == 6


def test_a_long_name_is_cut_in_the_middle() -> None:
    keys = [f"order:2026-11-27:customer-00042:line-{n}" for n in range(2)]
    name = "orders of 2026-11-27 and of the days before it"
    scheduler = TestScheduler()
    stream = scheduler.create_hot_observable(on_next(2, keys[0]), on_next(7, keys[1]))
    recording = marbles(10, {name: stream}, scheduler=scheduler)
    written = words_of(recording.svg(), "text")
    assert "orders of 20…s before it" in written
    assert [each for each in written if "line-" in each] == ["order:2026-1…0042:line-0", "order:2026-1…0042:line-1"]
    assert set(keys) <= set(words_of(recording.svg(), "title"))
    assert "order:2026-1…0042:line-1" in str(recording)
    assert str(recording).startswith("orders of 20…s before it  -")


def test_wide_characters_take_two_columns_of_text() -> None:
    scheduler = TestScheduler()
    stream = scheduler.create_hot_observable(on_next(2, "お茶"), on_next(7, "bus"))
    lines = str(marbles(10, {"茶": stream, "abcd": stream}, scheduler=scheduler)).splitlines()
    assert lines[0].startswith("茶    --")
    assert lines[1].startswith("abcd  --")
    assert len({columns(line) for line in lines[:2]}) == 1


def test_axes_have_titles() -> None:
    assert "time since the recording began" in words_of(recorded()[0].svg(), "text")


def colours_of(svg: str, hint: str) -> list[str]:
    """The colours of the marbles whose title this is."""
    dots = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}circle")
    return [dot.attrib["fill"] for dot in dots if "".join(dot.itertext()) == hint]


def test_a_value_keeps_its_colour_in_all_streams(queue: RunAt) -> None:
    queue.schedule("tea", 1)
    outcomes = queue.claims(lease=30).pipe(ops.take(1), settle(lambda claim: claim.key))
    keys = {
        "keys": rx.of("tea"),
        "jobs": rx.of(Job("tea", 3)),
        "letters": rx.of(DeadLetter("tea", TIME, 1, "no", TIME)),
    }
    first = marbles(60, keys, outcomes=outcomes).run()
    second = marbles(60, labels=rx.of(b"tea"), label=bytes.decode).run()
    assert colours_of(first.svg(), "tea") == [hue("tea").light] * 4
    assert colours_of(second.svg(), "tea") == [hue("tea").light]


def test_the_first_values_of_a_diagram_differ_in_colour() -> None:
    """In whatever streams they come: two values with one colour would be taken for the same value."""
    for start in range(0, 300, 6):
        keys = [f"mail:{n}" for n in range(start, start + 6)]
        scheduler = TestScheduler()
        streams = {"one": keys[::2], "two": keys[1::2], "all": keys}
        hot = {
            name: scheduler.create_hot_observable(*(on_next(1 + keys.index(key), key) for key in stream))
            for name, stream in streams.items()
        }
        svg = marbles(10, hot, scheduler=scheduler).svg()
        assert len({tuple(colours_of(svg, key)) for key in keys}) == 6
        assert all(len(colours_of(svg, key)) == 2 and len(set(colours_of(svg, key))) == 1 for key in keys)


def test_values_that_differ_in_the_middle_alone_have_colours_of_their_own() -> None:
    long = [f"{'a' * 30}{n}{'z' * 30}" for n in range(20)]
    recording, _, _ = recorded(*(on_next(1 + n / 3, each) for n, each in enumerate(long)))
    assert len({color for each in long for color in colours_of(recording.svg(), each)}) > 3


def test_red_is_for_errors_alone() -> None:
    calm, _, _ = recorded(*(on_next(n / 50, n) for n in range(1, 499)))
    broken, _, _ = recorded(on_next(1, 1), on_error(2, ValueError("no")))
    assert ERROR.light not in calm.svg()
    assert ERROR.light in broken.svg()


def test_odd_keys_cannot_break_out() -> None:
    odd = ["<script>", "a\nb", b"\xff\x00".decode(errors="surrogateescape"), "'\"&]]>"]
    recording, _, _ = recorded(*(on_next(1 + i, each) for i, each in enumerate(odd)))
    svg = recording.svg()
    svg.encode()
    assert "<script>" in parse(svg)
    assert "<script" not in svg
    assert "a\\nb" in parse(svg)
    assert len(str(recording).splitlines()) == 2


def test_an_hour_of_schedule_is_drawn_at_once() -> None:
    queue, scheduler = virtual_queue()
    queue.on_next([Job(f"k{i}", 60.0 * i) for i in range(60)])
    recording = marbles(timedelta(hours=1), scheduler=scheduler, due=queue, jobs=queue.jobs)
    assert recording.is_over
    assert [after for after, _ in recording.tracks["due"].marbles] == [60.0 * i for i in range(60)]
    assert recording.tracks["jobs"].marbles == recording.tracks["due"].marbles
    assert "60 min" in str(recording)
    assert queue.size() == 0


# Live.


def test_a_queue_is_recorded_live_and_keeps_the_keys_that_were_not_taken(queue: RunAt) -> None:
    queue.on_next([Job("a", timedelta(seconds=0.02)), Job("b", timedelta(seconds=0.05)), Job("z", 4e9)])
    recording = marbles(60, two=queue.pipe(ops.take(2))).run()
    assert [label for _, label in recording.tracks["two"].marbles] == ["a", "b"]
    assert 0.0 < recording.tracks["two"].marbles[0][0] <= recording.elapsed < 30
    assert queue.size() == 1


def test_it_ends_after_its_seconds() -> None:
    recording = marbles(0.05, never=rx.never()).run()
    assert recording.is_over
    assert 0.05 <= recording.elapsed < 5


def test_await_in_a_running_event_loop(queue: RunAt) -> None:
    queue.on_next([Job(f"k{i}", 1) for i in range(5)])

    async def main() -> None:
        first = marbles(60, due=queue.pipe(ops.take(3)))
        assert await asyncio.wait_for(first, 20) is first
        assert await first is first
        assert len(first.tracks["due"].marbles) == 3

    asyncio.run(main())
    wait_until(lambda: queue.size() == 2, "the others are back")


def test_a_cancelled_await_unsubscribes() -> None:
    stream = Subject[int]()
    recording = marbles(60, s=stream)

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(recording, 0.01)

    asyncio.run(main())
    assert recording.is_over
    assert not stream.observers


def test_streams_on_many_threads() -> None:
    """Each stream is recorded on its own thread, all on one clock."""
    streams = {f"s{i}": Subject[int]() for i in range(4)}
    recording = marbles(60, streams)

    def feed(stream: Subject[int]) -> None:
        for value in range(500):
            stream.on_next(value)
        stream.on_completed()

    threads = [threading.Thread(target=feed, args=(stream,)) for stream in streams.values()]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    recording.run()
    for track in recording.tracks.values():
        assert [label for _, label in track.marbles] == [str(value) for value in range(500)]
        assert track.marbles == sorted(track.marbles, key=lambda marble: marble[0])


def test_no_streams_no_waiting() -> None:
    assert marbles(60).is_over


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), True, "3", None])
def test_seconds_must_be_seconds(seconds: object) -> None:
    with pytest.raises(InvalidSetting, match="seconds: got"):
        marbles(seconds, s=rx.never())  # type: ignore[arg-type]


def test_streams_must_be_streams() -> None:
    with pytest.raises(InvalidSetting, match="s: got 7"):
        marbles(1, s=7)  # type: ignore[arg-type]
    with pytest.raises(InvalidSetting, match="scheduler: got"):
        marbles(1, s=rx.never(), scheduler=rx.scheduler.ImmediateScheduler())
