"""Smooth random fields."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from training.synthetic.pack import FloatArray


def as_float32(values: npt.ArrayLike) -> FloatArray:
    """Return values as a float32 array."""
    return np.asarray(values, np.float32)


def blurred(picture: FloatArray, sigma: float) -> FloatArray:
    """Return a (H, W[, C]) picture under a Gaussian blur of `sigma` pixels."""
    return as_float32(cv2.GaussianBlur(picture, (0, 0), sigma))


def cloud(rng: np.random.Generator, size: int, scales: Sequence[float]) -> FloatArray:
    """Return (size, size) float32 noise: one octave per scale (in pixels), each half as strong as the one before."""
    field = np.zeros((size, size), np.float32)
    for octave, scale in enumerate(scales):
        cells = max(2, round(size / scale))
        coarse = rng.standard_normal((cells, cells), np.float32)
        field += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC) * np.float32(0.5**octave)
    return field


def smooth_step(values: FloatArray | float, low: float, high: float) -> FloatArray:
    """Return 0 at `low`, 1 at `high` and a smooth ramp between; `low` may be the larger."""
    ramp = np.clip((values - low) / (high - low), 0.0, 1.0)
    return as_float32(ramp * ramp * (3.0 - 2.0 * ramp))
