"""Counts of right and wrong decisions, and the measures that follow from them.

Counts add up: over people, over folds, over redrawn people of a bootstrap. So every measure here takes arrays of counts
of any leading shape; where a measure is undefined it is NaN, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Confusion:
    """Counts of decisions, of one shape (..., K) for K Action Units.

    Attributes:
        hits: present and decided present.
        false_alarms: absent and decided present.
        misses: present and decided absent.
        rejections: absent and decided absent.
    """

    hits: Counts
    false_alarms: Counts
    misses: Counts
    rejections: Counts

    @classmethod
    def by_group(cls, truth: Bool, decision: Bool, counted: Bool, group: npt.NDArray[np.integer]) -> Confusion:
        """Counts (G, K) of G groups of faces.

        Args:
            truth: (N, K).
            decision: (N, K).
            counted: (N, K); False leaves a face out of that AU.
            group: (N,) number of the group, from 0, of each face.
        """
        groups = int(group.max(initial=-1)) + 1

        def count(which: Bool) -> Counts:
            total = np.zeros((groups, truth.shape[1]))
            np.add.at(total, group, which & counted)
            return total

        return cls(
            count(truth & decision), count(~truth & decision), count(truth & ~decision), count(~truth & ~decision)
        )

    def stacked(self) -> Counts:
        """(4, ..., K): hits, false alarms, misses, rejections."""
        return np.stack([self.hits, self.false_alarms, self.misses, self.rejections])

    @classmethod
    def of_stacked(cls, counts: Counts) -> Confusion:
        """From `stacked`."""
        return cls(*counts)

    def total(self) -> Confusion:
        """Sums over the first axis."""
        return Confusion.of_stacked(self.stacked().sum(axis=1))

    def redrawn(self, times: Counts) -> Confusion:
        """Sums (R, K) of counts (G, K) in which group g counts times[r, g] times."""
        return Confusion.of_stacked(np.einsum("rg,cgk->crk", times, self.stacked(), optimize=True))

    @property
    def positives(self) -> Counts:
        """How often the AU occurred."""
        return self.hits + self.misses

    @property
    def faces(self) -> Counts:
        """How many faces were counted."""
        return self.positives + self.false_alarms + self.rejections

    @property
    def f1(self) -> Counts:
        """F1; NaN without positives."""
        return _where(self.positives > 0, 2 * self.hits, 2 * self.hits + self.false_alarms + self.misses)

    @property
    def f1_always(self) -> Counts:
        """F1 of always deciding present, the floor; NaN without positives."""
        return _where(self.positives > 0, 2 * self.positives, self.positives + self.faces)

    @property
    def precision(self) -> Counts:
        """NaN where nothing was decided present."""
        return _where(self.hits + self.false_alarms > 0, self.hits, self.hits + self.false_alarms)

    @property
    def recall(self) -> Counts:
        """NaN without positives."""
        return _where(self.positives > 0, self.hits, self.positives)

    @property
    def accuracy(self) -> Counts:
        """NaN without faces."""
        return _where(self.faces > 0, self.hits + self.rejections, self.faces)

    @property
    def balanced_accuracy(self) -> Counts:
        """Mean of the recalls of both classes; NaN unless both occur."""
        negatives = self.false_alarms + self.rejections
        return np.asarray((self.recall + _where(negatives > 0, self.rejections, negatives)) / 2)

    @property
    def mcc(self) -> Counts:
        """Matthews correlation, 0 where one decision was always taken; NaN unless both classes occur."""
        negatives = self.false_alarms + self.rejections
        said_yes, said_no = self.hits + self.false_alarms, self.misses + self.rejections
        above = self.hits * self.rejections - self.false_alarms * self.misses
        below = np.sqrt(said_yes * said_no * self.positives * negatives)
        return np.where((self.positives > 0) & (negatives > 0), above / np.where(below > 0, below, 1), np.nan)


def _where(defined: Bool, above: Counts, below: Counts) -> Counts:
    return np.asarray(np.where(defined, above / np.where(defined, below, 1), np.nan))
