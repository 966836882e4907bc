"""A second opinion on each Action Unit from the 68 landmarks, beside the paper's network.

Not part of the paper: a few small perceptrons on the shape of the face, trained on the landmarks that the landmark net
sets on rendered faces. Shapes carry over from rendered to real faces better than pixels do, and miss what moves no
landmark. A checkpoint may hold one; then its probability is that of both readings together, while the score stays the
network's own (`model.analyzer`, option `reading`).

Perceptrons learn the upper face from rendered people, whose brows differ in other ways than ours, and follow real
brows half-heartedly. In a clip, where a person's own rest is known, the plain movements by which FACS describes these
AUs join in (`model.brow_measures`), seen upright by the depth of the points: brows up, brows down, lids narrowed. A
single picture does not tell a raised brow from a high one, so there they have no say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model.brow_measures import MEASURES, RIGID_3D, brow_measures
from model.landmarks import FLIP_68
from model.values import Float32Array

FAMILY = "landmark_reading"
"""How the names of all its tensors begin, beside the network's."""
PREFIX = f"{FAMILY}_v4."
"""The number counts the ways in which features were made."""

RIGID = np.array([36, 39, 42, 45, 27, 28, 29, 30, 33])
"""Corners of the eyes and the ridge of the nose: what no expression moves far; they give place and scale. The wings of
the nose are left out: a smile spreads and lifts them."""
USED = np.array([8, *range(17, 68)])
"""All points but the jaw's outline, which follows the head's turn; the chin stays."""
FEATURES = 2 * len(USED)

UPPER_AUS = frozenset({"AU1", "AU2", "AU4", "AU5", "AU7", "AU43", "AU45"})
"""Action Units of the upper face: they are read from brows, eyes and the ridge of the nose alone. FACS codes them
independently of the mouth; a reading that sees the mouth takes the company that AUs keep in its training data for
evidence, and follows smiles where it should follow brows."""
UPPER_POINTS = frozenset({*range(17, 31), 33, *range(36, 48)})


def shape_features(landmarks: npt.ArrayLike) -> Float32Array:
    """Landmarks in the face's own frame: without place, size and roll.

    Args:
        landmarks: (N, 68, 2) iBUG points, in pixels of any picture.

    Returns:
        (N, 104) float32: x along the line between the eyes, then y down the face, of the points `USED`; the origin is
        the mean and the unit the root mean square distance of the points `RIGID`. NaN for points on one spot.

    Raises:
        ValueError: for another shape.
    """
    points = np.asarray(landmarks, np.float64)
    if points.ndim != 3 or points.shape[1:] != (68, 2):
        raise ValueError(f"expected landmarks (N, 68, 2), got {points.shape}")
    across = points[:, 42:48].mean(axis=1) - points[:, 36:42].mean(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        across = across / np.linalg.norm(across, axis=1, keepdims=True)
        down = np.stack([-across[:, 1], across[:, 0]], axis=-1)
        away = points - points[:, RIGID].mean(axis=1, keepdims=True)
        x, y = (np.einsum("npj,nj->np", away, axis) for axis in (across, down))
        unit = np.sqrt((x[:, RIGID] ** 2 + y[:, RIGID] ** 2).mean(axis=1))[:, None]
        return np.concatenate([x[:, USED] / unit, y[:, USED] / unit], axis=1).astype(np.float32)


def seen_features(au_codes: Sequence[str]) -> npt.NDArray[np.bool_]:
    """(K, FEATURES): which features each of the K Action Units is read from."""
    upper = np.tile(np.isin(USED, list(UPPER_POINTS)), 2)
    return np.array([upper if code in UPPER_AUS else np.ones(FEATURES, bool) for code in au_codes]).reshape(
        -1, FEATURES
    )


def mirrored(landmarks: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """(N, 68, 2) landmarks of the mirrored faces, numbered anew."""
    return landmarks[:, FLIP_68] * np.array([-1, 1], landmarks.dtype)


@dataclass(frozen=True, eq=False)
class LandmarkReading:
    """M perceptrons with one hidden layer, whose answers for a face and for its mirror image are averaged.

    Attributes:
        mean: (F,) of the features.
        deviation: (F,) standard deviation of the features.
        hidden_weight: (M, H, F).
        hidden_bias: (M, H).
        out_weight: (M, K, H).
        out_bias: (M, K).
        reference: (R, 3) the resting places of `brow_measures`' rigid points.
        measure_weight: (K, Q) how much an AU has moved for each unit of a measure; 0 for what it is not measured by.
    """

    mean: Float32Array
    deviation: Float32Array
    hidden_weight: Float32Array
    hidden_bias: Float32Array
    out_weight: Float32Array
    out_bias: Float32Array
    reference: Float32Array
    measure_weight: Float32Array

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            ValueError: they do not fit together.
        """
        members, hidden, features = self.hidden_weight.shape
        aus = self.out_bias.shape[-1]
        wanted = {
            "mean": (FEATURES,),
            "deviation": (FEATURES,),
            "hidden_weight": (members, hidden, FEATURES),
            "hidden_bias": (members, hidden),
            "out_weight": (members, aus, hidden),
            "out_bias": (members, aus),
            "reference": (len(RIGID_3D), 3),
            "measure_weight": (aus, len(MEASURES)),
        }
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} is {getattr(self, name).shape}, wanted {shape} for {features} features")

    @property
    def au_count(self) -> int:
        """K."""
        return int(self.out_bias.shape[-1])

    @property
    def measured(self) -> npt.NDArray[np.bool_]:
        """(K,): which Action Units are read from measures of brows and lids as well."""
        return np.asarray((self.measure_weight != 0).any(axis=1))

    def logits(self, landmarks: npt.ArrayLike) -> Float32Array:
        """How likely each AU looks from the landmarks alone.

        Args:
            landmarks: (N, 68, 2), pixels of any picture, upright or rolled.

        Returns:
            (N, K) float32 log odds on the faces it was trained on; NaN where the landmarks lie on one spot.
        """
        points = np.asarray(landmarks, np.float64)
        both = self._one_way(points) + self._one_way(np.asarray(mirrored(points)))
        return np.asarray(both / 2, np.float32)

    def measures(self, landmarks: npt.ArrayLike, depth: npt.ArrayLike) -> Float32Array:
        """(N, Q) `brow_measures` of landmarks (N, 68, 2) with depth (N, 68), see `model.values.Face`."""
        return np.asarray(brow_measures(landmarks, depth, self.reference), np.float32)

    def movement(self, measures: npt.ArrayLike, rest: npt.ArrayLike) -> Float32Array:
        """How far each AU has moved the measures from where they are at rest.

        Args:
            measures: (N, Q).
            rest: (Q,), or (N, Q) where it is not the same person's everywhere.

        Returns:
            (N, K), 0 for an AU that is not measured, and where a measure or the rest is unknown.
        """
        away = np.asarray(measures, np.float64) - np.asarray(rest, np.float64)
        return np.asarray(np.nan_to_num(away) @ self.measure_weight.T, np.float32)

    def _one_way(self, landmarks: npt.NDArray[np.floating]) -> Float32Array:
        x = (shape_features(landmarks) - self.mean) / self.deviation
        hidden = np.maximum(np.einsum("nf,mhf->mnh", x, self.hidden_weight) + self.hidden_bias[:, None], 0)
        return np.asarray(
            (np.einsum("mnh,mkh->mnk", hidden, self.out_weight) + self.out_bias[:, None]).mean(axis=0), np.float32
        )

    def tensors(self) -> dict[str, Float32Array]:
        """Its arrays under the keys of a checkpoint's weights."""
        return {PREFIX + name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, npt.NDArray[Any]]) -> LandmarkReading:
        """From a checkpoint's tensors, others among them ignored.

        Raises:
            ValueError: one is missing or of another shape.
        """
        if any(key.startswith(FAMILY) and not key.startswith(PREFIX) for key in tensors):
            raise ValueError("its reading of landmarks was made by an earlier roigcn; publish the run again")
        missing = [name for name in cls.__dataclass_fields__ if PREFIX + name not in tensors]
        if missing:
            raise ValueError(f"no {PREFIX}{missing[0]}")
        return cls(**{name: np.asarray(tensors[PREFIX + name], np.float32) for name in cls.__dataclass_fields__})
