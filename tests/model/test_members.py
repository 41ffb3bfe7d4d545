"""Keys as members of a sorted set: which keys are refused, and that any bytes in Redis have a key."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rx_runat import InvalidJob
from rx_runat.model.members import to_key, to_member, to_new_member
from rx_runat.store.receipts import to_parts
from tests.support.awkward_values import RaisingRepr

quick = settings(deadline=None, max_examples=100)

UNENCODABLE = [*map(chr, (0xD800, 0xDFFF)), "\udc80" + chr(0xD800), "\udcc3\udca9"]  # the last: bytes that *are* UTF-8


@quick
@given(st.binary())
def test_any_bytes_in_redis_have_a_key_and_the_key_goes_back_as_these_bytes(member: bytes) -> None:
    assert to_member(to_key(member)) == member


@quick
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_key_is_its_utf8(key: str) -> None:
    assert to_member(key) == key.encode()
    assert to_key(key.encode()) == key


@quick
@given(st.text(st.characters(categories=["Cs"]) | st.sampled_from("aé€😀\udcc3\udca9"), min_size=1))
def test_no_two_keys_share_a_member(key: str) -> None:
    try:
        member = to_member(key)
    except InvalidJob:
        return
    assert to_key(member) == key


@quick
@given(st.lists(st.binary()))
def test_many_members_become_keys_as_one_does(members: list[bytes]) -> None:
    joined = b"c0ffee".join(members)
    assert to_parts(joined, "c0ffee") == ([to_key(member) for member in members] if joined else [])


@pytest.mark.parametrize("key", [None, 1, 1.5, True, b"a", ["a"], ("a",), {"a": 1}, RaisingRepr()])
def test_a_key_that_is_no_str_is_refused_with_its_type(key: object) -> None:
    with pytest.raises(InvalidJob, match=rf"^key: got .*\({type(key).__name__}\); a key is a non-empty str$"):
        to_member(key)


def test_an_empty_key_is_refused_where_it_is_scheduled_and_nowhere_else() -> None:
    with pytest.raises(InvalidJob, match=r"^key: got ''; a key is a non-empty str$"):
        to_new_member("")
    assert to_member("") == b""


@pytest.mark.parametrize("key", UNENCODABLE)
def test_a_key_that_utf8_cannot_hold_is_refused(key: str) -> None:
    with pytest.raises(InvalidJob, match=r"^key: got .* \(str\), which UTF-8 cannot hold; take out the lone surrog"):
        to_member(key)
