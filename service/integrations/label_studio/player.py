"""Times as frame numbers of Label Studio's player, which count from 1 and come from a frame rate. Pure.

The player of 1.23 knows no frames of the file: for frame f it seeks to (f - 1) / framerate seconds and shows whatever
picture stands there, and a moment t of playing is frame ceil(t * framerate). So a picture that is shown from a to b is
first seen in frame ceil(a * framerate) + 1 and last in frame ceil(b * framerate).
"""

from __future__ import annotations

import math

# Times in files are rounded, in Matroska to whole milliseconds: a twentieth of a frame late is on time.
_TOLERANCE_FRAMES = 0.05


def frame_count(duration_ms: float, fps: float) -> int:
    """How many frames the player counts in a clip."""
    return max(math.floor(duration_ms / 1000 * fps + 0.5), 1)


def first_frame(start_ms: float, fps: float) -> int:
    """The first frame that shows a picture, from the time at which it begins."""
    return max(math.ceil(start_ms / 1000 * fps - _TOLERANCE_FRAMES), 0) + 1


def last_frame(end_ms: float, fps: float) -> int:
    """The last frame that shows a picture, from the time at which the next one begins."""
    return max(math.ceil(end_ms / 1000 * fps - _TOLERANCE_FRAMES), 1)
