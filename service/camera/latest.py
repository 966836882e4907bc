"""A place for one frame: a newer one takes the place of one that still waits."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CameraFrame:
    """A frame as it came.

    Attributes:
        number: the client's.
        picture: bytes of a JPEG, PNG or WebP file.
        came_at: of `time.perf_counter`.
    """

    number: int
    picture: bytes = field(repr=False)
    came_at: float = field(default_factory=time.perf_counter)


class LatestFrame:
    """Between whoever receives frames and whoever works on them; of what waits only the latest is ever taken.

    Attributes:
        dropped: how many frames had their place taken.
        closed: whether no more frames will come.
    """

    def __init__(self) -> None:
        self._frame: CameraFrame | None = None
        self._news = asyncio.Event()
        self.dropped = 0
        self.closed = False

    def put(self, frame: CameraFrame) -> None:
        """Offer a frame; returns at once, however busy the other side is."""
        self.dropped += self._frame is not None
        self._frame = frame
        self._news.set()

    def close(self) -> None:
        """No more frames: the one that waits is dropped, and `take` gives None."""
        self.closed = True
        self._frame = None
        self._news.set()

    async def take(self) -> CameraFrame | None:
        """The latest frame as soon as there is one, None once closed."""
        while self._frame is None and not self.closed:
            self._news.clear()
            await self._news.wait()
        frame, self._frame = self._frame, None
        return frame
