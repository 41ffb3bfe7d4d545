"""Names in Redis: which names a queue can have, and which slot the derived names share."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.crc import key_slot

from rx_runat import InvalidSetting
from rx_runat.store.keys import check_queue_name, claimed_key, dead_key, leases_key, receipt_key
from rx_runat.testing import Faults, virtual_queue

PIECES = ["a", "b", "{", "}", "{}", "{a}", ":", ":receipt:", ":dead", "\n", "é"]
NAMES = {"".join(pieces) for size in range(1, 5) for pieces in itertools.product(PIECES, repeat=size)}
SOURCES = ["0", "c0ffee", "c0ffee0"]


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def accepted(name: str) -> bool:
    try:
        return check_queue_name(name) == name
    except InvalidSetting:
        return False


def all_derived(name: str) -> list[str]:
    """Returns every name that is derived from a queue's."""
    return [*(receipt_key(name, source) for source in SOURCES), claimed_key(name), leases_key(name), dead_key(name)]


@pytest.mark.parametrize(
    "name",
    [
        "RunAt~default",
        "a",
        " ",
        "mails:today",
        "é€😀",
        "jobs{eu}",
        "{eu}",
        "{eu}jobs",
        "{{eu}}",
        "a{b}c{d}",
        "a{b}c}",
        "{",
        "a{b",
        "dead",
        "receipt:x",
        "dead:letters",
        "a:dead:b",
        "x" * 10_000,
    ],
)
def test_a_queue_can_bear_it(name: str) -> None:
    assert check_queue_name(name) == name


@pytest.mark.parametrize("name", ["", None, 1, True, b"jobs", ["jobs"], ("jobs",)])
def test_a_name_is_a_non_empty_str(name: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"^queue_name: got .*; it must be a non-empty str, such as 'RunAt~def"):
        check_queue_name(name)


def test_a_name_that_cannot_be_shown_is_refused_all_the_same() -> None:
    with pytest.raises(InvalidSetting, match=r"^queue_name: got .*; it must be a non-empty str"):
        check_queue_name(Mute())


@pytest.mark.parametrize("name", ["}", "a}", "a{}", "{}", "{}a", "a}b{", "{}{a}", "a{}b{c}"])
def test_a_closing_brace_without_a_valid_tag_is_refused(name: str) -> None:
    with pytest.raises(InvalidSetting, match=r"^queue_name: got '.*needs a hash tag such as 'jobs\{eu\}'$"):
        check_queue_name(name)


@pytest.mark.parametrize(
    "name",
    ["a:dead", "a:claimed", "a:leases", "a:receipt:c0ffee", "a:receipt:", "{a}:dead", "a{b}::leases", ":dead"],
)
def test_a_name_that_ends_like_our_own_keys_is_refused(name: str) -> None:
    with pytest.raises(InvalidSetting, match=r"^queue_name: got '.*end like our own keys"):
        check_queue_name(name)


@pytest.mark.parametrize("name", ["\ud800", "a\udc80"])
def test_a_name_that_utf8_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(InvalidSetting, match=r"^queue_name: got '.*UTF-8 cannot hold; take out the lone surrogates$"):
        check_queue_name(name)


def test_a_queue_checks_its_name_before_redis_is_touched(faults: Faults) -> None:
    with pytest.raises(InvalidSetting, match=r"^queue_name: got 'a:dead'"):
        virtual_queue(queue_name="a:dead", faults=faults)
    assert faults.commands == []


@pytest.mark.parametrize(
    "name, key",
    [
        ("RunAt~default", "{RunAt~default}:receipt:c0ffee"),
        ("jobs{eu}", "jobs{eu}::receipt:c0ffee"),
        ("{eu}", "{eu}::receipt:c0ffee"),
        ("a{b", "{a{b}:receipt:c0ffee"),
        ("a}b{c}", "a}b{c}::receipt:c0ffee"),
    ],
)
def test_a_name_with_a_tag_keeps_it_and_any_other_becomes_one(name: str, key: str) -> None:
    assert receipt_key(name, "c0ffee") == key


# All names of up to four pieces that could hurt.


@pytest.fixture(scope="module")
def queues() -> list[str]:
    found = sorted(filter(accepted, NAMES))
    assert 1000 < len(found) < len(NAMES)
    return found


def test_a_derived_name_lies_in_its_queues_cluster_slot(queues: list[str]) -> None:
    pairs = [(name, derived) for name in queues for derived in all_derived(name)]
    assert [pair for pair in pairs if key_slot(pair[0].encode()) != key_slot(pair[1].encode())] == []


@settings(deadline=None)
@given(st.text(min_size=1).filter(accepted), st.text("0123456789abcdef", min_size=1))
def test_that_holds_for_any_text(name: str, source: str) -> None:
    assert key_slot(receipt_key(name, source).encode()) == key_slot(name.encode())


def test_no_queue_can_bear_a_derived_name(queues: list[str]) -> None:
    assert [derived for name in queues for derived in all_derived(name) if accepted(derived)] == []


def test_derived_names_of_two_queues_never_meet(queues: list[str]) -> None:
    derived = [each for name in queues for each in all_derived(name)]
    assert len(set(derived)) == len(derived)


def test_a_closing_brace_is_borne_only_where_redis_sees_a_tag(queues: list[str]) -> None:
    with_brace = [name for name in queues if "}" in name]
    assert with_brace
    for name in with_brace:
        tag = name.partition("{")[2].partition("}")[0]
        assert tag
        assert key_slot(name.encode()) == key_slot(tag.encode())
