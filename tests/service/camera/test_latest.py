"""The place for one frame."""

from __future__ import annotations

import asyncio

from service.camera.latest import CameraFrame, LatestFrame


def test_a_newer_frame_takes_the_place() -> None:
    async def run() -> None:
        latest = LatestFrame()
        for number in range(5):
            latest.put(CameraFrame(number, b"x"))
        frame = await latest.take()
        assert frame is not None
        assert (frame.number, latest.dropped) == (4, 4)

    asyncio.run(run())


def test_who_takes_waits_for_a_frame() -> None:
    async def run() -> None:
        latest = LatestFrame()
        taking = asyncio.create_task(latest.take())
        await asyncio.sleep(0)
        assert not taking.done()
        latest.put(CameraFrame(7, b"x"))
        frame = await taking
        assert frame is not None
        assert (frame.number, latest.dropped) == (7, 0)

    asyncio.run(run())


def test_closed_gives_nothing() -> None:
    async def run() -> None:
        latest = LatestFrame()
        taking = asyncio.create_task(latest.take())
        await asyncio.sleep(0)
        latest.close()
        assert await taking is None
        latest.put(CameraFrame(1, b"x"))
        latest.close()
        assert await latest.take() is None

    asyncio.run(run())
