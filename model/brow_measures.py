"""Heights of the brows and openings of the lids, measured on the face turned upright in depth.

Not part of the paper. A nod or a turn of the head shortens the distance from eye to brow in the picture as a frown
does; with the depth that the landmark net gives each point, the head's turn is taken out first: the points that no
expression moves far are laid over a resting face by the best rotation, scale and shift (Kabsch and Umeyama).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model.values import Float64Array

RIGID_3D = np.array([27, 28, 29, 30, 36, 39, 42, 45, 0, 1, 15, 16])
"""Of the 68 points: the ridge of the nose, the corners of the eyes, and the face's outline beside the eyes, which pins
down the nod."""
_PARTNER = np.array([0, 1, 2, 3, 7, 6, 5, 4, 11, 10, 9, 8])
"""Which of these is the mirror image of which."""

MEASURES = ("brow_inner", "brow_middle", "brow_outer", "brow_tail", "brow_gap", "lids_open", "lower_lid")
"""What is measured, each the mean of both sides, in units of the rigid points' root mean square distance: heights of
four parts of the brows above the middle between the eye's corners, the inner brow ends' distance from the face's
middle, the distance between the lids, and how far the lower lid hangs below the middle between the corners."""

MEASURES_OF_AU: dict[str, dict[str, int]] = {
    "AU1": {"brow_inner": 1},
    "AU2": {"brow_outer": 1, "brow_tail": 1},
    "AU4": {"brow_inner": -1, "brow_middle": -1, "brow_gap": -1},
    "AU7": {"lids_open": -1, "lower_lid": -1},
}
"""By which measures an Action Unit shows, and whether it raises (1) or lowers (-1) them, as FACS describes it. Neither
the sign nor their shares are left to the data: in the rendered faces the company of other AUs would turn some of them
round, and their brows come together less than ours do in a frown."""

_BROW_RIGHT = ([21], [20, 19], [18], [17])
_BROW_LEFT = ([22], [23, 24], [25], [26])
_CORNERS = ([36, 39], [42, 45])
_MOUTH_CORNERS = [48, 54]
_UPPER_LID = ([37, 38], [43, 44])
_LOWER_LID = ([40, 41], [46, 47])


def upright(points: npt.ArrayLike, reference: npt.ArrayLike) -> Float64Array:
    """Faces turned, scaled and shifted so that their rigid points lie over the reference as well as they can.

    Args:
        points: (N, 68, 3) with depth.
        reference: (R, 3) the places of `RIGID_3D` on a resting face; their mean is the origin.

    Returns:
        (N, 68, 3); NaN where a point is not finite or all rigid points lie on one spot.
    """
    faces, goal = np.asarray(points, np.float64), np.asarray(reference, np.float64)
    known = np.asarray(np.isfinite(faces).all(axis=(1, 2)))
    rigid = np.where(known[:, None, None], faces, 0)[:, RIGID_3D]
    centre = rigid.mean(axis=1, keepdims=True)
    away = rigid - centre
    left, stretch, right = np.linalg.svd(np.einsum("npi,pj->nij", away, goal))
    hand = np.where(np.linalg.det(left @ right) < 0, -1.0, 1.0)  # a turn, never a mirror image
    left[:, :, 2] *= hand[:, None]
    stretch[:, 2] *= hand
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = stretch.sum(axis=1) / (away**2).sum(axis=(1, 2))
        turned = scale[:, None, None] * np.einsum("npi,nij->npj", faces - centre, left @ right)
    return np.asarray(np.where((known & np.isfinite(scale))[:, None, None], turned, np.nan))


def measures_of(faces: Float64Array) -> Float64Array:
    """(N, Q), in the order of `MEASURES`, of upright faces (N, 68, 3)."""

    def height(chosen: list[int], side: int) -> Float64Array:
        return np.asarray(faces[:, _CORNERS[side], 1].mean(axis=1) - faces[:, chosen, 1].mean(axis=1))

    brows = [(height(right, 0) + height(left, 1)) / 2 for right, left in zip(_BROW_RIGHT, _BROW_LEFT, strict=True)]
    gap = (faces[:, 22, 0] - faces[:, 21, 0]) / 2
    upper, lower = ((height(lid[0], 0) + height(lid[1], 1)) / 2 for lid in (_UPPER_LID, _LOWER_LID))
    return np.stack([*brows, gap, upper - lower, -lower], axis=1)


def brow_measures(landmarks: npt.ArrayLike, depth: npt.ArrayLike, reference: npt.ArrayLike) -> Float64Array:
    """Measure faces.

    Args:
        landmarks: (N, 68, 2) pixels of any picture.
        depth: (N, 68) in the same pixels, away from the camera.
        reference: see `upright`.

    Returns:
        (N, Q) in the order of `MEASURES`; NaN where the depth is unknown.
    """
    points = np.concatenate([np.asarray(landmarks, np.float64), np.asarray(depth, np.float64)[..., None]], axis=-1)
    return measures_of(upright(points, reference))


def nodded(faces: Float64Array, angles: npt.ArrayLike) -> Float64Array:
    """Points (N, P, 3) turned about the axis from eye to eye by (N,) radians.

    A positive angle takes what lies below away from the camera.
    """
    turn = np.asarray(angles, np.float64)[:, None]
    cos, sin = np.cos(turn), np.sin(turn)
    x, y, z = np.moveaxis(faces, -1, 0)
    return np.stack([x, y * cos - z * sin, y * sin + z * cos], axis=-1)


def resting_reference(points: npt.ArrayLike, rounds: int = 6) -> Float64Array:
    """The mean places of the rigid points of many faces, alike on both sides and held upright.

    Upright means that the corners of the mouth lie straight below those of the eyes, neither nearer nor further away.
    It matters: brows rise along the forehead, up and back, and heights on a face that looks down miss a part of that.

    Args:
        points: (N, 68, 3) with depth, all finite.
        rounds: of laying all faces over their mean and taking the mean anew.

    Returns:
        (R, 3) with the mean at the origin and a root mean square distance of 1.

    Raises:
        ValueError: no face.
    """
    faces = np.asarray(points, np.float64)
    if len(faces) == 0:
        raise ValueError("no face to take a reference from")
    mean = _centred(faces[0, RIGID_3D])
    for _ in range(rounds):
        mean = _centred(np.nanmean(upright(faces, mean)[:, RIGID_3D], axis=0))
    laid = np.nanmean(upright(faces, mean), axis=0)
    _, down, away = laid[_MOUTH_CORNERS].mean(axis=0) - laid[_CORNERS[0] + _CORNERS[1]].mean(axis=0)
    return np.asarray(nodded(mean[None], [-np.arctan2(away, down)])[0])


def _centred(rigid: Float64Array) -> Float64Array:
    away = rigid - rigid.mean(axis=0)
    both = (away + away[_PARTNER] * [-1, 1, 1]) / 2
    return np.asarray(both / np.sqrt((both**2).sum(axis=1).mean()))
