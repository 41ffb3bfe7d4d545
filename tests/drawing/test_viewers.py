"""Views of a picture give signs of life when they are asked; silence ends the polling."""

from __future__ import annotations

import asyncio

from rx_runat.drawing.viewers import Viewers


def test_silence_counts_only_while_the_kernel_can_receive_signs() -> None:
    async def main() -> None:
        viewers = Viewers()
        for _ in range(100):
            viewers.second()  # the event loop is busy with this function
        assert (viewers.asks, viewers.are_gone) == (0, False)
        await asyncio.sleep(0)
        assert (viewers.asks, viewers.are_gone) == (1, True)

    asyncio.run(main())


def test_views_are_asked_once_a_minute_and_only_if_nothing_else_shows_that_somebody_looks() -> None:
    viewers = Viewers()
    for _ in range(10):
        for _ in range(59):
            viewers.second()
        viewers.sign()
    assert viewers.asks == 0
    for _ in range(60):
        viewers.second()
    assert (viewers.asks, viewers.are_gone) == (1, False)
    viewers.sign()
    for _ in range(69):
        viewers.second()
    assert (viewers.asks, viewers.are_gone) == (2, False)
    viewers.second()
    assert (viewers.asks, viewers.are_gone) == (2, True)
