"""From the scores of folds to the numbers of a report: fold means, pooled counts, intervals over people.

F folds, K Action Units. Folds are averaged first, then AUs (METHOD 6.6); an AU that never occurs in a fold has no F1
there, is NaN, stays out of every mean and is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.confusion import Confusion
from training.evaluate import Predictions, table_of
from training.protocol.trial import TrialScores

Array = npt.NDArray[np.float64]

COUNTED = ("f1", "f1_always", "precision", "recall", "accuracy", "balanced_accuracy", "mcc")
"""Measures of decisions, at the decoder's own rule."""
RANKED = ("auc", "pr_auc", "brier", "ece")
"""Measures of scores and of calibrated probabilities."""
REPEATS, RANKED_REPEATS = 1000, 200


@dataclass(frozen=True)
class Interval:
    """95 % of a measure when people are drawn again; NaN where a fold tests fewer than two people."""

    low: Array
    high: Array

    @classmethod
    def of(cls, draws: Array) -> Interval:
        """Percentiles over the first axis; undefined draws are left out."""
        low, high = (_quantile(draws, q) for q in (0.025, 0.975))
        return cls(low, high)


@dataclass(frozen=True)
class FoldMeasures:
    """One fold.

    Attributes:
        name: of the part tested.
        people: tested.
        faces: tested.
        unreadable: labels on faces whose ROIs lay outside the picture; decided absent.
        confusion: counts (K,) at the decoder's own rule.
        values: measure to (K,), NaN where undefined; the names of `COUNTED` and `RANKED`, and "f1_threshold", F1 at the
            threshold that the held-out people chose (NaN without any).
    """

    name: str
    people: int
    faces: int
    unreadable: int
    confusion: Confusion
    values: dict[str, Array]


@dataclass(frozen=True)
class ProtocolMeasures:
    """All folds together.

    Attributes:
        au_codes: K Action Units.
        folds: by fold.
        fold_mean: measure to (K,), the mean over the folds in which it is defined.
        undefined: measure to (K,), in how many folds it is not.
        pooled: counts (K,) summed over folds.
        f1_interval: of the fold mean of F1, (K,).
        pooled_interval: of the pooled F1, (K,).
        auc_interval: of the fold mean of AUC, (K,).
        mean_f1_interval: of the mean over AUs of the fold means, scalars.
        mean_pooled_interval: of the mean over AUs of the pooled F1, scalars.
        mean_auc_interval: of the mean over AUs of AUC, scalars.
    """

    au_codes: tuple[str, ...]
    folds: tuple[FoldMeasures, ...]
    fold_mean: dict[str, Array]
    undefined: dict[str, npt.NDArray[np.int64]]
    pooled: Confusion
    f1_interval: Interval
    pooled_interval: Interval
    auc_interval: Interval
    mean_f1_interval: Interval
    mean_pooled_interval: Interval
    mean_auc_interval: Interval

    def mean(self, measure: str) -> float:
        """Mean over AUs of a fold mean, NaN left out."""
        return nanmean(self.fold_mean[measure])

    @property
    def mean_pooled_f1(self) -> float:
        """Mean over AUs of the pooled F1."""
        return nanmean(self.pooled.f1)


def nanmean(values: npt.ArrayLike) -> float:
    """Mean without NaN; NaN of nothing."""
    array = np.asarray(values, np.float64)
    kept = array[~np.isnan(array)]
    return float(kept.mean()) if kept.size else float("nan")


def nanmean_rows(values: Array) -> Array:
    """Mean over the first axis without NaN; NaN where all are."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def measure(
    scores: Sequence[TrialScores], repeats: int = REPEATS, ranked_repeats: int = RANKED_REPEATS
) -> ProtocolMeasures:
    """The numbers of some folds, at least one.

    Args:
        scores: one of each fold.
        repeats: redraws of people for F1; 0 gives no intervals.
        ranked_repeats: the same for AUC, which costs more.
    """
    codes = scores[0].trial.reading.au_codes
    folds = tuple(_fold(one) for one in scores)
    stacked = {name: np.stack([fold.values[name] for fold in folds]) for name in folds[0].values}
    by_person = [_by_person(one.test) for one in scores]
    enough = min(fold.people for fold in folds) >= 2
    rng = np.random.default_rng(0)
    times = [_draws(rng, fold.people, repeats if enough else 0) for fold in folds]
    redrawn = [counts.redrawn(drawn) for counts, drawn in zip(by_person, times, strict=True)]
    f1_draws = nanmean_rows(np.stack([counts.f1 for counts in redrawn]))
    pooled_draws = Confusion.of_stacked(sum((counts.stacked() for counts in redrawn[1:]), redrawn[0].stacked())).f1
    auc_draws = nanmean_rows(
        np.stack([_auc_draws(one.test, drawn[:ranked_repeats]) for one, drawn in zip(scores, times, strict=True)])
    )
    return ProtocolMeasures(
        au_codes=codes,
        folds=folds,
        fold_mean={name: nanmean_rows(values) for name, values in stacked.items()},
        undefined={name: np.isnan(values).sum(axis=0) for name, values in stacked.items()},
        pooled=Confusion.of_stacked(np.stack([fold.confusion.stacked() for fold in folds]).sum(axis=0)),
        f1_interval=Interval.of(f1_draws),
        pooled_interval=Interval.of(pooled_draws),
        auc_interval=Interval.of(auc_draws),
        mean_f1_interval=Interval.of(nanmean_rows(f1_draws.T)),
        mean_pooled_interval=Interval.of(nanmean_rows(pooled_draws.T)),
        mean_auc_interval=Interval.of(nanmean_rows(auc_draws.T)),
    )


def _fold(scores: TrialScores) -> FoldMeasures:
    test, calibrator = scores.test, scores.calibrator
    counts = _by_person(test)
    total = counts.total()
    table = table_of(test, scores.trial.reading.au_codes, calibrator)
    values = {name: getattr(total, name) for name in COUNTED}
    values |= {name: np.array([getattr(row, name) for row in table.rows]) for name in RANKED}
    missing = np.full(len(table.rows), np.nan)
    if calibrator is None:
        values |= {"brier": missing, "ece": missing, "f1_threshold": missing}
    else:
        # An AU that could not be fitted has neither a calibrated probability nor a threshold.
        fitted = np.isfinite(calibrator.slope)
        values |= {name: np.where(fitted, values[name], np.nan) for name in ("brier", "ece")}
        f1 = np.array([row.f1 for row in table.rows])
        values["f1_threshold"] = np.where(np.isfinite(calibrator.threshold), f1, np.nan)
    unreadable = int(((test.weights > 0) & ~np.isfinite(test.score)).sum())
    people = len(np.unique(test.identities))
    return FoldMeasures(scores.trial.fold.name, people, len(test.labels), unreadable, total, values)


def _by_person(test: Predictions) -> Confusion:
    _, member = np.unique(test.identities, return_inverse=True)
    return Confusion.by_group(test.labels > 0.5, test.decision, test.weights > 0, member)


def _draws(rng: np.random.Generator, people: int, repeats: int) -> Array:
    """(R, people): how often each person is drawn when as many are drawn with replacement."""
    return rng.multinomial(people, np.full(people, 1 / people), size=repeats).astype(np.float64)


def _auc_draws(test: Predictions, times: Array) -> Array:
    """AUC (R, K) when each person counts `times` (R, people) times; ties count half."""
    _, member = np.unique(test.identities, return_inverse=True)
    found = np.full((len(times), test.labels.shape[1]), np.nan)
    for k in range(test.labels.shape[1]):
        kept = (test.weights[:, k] > 0) & np.isfinite(test.score[:, k])
        truth, people = test.labels[kept, k] > 0.5, member[kept]
        _, rank = np.unique(test.score[kept, k], return_inverse=True)
        for r, drawn in enumerate(times):
            weight = drawn[people]
            positive = np.bincount(rank[truth], weight[truth], minlength=rank.max(initial=-1) + 1)
            negative = np.bincount(rank[~truth], weight[~truth], minlength=rank.max(initial=-1) + 1)
            pairs = positive.sum() * negative.sum()
            if pairs > 0:
                found[r, k] = (positive * (np.cumsum(negative) - negative / 2)).sum() / pairs
    return found


def _quantile(draws: Array, q: float) -> Array:
    """Of the first axis, NaN left out; NaN where nothing is left."""
    if not len(draws):
        return np.full(draws.shape[1:], np.nan)
    flat = draws.reshape(len(draws), -1)
    columns = [column[~np.isnan(column)] for column in flat.T]
    values = [float(np.quantile(column, q)) if column.size else float("nan") for column in columns]
    return np.array(values).reshape(draws.shape[1:])
