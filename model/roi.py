"""ROI centres, masks and target maps (paper section 3.1 and Eq. 1; METHOD 1 and 2.1).

Each AU has one map with two ROIs. Shapes: K Action Units, 2 ROIs each, (x, y) last; maps are square, (H, W) with
H = W = `map_size`. Centres in map pixels come from `geometry.crop_to_map`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from model.action_units import CATALOGUE, RULE_NAMES, resolve
from model.geometry import face_frame
from model.values import BoolArray, Float32Array, Float64Array

IntArray = npt.NDArray[np.int64]

_FAR = 1_000_000  # centres beyond this many map pixels are simply "far outside": it keeps integers small


@lru_cache(maxsize=64)
def _rule_matrices(codes: tuple[str, ...], rule: str) -> tuple[Float64Array, Float64Array]:
    """(2K, 68) weights of the base points and (2K, 2) offsets along u and v in units of s."""
    weights = np.zeros((2 * len(codes), 68))
    offsets = np.zeros((2 * len(codes), 2))
    for k, code in enumerate(codes):
        placed = CATALOGUE[code].rules[rule]
        for row, base, outwards in ((2 * k, placed.first, -1), (2 * k + 1, placed.second, 1)):
            weights[row, list(base)] = 1 / len(base)
            offsets[row] = outwards * placed.outward, placed.down
    return weights, offsets


def roi_centres(landmarks: npt.ArrayLike, au_codes: Sequence[str], rule: str = "paper") -> Float64Array:
    """The two ROI centres of each AU, in the landmarks' own coordinates.

    They turn, scale, move and flip with the face, since every offset is measured in the face's own frame.

    Args:
        landmarks: (..., 68, 2) iBUG points; points that no rule needs may be NaN.
        au_codes: K codes, as `action_units.resolve` gives them.
        rule: "paper" or "fgnet".

    Returns:
        (..., K, 2, 2) float64: AU, ROI (image-left or upper first), (x, y). NaN where a needed landmark is.

    Raises:
        ValueError: for an unknown rule or AU, or landmarks of another shape.
    """
    if rule not in RULE_NAMES:
        raise ValueError(f"unknown ROI rule {rule!r}; known are {', '.join(RULE_NAMES)}")
    codes = resolve(au_codes)
    weights, offsets = _rule_matrices(codes, rule)
    s, u, v = face_frame(landmarks)
    points = np.asarray(landmarks, dtype=np.float64)
    missing: BoolArray = np.isnan(points[..., 0]) | np.isnan(points[..., 1])
    centres = weights @ np.where(missing[..., None], 0.0, points)
    shift = np.stack([u, v], axis=-2) * s[..., None, None]  # (..., 2, 2): s·u, s·v
    # A row without an offset doesn't need the face's frame, so it survives missing eye corners.
    moved = offsets.any(axis=1)
    centres[..., moved, :] += offsets[moved] @ shift
    lost = (missing[..., None, :] & (weights > 0)).any(axis=-1)
    centres[lost] = np.nan
    return np.asarray(centres.reshape(*points.shape[:-2], len(codes), 2, 2))


def whole_pixels(centres_map: npt.ArrayLike) -> tuple[IntArray, BoolArray]:
    """Centres rounded to map pixels.

    Args:
        centres_map: (..., 2) in map pixels.

    Returns:
        (..., 2) int64, half up, and (...) bool: False where a coordinate isn't finite (the integers are then far out).
    """
    centres = np.asarray(centres_map, dtype=np.float64)
    known: BoolArray = np.isfinite(centres[..., 0]) & np.isfinite(centres[..., 1])
    safe = np.where(known[..., None], centres, -_FAR)
    return np.clip(np.floor(safe + 0.5), -_FAR, _FAR).astype(np.int64), known


def _axes(centres_map: npt.ArrayLike, map_size: int, half_width: int) -> tuple[IntArray, BoolArray, BoolArray]:
    """Rounded centres (..., 2), and for each centre the columns and rows (..., size) that its window covers."""
    centres, known = whole_pixels(centres_map)
    near = np.abs(np.arange(map_size) - centres[..., None]) <= half_width  # (..., 2, size)
    near &= known[..., None, None]
    return centres, near[..., 0, :], near[..., 1, :]


def windows(centres_map: npt.ArrayLike, map_size: int, half_width: int = 3) -> BoolArray:
    """The mask M of METHOD 2.2: the pixels of each ROI's window, clipped at the border.

    Args:
        centres_map: (..., K, 2, 2) in map pixels.
        map_size: H = W.
        half_width: h, for windows of (2h + 1) squared pixels; 3 in the paper.

    Returns:
        (..., K, 2, H, W) bool. A pixel under both windows of an AU belongs to both.
    """
    _, columns, rows = _axes(centres_map, map_size, half_width)
    return rows[..., :, None] & columns[..., None, :]


def gaussians(
    centres_map: npt.ArrayLike, map_size: int, half_width: int = 3, sigma: float = 1.0, subpixel: bool = False
) -> Float32Array:
    """One Gaussian bump per ROI, 1 at its centre and 0 outside its window (paper Eq. 1).

    Args:
        centres_map: (..., K, 2, 2) in map pixels.
        map_size: H = W.
        half_width: h of the window.
        sigma: in map pixels.
        subpixel: keep the fraction of the centre in the bump (its window stays on whole pixels).

    Returns:
        (..., K, 2, H, W) float32 in [0, 1].
    """
    rounded, columns, rows = _axes(centres_map, map_size, half_width)
    middle = np.asarray(centres_map, dtype=np.float64) if subpixel else rounded.astype(np.float64)
    # NaN centres have empty windows, so any finite stand-in will do.
    middle = np.clip(np.nan_to_num(middle, posinf=_FAR, neginf=-_FAR), -_FAR, _FAR)
    bump = np.exp(-((np.arange(map_size) - middle[..., None]) ** 2) / (2 * sigma**2))
    x = (bump[..., 0, :] * columns).astype(np.float32)
    y = (bump[..., 1, :] * rows).astype(np.float32)
    return y[..., :, None] * x[..., None, :]


def target_maps(
    centres_map: npt.ArrayLike,
    labels: npt.ArrayLike,
    map_size: int,
    half_width: int = 3,
    sigma: float = 1.0,
    *,
    subpixel: bool = False,
    positives_only: bool = False,
) -> tuple[Float32Array, Float32Array]:
    """The maps that the network is to regress, and which of them count (METHOD 2.1).

    Args:
        centres_map: (..., K, 2, 2) in map pixels.
        labels: (..., K): 1 occurred, 0 absent, NaN unknown.
        map_size: H = W.
        half_width: h of the windows.
        sigma: in map pixels.
        subpixel: see `gaussians`.
        positives_only: the paper's first baseline: absent AUs get an empty map instead of a negative one.

    Returns:
        maps: (..., K, H, W) float32; the larger of the two bumps, times +1 for occurred and -1 for absent.
        weights: (..., K) float32; 0 where the label is unknown or no pixel of either window lies in the map, else 1.

    Raises:
        ValueError: for labels other than 0, 1 and NaN, or of another shape than the centres.
    """
    centres = np.asarray(centres_map, dtype=np.float64)
    truth = np.asarray(labels, dtype=np.float64)
    if centres.ndim < 3 or centres.shape[-2:] != (2, 2) or truth.shape != centres.shape[:-2]:
        raise ValueError(
            f"labels {truth.shape} do not fit ROI centres {centres.shape}: want (..., K) and (..., K, 2, 2)"
        )
    unknown = np.isnan(truth)
    if not np.isin(truth[~unknown], (0.0, 1.0)).all():
        raise ValueError("labels must be 0 (absent), 1 (occurred) or NaN (unknown)")
    shape = gaussians(centres, map_size, half_width, sigma, subpixel).max(axis=-3)
    sign = np.where(unknown, 0.0, truth if positives_only else 2 * truth - 1)
    drawn = shape.any(axis=(-2, -1))
    maps = (shape * sign[..., None, None]).astype(np.float32)
    return maps, (drawn & ~unknown).astype(np.float32)
