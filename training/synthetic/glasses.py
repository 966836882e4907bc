"""Glasses: two rims with lenses, a bridge and temples, rigid on the head in front of the eyes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.synthetic.noise import as_float32
from training.synthetic.pack import FloatArray, IntArray

AROUND = 32  # points around a rim
WEARING_SHARE = 0.16
FRAME, LENS = 0, 1
FRAME_COLOURS = ((0.03, 0.03, 0.03), (0.16, 0.09, 0.05), (0.42, 0.40, 0.38), (0.45, 0.32, 0.14), (0.10, 0.12, 0.25))


@dataclass(frozen=True)
class Glasses:
    """One pair; lengths in head units (about 1 cm).

    Attributes:
        half_width: of a lens, rim included.
        half_height: of a lens, rim included.
        squareness: exponent of the rim's outline: 2 is an ellipse, 5 nearly a rectangle.
        rim: width of the rim.
        colour: of the frame, 0 to 1.
        lens_opacity: of the pale glare on the lenses.
        drop: how far the lenses' middle sits under the eyes'.
    """

    half_width: float
    half_height: float
    squareness: float
    rim: float
    colour: tuple[float, float, float]
    lens_opacity: float
    drop: float


def draw_glasses(rng: np.random.Generator) -> Glasses | None:
    """Draw a pair, or None for the many who wear none."""
    if rng.random() >= WEARING_SHARE:
        return None
    thin = rng.random() < 0.4
    return Glasses(
        half_width=float(rng.uniform(2.05, 2.6)),
        half_height=float(rng.uniform(1.4, 2.1)),
        squareness=float(rng.uniform(2.0, 5.0)),
        rim=float(rng.uniform(0.12, 0.18) if thin else rng.uniform(0.22, 0.42)),
        colour=FRAME_COLOURS[rng.choice(len(FRAME_COLOURS), p=[0.5, 0.18, 0.14, 0.1, 0.08])],
        lens_opacity=float(rng.uniform(0.0, 0.14)),
        drop=float(rng.uniform(0.0, 0.5)),
    )


def frame_points(glasses: Glasses, landmarks: FloatArray) -> FloatArray:
    """Return (G, 3) vertices of a pair on a head at rest.

    Args:
        glasses: the pair.
        landmarks: (68, 3) of the neutral head.
    """
    front = max(float(landmarks[27, 2]) + 0.25, float(landmarks[[19, 24], 2].max()) + 0.35)
    rims = [_rim(glasses, landmarks[first : first + 6].mean(0), front) for first in (36, 42)]
    middle = landmarks[27, 1] - 0.3
    bridge = _bridge(rims[0], middle, glasses.rim)
    temples = [
        _temple(rim, side, ear, glasses.rim) for rim, side, ear in zip(rims, (-1, 1), landmarks[[0, 16]], strict=True)
    ]
    return as_float32(np.concatenate([*rims, bridge, *temples]))


def _rim(glasses: Glasses, eye: FloatArray, front: float) -> FloatArray:
    """Return (2 * AROUND + 1, 3): the outer and the inner outline and the middle of a lens."""
    angle = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)
    outline = [np.sign(wave) * np.abs(wave) ** (2 / glasses.squareness) for wave in (np.cos(angle), np.sin(angle))]
    outer = np.stack(outline, -1) * [glasses.half_width, glasses.half_height]
    inner = np.stack(outline, -1) * [glasses.half_width - glasses.rim, glasses.half_height - glasses.rim]
    centre = np.array([eye[0] * 1.03, eye[1] - glasses.drop])
    flat = np.concatenate([outer, inner, np.zeros((1, 2))]) + centre
    z = front - 0.05 * np.maximum(0, np.abs(flat[:, 0]) - 1.0) ** 2  # frames wrap a little around the face
    return as_float32(np.concatenate([flat, z[:, None]], -1))


def _bridge(left: FloatArray, middle: float, thickness: float) -> FloatArray:
    """Return (4, 3): a bar from the left rim to its mirror image."""
    x = max(abs(float(left[:AROUND, 0].max())), 0.15) + 0.1
    z = float(left[:AROUND, 2].max()) + 0.05
    half = max(0.12, thickness / 2)
    return as_float32([[s * x, middle + h, z] for s in (-1, 1) for h in (-half, half)])


def _temple(rim: FloatArray, side: int, ear: FloatArray, thickness: float) -> FloatArray:
    """Return (4, 3): a bar from the outer edge of a rim to the ear."""
    hinge = rim[:AROUND][np.argmax(rim[:AROUND, 0] * side)]
    half = max(0.12, thickness * 0.6)
    start = hinge + np.array([0.0, 0.5, 0.0])
    end = np.array([side * (abs(float(ear[0])) + 0.35), max(float(ear[1]), float(start[1]) - 0.8), float(ear[2]) - 2.5])
    lift = np.array([0.0, half, 0.0])
    return as_float32([start - lift, start + lift, end - lift, end + lift])


def frame_mesh() -> tuple[IntArray, IntArray]:
    """Return (T, 3) triangles over the vertices of `frame_points` and (T,) parts, `FRAME` or `LENS`."""
    ring = np.arange(AROUND)
    following = (ring + 1) % AROUND
    rim = np.concatenate(
        [np.stack([ring, following, ring + AROUND], -1), np.stack([following, following + AROUND, ring + AROUND], -1)]
    )
    lens = np.stack([ring + AROUND, following + AROUND, np.full(AROUND, 2 * AROUND)], -1)
    bar = np.array([[0, 1, 2], [1, 3, 2]])
    size = 2 * AROUND + 1
    bars = [bar + 2 * size + 4 * number for number in range(3)]
    triangles = np.concatenate([rim, rim + size, lens, lens + size, *bars])
    parts = np.full(len(triangles), FRAME)
    parts[4 * AROUND : 6 * AROUND] = LENS
    return triangles.astype(np.int64), parts.astype(np.int64)
