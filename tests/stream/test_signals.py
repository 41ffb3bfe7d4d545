"""`signals`: in this process where a handler of the test's catches the second signal, else in real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import uvloop

from rx_runat import InvalidSetting, signals
from tests.support.forks import in_child
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def caught() -> Iterator[list[int]]:
    """The signals that reach the handlers that were there before."""
    caught: list[int] = []
    numbers = signal.SIGTERM, signal.SIGINT
    earlier = [signal.signal(number, lambda number, _: caught.append(number)) for number in numbers]
    yield caught
    for number, handler in zip(numbers, earlier, strict=True):
        signal.signal(number, handler)
    signal.set_wakeup_fd(-1)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "rx_runat signals"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_the_only_item(number: signal.Signals, caught: list[int]) -> None:
    got: list[object] = []
    signals().subscribe(got.append, on_completed=lambda: got.append("end"))
    os.kill(os.getpid(), number)
    wait_until(lambda: got == [number, "end"], "the signal came")
    assert caught == []
    os.kill(os.getpid(), number)
    assert caught == [number], "the earlier handlers are back"
    assert got == [number, "end"]


def test_all_who_are_subscribed_receive_it_on_another_thread(caught: list[int]) -> None:
    got: list[threading.Thread] = []
    for _ in range(3):
        signals().subscribe(lambda _: got.append(threading.current_thread()))
    os.kill(os.getpid(), signal.SIGTERM)
    wait_until(lambda: len(got) == 3, "the signal came to all")
    assert threading.main_thread() not in got
    wait_until(lambda: not threads(), "the thread has ended")


def test_a_subscriber_that_raises_takes_it_from_no_other(shown: list[object]) -> None:
    got: list[object] = []

    def fail(_: object) -> None:
        raise ValueError

    signals().subscribe(fail, lambda _: None)
    signals().subscribe(got.append)
    os.kill(os.getpid(), signal.SIGTERM)
    wait_until(lambda: got == [signal.SIGTERM], "the signal came to the other one")


def test_disposal_puts_the_earlier_handlers_back(caught: list[int]) -> None:
    got: list[object] = []
    first, second = signals().subscribe(got.append), signals().subscribe(got.append)
    first.dispose()
    first.dispose()
    second.dispose()
    os.kill(os.getpid(), signal.SIGTERM)
    assert (caught, got) == ([signal.SIGTERM], [])
    wait_until(lambda: not threads(), "the thread has ended")


def test_disposed_of_on_another_thread_the_next_signal_does_what_it_did_before(caught: list[int]) -> None:
    got: list[object] = []
    subscription = signals().subscribe(got.append)
    disposing = threading.Thread(target=subscription.dispose)
    disposing.start()
    disposing.join()
    os.kill(os.getpid(), signal.SIGINT)
    assert (caught, got) == ([signal.SIGINT], [])
    os.kill(os.getpid(), signal.SIGTERM)
    assert caught == [signal.SIGINT, signal.SIGTERM]


def test_subscribed_to_again_it_waits_for_the_next_one(caught: list[int]) -> None:
    got: list[object] = []
    for n in (1, 2):
        signals().subscribe(got.append)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda n=n: got == [signal.SIGTERM] * n, "the signal came")  # type: ignore[misc]
    assert caught == []


def test_on_another_thread_it_fails_in_words() -> None:
    errors: list[Exception] = []
    thread = threading.Thread(target=lambda: signals().subscribe(print, errors.append))
    thread.start()
    thread.join()
    (error,) = errors
    assert isinstance(error, InvalidSetting)
    assert "main thread" in str(error)
    assert not threads()


def test_a_handler_that_somebody_has_set_since_stays(caught: list[int]) -> None:
    subscription = signals().subscribe(print)
    other: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: other.append(number))
    subscription.dispose()
    os.kill(os.getpid(), signal.SIGTERM)
    assert (caught, other) == ([], [signal.SIGTERM])


def test_24_a_signal_to_a_forked_child_is_none_of_the_parent(caught: list[int]) -> None:
    got: list[object] = []
    subscription = signals().subscribe(got.append)

    def receive() -> list[int]:
        os.kill(os.getpid(), signal.SIGTERM)
        return caught

    assert in_child(receive) == [signal.SIGTERM]
    os.kill(os.getpid(), signal.SIGINT)
    wait_until(lambda: got == [signal.SIGINT], "the parent's own signal came")
    subscription.dispose()


def send_to_own_thread(*numbers: signal.Signals) -> None:
    """As where a signal comes just when the main thread begins to wait: nothing ends that wait."""
    threading.Event().wait(0.2)  # the main thread waits by then
    for number in numbers:
        signal.pthread_kill(threading.get_ident(), number)


def test_a_signal_that_ends_no_wait_of_the_main_thread_comes_all_the_same(caught: list[int]) -> None:
    came = threading.Event()
    signals().subscribe(lambda _: came.set())
    sender = threading.Thread(target=send_to_own_thread, args=(signal.SIGTERM,))
    sender.start()
    assert came.wait(20)
    sender.join()
    wait_until(lambda: not threads(), "the thread has ended")
    assert caught == []
    os.kill(os.getpid(), signal.SIGTERM)
    assert caught == [signal.SIGTERM]


def test_a_second_signal_that_ends_no_wait_either_does_what_it_did_before(caught: list[int]) -> None:
    came = threading.Event()
    got: list[object] = []

    def receive(number: object) -> None:
        got.append(number)
        threading.Event().wait(0.2)  # the second one has come
        came.set()

    signals().subscribe(receive)
    sender = threading.Thread(target=send_to_own_thread, args=(signal.SIGTERM, signal.SIGTERM))
    sender.start()
    assert came.wait(20)
    sender.join()
    wait_until(lambda: caught, "the second one came to the earlier handler")
    wait_until(lambda: not threads(), "the thread has ended")
    assert (got, caught) == ([signal.SIGTERM], [signal.SIGTERM])


def test_other_signals_are_none_of_ours(caught: list[int]) -> None:
    got: list[object] = []
    others: list[int] = []
    earlier = signal.signal(signal.SIGUSR1, lambda number, _: others.append(number))
    try:
        signals().subscribe(got.append)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert others == [signal.SIGUSR1]
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: got == [signal.SIGTERM], "the signal came")
        wait_until(lambda: not threads(), "the thread has ended")
    finally:
        signal.signal(signal.SIGUSR1, earlier)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("when", ["before", "inside"])
@pytest.mark.parametrize("ends", ["by a signal", "by disposal"])
def test_beside_an_event_loop_that_listens_to_signals_itself(
    new_loop: Callable[[], asyncio.AbstractEventLoop], when: str, ends: str, caught: list[int]
) -> None:
    """Both come, and what the loop put in place for its own signals is there until it takes it away."""
    got: list[object] = []
    others: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, others.append, 1)
        subscription = before if when == "before" else signals().subscribe(got.append)
        if ends == "by a signal":
            os.kill(os.getpid(), signal.SIGTERM)
            while not got:
                await asyncio.sleep(0.002)
        else:
            subscription.dispose()
        os.kill(os.getpid(), signal.SIGUSR1)
        while not others:
            await asyncio.sleep(0.002)
        loop.remove_signal_handler(signal.SIGUSR1)

    if when == "before":
        before = signals().subscribe(got.append)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
    os.kill(os.getpid(), signal.SIGTERM)
    assert caught == [signal.SIGTERM]
    assert got == [signal.SIGTERM] * (ends == "by a signal")
    wait_until(lambda: not threads(), "the thread has ended")


def test_what_the_process_ignores_stays_ignored(caught: list[int]) -> None:
    """As SIGINT in a background process of a shell script."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    got: list[object] = []
    signals().subscribe(got.append)
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    wait_until(lambda: got == [signal.SIGTERM], "the other one came")
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_handler_set_after_disposal_on_another_thread_gives_way_to_the_next_subscription(caught: list[int]) -> None:
    subscription = signals().subscribe(print)
    disposing = threading.Thread(target=subscription.dispose)
    disposing.start()
    disposing.join()
    other: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: other.append(number))
    got: list[object] = []
    signals().subscribe(got.append)
    os.kill(os.getpid(), signal.SIGTERM)
    wait_until(lambda: got == [signal.SIGTERM], "the signal came")
    os.kill(os.getpid(), signal.SIGTERM)
    assert (caught, other) == ([], [signal.SIGTERM])


def test_a_thousand_subscriptions_leave_no_file_and_no_thread() -> None:
    files = len(os.listdir("/proc/self/fd"))
    for _ in range(1000):
        signals().subscribe(print).dispose()
    wait_until(lambda: not threads(), "the threads have ended")
    assert len(os.listdir("/proc/self/fd")) == files


def test_a_subscriber_may_need_a_lock_that_the_main_thread_holds() -> None:
    lock = threading.Lock()
    got: list[object] = []

    def receive(number: object) -> None:
        with lock:
            got.append(number)

    signals().subscribe(receive)
    with lock:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            assert got == []
    wait_until(lambda: got == [signal.SIGTERM], "the signal came")


def test_a_process_exits_with_a_living_subscription() -> None:
    code = "from rx_runat import signals; signals().subscribe(print)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_second_signal_kills() -> None:
    code = """
import signal, threading
from rx_runat import signals
signals().subscribe(lambda number: print(number.name, flush=True))
print("ready", flush=True)
while True:
    threading.Event().wait(1)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "SIGTERM\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM
