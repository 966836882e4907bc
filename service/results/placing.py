"""Where a face's ROI maps lie in its picture."""

from __future__ import annotations

import numpy as np

from model.draw import MAP_TO_CROP
from model.geometry import compose, crop_affine, invert_affine
from model.manifest import CropRule
from model.values import Float32Array, Float64Array
from worker.store.records import CheckpointRecord


def crop_scale(checkpoint: CheckpointRecord) -> float:
    """Side of the checkpoint's crops over the face's box, from its manifest."""
    return CropRule.model_validate(checkpoint.manifest.get("crop", {})).scale


def map_to_image(landmarks: Float32Array, side: int, scale: float) -> Float64Array | None:
    """The affine from pixels of a face's map to pixels of the upright picture, centres on whole numbers.

    Args:
        landmarks: (68, 2) pixels of the picture.
        side: of the map.
        scale: `crop_scale` of the checkpoint.

    Returns:
        (2, 3), or None where the landmarks place no crop.
    """
    try:
        to_crop = crop_affine(landmarks, 4 * side, scale)
    except ValueError:
        return None
    affine: Float64Array = np.asarray(compose(invert_affine(to_crop), MAP_TO_CROP), np.float64)
    return affine
