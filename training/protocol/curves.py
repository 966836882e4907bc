"""Curves of folds for the plots: ROC and reliability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.protocol.trial import TrialScores

Array = npt.NDArray[np.float64]

ROC_POINTS = 200
RELIABILITY_BINS = 10
LEAST_IN_BIN = 20


@dataclass(frozen=True)
class Reliability:
    """Observed frequency by predicted probability.

    Attributes:
        predicted: mean probability of each bin that holds enough faces.
        observed: how often the AU occurred there.
        faces: in each of these bins.
    """

    predicted: Array
    observed: Array
    faces: npt.NDArray[np.int64]


def roc_points(scores: TrialScores, au: int) -> tuple[Array, Array] | None:
    """False-positive and true-positive rate of one AU's score on the tested people; None unless both classes occur."""
    test = scores.test
    kept = (test.weights[:, au] > 0) & np.isfinite(test.score[:, au])
    truth, score = test.labels[kept, au] > 0.5, test.score[kept, au]
    if not truth.any() or truth.all():
        return None
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.append(np.diff(score[order]) != 0, True)
    hits = np.concatenate([[0], np.cumsum(truth[order])[last_of_tie]]) / truth.sum()
    alarms = np.concatenate([[0], np.cumsum(~truth[order])[last_of_tie]]) / (~truth).sum()
    few = np.unique(np.linspace(0, len(hits) - 1, ROC_POINTS).round().astype(int))
    return alarms[few], hits[few]


def reliability(scores: list[TrialScores], au: int) -> Reliability | None:
    """Of one AU over all folds, each with its own calibration; None where none could be fitted."""
    probability, truth = [], []
    for one in scores:
        calibrator = one.calibrator
        if calibrator is None or not np.isfinite(calibrator.slope[au]):
            continue
        kept = (one.test.weights[:, au] > 0) & np.isfinite(one.test.score[:, au])
        probability.append(calibrator.probability(one.test.score)[kept, au])
        truth.append(one.test.labels[kept, au] > 0.5)
    if not probability:
        return None
    p, y = np.concatenate(probability), np.concatenate(truth)
    bins = np.minimum((p * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    faces = np.bincount(bins, minlength=RELIABILITY_BINS)
    shown = faces >= min(LEAST_IN_BIN, max(1, len(p) // RELIABILITY_BINS))
    predicted = np.bincount(bins, p, RELIABILITY_BINS)[shown] / faces[shown]
    observed = np.bincount(bins, y.astype(float), RELIABILITY_BINS)[shown] / faces[shown]
    return Reliability(predicted, observed, faces[shown])
