"""Smooth random fields."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from training.synthetic.pack import FloatArray


def cloud(rng: np.random.Generator, size: int, scales: Sequence[float]) -> FloatArray:
    """Return (size, size) float32 noise: one octave per scale (in pixels), each half as strong as the one before."""
    field = np.zeros((size, size), np.float32)
    for octave, scale in enumerate(scales):
        cells = max(2, round(size / scale))
        coarse = rng.standard_normal((cells, cells), np.float32)
        field += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC) * np.float32(0.5**octave)
    return field


def smooth_step(values: FloatArray, low: float, high: float) -> FloatArray:
    """Return 0 at `low`, 1 at `high` and a smooth ramp between; `low` may be the larger."""
    ramp = np.clip((values - low) / (high - low), 0.0, 1.0)
    return (ramp * ramp * (3.0 - 2.0 * ramp)).astype(np.float32)
