"""What comes to `settle`: a claim, a list of claims, or a stranger that is neither."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import cast

from rx_runat.errors import InvalidSetting
from rx_runat.model.checks import show
from rx_runat.model.claim import Claim, Lease, lease_of
from rx_runat.stream.leases import LeaseManager, manager_of


def stranger_in(value: object) -> InvalidSetting | None:
    """Returns an error about the first value that is no claim: what came, or an item of it; None if all are claims."""
    for each in cast("list[object]", value) if isinstance(value, list) else [value]:
        if not isinstance(each, Claim):
            return _no_claim(each)
    return None


def claims_in(value: object) -> list[Claim]:
    """Returns the claims in what came, in lists and tuples, however deep, without repetitions: a lease ends once."""
    return list({lease_of(claim): claim for claim in _walk(value)}.values())


def by_manager(claims: list[Claim]) -> dict[LeaseManager, list[Lease]]:
    """Returns the leases of claims, at least one, by who manages them: more than one if queues are merged."""
    leases = list(map(lease_of, claims))
    managers = set(map(manager_of, leases))
    if len(managers) == 1:  # nearly always
        return {managers.pop(): leases}
    groups: dict[LeaseManager, list[Lease]] = {}
    for lease in leases:
        groups.setdefault(manager_of(lease), []).append(lease)
    return groups


def _walk(value: object) -> Iterator[Claim]:
    if isinstance(value, Claim):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in cast("Iterable[object]", value):
            yield from _walk(each)


def _no_claim(value: object) -> InvalidSetting:
    hint = ""
    if inspect.iscoroutine(value):
        value.close()  # else Python warns that nobody awaited it
        hint = "; an operator before it has an `async def`: give that to settle as its work"
    return InvalidSetting(
        f"settle takes claims, as `queue.claims()` gives them, or lists of them; got {show(value)}{hint}"
    )
