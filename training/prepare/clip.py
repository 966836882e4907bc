"""The pictures of a clip by number. Frames count as they are decoded: that is how the labels of DISFA were made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import av
import av.error
import numpy as np

from model.values import UInt8Array
from training.prepare.source import PrepareError


def clip_pictures(path: Path, note: Callable[[str], None]) -> Iterator[tuple[int, Callable[[], UInt8Array]]]:
    """Yield (1, picture), (2, picture) ...; a picture becomes (H, W, 3) RGB when it is called.

    A clip that is damaged on the way ends there, with a note: what follows could no longer be counted.

    Raises:
        PrepareError: no picture can be decoded.
    """
    number = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise PrepareError(f"{path}: holds no pictures; copy it from the data set again")
            container.streams.video[0].thread_count = 1  # one process per subject keeps the cores busy
            for frame in container.decode(video=0):
                number += 1
                yield number, partial(_rgb, frame)
    except (av.error.FFmpegError, OSError) as error:
        if number == 0:
            raise PrepareError(f"{path}: cannot be decoded ({error}); copy it from the data set again") from error
        note(f"{path.name} is damaged after picture {number} ({error})")
    if number == 0:
        raise PrepareError(f"{path}: holds no pictures; copy it from the data set again")


def _rgb(frame: av.VideoFrame) -> UInt8Array:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
