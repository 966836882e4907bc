"""Which face of this frame is which track of the frames before: distances, likeness of appearance, assignment.

Pure functions on arrays and small frozen values; `model.faces.tracker` holds the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from model.geometry import crop_affine, warp
from model.values import Face, Float32Array, Float64Array, UInt8Array

LOOK_SIZE = 24
LOOK_SCALE = 2.2
"""Crop for the likeness: face with some hair and neck, which differ more between people than aligned faces do."""

REACH = 1.0
REACH_PER_S = 1.5
REACH_MAX = 2.0
"""How far, in face sizes, a face may be from where it was expected: at once, more for each second unseen, at most."""

GROWTH = 1.6
"""Largest ratio of sizes of one face before and after."""

LIKENESS_AT_ONCE = 0.7
LIKENESS_LATER = 0.5
LATER_S = 1.0
"""Least likeness: between neighbouring frames, and after a second unseen. Measured on clips at 24 to 30 frames/s:
0.89 or more between neighbouring frames of one person, 0.68 to 0.87 after a second; between people 0.15 in the median
and below 0.62 in 95 of 100 pairs."""

LIKENESS_AFTER_CUT = 0.8
"""Least likeness across a cut, where place and time say little: a clip that comes back to a person keeps the number."""

PROBATION_S = 0.5
"""How long a face that is where a track was lost, but looks unlike it, is held back rather than numbered anew: most
often it's the same face, half covered."""

FLAT = 2.0
"""Deviation of colours, of 255, below which a frame shows nothing to compare."""

CUT_CHANGE = 0.3
CUT_LIKENESS = 0.83
"""Median change between neighbouring frames, in deviations, and their correlation, that make a cut together. Measured:
up to 0.05 and from 0.94 on within ordinary clips, 0.2 and 0.7 for a pan by a fifteenth of the width in one frame, 0.4
and 0.84 for a flash that burns out half of the picture; 0.64 and 0.5 between shots of different places, 0.3 to 0.38 and
0.7 to 0.81 between portraits of different people alike in size, place and backdrop."""

_IMPOSSIBLE = 1e6


@dataclass(frozen=True, slots=True)
class Expectation:
    """Where and how a track is expected in the present frame.

    Attributes:
        landmarks: (68, 2) where its points were last seen.
        shift: (2,) how far they should have moved since, if they went on as before.
        looks: remembered appearances of `look_of`; empty if none is known, and then likeness plays no part.
        unseen_s: seconds since it was last seen.
        contested: a face unlike it has stood at its place since; then time makes no lesser likeness enough.
        cut: a cut lies between; then nothing but a strong likeness is enough, and an unlike face is someone else.
    """

    landmarks: Float32Array
    shift: Float64Array
    looks: tuple[Float32Array, ...]
    unseen_s: float
    contested: bool = False
    cut: bool = False


def look_of(rgb: UInt8Array, face: Face) -> Float32Array:
    """Appearance of a face: a small picture of its head, without mean and of unit length.

    Returns:
        (24 * 24 * 3,) float32. The dot product of two of them, -1 to 1, is their likeness; brightness, contrast and
        colour cast drop out.
    """
    patch = warp(rgb, crop_affine(face.landmarks, LOOK_SIZE, LOOK_SCALE), LOOK_SIZE, border="edge")
    centred = patch.astype(np.float32) - patch.mean(axis=(0, 1), dtype=np.float32)
    return unit(centred.ravel())


def likeness(look: Float32Array, other: Float32Array) -> float:
    """Likeness of two appearances, -1 to 1."""
    return float(look @ other)


def view_of(rgb: UInt8Array) -> Float32Array | None:
    """The whole frame made small, each colour without mean, deviation 1 in all; None if it is almost one colour.

    Returns:
        (18, 32, 3) float32.
    """
    step = max(1, min(rgb.shape[:2]) // 72)  # enough pixels remain for an average
    small = np.asarray(cv2.resize(rgb[::step, ::step], (32, 18), interpolation=cv2.INTER_AREA), np.float32)
    centred = small - small.mean(axis=(0, 1))
    deviation = float(np.sqrt(np.mean(centred**2)))
    return None if deviation < FLAT else np.asarray(centred / deviation, np.float32)


def is_cut(view: Float32Array, before: Float32Array) -> bool:
    """Whether two neighbouring frames belong to two shots: most places differ, and the whole is unlike too."""
    change = float(np.median(np.abs(view - before).mean(axis=-1)))
    return change > CUT_CHANGE and float(np.mean(view * before)) < CUT_LIKENESS


def unit(vector: Float32Array) -> Float32Array:
    """The vector with length 1."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), np.float32)


def face_size(landmarks: Float32Array | Float64Array) -> float:
    """Size of a face in pixels: the longer side of its 68 points' box."""
    return max(float((landmarks.max(axis=0) - landmarks.min(axis=0)).max()), 1.0)


def assign(expected: Sequence[Expectation], faces: Sequence[Face], looks: Sequence[Float32Array]) -> dict[int, int]:
    """Give faces to tracks so that the sum of costs is least (Hungarian method).

    Args:
        expected: the tracks.
        faces: the faces of the frame, each another person.
        looks: their appearances.

    Returns:
        Index of a track for the index of a face; faces that fit no track are left out.
    """
    if not expected or not faces:
        return {}
    costs = np.array(
        [[_cost(track, face, look) for face, look in zip(faces, looks, strict=True)] for track in expected]
    )
    rows, columns = linear_sum_assignment(costs)
    return {
        int(column): int(row) for row, column in zip(rows, columns, strict=True) if costs[row, column] < _IMPOSSIBLE
    }


def contests(face: Face, missing: Sequence[Expectation]) -> list[int]:
    """Indices of the tracks lost just now at whose place an unassigned face stands.

    While there are any, it's better not to report the face yet.
    """
    return [
        i for i, t in enumerate(missing) if not t.cut and t.unseen_s <= PROBATION_S and _distance(t, face) is not None
    ]


def _distance(track: Expectation, face: Face) -> float | None:
    """Distance of a face from its expected place, 0 to 1 (the edge of what is possible); None beyond."""
    size, before = face_size(face.landmarks), face_size(track.landmarks)
    growth = GROWTH * (1 + min(track.unseen_s, 1.0) / 2)
    moved = face.landmarks.mean(axis=0) - track.landmarks.mean(axis=0)
    # A face may as well have stopped as gone on.
    apart = min(float(np.linalg.norm(moved)), float(np.linalg.norm(moved - track.shift))) / max(size, before)
    reach = min(REACH + REACH_PER_S * track.unseen_s, REACH_MAX)
    return apart / reach if apart <= reach and 1 / growth <= size / before <= growth else None


def _cost(track: Expectation, face: Face, look: Float32Array) -> float:
    """0 for the same place and look, up to 2 at the edges of what is possible, `_IMPOSSIBLE` beyond."""
    distance = _distance(track, face)
    if distance is None:
        return _IMPOSSIBLE
    if not track.looks:
        return _IMPOSSIBLE if track.cut else distance
    patience = 0.0 if track.contested else min(track.unseen_s / LATER_S, 1.0)
    least = LIKENESS_AT_ONCE + (LIKENESS_LATER - LIKENESS_AT_ONCE) * patience
    least = LIKENESS_AFTER_CUT if track.cut else least
    alike = max(likeness(look, known) for known in track.looks)
    return _IMPOSSIBLE if alike < least else distance + (1 - alike) / (1 - least)
