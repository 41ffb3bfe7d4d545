"""How a message shows a value that it refuses."""

from __future__ import annotations

import pytest

from rx_runat.model.checks import show
from tests.support.awkward_values import RaisingRepr, name_of

NESTED: list[object] = []
for _ in range(8):
    NESTED = [NESTED] * 10


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10_000,
        b"x" * 10_000,
        [*range(10_000)],
        dict.fromkeys(range(10_000)),
        10**4000,
        10**5000,
        -(10**5000),
        [10**5000],
        {"runAt": 10**5000},
        NESTED,
        RaisingRepr(),
        [RaisingRepr()],
    ],
    ids=name_of,
)
def test_a_value_is_shown_short_and_with_its_type(value: object) -> None:
    shown = show(value)
    assert shown.endswith(f" ({type(value).__name__})")
    assert len(shown) < 1000
