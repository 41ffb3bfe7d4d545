"""Views of a picture give signs of life; silence ends the polling."""

from __future__ import annotations

import asyncio

from rx_runat.drawing.viewers import Viewers


def test_silence_counts_only_while_the_kernel_can_receive_signs() -> None:
    async def main() -> None:
        viewers = Viewers()
        for _ in range(20):
            viewers.second()  # the event loop is busy with this function
        assert not viewers.are_gone
        await asyncio.sleep(0)
        assert viewers.are_gone
        viewers.sign()
        assert not viewers.are_gone
        viewers.leave()
        viewers.leave()
        for _ in range(3):
            viewers.second()
        await asyncio.sleep(0)
        assert viewers.are_gone

    asyncio.run(main())
