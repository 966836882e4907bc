"""From ROI maps to decisions, scores and left/right amplitudes (paper section 3.5; METHOD 2.3 to 2.5).

Decoders by name (`DECODERS`):

* "mask", the paper's: an AU occurred if the mean over the window of either ROI is above 0. Needs ROI centres.
* "peak": needs no landmarks; the ROIs are the two strongest separated peaks of |R|, then as "mask", but deciding by
  the amplitudes.
* "mean": the mean of the whole map above 0 (the paper's inferior alternative, FG-Net's choice).
* "max": the sign of the strongest pixel of the map.
* "positives", for the positives-only baseline: a pixel of either window above 0.5. Needs ROI centres.

Only the windows are read, never whole masks built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from model.roi import whole_pixels
from model.values import BoolArray, Float32Array, Float64Array

Decoder = Literal["mask", "peak", "mean", "max", "positives"]
Combine = Literal["max", "mean"]

POSITIVES_THRESHOLD = 0.5
"""Of the positives-only baseline (paper section 4.3.1)."""

SECOND_PEAK_SHARE = 0.5
"""A second peak weaker than this share of the first is taken for noise, and the first stands for both ROIs."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the maps say; K Action Units.

    Attributes:
        score: (..., K) float32, about -1 (absent) to 1 (occurred); NaN where not valid.
        decision: (..., K) bool; False on a tie and where not valid.
        valid: (..., K) bool; False where no pixel of either ROI lies in the map, or the map isn't finite there.
        amplitude: (..., K, 2) float32, least-squares amplitude of each ROI on the scale of the score; NaN where the
            ROI lies outside.
        centres_map: (..., K, 2, 2) float32, the ROI centres used, in map pixels.
    """

    score: Float32Array
    decision: BoolArray
    valid: BoolArray
    amplitude: Float32Array
    centres_map: Float32Array


@dataclass(frozen=True, slots=True)
class _Windows:
    """The windows of M maps: pixels (M, 2, h, h), 0 outside the map; the same for `inside` and the bump `gauss`."""

    pixels: Float32Array
    inside: BoolArray
    gauss: Float32Array

    @property
    def amplitude(self) -> Float32Array:
        """(M, 2) least-squares amplitude Σ R G / Σ G²; NaN without a pixel inside."""
        weight = self.gauss * self.inside
        below = np.square(weight).sum(axis=(-2, -1))
        above = (self.pixels * weight).sum(axis=(-2, -1))
        return _ratio(above, below)

    @property
    def mean(self) -> Float32Array:
        """(M, 2) mean over the pixels inside; NaN without one."""
        return _ratio(self.pixels.sum(axis=(-2, -1)), self.inside.sum(axis=(-2, -1), dtype=np.float32))

    @property
    def highest(self) -> Float32Array:
        """(M, 2) largest pixel inside; NaN without one."""
        top = np.where(self.inside, self.pixels, -np.inf).max(axis=(-2, -1))
        return np.where(self.inside.any(axis=(-2, -1)), top, np.nan).astype(np.float32)


def decode(
    maps: npt.ArrayLike,
    centres_map: npt.ArrayLike | None,
    *,
    decoder: str = "mask",
    half_width: int = 3,
    sigma: float = 1.0,
    combine: str = "max",
    subpixel: bool = False,
) -> Decoded:
    """Decisions and scores of ROI maps.

    Args:
        maps: (..., K, H, W) of the network.
        centres_map: (..., K, 2, 2) ROI centres in map pixels, or None for decoders that need none. Decoders that
            need none still use them, if given, for the amplitudes ("mean", "max"); "peak" never does.
        decoder: a name in `DECODERS`.
        half_width: h of the windows of (2h + 1) squared pixels.
        sigma: of the Gaussian bumps that the network was trained on, in map pixels.
        combine: how an AU follows from its two ROIs: "max" (the paper's "either") or "mean".
        subpixel: place the bumps at the fraction of the centre instead of its pixel.

    Raises:
        ValueError: for an unknown decoder or combination, shapes that don't fit, or missing centres.

    Example:
        >>> maps = np.zeros((1, 64, 64)); maps[0, 20, 10] = maps[0, 20, 50] = 1
        >>> decode(maps, [[[10, 20], [50, 20]]]).decision
        array([ True])
    """
    if decoder not in DECODERS:
        raise ValueError(f"unknown decoder {decoder!r}; known are {', '.join(DECODERS)}")
    if combine not in ("max", "mean"):
        raise ValueError(f"unknown combination {combine!r}; known are max, mean")
    array = np.asarray(maps, dtype=np.float32)
    if array.ndim < 3 or 0 in array.shape[-2:]:
        raise ValueError(f"expected ROI maps (..., K, H, W), got {array.shape}")
    lead = array.shape[:-2]
    flat = np.ascontiguousarray(array.reshape(-1, *array.shape[-2:]))  # (M, H, W), M = all faces times K
    if decoder == "peak" or (centres_map is None and decoder in LANDMARK_FREE):
        centres = find_peaks(flat, half_width, sigma)
    elif centres_map is None:
        raise ValueError(f"decoder {decoder!r} needs ROI centres; without landmarks use {', '.join(LANDMARK_FREE)}")
    else:
        centres = np.asarray(centres_map, dtype=np.float64)
        if centres.shape != (*lead, 2, 2):
            raise ValueError(f"ROI centres {centres.shape} don't fit maps {array.shape}: want {(*lead, 2, 2)}")
        centres = centres.reshape(-1, 2, 2)
    with np.errstate(invalid="ignore", over="ignore"):  # broken maps become invalid answers, not warnings
        found = _gather(flat, centres, half_width, sigma, subpixel)
        score, decision, amplitude = DECODERS[decoder](flat, found, _EITHER[combine])
    valid = np.isfinite(score)
    return Decoded(
        score=np.where(valid, score, np.nan).astype(np.float32).reshape(lead),
        decision=(decision & valid).reshape(lead),
        valid=valid.reshape(lead),
        amplitude=amplitude.astype(np.float32).reshape(*lead, 2),
        centres_map=centres.astype(np.float32).reshape(*lead, 2, 2),
    )


def find_peaks(maps: npt.ArrayLike, half_width: int = 3, sigma: float = 1.0) -> Float64Array:
    """The two strongest separated peaks of each map, without landmarks (METHOD 2.5).

    |R| is smoothed with the Gaussian bump; a peak is a local maximum, and the second lies outside the window of the
    first. Where there's no second one of at least half the strength, the first stands twice.

    Args:
        maps: (..., H, W).
        half_width: h of the bump's window.
        sigma: of the bump, in map pixels.

    Returns:
        (..., 2, 2) float64 centres in map pixels, image-left one first. NaN for maps with non-finite values.
    """
    array = np.asarray(maps, dtype=np.float32)
    height, width = array.shape[-2:]
    flat = array.reshape(-1, height, width)
    finite = np.asarray(np.isfinite(flat).all(axis=(-2, -1)))
    strength = np.abs(np.where(finite[:, None, None], flat, 0))
    smooth = _band(height, half_width, sigma) @ strength @ _band(width, half_width, sigma)
    peaks = np.where(smooth >= _neighbourhood_maximum(smooth), smooth, -1.0)
    first = peaks.reshape(len(flat), height * width).argmax(axis=1)
    y1, x1 = np.divmod(first, width)
    near = (np.abs(np.arange(height) - y1[:, None]) <= half_width)[:, :, None] & (
        np.abs(np.arange(width) - x1[:, None]) <= half_width
    )[:, None, :]
    rest = np.where(near, -1.0, peaks).reshape(len(flat), height * width)
    second = rest.argmax(axis=1)
    row = np.arange(len(flat))
    weak = rest[row, second] < SECOND_PEAK_SHARE * smooth.reshape(len(flat), height * width)[row, first]
    y2, x2 = np.divmod(np.where(weak, first, second), width)
    centres = np.stack([np.stack([x1, y1], axis=-1), np.stack([x2, y2], axis=-1)], axis=1).astype(np.float64)
    swapped = x1 > x2
    centres[swapped] = centres[swapped, ::-1]
    centres[~finite] = np.nan
    return centres.reshape(*array.shape[:-2], 2, 2)


def probability(score: npt.ArrayLike, slope: npt.ArrayLike, intercept: npt.ArrayLike) -> Float32Array:
    """Calibrated probability sigmoid(slope * score + intercept) (METHOD 2.4).

    Args:
        score: (..., K).
        slope: (K,), or a number.
        intercept: (K,), or a number.

    Returns:
        (..., K) float32 in 0 to 1; NaN where the score is.
    """
    logit = np.asarray(slope, dtype=np.float64) * np.asarray(score, dtype=np.float64) + np.asarray(intercept)
    # tanh saturates where exp would overflow.
    return np.asarray(0.5 * (1 + np.tanh(logit / 2)), dtype=np.float32)


def raw_probability(score: npt.ArrayLike) -> Float32Array:
    """Uncalibrated probability clip((score + 1) / 2, 0, 1), since the regression's optimum is 2p - 1 (METHOD 2.4)."""
    return np.asarray(np.clip((np.asarray(score, dtype=np.float64) + 1) / 2, 0, 1), dtype=np.float32)


def _gather(
    maps: Float32Array, centres: npt.NDArray[np.floating], half_width: int, sigma: float, subpixel: bool
) -> _Windows:
    """The windows of maps (M, H, W) around centres (M, 2, 2)."""
    _, height, width = maps.shape
    pixel, known = whole_pixels(centres)
    offsets = np.arange(-half_width, half_width + 1)
    x = pixel[..., 0, None] + offsets  # (M, 2, h)
    y = pixel[..., 1, None] + offsets
    in_x = (x >= 0) & (x < width) & known[..., None]
    in_y = (y >= 0) & (y < height)
    inside = in_y[..., :, None] & in_x[..., None, :]
    start = (np.arange(len(maps)) * (height * width))[:, None, None]
    rows = start + np.where(in_y, y, 0) * width
    where = rows[..., :, None] + np.where(in_x, x, 0)[..., None, :]
    pixels = np.where(inside, maps.reshape(-1).take(where), np.float32(0))
    if subpixel:
        away = offsets - np.where(known[..., None], centres - pixel, 0.0)[..., None]  # (M, 2, xy, h)
        bump = np.exp(-(away**2) / (2 * sigma**2)).astype(np.float32)
        gauss = bump[..., 1, :, None] * bump[..., 0, None, :]
    else:
        line = np.exp(-(offsets**2) / (2 * sigma**2)).astype(np.float32)
        gauss = line[:, None] * line[None, :]
    return _Windows(pixels, inside, gauss)


def _band(size: int, half_width: int, sigma: float) -> Float32Array:
    """(size, size) matrix that convolves a line with the bump, zero beyond the border."""
    apart = np.abs(np.arange(size)[:, None] - np.arange(size))
    return np.where(apart <= half_width, np.exp(-(apart**2) / (2 * sigma**2)), 0).astype(np.float32)


def _neighbourhood_maximum(maps: Float32Array) -> Float32Array:
    """The largest of each pixel's 3x3 neighbourhood, maps (M, H, W)."""
    tall = maps.copy()
    np.maximum(tall[:, 1:], maps[:, :-1], out=tall[:, 1:])
    np.maximum(tall[:, :-1], maps[:, 1:], out=tall[:, :-1])
    wide = tall.copy()
    np.maximum(wide[:, :, 1:], tall[:, :, :-1], out=wide[:, :, 1:])
    np.maximum(wide[:, :, :-1], tall[:, :, 1:], out=wide[:, :, :-1])
    return wide


def _ratio(above: Float32Array, below: Float32Array) -> Float32Array:
    ratio: Float32Array = np.full_like(above, np.nan)
    np.divide(above, below, out=ratio, where=below > 0)
    return ratio


def _larger(pair: Float32Array) -> Float32Array:
    """The larger of (M, 2); a NaN yields to the other."""
    return np.fmax(pair[:, 0], pair[:, 1])


def _average(pair: Float32Array) -> Float32Array:
    """The mean of (M, 2); a NaN yields to the other."""
    first, second = pair[:, 0], pair[:, 1]
    total = np.where(np.isnan(first), second, first) + np.where(np.isnan(second), first, second)
    return np.asarray(total / 2, dtype=np.float32)


_Either = Callable[[Float32Array], Float32Array]
_Answer = tuple[Float32Array, BoolArray, Float32Array]  # score (M,), decision (M,), amplitude (M, 2)
_EITHER: Mapping[str, _Either] = {"max": _larger, "mean": _average}


def _by_mask(_: Float32Array, found: _Windows, either: _Either) -> _Answer:
    amplitude = found.amplitude
    return either(amplitude), either(found.mean) > 0, amplitude


def _by_peak(_: Float32Array, found: _Windows, either: _Either) -> _Answer:
    amplitude = found.amplitude
    score = either(amplitude)
    return score, score > 0, amplitude


def _by_mean(maps: Float32Array, found: _Windows, _: _Either) -> _Answer:
    # Scaled so that an ideal map with two separate ROIs scores ±1: its sum is twice the bump's.
    score: Float32Array = maps.sum(axis=(-2, -1)) / (2 * _bump_sum(found))
    return score, score > 0, found.amplitude


def _by_max(maps: Float32Array, found: _Windows, _: _Either) -> _Answer:
    # The plain maximum of an ideal negative map is its background, 0, so the strongest pixel speaks with its sign.
    highest, lowest = maps.max(axis=(-2, -1)), maps.min(axis=(-2, -1))
    score: Float32Array = np.where(highest >= -lowest, highest, lowest)
    return score, score > 0, found.amplitude


def _by_positives(_: Float32Array, found: _Windows, either: _Either) -> _Answer:
    # This network regresses the probability times the bump: 2a - 1 puts it on the scale of the others.
    amplitude = 2 * found.amplitude - 1
    return either(amplitude), either(found.highest) > POSITIVES_THRESHOLD, amplitude


def _bump_sum(found: _Windows) -> np.float32:
    whole = found.gauss.reshape(-1, *found.gauss.shape[-2:])
    return np.float32(whole[0].sum() if len(whole) else 1)


DECODERS: Mapping[str, Callable[[Float32Array, _Windows, _Either], _Answer]] = MappingProxyType(
    {"mask": _by_mask, "peak": _by_peak, "mean": _by_mean, "max": _by_max, "positives": _by_positives}
)
"""Decoders by name."""

LANDMARK_FREE = ("peak", "mean", "max")
"""Decoders that can do without ROI centres."""
