"""Landmarks of data sets as 68 points: what the 49- and 66-point layouts lack is filled by rule, nonsense is refused.

No ROI and no crop uses a filled point (METHOD 1.1): 49 points carry all of them. They are filled because the
photometric augmentation draws beards and hair along the jaw, and because NaN would poison an affine map.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model.geometry import CROP_SCALE, crop_affine, face_frame
from model.landmarks import convert, layout_for

MOUTH_CORNER = 0.1
"""An inner mouth corner (60, 64) lies a tenth of the mouth's width inside the outer one (48, 54)."""
JAW_HALF_WIDTH, CHIN = 0.83, 0.9
"""The jaw (0-16) is half an ellipse about the middle of the eyes: its half width is 0.83 of the distance between the
outer eye corners, and its lowest point, the chin, lies below the lower lip (57) by 0.9 of the way from nose base (33)
to lower lip. Both are proportions of a frontal adult face at rest."""


def to_ibug68(points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Points of any known layout as iBUG-68.

    Args:
        points: (49, 2), (66, 2) or (68, 2), pixels.

    Returns:
        (68, 2) float64; points that the layout lacks by the rules above, all others as given.

    Raises:
        ValueError: for another number of points.
    """
    array = np.asarray(points, np.float64)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"landmarks are {array.shape}, wanted (points, 2)")
    whole = np.asarray(convert(array, layout_for(len(array)).name), np.float64)
    lacking = layout_for(len(array)).from_layout < 0
    if lacking[60]:
        across = whole[54] - whole[48]
        whole[60], whole[64] = whole[48] + MOUTH_CORNER * across, whole[54] - MOUTH_CORNER * across
    if lacking[0]:
        whole[:17] = _jaw(whole)
    return whole


def _jaw(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    _, u, v = face_frame(points)
    centre = (points[36:42].mean(0) + points[42:48].mean(0)) / 2
    chin = points[57] + CHIN * (points[57] - points[33])
    angle = np.linspace(np.pi, 0, 17)[:, None]
    half_width = JAW_HALF_WIDTH * np.linalg.norm(points[45] - points[36])
    jaw: npt.NDArray[np.float64] = centre + half_width * np.cos(angle) * u + ((chin - centre) @ v) * np.sin(angle) * v
    return jaw


def fit_picture(points: npt.NDArray[np.float64], width: int, height: int) -> bool:
    """Whether landmarks (68, 2) can be a face of a picture: finite, with room for a crop, its middle inside."""
    try:
        affine = crop_affine(points, 1, CROP_SCALE)
    except ValueError:
        return False
    if not np.isfinite(points).all():
        return False
    x, y = -affine[:, 2] / affine[0, 0]  # a crop of one pixel has its centre at (0, 0)
    return bool(-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5 and 1 / affine[0, 0] < 4 * max(width, height))
