"""One picture of a stored clip, decoded in a process of its own.

    python -m service.results.clip_frame CLIP FRAME PREVIOUS_PTS_MS MAX_PIXELS > frame.npy

A decoder that crashes or hangs on a hostile file then takes nothing else along: the API kills it after a while.
"""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path

import numpy as np

from model.values import UInt8Array

TIMEOUT_SECONDS = 60.0


class ClipFrameError(Exception):
    """The picture could not be decoded."""


async def clip_frame(path: Path, frame: int, previous_pts_ms: float | None, max_pixels: int) -> UInt8Array:
    """Decode picture number `frame` of a clip.

    Args:
        path: a local file.
        frame: number in decoding order, from 0.
        previous_pts_ms: stored time of the picture before, with which a far one is reached by a seek; None for the
            first.
        max_pixels: larger pictures are refused.

    Returns:
        (H, W, 3) uint8 upright RGB.

    Raises:
        ClipFrameError: damaged, shorter than that, or the decoder crashed or took too long.
    """
    arguments = [str(path), str(frame), repr(previous_pts_ms), str(max_pixels)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "service.results.clip_frame",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            out, err = await process.communicate()
    except TimeoutError as error:
        raise ClipFrameError(f"decoding took longer than {TIMEOUT_SECONDS:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        reason = err.decode(errors="replace").strip().splitlines()
        raise ClipFrameError(reason[-1] if reason else f"the decoder ended with {process.returncode}")
    picture: UInt8Array = np.load(io.BytesIO(out), allow_pickle=False)
    return picture


def main(arguments: list[str]) -> int:
    """Write one picture to the standard output as npy."""
    from worker.errors import VideoError
    from worker.video import VideoReader

    path, frame, previous, max_pixels = arguments
    previous_pts_ms = None if previous == "None" else float(previous)
    try:
        with VideoReader(Path(path), max_pixels=int(max_pixels), threads=1) as reader:
            picture = next(reader.frames(int(frame), previous_pts_ms), None)
    except VideoError as error:
        print(error.detail, file=sys.stderr)
        return 1
    if picture is None:
        print("the clip ends before that picture", file=sys.stderr)
        return 1
    np.save(sys.stdout.buffer, picture.rgb, allow_pickle=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
