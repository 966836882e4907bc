"""A study run to its end: cells, seeds and folds, then the spread over seeds.

OUT/CELL/seed-S/P1 ...   one trial each; cells that differ in their decoder alone share OUT/shared
OUT/report.md, results.json, f1.png
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.config import TrainConfig
from training.data.folds import make_folds
from training.protocol.measure import ProtocolMeasures, measure, nanmean, nanmean_rows
from training.protocol.people import People
from training.protocol.runner import Machine, View, run_trials
from training.protocol.studies import Cell, Study
from training.protocol.trial import Trial, TrialScores

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CellResult:
    """One cell over its seeds; S seeds, K Action Units.

    Attributes:
        cell: which.
        seeds: the numbers.
        by_seed: the protocol's measures of each seed.
        scores: of each seed, one for each fold.
    """

    cell: Cell
    seeds: tuple[int, ...]
    by_seed: tuple[ProtocolMeasures, ...]
    scores: tuple[tuple[TrialScores, ...], ...]

    def values(self, measure_name: str) -> Array:
        """(S, K) fold means."""
        return np.stack([measures.fold_mean[measure_name] for measures in self.by_seed])

    def means(self, measure_name: str) -> Array:
        """(S,) means over AUs of the fold means."""
        return np.array([measures.mean(measure_name) for measures in self.by_seed])

    def per_au(self, measure_name: str) -> tuple[Array, Array]:
        """(K,) mean and (K,) spread over seeds."""
        values = self.values(measure_name)
        return nanmean_rows(values), spread(values)

    def overall(self, measure_name: str) -> tuple[float, float]:
        """Mean and spread over seeds of the mean over AUs."""
        means = self.means(measure_name)
        return nanmean(means), float(spread(means[:, None])[0])


def spread(values: Array) -> Array:
    """Standard deviation (n - 1) over the first axis; NaN with fewer than two values or an undefined one."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(values.std(axis=0, ddof=1))


def difference(cell: CellResult, baseline: CellResult) -> tuple[float, float]:
    """Mean and spread over seeds of the difference of the mean F1, seed by seed."""
    differences = cell.means("f1") - baseline.means("f1")
    return nanmean(differences), float(spread(differences[:, None])[0])


def study_trials(
    out: Path,
    study: Study,
    people: People,
    recipe: TrainConfig,
    seeds: Sequence[int],
    names: Sequence[str],
    hold_out: int | None,
) -> dict[tuple[str, int], list[Trial]]:
    """The trials of each cell and seed, seeds outermost, so that a stopped study has compared something.

    Raises:
        FoldError: a fold cannot be made of the people there.
    """
    folds = make_folds(people.parts, names, hold_out)
    shared = all(cell.decoder for cell in study.cells)
    return {
        (cell.name, seed): [
            Trial(
                out / ("shared" if shared else cell.name) / f"seed-{seed}" / fold.name,
                cell.config(recipe, seed),
                fold,
                cell.decoder,
            )
            for fold in folds
        ]
        for seed in seeds
        for cell in study.cells
    }


def run_study(
    out: Path,
    study: Study,
    people: People,
    recipe: TrainConfig,
    seeds: Sequence[int],
    names: Sequence[str],
    hold_out: int | None,
    machine: Machine,
    view: View,
) -> tuple[CellResult, ...] | None:
    """Train and read everything that is not done yet.

    Returns:
        The cells in order; None in a process that only helped to train.

    Raises:
        FoldError, ShardError, TrainingError: nothing can be trained, or a run went wrong.
    """
    trials = study_trials(out, study, people, recipe, seeds, names, hold_out)
    scores = run_trials([trial for group in trials.values() for trial in group], out, people, machine, view)
    if scores is None:
        return None
    of_trial = {(one.trial.folder, one.trial.decoder): one for one in scores}
    results = []
    for cell in study.cells:
        groups = tuple(
            tuple(of_trial[trial.folder, trial.decoder] for trial in trials[cell.name, seed]) for seed in seeds
        )
        measures = tuple(measure(group, repeats=0) for group in groups)  # the spread here is over seeds
        results.append(CellResult(cell, tuple(seeds), measures, groups))
    return tuple(results)
