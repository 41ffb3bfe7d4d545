"""A request as a value: what is sent the second time, and what a result means after a lost reply."""

from __future__ import annotations

import pytest

from rx_runat import OutcomeUnknown, Unavailable
from rx_runat.store import overview, verbs
from rx_runat.store.client import TRIES
from rx_runat.store.keys import queue_keys
from rx_runat.store.request import Request
from tests.support.stores import FlakyClient, Q

KEYS = queue_keys(Q)


def test_a_request_says_that_it_is_resent_where_that_matters(flaky: FlakyClient) -> None:
    flaky.fates = ["late", "lost"]
    reply, sent_at = flaky.resend_lost(Request(("ECHO", 0), bytes, resent_at=1))
    assert (reply, sent_at) == (b"1", 0)
    assert flaky.sent == [("ECHO", 0), ("ECHO", 1), ("ECHO", 1)]


def test_a_request_of_an_earlier_call_is_resent_from_the_start(flaky: FlakyClient) -> None:
    assert flaky.resend_lost(Request(("ECHO", 0), bytes, resent_at=1), sent_at=0) == (b"1", 0)


def test_a_request_that_is_sent_once_is_not_resent(flaky: FlakyClient) -> None:
    flaky.fates = ["lost"]
    with pytest.raises(OutcomeUnknown):
        flaky.send(overview.locate(KEYS, ["a"]))
    assert len(flaky.sent) == 1
    assert TRIES > 1


def test_a_result_is_in_doubt_only_after_a_lost_reply(flaky: FlakyClient) -> None:
    request = verbs.cancel(KEYS, "a")
    assert request.result(0, resent=False, where="here") is False
    assert request.result(1, resent=True, where="here") is True
    with pytest.raises(
        OutcomeUnknown, match=r"'a' .* does not wait any more; .* unknown, because an earlier reply of here was lost"
    ):
        request.result(0, resent=True, where="here")


def test_one_request_may_be_sent_twice(flaky: FlakyClient) -> None:
    """It is a value: making it sends nothing, and sending it does not change it."""
    request = verbs.size(KEYS)
    assert flaky.sent == []
    assert flaky.send(request) == flaky.send(request) == 0
    flaky.fates = ["away"]
    with pytest.raises(Unavailable):
        flaky.send(request)
    assert flaky.send(request) == 0
