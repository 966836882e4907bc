"""A click or a drawn box of an annotator: which face it means. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worker.store.records import FaceRow

# How far beside a face, in units of its longer side, a click still means it.
_REACH = 0.25


def picked_face(context: Mapping[str, Any], faces: Sequence[FaceRow], width: int, height: int) -> int | None:
    """The face that the annotator means.

    Args:
        context: of an interactive request: `{"result": [{"type", "value": {"x", "y", ...}}]}`, per cent of the picture.
        faces: those of the picture.
        width: of the picture, pixels.
        height: of the picture.

    Returns:
        The smallest face under a point, or else the nearest one within reach; for a box, the face that overlaps it
        most. None when no face is meant, or for a negative click.
    """
    last = next((item for item in reversed(_results(context)) if _point(item) is not None), None)
    if last is None or not faces or not last.get("is_positive", 1):
        return None
    x, y, box_width, box_height = _point(last) or (0.0, 0.0, 0.0, 0.0)
    scale = np.array([width, height, width, height]) / 100
    boxes = np.stack([face.box_xyxy for face in faces]).astype(np.float64)
    if "rectangle" in str(last.get("type")):
        drawn = np.array([x, y, x + box_width, y + box_height]) * scale
        overlap = _overlaps(boxes, drawn)
        return int(overlap.argmax()) if overlap.max() > 0 else None
    point = np.array([x, y]) * scale[:2]
    sides = boxes[:, 2:] - boxes[:, :2]
    outside = np.maximum(np.maximum(boxes[:, :2] - point, point - boxes[:, 2:]), 0.0)
    distance = np.hypot(*outside.T) / np.maximum(sides.max(axis=1), 1.0)
    nearest = np.flatnonzero(distance == distance.min())
    chosen = int(nearest[sides[nearest].prod(axis=1).argmin()])
    return chosen if distance[chosen] <= _REACH else None


def _results(context: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    results = context.get("result")
    return [item for item in results if isinstance(item, Mapping)] if isinstance(results, list) else []


def _point(item: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    value = item.get("value")
    if not isinstance(value, Mapping):
        return None
    numbers = [value.get(key, 0.0 if key in ("width", "height") else None) for key in ("x", "y", "width", "height")]
    if not all(isinstance(number, int | float) and np.isfinite(number) for number in numbers):
        return None
    x, y, width, height = (float(number) for number in numbers if number is not None)
    return x, y, width, height


def _overlaps(boxes: np.ndarray[Any, Any], drawn: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Intersection over union of (N, 4) boxes with one."""
    inner = np.maximum(np.minimum(boxes[:, 2:], drawn[2:]) - np.maximum(boxes[:, :2], drawn[:2]), 0).prod(axis=1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (drawn[2:] - drawn[:2]).prod() - inner
    return np.asarray(inner / np.maximum(union, 1e-9))
