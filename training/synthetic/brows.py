"""Eyebrows, drawn hair by hair on the face chart: thick and thin, arched and flat, never quite alike on both sides."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from training.synthetic.noise import as_float32
from training.synthetic.pack import FloatArray

STROKE_LEVELS = (0.45, 0.65, 0.85, 1.0)
FIXED_POINT = 16  # cv2 draws with 4 bits of sub-pixel position


@dataclass(frozen=True)
class BrowStyle:
    """One person's brows; lengths are in units of the face chart (its side is 1).

    Attributes:
        half_height: of the inner half.
        density: opacity of the hair, 0 to 1.
        fill: opacity of the even tone under the hairs, 0 to 1.
        strokes: hairs per side.
        lift: of the whole brow.
        arch: of the middle over the ends.
        taper: how much of the height is lost at the outer end, 0 to 1.
        inner_reach: how far the brow runs on towards the midline.
        side_difference: relative difference in height, lift and density between left and right.
    """

    half_height: float
    density: float
    fill: float
    strokes: int
    lift: float
    arch: float
    taper: float
    inner_reach: float
    side_difference: float


def draw_style(rng: np.random.Generator) -> BrowStyle:
    """Draw a style: mostly natural brows, some bushy and some faint."""
    kind = rng.choice(3, p=[0.62, 0.26, 0.12])  # natural, bushy, faint
    return BrowStyle(
        half_height=float((rng.uniform(0.011, 0.022), rng.uniform(0.016, 0.026), rng.uniform(0.008, 0.016))[kind]),
        density=float((rng.uniform(0.60, 0.95), rng.uniform(0.80, 1.0), rng.uniform(0.25, 0.55))[kind]),
        fill=float((rng.uniform(0.0, 0.45), rng.uniform(0.25, 0.7), rng.uniform(0.0, 0.3))[kind]),
        strokes=int((rng.integers(260, 480), rng.integers(420, 700), rng.integers(120, 260))[kind]),
        # The chart's own brow points lie a brow's height too high: the landmark net saw 0.80 inner-ocular distances
        # between eyes and brows of faces at rest, and 0.56 to 0.72 on photographs.
        lift=float(rng.uniform(-0.032, -0.004)),
        arch=float(rng.normal(0.0, 0.005)),
        taper=float(rng.uniform(0.35, 0.8)),
        inner_reach=float(rng.uniform(-0.012, 0.012) if rng.random() > 0.04 else rng.uniform(0.02, 0.035)),
        side_difference=float(rng.normal(0.0, 0.12)),
    )


def paint_brows(style: BrowStyle, uvs: FloatArray, size: int, rng: np.random.Generator) -> FloatArray:
    """Return (size, size) float32 opacity of the brows on the face chart.

    Args:
        style: what they look like.
        uvs: (68, 2) landmarks on the chart, v up.
        size: side of the chart in pixels; the hairs are drawn at twice that.
        rng: draws the single hairs.
    """
    canvas = np.zeros((size * 2, size * 2), np.float32)
    for points, outward in ((uvs[17:22][::-1], -1.0), (uvs[22:27], 1.0)):
        sided = 1.0 + outward * style.side_difference / 2
        spine = _spine(points, outward, style, sided)
        _fill_band(canvas, spine, style, sided)
        _draw_hairs(canvas, spine, outward, style, sided, rng)
    soft = cv2.resize(cv2.GaussianBlur(canvas, (0, 0), 0.9), (size, size), interpolation=cv2.INTER_AREA)
    return as_float32(np.clip(soft * 1.5, 0.0, 1.0) * style.density)


def _spine(points: FloatArray, outward: float, style: BrowStyle, sided: float) -> FloatArray:
    """Return (60, 2) points along the middle of a brow from its inner end to its outer end."""
    along = np.linspace(0.0, 1.0, 60)
    knots = np.linspace(0.0, 1.0, len(points))
    x = np.interp(along, knots, points[:, 0]) - outward * style.inner_reach * (1 - along) ** 2
    y = np.interp(along, knots, points[:, 1]) + style.lift * sided + style.arch * np.sin(np.pi * along)
    smooth = cv2.GaussianBlur(y.reshape(1, -1), (0, 0), 5, borderType=cv2.BORDER_REPLICATE).ravel()
    return as_float32(np.stack([x, smooth], -1))


def _half_height(along: FloatArray, style: BrowStyle, sided: float) -> FloatArray:
    taper = 1.0 - style.taper * np.maximum(0.0, along - 0.4) / 0.6
    return as_float32(style.half_height * sided * taper * np.minimum(1.0, 0.55 + along * 3.0))


def _fill_band(canvas: FloatArray, spine: FloatArray, style: BrowStyle, sided: float) -> None:
    height = _half_height(np.linspace(0, 1, len(spine), dtype=np.float32), style, sided)[:, None] * 0.75
    offset = height * np.array([[0.0, 1.0]], np.float32)
    outline = np.concatenate([spine + offset, (spine - offset)[::-1]])
    layer = np.zeros_like(canvas)
    cv2.fillPoly(layer, [_to_pixels(outline, canvas.shape[0])], 1.0, cv2.LINE_AA, 4)
    np.maximum(canvas, cv2.GaussianBlur(layer, (0, 0), canvas.shape[0] / 256) * style.fill, out=canvas)


def _draw_hairs(
    canvas: FloatArray, spine: FloatArray, outward: float, style: BrowStyle, sided: float, rng: np.random.Generator
) -> None:
    count = style.strokes
    along = rng.random(count).astype(np.float32)
    height = _half_height(along, style, sided)
    offset = rng.normal(0.0, 0.42, count) * height
    root = spine[(along * (len(spine) - 1)).astype(int)] + np.stack([np.zeros(count), offset], -1)
    lean = np.where(along > 0.25, 0.5 * offset / height, 0.0)  # upper hairs point down, lower ones up
    angle = 1.15 - 1.2 * np.minimum(1.0, along * 1.5) + rng.normal(0.0, 0.18, count) - lean
    length = rng.uniform(0.012, 0.024, count)
    tip = root + np.stack([outward * np.cos(angle), np.sin(angle)], -1) * length[:, None]
    lines = _to_pixels(np.stack([root, tip], 1), canvas.shape[0])
    level = rng.integers(len(STROKE_LEVELS), size=count)
    for index, opacity in enumerate(STROKE_LEVELS):
        cv2.polylines(canvas, list(lines[level == index]), False, opacity, 1, cv2.LINE_AA, 4)


def _to_pixels(uv: FloatArray, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    flipped = np.stack([uv[..., 0], 1.0 - uv[..., 1]], -1)
    return np.round(flipped * size * FIXED_POINT).astype(np.int32)
