"""Measures of presence detection, one column per Action Unit.

Rows are faces, columns AUs. A face whose weight is 0 for an AU is left out of that AU. A measure that is undefined,
because an AU has no positives or no negatives there, is NaN and stays out of every mean: it is not a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


def f1_score(truth: Bool, decision: Bool) -> float:
    """F1 of binary decisions (N,); NaN without positives in the truth."""
    if not truth.any():
        return float("nan")
    hits = int((truth & decision).sum())
    return 2 * hits / int(truth.sum() + decision.sum())


def precision_recall(truth: Bool, decision: Bool) -> tuple[float, float]:
    """Precision (NaN when nothing was decided positive) and recall (NaN without positives)."""
    hits = int((truth & decision).sum())
    precision = hits / int(decision.sum()) if decision.any() else float("nan")
    return precision, hits / int(truth.sum()) if truth.any() else float("nan")


def roc_auc(truth: Bool, score: Float64) -> float:
    """Area under the ROC curve, ties counted half; NaN unless both classes are there."""
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def pr_auc(truth: Bool, score: Float64) -> float:
    """Average precision: precision summed over the recall steps, ties taken together; NaN without positives."""
    if not truth.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(truth[order])
    last_of_tie = np.append(np.diff(score[order]) != 0, True)
    hits, seen = hits[last_of_tie], (np.arange(len(score)) + 1)[last_of_tie]
    steps = np.diff(np.concatenate([[0], hits])) / truth.sum()
    return float((steps * hits / seen).sum())


def brier_score(truth: Bool, probability: Float64) -> float:
    """Mean squared distance of probability and label; NaN for no faces."""
    return float(np.mean((probability - truth) ** 2)) if len(truth) else float("nan")


def calibration_error(truth: Bool, probability: Float64, bins: int = 15) -> float:
    """Expected calibration error over equal bins of probability; NaN for no faces."""
    if not len(truth):
        return float("nan")
    bin_of = np.minimum((probability * bins).astype(int), bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    gap = np.bincount(bin_of, weights=probability - truth, minlength=bins)
    return float(np.abs(gap).sum() / count.sum())


def best_threshold(truth: Bool, score: Float64) -> float:
    """Threshold on `score` with the highest F1, midway between neighbouring scores; NaN unless both classes occur."""
    if not truth.any() or truth.all():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ranked, hits = score[order], np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(len(score)) + 1 + truth.sum())
    f1[np.append(np.diff(ranked) == 0, False)] = -1  # no threshold separates equal scores
    cut = int(np.argmax(f1))
    return float((ranked[cut] + ranked[cut + 1]) / 2) if cut + 1 < len(ranked) else float(ranked[cut])


@dataclass(frozen=True)
class AuScore:
    """The measures of one AU, or their means.

    Attributes:
        positives: faces on which the AU occurred.
        faces: faces with a label.
        f1: at the decision used.
        f1_all: of the rule that always says yes, the floor.
        precision: at the decision used.
        recall: at the decision used.
        auc: area under the ROC curve.
        pr_auc: average precision.
        brier: of the calibrated probability.
        ece: expected calibration error of the calibrated probability.
    """

    positives: float
    faces: float
    f1: float
    f1_all: float
    precision: float
    recall: float
    auc: float
    pr_auc: float
    brier: float
    ece: float


@dataclass(frozen=True)
class ScoreTable:
    """One row per AU and their mean over the AUs for which a measure is defined."""

    au_codes: tuple[str, ...]
    rows: tuple[AuScore, ...]

    @property
    def mean(self) -> AuScore:
        """Mean over AUs of each measure, NaN left out; NaN where no AU has it."""
        columns = {field.name: np.array([getattr(row, field.name) for row in self.rows]) for field in fields(AuScore)}
        return AuScore(**{name: _nanmean(values) for name, values in columns.items()})


def _nanmean(values: Float64) -> float:
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def score_table(
    au_codes: Sequence[str],
    labels: npt.NDArray[np.floating],
    weights: npt.NDArray[np.floating],
    score: npt.NDArray[np.floating],
    probability: npt.NDArray[np.floating],
    decision: Bool,
) -> ScoreTable:
    """All measures of all AUs.

    Args:
        au_codes: K codes.
        labels: (N, K) in {0, 1}.
        weights: (N, K); 0 leaves a face out of that AU.
        score: (N, K), any increasing measure of presence; NaN (unreadable) leaves the face out.
        probability: (N, K) in 0 to 1.
        decision: (N, K).
    """
    rows = []
    for k in range(len(au_codes)):
        kept = (weights[:, k] > 0) & np.isfinite(score[:, k]) & np.isfinite(probability[:, k])
        truth = labels[kept, k] > 0.5
        s, p, said = score[kept, k].astype(np.float64), probability[kept, k].astype(np.float64), decision[kept, k]
        precision, recall = precision_recall(truth, said)
        rows.append(
            AuScore(
                positives=float(truth.sum()),
                faces=float(kept.sum()),
                f1=f1_score(truth, said),
                f1_all=f1_score(truth, np.ones_like(truth)),
                precision=precision,
                recall=recall,
                auc=roc_auc(truth, s),
                pr_auc=pr_auc(truth, s),
                brier=brier_score(truth, p),
                ece=calibration_error(truth, p),
            )
        )
    return ScoreTable(tuple(au_codes), tuple(rows))


def bootstrap_interval(
    measure: Callable[[npt.NDArray[np.int64]], float],
    subjects: npt.NDArray[np.int64],
    repeats: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a measure when whole subjects are drawn with replacement.

    Args:
        measure: gets row numbers (M,), repeats included, and returns the measure; NaN draws are left out.
        subjects: (N,) subject of each row.
        repeats: how many draws.
        level: coverage.
        seed: of the draws.

    Returns:
        Lower and upper end; NaN when there are no subjects or every draw was undefined.
    """
    names, member = np.unique(subjects, return_inverse=True)
    if not len(names):
        return float("nan"), float("nan")
    order = np.argsort(member, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(member))[:-1])
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(repeats):
        picked = rng.integers(len(names), size=len(names))
        draws.append(measure(np.concatenate([groups[i] for i in picked])))
    values = np.array(draws)
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
