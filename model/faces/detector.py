"""Where the faces are: MediaPipe's full-range detector on a pyramid of tiles, with weighted suppression.

The net sees 192 x 192 pixels and finds faces of about 12 of them or more. The whole picture is shown to it twice:
filling the tile, and at half that size, since a face that fills the picture or is cut by its edge is often found only
with room around it. Smaller faces are found in tiles of enlarged levels, as many as the smallest wanted face asks for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from model.faces.nets import PictureNet
from model.values import Float32Array, Float64Array, UInt8Array

TILE = 192
CELLS = 48
SMALLEST_IN_TILE = 12.0
"""Size in tile pixels below which the net misses faces (measured on a photo scaled down step by step)."""
LEVEL_RATIO = 3.0
OVERLAP = 48
"""Tile pixels shared by neighbours: the largest face that the level below may have missed, 3 x 12, and a margin."""
MERGE_IOU = 0.3
FLAT = 6
"""A part of a picture whose colours differ by no more than this holds no face."""
UNDERSIZE = 0.75
"""Boxes below this share of the smallest wanted size are dropped; the detector's boxes are not exact."""


@dataclass(frozen=True, slots=True)
class Detections:
    """N faces as the detector sees them, in pixels of the picture, best first.

    Attributes:
        boxes: (N, 4) float64 left, top, right, bottom: roughly brows to chin, square.
        keypoints: (N, 6, 2) float64: right eye, left eye, nose tip, mouth, right ear, left ear (right is the
            person's own).
        scores: (N,) float64, 0 to 1.
    """

    boxes: Float64Array
    keypoints: Float64Array
    scores: Float64Array

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: npt.NDArray[np.intp]) -> Detections:
        """The detections at `index`, in that order."""
        return Detections(self.boxes[index], self.keypoints[index], self.scores[index])


@dataclass(frozen=True, slots=True)
class Level:
    """A scaled copy of the picture and the tiles cut from it.

    Attributes:
        width: pixels of the copy, x.
        height: pixels of the copy, y.
        origins: (T, 2) left and top of each tile in the copy; negative where the copy is smaller than a tile.
    """

    width: int
    height: int
    origins: tuple[tuple[int, int], ...]


class FaceDetector:
    """Finds faces anywhere in a picture."""

    def __init__(self, net_file: Path, *, threads: int | None = None, cache_dir: Path | None = None) -> None:
        """`net_file` is `face_detection_full_range_sparse.tflite`; for the others see `PictureNet`."""
        self._net = PictureNet(
            net_file,
            mean=127.5,
            scale=127.5,
            outputs=(CELLS * CELLS * 16, CELLS * CELLS),
            threads=threads,
            cache_dir=cache_dir,
        )

    def detect(self, rgb: UInt8Array, *, min_size: float | None = None, threshold: float = 0.5) -> Detections:
        """Find the faces of a picture.

        Args:
            rgb: (H, W, 3) uint8.
            min_size: side of the smallest box to look for, in pixels; None looks at the whole picture only, without
                tiles.
            threshold: least score.
        """
        height, width = rgb.shape[:2]
        pixels, levels, origins = [], [], []
        copy = rgb
        for level in reversed(plan_levels(width, height, min_size)):  # finest first: each is made from the one before
            copy = _resize(copy, level.width, level.height)
            for origin in level.origins:
                part = _inside(copy, origin)
                if int(part.max()) - int(part.min()) > FLAT:
                    pixels.append(_padded(part, origin))
                    levels.append(level)
                    origins.append(origin)
        if not pixels:
            return _NOTHING
        offsets, logits = self._net.run(np.stack(pixels))
        found = [
            _to_picture(decode(offset, logit, threshold), level, origin, width, height)
            for offset, logit, level, origin in zip(offsets, logits, levels, origins, strict=True)
        ]
        every = Detections(
            np.concatenate([one.boxes for one in found]),
            np.concatenate([one.keypoints for one in found]),
            np.concatenate([one.scores for one in found]),
        )
        wide = every.boxes[:, 2] - every.boxes[:, 0] >= UNDERSIZE * (min_size or 0.0)
        return suppress(every.take(np.flatnonzero(wide)))


_NOTHING = Detections(np.empty((0, 4)), np.empty((0, 6, 2)), np.empty(0))


def plan_levels(width: int, height: int, min_size: float | None) -> tuple[Level, ...]:
    """The levels to search, coarsest first: the picture in half a tile, in a whole tile, then in several.

    Args:
        width: of the picture, pixels.
        height: of the picture, pixels.
        min_size: side of the smallest box to find, in pixels of the picture; None for the two one-tile levels only.
    """
    coarsest = TILE / max(width, height)
    finest = min(1.0, SMALLEST_IN_TILE / min_size) if min_size else coarsest
    steps = max(0, math.ceil(math.log(finest / coarsest) / math.log(LEVEL_RATIO) - 1e-9))
    scales = [coarsest / 2, *(coarsest * (finest / coarsest) ** (step / max(steps, 1)) for step in range(steps + 1))]
    levels = []
    for scale in scales:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        levels.append(Level(*size, tuple((x, y) for y in _starts(size[1]) for x in _starts(size[0]))))
    return tuple(levels)


def _starts(length: int) -> Iterator[int]:
    """Where tiles begin along a side: centred if one is enough, else evenly spread with at least `OVERLAP`."""
    if length <= TILE:
        yield (length - TILE) // 2
        return
    count = math.ceil((length - OVERLAP) / (TILE - OVERLAP))
    for index in range(count):
        yield round(index * (length - TILE) / (count - 1))


def _resize(rgb: UInt8Array, width: int, height: int) -> UInt8Array:
    """A scaled copy, averaged where it shrinks."""
    # OpenCV averages 2 x 2 pixels ten times faster than other areas. An odd last row or column is left out, which
    # moves boxes by less than a pixel.
    while rgb.shape[1] >= 2 * width and rgb.shape[0] >= 2 * height:
        half = rgb.shape[1] // 2, rgb.shape[0] // 2
        rgb = np.asarray(cv2.resize(rgb[: 2 * half[1], : 2 * half[0]], half, interpolation=cv2.INTER_AREA), np.uint8)
    if (width, height) == (rgb.shape[1], rgb.shape[0]):
        return rgb
    shrinks = width < rgb.shape[1] or height < rgb.shape[0]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=way), np.uint8)


def _inside(copy: UInt8Array, origin: tuple[int, int]) -> UInt8Array:
    left, top = origin
    return copy[max(top, 0) : top + TILE, max(left, 0) : left + TILE]


def _padded(part: UInt8Array, origin: tuple[int, int]) -> UInt8Array:
    """The (192, 192, 3) tile at `origin`, black outside the picture."""
    if part.shape[:2] == (TILE, TILE):
        return part
    left, top = max(-origin[0], 0), max(-origin[1], 0)
    tile = np.zeros((TILE, TILE, 3), np.uint8)
    tile[top : top + part.shape[0], left : left + part.shape[1]] = part
    return tile


def decode(offsets: Float32Array, logits: Float32Array, threshold: float) -> Detections:
    """The net's answer for one tile as detections in tile pixels (edges at 0 and 192), unsuppressed.

    Args:
        offsets: (2304 * 16,) box centre, box size and six keypoints, relative to the centre of each cell.
        logits: (2304,) of the scores.
        threshold: least score to keep.
    """
    scores = 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -100, 100)))
    kept = np.flatnonzero(scores >= threshold)
    raw = offsets.reshape(-1, 16)[kept].astype(np.float64)
    cell = TILE / CELLS
    centres = np.stack([kept % CELLS + 0.5, kept // CELLS + 0.5], axis=1) * cell
    middle, half = centres + raw[:, :2], raw[:, 2:4] / 2
    keypoints = raw[:, 4:].reshape(-1, 6, 2) + centres[:, None]
    return Detections(np.concatenate([middle - half, middle + half], axis=1), keypoints, scores[kept])


def _to_picture(found: Detections, level: Level, origin: tuple[int, int], width: int, height: int) -> Detections:
    """From tile to picture pixels, without boxes that an inner edge of the tile cuts: a neighbour has them whole."""
    size = np.array([level.width, level.height], dtype=np.float64)
    low = np.array(origin, dtype=np.float64)
    boxes = found.boxes.reshape(-1, 2, 2) + low
    cut_low = (boxes[:, 0] < low) & (low > 0)
    cut_high = (boxes[:, 1] > low + TILE) & (low + TILE < size)
    whole = ~(cut_low | cut_high).any(axis=1)
    scale = np.array([width, height]) / size
    # Edges are whole numbers in the net's pixels and halves in ours (the first pixel's centre is at 0).
    boxes = boxes[whole] * scale - 0.5
    keypoints = (found.keypoints[whole] + low) * scale - 0.5
    return Detections(boxes.reshape(-1, 4), keypoints, found.scores[whole])


def suppress(found: Detections, iou: float = MERGE_IOU) -> Detections:
    """Merge overlapping detections: boxes and keypoints are averaged by score, the best score stays."""
    order = np.argsort(-found.scores, kind="stable")
    boxes, keypoints, scores = [], [], []
    while len(order):
        first = order[0]
        near = box_iou(found.boxes[first], found.boxes[order]) > iou
        near[0] = True
        group, order = order[near], order[~near]
        weights = found.scores[group] / found.scores[group].sum()
        boxes.append(weights @ found.boxes[group])
        keypoints.append(np.tensordot(weights, found.keypoints[group], axes=1))
        scores.append(found.scores[first])
    return Detections(np.reshape(boxes, (-1, 4)), np.reshape(keypoints, (-1, 6, 2)), np.array(scores, np.float64))


def box_iou(box: Float64Array, boxes: Float64Array) -> Float64Array:
    """Intersection over union of boxes that broadcast: (..., 4) with (..., 4) to (...)."""
    low, high = np.maximum(box[..., :2], boxes[..., :2]), np.minimum(box[..., 2:], boxes[..., 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    area = np.prod(box[..., 2:] - box[..., :2], axis=-1) + np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1) - shared
    return np.asarray(shared / np.maximum(area, 1e-12), np.float64)
