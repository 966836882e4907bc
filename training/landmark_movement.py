"""Joins the measures of brows and lids (`model.brow_measures`) with both readings, for clips.

In a clip a person's own rest is known, and measures say how far brows and lids have moved from it. In training data the
rest is the median over all pictures of one person, as in use it is the median over a clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.brow_measures import MEASURES, MEASURES_OF_AU, brow_measures, resting_reference
from model.manifest import MovementFusion
from training.calibration import fit_platt

REFERENCE_FACES = 4096
"""As many faces are enough to know where a resting face has its points."""
LEAST_PICTURES = 5
"""Of one person, to know the rest."""

Points = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Shares:
    """What each part has of the spread of the joint log odds of an AU that is measured.

    Not fitted: on rendered faces a fit would trust the network, which real brows hardly reach. The landmarks keep the
    70 % that they have on single pictures, most of it as movement. Chosen on real faces: rank correlation with
    blendshapes reaches 0.6 in all 44 moving tracks of clips with these, with 0.3, 0.28, 0.42 in 43.
    """

    score: float = 0.3
    landmarks: float = 0.1
    movement: float = 0.6


def rests_of(measures: Numbers, identities: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """(N, Q) the rest of the person of each of N faces: the median over that person's faces.

    Args:
        measures: (N, Q), NaN where a face was not measured.
        identities: (N,), equal for faces of one person.

    Returns:
        NaN for people with fewer than `LEAST_PICTURES` measured faces.
    """
    rests = np.full(measures.shape, np.nan)
    known = np.asarray(np.isfinite(measures).all(axis=1))
    order = np.argsort(identities, kind="stable")
    for person in np.split(order, np.flatnonzero(np.diff(identities[order])) + 1):
        seen = person[known[person]]
        if len(seen) >= LEAST_PICTURES:
            rests[person] = np.median(measures[seen], axis=0)
    return rests


def measuring(
    points: Points, identities: npt.NDArray[np.integer], au_codes: Sequence[str]
) -> tuple[Points, npt.NDArray[np.float32]]:
    """What a reading of landmarks needs to measure brows and lids.

    Args:
        points: (N, 68, 3), all finite.
        identities: (N,), equal for faces of one person.
        au_codes: K.

    Returns:
        The resting reference (R, 3), and the weights (K, Q): the signs that FACS gives, each in standard deviations of
        a measure about the person's rest. They are 0 where nobody's rest is known.
    """
    # Evenly over all people: faces of one person lie together.
    chosen = np.linspace(0, len(points) - 1, min(len(points), REFERENCE_FACES)).astype(int)
    reference = resting_reference(points[chosen])
    measured = brow_measures(points[..., :2], points[..., 2], reference)
    away = measured - rests_of(measured, identities)
    away = away[np.isfinite(away).all(axis=1)]
    weights = np.zeros((len(au_codes), len(MEASURES)))
    if len(away):
        deviation = away.std(axis=0) + 1e-9
        for k, code in enumerate(au_codes):
            for name, sign in MEASURES_OF_AU.get(code, {}).items():
                q = MEASURES.index(name)
                weights[k, q] = sign / deviation[q]
    return reference.astype(np.float32), weights.astype(np.float32)


def fit_movement(
    score: Numbers,
    looks: Numbers,
    moves: Numbers,
    truth: npt.NDArray[np.bool_],
    shares: Shares | None = None,
) -> MovementFusion | None:
    """Join three readings of one Action Unit and calibrate the result on held-out faces.

    Args:
        score: (N,) of the network.
        looks: (N,) log odds of the landmarks.
        moves: (N,) movement from the person's own rest.
        truth: (N,) whether the AU occurs.
        shares: `Shares()` by default.

    Returns:
        None if there are too few faces of either kind, nothing moves, or all of it together says the opposite.
    """
    chosen = shares or Shares()
    parts = np.stack([score, looks, moves]).astype(np.float64)
    spread = parts.std(axis=1) if len(truth) else np.zeros(3)
    if not (spread > 0).all():
        return None
    weights = np.array([chosen.score, chosen.landmarks, chosen.movement]) / spread
    slope, intercept = fit_platt(weights @ parts, truth)
    if not np.isfinite([slope, intercept]).all() or slope <= 0:
        return None
    a, b, c = (round(float(weight * slope), 5) for weight in weights)
    return MovementFusion(score=a, landmarks=b, movement=c, intercept=round(float(intercept), 5))
