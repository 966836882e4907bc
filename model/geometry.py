"""Coordinate frames and pictures: the face's own axes, the square crop, affine maps and the step to map pixels.

Pixel centres are whole numbers everywhere: the first pixel's centre is (0, 0). An affine is a (2, 3) float64 matrix
applied to column vectors (x, y, 1). All functions take leading batch dimensions except those that touch pictures.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from model.values import Crop, Float32Array, Float64Array, UInt8Array

CROP_SCALE = 2.6
"""Side of the crop in units of the five points' box (METHOD 6.4)."""

BORDER_RGB = (124, 116, 104)
"""Colour outside the picture: the ImageNet mean, which normalisation turns into about zero."""

_EYE_LEFT, _EYE_RIGHT = slice(36, 42), slice(42, 48)


def _landmarks(landmarks: npt.ArrayLike) -> Float64Array:
    array = np.asarray(landmarks, dtype=np.float64)
    if array.ndim < 2 or array.shape[-2:] != (68, 2):
        raise ValueError(f"expected (..., 68, 2) iBUG landmarks, got {array.shape}; see model.landmarks.convert")
    return array


def face_frame(landmarks: npt.ArrayLike) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Scale and axes of a face, free of its roll (METHOD 1.2).

    Args:
        landmarks: (..., 68, 2) iBUG points in any pixels.

    Returns:
        s: (...) inner-ocular distance, the length of P42 - P39.
        u: (..., 2) unit vector from P39 to P42, towards the image-right of an upright face.
        v: (..., 2) unit vector at a right angle to u, pointing down the face (towards the nose).
        Where the two eye corners coincide or are missing, u and v are NaN.

    Raises:
        ValueError: if the landmarks don't have shape (..., 68, 2).
    """
    points = _landmarks(landmarks)
    between = points[..., 42, :] - points[..., 39, :]
    s = np.hypot(between[..., 0], between[..., 1])
    with np.errstate(invalid="ignore", divide="ignore"):
        u = between / s[..., None]
    v = np.stack([-u[..., 1], u[..., 0]], axis=-1)
    to_nose = points[..., 33, :] - (points[..., 39, :] + points[..., 42, :]) / 2
    upwards = np.sum(v * to_nose, axis=-1) < 0
    return s, u, np.where(upwards[..., None], -v, v)


def crop_affine(landmarks: npt.ArrayLike, size: int, scale: float = CROP_SCALE) -> Float64Array:
    """The affine from picture pixels to the pixels of the square face crop (METHOD 6.4).

    Five points (two eye means, nose tip, mouth corners) are boxed in the roll-free frame; the crop is centred on that
    box, with a side of `scale` times its longer side, and isn't turned.

    Args:
        landmarks: (..., 68, 2) iBUG points in picture pixels.
        size: side of the crop in pixels.
        scale: side of the crop over the longer side of the box.

    Returns:
        (..., 2, 3) float64.

    Raises:
        ValueError: if landmarks are missing, or lie on one spot.
    """
    points = _landmarks(landmarks)
    # A point at infinity is as good as missing, and then refused below.
    points = np.where(np.isfinite(points), points, np.nan)
    _, u, v = face_frame(points)
    five = np.stack(
        [
            points[..., _EYE_LEFT, :].mean(axis=-2),
            points[..., _EYE_RIGHT, :].mean(axis=-2),
            points[..., 30, :],
            points[..., 48, :],
            points[..., 54, :],
        ],
        axis=-2,
    )
    axes = np.stack([u, v], axis=-2)  # (..., 2, 2), rows u and v
    upright = five @ np.swapaxes(axes, -1, -2)
    low, high = upright.min(axis=-2), upright.max(axis=-2)
    centre = np.squeeze(((low + high) / 2)[..., None, :] @ axes, axis=-2)
    side = scale * (high - low).max(axis=-1)
    if not (np.isfinite(side).all() and np.isfinite(centre).all() and (side > 0).all()):
        raise ValueError("cannot place a face crop: eye, nose or mouth landmarks are missing or lie on one spot")
    zoom = size / side
    affine = np.zeros((*side.shape, 2, 3))
    affine[..., 0, 0] = affine[..., 1, 1] = zoom
    affine[..., :, 2] = (size - 1) / 2 - zoom[..., None] * centre
    return affine


def apply_affine(affine: npt.ArrayLike, points: npt.ArrayLike) -> Float64Array:
    """Points (..., P, 2) under an affine (..., 2, 3); batch dimensions broadcast."""
    matrix, array = np.asarray(affine, dtype=np.float64), np.asarray(points, dtype=np.float64)
    moved: Float64Array = array @ np.swapaxes(matrix[..., :2], -1, -2) + matrix[..., None, :, 2]
    return moved


def invert_affine(affine: npt.ArrayLike) -> Float64Array:
    """The inverse of affines (..., 2, 3).

    Raises:
        ValueError: if one has no inverse.
    """
    matrix = np.asarray(affine, dtype=np.float64)
    try:
        inverse = np.linalg.inv(matrix[..., :2])
    except np.linalg.LinAlgError as error:
        raise ValueError("the affine has no inverse") from error
    return np.concatenate([inverse, -inverse @ matrix[..., 2:]], axis=-1)


def compose(second: npt.ArrayLike, first: npt.ArrayLike) -> Float64Array:
    """The affine that applies `first`, then `second`; both (..., 2, 3)."""
    a, b = np.asarray(second, dtype=np.float64), np.asarray(first, dtype=np.float64)
    shift = a[..., :2] @ b[..., 2:] + a[..., 2:]
    return np.concatenate([a[..., :2] @ b[..., :2], shift], axis=-1)


def crop_to_map(points: npt.ArrayLike, stride: float = 4) -> Float64Array:
    """Crop pixels to map pixels, (x + 0.5) / stride - 0.5: the network's maps have a quarter of the crop's side."""
    return (np.asarray(points, dtype=np.float64) + 0.5) / stride - 0.5


def map_to_crop(points: npt.ArrayLike, stride: float = 4) -> Float64Array:
    """Map pixels to crop pixels, the inverse of `crop_to_map`."""
    return (np.asarray(points, dtype=np.float64) + 0.5) * stride - 0.5


_BORDER_MODES: dict[object, int] = {"edge": cv2.BORDER_REPLICATE, "mirror": cv2.BORDER_REFLECT_101}


def warp(
    rgb: UInt8Array,
    affine: npt.ArrayLike,
    size: int,
    border: tuple[int, int, int] | Literal["edge", "mirror"] = BORDER_RGB,
) -> UInt8Array:
    """A square picture cut from another along an affine, bilinear, with averaging when it shrinks a lot.

    Args:
        rgb: (H, W, 3) uint8.
        affine: (2, 3) from picture pixels to pixels of the result.
        size: side of the result in pixels.
        border: colour outside the picture, or how it goes on there: its edge pixels repeated, or itself mirrored.

    Returns:
        (size, size, 3) uint8.

    Raises:
        ValueError: for an empty picture or one of another shape, or an affine without an inverse.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ValueError(f"expected an (H, W, 3) picture with pixels, got {rgb.shape}")
    forward = np.asarray(affine, dtype=np.float64)
    zoom = np.sqrt(max(abs(float(np.linalg.det(forward[:, :2]))), 1e-12))
    shrink = max(1, int(1 / zoom + 1e-6))  # whole source pixels per pixel of the result; rounding must not lose one
    corners = np.array([[-1.0, -1.0], [size, -1.0], [-1.0, size], [size, size]])
    source = apply_affine(invert_affine(forward), corners)
    # Only the part under the crop is touched: that's faster, and OpenCV refuses pictures of more than 32767 pixels.
    height, width = rgb.shape[:2]
    limit = np.array([width, height])
    low = np.clip(np.floor(source.min(axis=0)) - shrink, 0, limit - 1).astype(int)
    high = np.clip(np.ceil(source.max(axis=0)) + shrink + 1, low + 1, limit).astype(int)
    part = rgb[low[1] : high[1], low[0] : high[0]]
    to_part = np.array([[1.0, 0.0, -low[0]], [0.0, 1.0, -low[1]]])
    if shrink > 1:
        part, to_reduced = _reduce(part, shrink)
        to_part = compose(to_reduced, to_part)
    return np.asarray(
        cv2.warpAffine(
            part,
            compose(forward, invert_affine(to_part)),
            (size, size),
            flags=cv2.INTER_LINEAR,
            borderMode=_BORDER_MODES.get(border, cv2.BORDER_CONSTANT),
            borderValue=(0, 0, 0) if isinstance(border, str) else border,
        ),
        dtype=np.uint8,
    )


def _reduce(picture: UInt8Array, factor: int) -> tuple[UInt8Array, Float64Array]:
    """The picture averaged over factor x factor blocks, and the affine to its pixels."""
    height, width = picture.shape[:2]
    below, right = -height % factor, -width % factor
    whole = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE)
    reduced = cv2.resize(whole, (whole.shape[1] // factor, whole.shape[0] // factor), interpolation=cv2.INTER_AREA)
    shift = 0.5 / factor - 0.5
    return np.asarray(reduced, dtype=np.uint8), np.array([[1 / factor, 0.0, shift], [0.0, 1 / factor, shift]])


def extract_crop(
    rgb: UInt8Array,
    landmarks: npt.ArrayLike,
    size: int,
    scale: float = CROP_SCALE,
    depth: Float32Array | None = None,
) -> Crop:
    """The square crop of one face, with the way back to the picture.

    Args:
        rgb: (H, W, 3) uint8 picture.
        landmarks: (68, 2) iBUG points in picture pixels.
        size: side of the crop in pixels.
        scale: see `crop_affine`.
        depth: (68,) of the landmarks in picture pixels, or None.

    Raises:
        ValueError: if landmarks are missing or lie on one spot, or the picture isn't one.
    """
    to_crop = crop_affine(landmarks, size, scale)
    if to_crop.ndim != 2:
        raise ValueError(f"expected the (68, 2) landmarks of one face, got {np.shape(landmarks)}")
    return Crop(
        pixels=warp(rgb, to_crop, size),
        to_image=invert_affine(to_crop),
        landmarks=apply_affine(to_crop, landmarks).astype(np.float32),
        depth=None if depth is None else (depth * np.hypot(*to_crop[0, :2])).astype(np.float32),
    )
