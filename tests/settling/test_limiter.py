"""The limiter alone: in which order items are served, and what happens to those that cannot be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from rx_runat.settling.limiter import Limiter
from rx_runat.settling.threads import Pool


@pytest.fixture
def served() -> list[str]:
    return []


@pytest.fixture
def limiter(served: list[str]) -> Iterator[Limiter[str]]:
    def serve(item: str) -> bool:
        served.append(item)
        return True

    limiter = Limiter[str](1, serve, (), 1, lambda: None)
    limiter.threads = Pool("rx_runat work", 1)
    yield limiter
    end(limiter)


def end(limiter: Limiter[str]) -> None:
    limiter.threads.end()
    limiter.threads.join()


def test_items_are_served_in_order_and_those_whose_process_died_first(limiter: Limiter[str], served: list[str]) -> None:
    assert limiter.put(["a", "b", "a"], ["x", "y"])
    end(limiter)
    assert served == ["x", "y", "a", "b", "a"]


def test_of_items_that_no_thread_can_serve_none_stays(
    limiter: Limiter[str], served: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            limiter.put(["a", "b", "c"], ["x", "y"])
    assert not limiter.is_waiting
    assert limiter.put(["b"])
    end(limiter)
    assert served == ["b"]


def test_of_items_whose_put_is_interrupted_none_waits_though_a_thread_has_begun(
    served: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, was_interrupted = threading.Event(), threading.Event()

    def serve(item: str) -> bool:
        begun.set()
        served.append(item)
        return was_interrupted.wait(20)

    limiter = Limiter[str](1, serve, (), 1, lambda: None)
    limiter.threads = pool = Pool("rx_runat work", 1)

    def interrupted(action: Callable[[], None]) -> None:
        run(action)
        assert begun.wait(20)
        raise KeyboardInterrupt

    run = pool.run
    monkeypatch.setattr(pool, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        limiter.put(["a", "b"], ["x"])
    assert not limiter.is_waiting
    was_interrupted.set()
    end(limiter)
    assert served == ["x"]


def test_after_a_stop_nothing_is_queued(limiter: Limiter[str], served: list[str]) -> None:
    assert limiter.stop() == []
    assert not limiter.put(["a"], ["x"])
    end(limiter)
    assert served == []
