"""Hot streams of a queue that know whose they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rx_runat.model.job import Due
from rx_runat.stream.async_iteration import Iteration
from rx_runat.stream.hot import Crowd, Hot

_T = TypeVar("_T")


class Named(Hot[_T]):
    """A hot stream with a name.

    Args:
        crowd: that its subscribers join.
        name: of the stream.
        owner: tells whose it is.
        card: its rich form, under a title.
    """

    def __init__(self, crowd: Crowd[_T], name: str, owner: Callable[[], str], card: Callable[[str], str]) -> None:
        super().__init__(crowd)
        self._name = name
        self._owner = owner
        self._card = card

    def __repr__(self) -> str:
        return f"<{self._name} of {self._owner()}>"

    def _repr_html_(self) -> str:
        return self._card(f"{self._name} of RunAt")


class Jobs(Named[Due]):
    """A hot stream of `Due`s, for `subscribe`, operators and `async for`."""

    def __aiter__(self) -> Iteration[Due]:
        return Iteration(self._crowd)
