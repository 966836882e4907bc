"""Where landmark points lie: the head's own vertices against what a landmark net marks in the same pictures.

People who annotate photographs (and nets that learn from them) set brow points on the upper edge of the hair and jaw
points on the visible outline; the head's vertices sit where its chart has brows, over those that are painted
(`brows.draw_style`), and at fixed places of the jaw. A network that is trained with one convention and used with the
other looks beside the brows, so rendered landmarks are moved.
"""

from __future__ import annotations

import numpy as np

from training.synthetic.pack import FloatArray

# Median of (net - vertex) over 80 rendered faces, of the brows over 141 later ones whose brows are painted lower, with
# less than 20 degrees of yaw, in inner-ocular distances: outward from the midline and down the face, for the picture's
# left half and the midline. The net is the one of `model.faces`; its points on turned faces differ from this by 0.02 in
# the middle.
LEFT_HALF: dict[int, tuple[float, float]] = {
    **{0: (0.02, 0.08), 1: (0.01, -0.06), 2: (0.04, -0.12), 3: (0.04, -0.17), 4: (0.13, -0.26), 5: (0.15, -0.10)},
    **{6: (0.23, -0.11), 7: (0.18, 0.05), 8: (0.0, 0.09)},
    **{17: (0.03, 0.06), 18: (0.09, 0.11), 19: (0.13, 0.10), 20: (0.16, 0.07), 21: (0.09, 0.03)},
    **{27: (0.0, -0.09), 28: (0.0, 0.05), 29: (0.0, 0.12), 30: (0.0, 0.0)},
    **{31: (0.08, -0.06), 32: (0.03, -0.04), 33: (0.0, -0.07)},
    **{
        36: (0.02, -0.02),
        37: (-0.02, -0.04),
        38: (0.01, -0.03),
        39: (-0.02, -0.02),
        40: (0.01, 0.02),
        41: (-0.03, 0.02),
    },
    **{48: (-0.02, -0.02), 49: (0.05, 0.03), 50: (-0.01, -0.02), 51: (0.0, 0.0)},
    **{57: (0.0, 0.0), 58: (-0.10, 0.02), 59: (0.02, -0.04)},
    **{60: (0.01, -0.03), 61: (0.01, -0.04), 62: (0.0, -0.06), 66: (0.0, -0.01), 67: (0.0, -0.01)},
}
MIRROR: dict[int, int] = {
    **{16 - i: i for i in range(8)},
    **{43 - i: i for i in range(17, 22)},
    **{35: 31, 34: 32, 42: 39, 43: 38, 44: 37, 45: 36, 46: 41, 47: 40},
    **{52: 50, 53: 49, 54: 48, 55: 59, 56: 58, 63: 61, 64: 60, 65: 67},
}


def net_offsets() -> FloatArray:
    """Return (68, 2) float32: how far the net's points lie from the pack's vertices.

    Along the line from the picture's left eye to its right one and down the face, in inner-ocular distances.
    """
    offsets = np.zeros((68, 2), np.float32)
    for point, (outward, down) in LEFT_HALF.items():
        offsets[point] = (-outward, down)
    for right, left in MIRROR.items():
        offsets[right] = offsets[left] * (-1, 1)
    return offsets


def shifted(landmarks: FloatArray, offsets: FloatArray) -> FloatArray:
    """Return (..., 68, 2) landmarks moved by (68, 2) offsets in each face's own frame.

    Args:
        landmarks: (..., 68, 2) in pixels.
        offsets: across and down the face, in inner-ocular distances.
    """
    across = landmarks[..., 42, :] - landmarks[..., 39, :]
    down = np.stack([-across[..., 1], across[..., 0]], -1)
    frame = np.stack([across, down], -2)  # (..., 2, 2): both axes are one inner-ocular distance long
    return np.asarray(landmarks + offsets @ frame, np.float32)
