"""How the toy head moves: every expression shape as a few soft pushes, and the ways in which toy people differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.synthetic.noise import as_float32
from training.synthetic.pack import FloatArray


@dataclass(frozen=True)
class Push:
    """A displacement that fades with distance from a point.

    Attributes:
        at: (x, y) of its middle, x counted from the midline outward for shapes with two sides.
        move: (outward, up, forward) in head units.
        radius: distance at which it has faded to a third.
        part: "all", or only what lies "above" or "below" the nearest slit (the lips, the eyelids).
    """

    at: tuple[float, float]
    move: tuple[float, float, float]
    radius: float
    part: str = "all"


EYE = (3.15, 3.4)
SIDED: Mapping[str, Sequence[Push]] = {
    "browDown": [Push((2.2, 6.2), (-0.20, -0.60, 0.05), 2.0)],
    "browInnerUp": [Push((1.6, 6.2), (0.0, 0.70, 0.0), 1.6)],
    "browOuterUp": [Push((4.6, 6.0), (0.0, 0.80, 0.0), 1.8)],
    "cheekPuff": [Push((4.2, -2.6), (0.4, 0.0, 0.9), 2.2)],
    "cheekRaiser": [Push((3.8, 1.4), (0.0, 0.45, 0.20), 1.7)],
    "cheekSquint": [Push((3.4, 1.8), (0.0, 0.40, 0.15), 1.4)],
    "eyeBlink": [Push(EYE, (0.0, -1.10, 0.0), 1.6, "above")],
    "eyeSquint": [Push(EYE, (0.0, 0.30, 0.0), 1.5, "below"), Push(EYE, (0.0, -0.20, 0.0), 1.5, "above")],
    "eyeWide": [Push(EYE, (0.0, 0.40, 0.0), 1.6, "above")],
    "mouthDimple": [Push((2.6, -3.4), (0.35, 0.05, -0.40), 0.9)],
    "mouthFrown": [Push((2.4, -3.4), (0.10, -0.75, 0.0), 1.2)],
    "mouthLowerDown": [Push((0.9, -3.6), (0.0, -0.75, 0.0), 1.5, "below")],
    "mouthPress": [
        Push((1.0, -3.4), (0.0, -0.30, -0.2), 1.3, "above"),
        Push((1.0, -3.4), (0.0, 0.3, -0.2), 1.3, "below"),
    ],
    "mouthSmile": [Push((2.3, -3.4), (0.65, 0.85, -0.1), 1.3), Push((3.4, -1.4), (0.2, 0.3, 0.4), 1.5)],
    "mouthStretch": [Push((2.3, -3.4), (0.75, -0.15, -0.1), 1.3)],
    "mouthUpperUp": [Push((0.9, -3.2), (0.0, 0.65, 0.0), 1.4, "above")],
    "noseSneer": [Push((1.1, -0.4), (0.1, 0.50, 0.1), 1.2), Push((0.8, 3.6), (-0.1, -0.2, 0.15), 1.0)],
}
WHOLE: Mapping[str, Sequence[Push]] = {
    "jawForward": [Push((0.0, -6.5), (0.0, 0.0, 1.0), 3.5, "below")],
    "jawLeft": [Push((0.0, -6.0), (0.9, 0.0, 0.0), 3.5, "below")],
    "jawOpen": [Push((0.0, -5.5), (0.0, -3.2, -0.4), 4.2, "below")],
    "jawRight": [Push((0.0, -6.0), (-0.9, 0.0, 0.0), 3.5, "below")],
    "mouthClose": [Push((0.0, -4.0), (0.0, 0.8, 0.0), 2.0, "below")],
    "mouthFunnel": [
        Push((0.0, -3.4), (0.0, 0.3, 0.6), 1.6, "above"),
        Push((0.0, -3.4), (0.0, -0.4, 0.6), 1.6, "below"),
    ],
    "mouthLeft": [Push((0.0, -3.4), (0.9, 0.0, 0.0), 2.0)],
    "mouthPucker": [
        Push((2.2, -3.4), (-0.8, 0.0, 0.2), 1.3),
        Push((-2.2, -3.4), (0.8, 0.0, 0.2), 1.3),
        Push((0.0, -3.4), (0, 0, 0.5), 1.4),
    ],
    "mouthRight": [Push((0.0, -3.4), (-0.9, 0.0, 0.0), 2.0)],
    "mouthRollLower": [Push((0.0, -3.8), (0.0, 0.25, -0.3), 1.6, "below")],
    "mouthRollUpper": [Push((0.0, -3.0), (0.0, -0.25, -0.3), 1.6, "above")],
    "mouthShrugLower": [Push((0.0, -5.5), (0.0, 0.7, 0.3), 1.8, "below")],
    "mouthShrugUpper": [Push((0.0, -3.0), (0.0, 0.4, 0.2), 1.5, "above")],
}
GAZE: Mapping[str, tuple[float, float]] = {
    "eyeLookDown": (0.0, -0.45),
    "eyeLookIn": (-0.45, 0.0),
    "eyeLookOut": (0.45, 0.0),
    "eyeLookUp": (0.0, 0.45),
}
# How toy people differ, at weight 1: pushes on both sides alike.
IDENTITY_MODES: Sequence[Sequence[Push]] = (
    [Push((7.0, -3.0), (0.7, 0.0, 0.0), 5.0)],
    [Push((0.0, -8.5), (0.0, -0.8, 0.0), 4.0)],
    [Push((0.0, -0.5), (0.0, 0.0, 0.5), 1.8)],
    [Push((0.0, -0.8), (0.0, -0.3, 0.0), 1.8)],
    [Push((3.2, 6.2), (0.0, 0.25, 0.0), 2.5)],
    [Push((2.3, -3.4), (0.3, 0.0, 0.0), 1.6)],
    [Push((3.15, 3.4), (0.25, 0.0, 0.0), 2.2)],
    [Push((4.5, 0.0), (0.3, 0.0, 0.4), 3.0)],
    [Push((0.0, 9.0), (0.0, 0.5, 0.3), 4.0)],
    [Push((3.2, 6.0), (0.0, 0.0, 0.35), 2.0)],
)


@dataclass(frozen=True, eq=False)
class Movable:
    """The toy head's vertices.

    Attributes:
        points: (V, 3) float32.
        above: (V,) float32, 1 above the nearest slit, 0 below it.
        eyes: (V,) float32, -1 and 1 on the picture's left and right eyeball, 0 elsewhere.
        fixed: (V,) bool, teeth and the inside of the mouth.
    """

    points: FloatArray
    above: FloatArray
    eyes: FloatArray
    fixed: npt.NDArray[np.bool_]


def expression_shapes(head: Movable) -> tuple[tuple[str, ...], FloatArray]:
    """Return E names in ARKit's manner and their (E, V, 3) displacements; `_L` is the picture's right side."""
    shapes: dict[str, FloatArray] = {}
    for name, pushes in SIDED.items():
        for suffix, side in (("L", 1.0), ("R", -1.0)):
            shapes[f"{name}_{suffix}"] = sum_pushes(head, pushes, side) * _half(head.points, side)
    for name, pushes in WHOLE.items():
        shapes[name] = sum_pushes(head, pushes, 1.0)
    for name, (outward, up) in GAZE.items():
        for suffix, side in (("L", 1.0), ("R", -1.0)):
            move = np.array([outward * side, up, 0.0], np.float32)
            shapes[f"{name}_{suffix}"] = (head.eyes == side)[:, None] * move
    return tuple(shapes), np.stack(list(shapes.values())).astype(np.float32)


def identity_modes(head: Movable) -> FloatArray:
    """Return (M, V, 3) displacements."""
    modes = []
    for pushes in IDENTITY_MODES:
        on_midline = all(push.at[0] == 0 for push in pushes)
        sides = (1.0,) if on_midline else (1.0, -1.0)
        modes.append(sum(sum_pushes(head, pushes, side, everything=True) for side in sides))
    return np.stack(modes).astype(np.float32)


def sum_pushes(head: Movable, pushes: Sequence[Push], side: float, everything: bool = False) -> FloatArray:
    """Return (V, 3): the pushes of one side of the face; eyeballs and teeth stay unless `everything` moves."""
    total = np.zeros_like(head.points)
    for push in pushes:
        middle = np.array([push.at[0] * side, push.at[1]], np.float32)
        near = np.exp(-(((head.points[:, :2] - middle) ** 2).sum(1)) / push.radius**2)
        near = near * {"all": 1.0, "above": head.above, "below": 1 - head.above}[push.part]
        near = np.where(head.points[:, 2] > 0, near, 0.0)
        total += near[:, None].astype(np.float32) * np.array([push.move[0] * side, *push.move[1:]], np.float32)
    still = head.fixed | (head.eyes != 0)
    return total if everything else np.where(still[:, None], np.float32(0), total)


def _half(points: FloatArray, side: float) -> FloatArray:
    """Return (V, 1): 1 on one side of the face, 0 on the other, a soft step between."""
    return as_float32(np.clip(points[:, :1] * side / 0.8 + 0.5, 0.0, 1.0))
