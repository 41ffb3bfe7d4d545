"""A server that may evict the schedule is warned of: once, and wherever it may be asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rx_runat import RunAt
from tests.support.permissions import forbidden, worker_url
from tests.support.servers import Server
from tests.support.waiting import wait_until


def writes(queue: RunAt) -> None:
    queue.schedule("a", 4e9)
    queue.schedule("a", 4e9)


def listens(queue: RunAt) -> None:
    for _ in range(2):
        tracker = queue._store.head_tracker()
        tracker.head()
        tracker.close()


def receives(queue: RunAt) -> None:
    queue.subscribe(lambda _: None)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "evict" in record.getMessage()]


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
@pytest.mark.parametrize("act", [writes, listens, receives], ids=lambda act: act.__name__)
def test_a_policy_that_may_evict_the_schedule_is_warned_of_once(
    policy: str, act: Callable[[RunAt], None], own_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with own_server.client() as client:
        client.config_set("maxmemory-policy", policy)
    with RunAt(own_server.url, interval=0.05) as queue:
        act(queue)
        wait_until(lambda: warnings(caplog), "it is warned of")
        writes(queue)
    (said,) = warnings(caplog)
    assert said == (
        f"{own_server.url} may evict the whole schedule when its memory is full, because its maxmemory-policy is "
        f"{policy}; set it to noeviction"
    )


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru", "volatile-ttl"])
def test_a_policy_that_evicts_nothing_of_the_schedule_is_no_news(
    policy: str, own_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with own_server.client() as client:
        client.config_set("maxmemory-policy", policy)
    with RunAt(own_server.url) as queue:
        writes(queue)
        listens(queue)
    assert warnings(caplog) == []


def test_where_info_is_not_permitted_nothing_is_said_and_all_works(
    own_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with own_server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        url = worker_url(own_server)
        with forbidden(client, "info"), RunAt(url) as queue:
            writes(queue)
            got: list[str] = []
            queue.subscribe(got.append)
            queue.schedule("b", 1.0)
            wait_until(lambda: got == ["b"], "the key came")
    assert warnings(caplog) == []
    assert caplog.records == []
