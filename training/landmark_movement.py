"""Fits the measures of brows and lids (`model.brow_measures`) of the reading of landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from model.brow_measures import MEASURES, MEASURES_OF_AU, measures_of, nodded, resting_reference, upright
from model.landmark_reading import LandmarkReading

MOVEMENT_SHARE = 0.6
"""Share of the measures of brows and lids in the landmark reading of the AUs that have some, both brought to one
spread. Not fitted: on rendered faces a fit would trust the perceptrons, which rendered people's brows tell more than
real ones do. Chosen on real faces: rank correlation with blendshapes reaches 0.6 in 40 of 44 moving tracks of clips
with 0.5, in 42 with 0.6 and 0.7 (w18s-rendered:3, without measures: 36); on stills, where a person's rest is unknown,
the mean AUC of the first set is 0.88, 0.82 and 0.81 (0.90)."""
NOD_NOISE = 3.0
"""Degrees by which upright faces are nodded at random while the measures are weighed: depth is not that exact."""
RIDGE = 1e-4
"""Of the slopes, in standard deviations of the measures; it only decides between measures that say the same."""
REFERENCE_FACES = 4096
"""As many faces are enough to know where a resting face has its points."""

Points = npt.NDArray[np.float32]


def fit_movement(
    points: Points,
    labels: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32],
    au_codes: Sequence[str],
    jitter: float,
    seed: int,
) -> tuple[Points, Points, Points]:
    """A logistic regression for each Action Unit on its measures alone, their signs given (`model.brow_measures`).

    Args:
        points: (N, 68, 3), all finite.
        labels: (N, K) in {0, 1}.
        weights: (N, K).
        au_codes: K.
        jitter: standard deviation of noise on each landmark, in inner-ocular distances.
        seed: of the noise.

    Returns:
        The resting reference (R, 3), the mean of the measures (Q,) and the regressions' slopes (K, Q), 0 for an AU
        without measures or without faces of both kinds.
    """
    rng = np.random.default_rng(seed)
    reference = resting_reference(points[:REFERENCE_FACES])
    scale = np.linalg.norm(points[:, 39, :2] - points[:, 42, :2], axis=1)[:, None, None]
    faces = upright(points + rng.normal(0, 1, points.shape) * jitter * scale, reference)
    measured = measures_of(nodded(faces, rng.normal(0, np.radians(NOD_NOISE), len(faces))))
    mean, deviation = measured.mean(axis=0), measured.std(axis=0) + 1e-9
    slopes = np.zeros((len(au_codes), len(MEASURES)))
    for k, code in enumerate(au_codes):
        signs = MEASURES_OF_AU.get(code, {})
        columns = [MEASURES.index(name) for name in signs]
        truth, matters = labels[:, k] > 0.5, weights[:, k]
        if columns and matters[truth].sum() > 0 and matters[~truth].sum() > 0:
            units = (measured[:, columns] - mean[columns]) / deviation[columns]
            slopes[k, columns] = _signed_slopes(units, truth, matters, list(signs.values())) / deviation[columns]
    return reference.astype(np.float32), mean.astype(np.float32), slopes.astype(np.float32)


def _signed_slopes(
    units: npt.NDArray[np.float64],
    truth: npt.NDArray[np.bool_],
    matters: npt.NDArray[np.float32],
    signs: Sequence[int],
) -> npt.NDArray[np.float64]:
    """(C,) slopes of a logistic regression on (N, C) columns, each held to its sign."""
    columns = np.column_stack([units, np.ones(len(units))])
    side, share = np.where(truth, 1.0, -1.0), matters / matters.sum()

    def loss(slopes: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        against = -side * (columns @ slopes)
        value = float((share * np.logaddexp(0, against)).sum() + RIDGE * (slopes[:-1] ** 2).sum())
        return value, -columns.T @ (share * side * expit(against)) + 2 * RIDGE * np.append(slopes[:-1], 0)

    bounds = [(0, None) if sign > 0 else (None, 0) for sign in signs]
    found = minimize(loss, np.zeros(columns.shape[1]), jac=True, method="L-BFGS-B", bounds=[*bounds, (None, None)])
    return np.asarray(found.x[:-1])


def weigh_movement(shape_only: LandmarkReading, points: Points, directions: Points) -> Points:
    """Slopes that give the measures `MOVEMENT_SHARE`.

    Args:
        shape_only: the reading with its perceptrons and measures of no weight.
        points: (N, 68, 3), all finite: the faces over which spreads are taken.
        directions: (K, Q) slopes of `fit_movement`, whose length is changed here and nothing else.

    Returns:
        (K, Q); 0 where a direction is.
    """
    flat, depth = points[..., :2], points[..., 2]
    spread = shape_only.shape_logits(flat).std(axis=0)
    moves = replace(shape_only, measure_weight=directions).movement(flat, depth).std(axis=0)
    factor = np.divide(MOVEMENT_SHARE / (1 - MOVEMENT_SHARE) * spread, moves, out=np.zeros_like(moves), where=moves > 0)
    return np.asarray(directions * factor[:, None], np.float32)
