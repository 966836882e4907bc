"""From scores to probabilities and decisions: Platt scaling and thresholds per Action Unit (METHOD 2.4).

Both are fitted on held-out training identities, never on the test part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from training.metrics import best_threshold

MIN_CLASS_FACES = 5
LEAST_SLOPE = 1e-6
"""A flatter curve says the same of every face: such an AU counts as not fitted."""


@dataclass(frozen=True)
class Calibrator:
    """probability = sigmoid(slope * score + intercept), per AU; NaN where an AU could not be fitted.

    That is where either class has too few faces, or scores point the wrong way.

    Attributes:
        slope: (K,).
        intercept: (K,).
        threshold: (K,) on the probability.
    """

    slope: npt.NDArray[np.float64]
    intercept: npt.NDArray[np.float64]
    threshold: npt.NDArray[np.float64]

    def probability(self, score: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Calibrated probability of scores (N, K); the raw (score + 1) / 2 where an AU is not fitted."""
        fitted = expit(self.slope * score + self.intercept)
        return np.asarray(np.where(np.isnan(self.slope), np.clip((score + 1) / 2, 0, 1), fitted))

    def decide(self, score: npt.NDArray[np.floating], own: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Decisions (N, K) at the thresholds, as the product takes them.

        Args:
            score: (N, K).
            own: (N, K), the decoder's own decisions, which stand where an AU has no threshold.
        """
        return np.asarray(np.where(np.isnan(self.threshold), own, self.probability(score) >= self.threshold))


def fit_platt(score: npt.NDArray[np.floating], truth: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and intercept of one AU by maximum likelihood with Platt's smoothed targets.

    The targets (positives + 1) / (positives + 2) and 1 / (negatives + 2) keep the slope finite on separable scores
    (Platt 1999). The slope is bounded from below at 0: a score that points the wrong way is not turned round.

    Returns:
        (slope, intercept); NaN with fewer than five faces of either class.
    """
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if min(positives, negatives) < MIN_CLASS_FACES:
        return float("nan"), float("nan")
    target = np.where(truth, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    x = score.astype(np.float64)
    scale = float(x.std()) or 1.0
    z = x / scale

    def loss(parameters: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        logit = parameters[0] * z + parameters[1]
        error = expit(logit) - target
        return float(np.mean(np.logaddexp(0, logit) - target * logit)), np.array([np.mean(error * z), np.mean(error)])

    start = np.array([1.0, float(np.log(positives / negatives))])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)])
    return float(found.x[0] / scale), float(found.x[1])


def fit_calibrator(
    score: npt.NDArray[np.floating], labels: npt.NDArray[np.floating], weights: npt.NDArray[np.floating]
) -> Calibrator:
    """Fit every AU.

    Args:
        score: (N, K).
        labels: (N, K) in {0, 1}.
        weights: (N, K); 0 leaves a face out of that AU.
    """
    count = score.shape[1]
    slope, intercept, threshold = np.full(count, np.nan), np.full(count, np.nan), np.full(count, np.nan)
    for k in range(count):
        kept = (weights[:, k] > 0) & np.isfinite(score[:, k])
        truth = labels[kept, k] > 0.5
        steepness, offset = fit_platt(score[kept, k], truth)
        if steepness > LEAST_SLOPE:
            slope[k], intercept[k] = steepness, offset
            threshold[k] = expit(slope[k] * best_threshold(truth, score[kept, k].astype(np.float64)) + intercept[k])
    return Calibrator(slope, intercept, threshold)
