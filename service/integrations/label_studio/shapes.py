"""ROI maps as shapes on the picture: where an AU's map is at least half as high as its peak, as polygon or as mask.

Also Label Studio's run-length code of masks (that of the `rle-pack` library): a bit stream with a header of 32 bits for
the number of values, 5 for the word's size less one and four times 4 for the sizes of run lengths less one; then blocks
of one bit for a run, two for which size, the length less one, and the value.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from model.geometry import apply_affine, compose, crop_affine, invert_affine, map_to_crop
from model.manifest import MAP_STRIDE
from model.values import BoolArray, Float32Array, Float64Array

_LEVEL = 0.5  # of the map's peak
_POLYGON_ZOOM = 8
_POLYGON_TOLERANCE = 0.12  # map pixels
_MIN_AREA = 1.0  # map pixels; smaller islands are the network's noise
_RUN_BITS = (3, 4, 8, 16)
_CHANNELS = 4


@dataclass(frozen=True, slots=True)
class Mask:
    """The pixels of a shape: a window of the picture, and where its top left pixel lies."""

    pixels: BoolArray
    left: int
    top: int


def polygons(roi_map: Float32Array, landmarks: npt.ArrayLike, crop_scale: float) -> list[Float64Array]:
    """The outlines of a map's high places, largest first, each (P, 2) in picture pixels with P >= 3.

    Args:
        roi_map: (H, W) of one AU.
        landmarks: (68, 2) of its face in picture pixels.
        crop_scale: of the checkpoint's crops.
    """
    peak = float(roi_map.max())
    if peak <= 0:
        return []
    height, width = roi_map.shape
    zoomed = cv2.resize(roi_map, (width * _POLYGON_ZOOM, height * _POLYGON_ZOOM), interpolation=cv2.INTER_LINEAR)
    # A frame of zeros closes outlines that touch the border.
    high = np.pad((zoomed >= _LEVEL * peak).astype(np.uint8), 1)
    contours, _ = cv2.findContours(high, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    to_picture = _map_to_picture(roi_map, landmarks, crop_scale)
    found = []
    for contour in sorted(contours, key=cv2.contourArea, reverse=True):
        outline = cv2.approxPolyDP(contour, _POLYGON_TOLERANCE * _POLYGON_ZOOM, True).reshape(-1, 2)
        if len(outline) >= 3 and cv2.contourArea(contour) >= _MIN_AREA * _POLYGON_ZOOM**2:
            in_map = (outline - 1 + 0.5) / _POLYGON_ZOOM - 0.5
            found.append(apply_affine(to_picture, in_map))
    return found


def mask(roi_map: Float32Array, landmarks: npt.ArrayLike, crop_scale: float, width: int, height: int) -> Mask | None:
    """The pixels of a map's high places on a picture of `width` x `height`; None when none lies on the picture."""
    peak = float(roi_map.max())
    if peak <= 0:
        return None
    to_picture = _map_to_picture(roi_map, landmarks, crop_scale)
    rows, columns = roi_map.shape
    corners = apply_affine(to_picture, [[-0.5, -0.5], [columns - 0.5, rows - 0.5]])
    left, top = np.clip(np.floor(corners[0]), 0, [width, height]).astype(int)
    right, bottom = np.clip(np.ceil(corners[1]) + 1, 0, [width, height]).astype(int)
    if right <= left or bottom <= top:
        return None
    to_window = compose([[1.0, 0.0, -float(left)], [0.0, 1.0, -float(top)]], to_picture)
    window = cv2.warpAffine(
        roi_map, to_window, (int(right - left), int(bottom - top)), flags=cv2.INTER_LINEAR, borderValue=(0.0,)
    )
    pixels = np.asarray(window >= _LEVEL * peak)
    return Mask(pixels, int(left), int(top)) if pixels.any() else None


def encode_mask(mask: Mask, width: int, height: int) -> list[int]:
    """A mask over a picture of `width` x `height` in Label Studio's code: RGBA values, 255 where the mask lies."""
    padded = np.pad(mask.pixels, ((0, 0), (1, 1))).astype(np.int8)
    change = np.diff(padded, axis=1)
    row, start = np.nonzero(change == 1)
    _, end = np.nonzero(change == -1)
    first = (row + mask.top) * width + mask.left + start
    bits = [f"{width * height * _CHANNELS:032b}{7:05b}", *(f"{size - 1:04b}" for size in _RUN_BITS)]
    position = 0
    for begin, length in zip(first.tolist(), (end - start).tolist(), strict=True):
        bits += _run(begin - position, 0)
        bits += _run(length, 255)
        position = begin + length
    bits += _run(width * height - position, 0)
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return list(int(stream, 2).to_bytes(len(stream) // 8, "big"))


def _run(pixels: int, value: int) -> list[str]:
    blocks, left = [], pixels * _CHANNELS
    while left > 0:
        length = min(left, 1 << _RUN_BITS[-1])
        which = next(index for index, size in enumerate(_RUN_BITS) if length <= 1 << size)
        blocks.append(f"1{which:02b}{length - 1:0{_RUN_BITS[which]}b}{value:08b}")
        left -= length
    return blocks


def _map_to_picture(roi_map: Float32Array, landmarks: npt.ArrayLike, crop_scale: float) -> Float64Array:
    to_crop = crop_affine(landmarks, MAP_STRIDE * len(roi_map), crop_scale)
    shift = map_to_crop(0.0, MAP_STRIDE)
    map_affine = np.array([[MAP_STRIDE, 0.0, shift], [0.0, MAP_STRIDE, shift]])
    return compose(invert_affine(to_crop), map_affine)
