"""Trials one after the other, and the report of a protocol's three."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from training.config import TrainConfig
from training.data.folds import PART_NAMES, FoldError, make_folds
from training.loop import Progress
from training.protocol.cautions import TITLES
from training.protocol.measure import measure
from training.protocol.paper import published
from training.protocol.people import People
from training.protocol.plots import draw_f1, draw_reliability, draw_roc, save_figure
from training.protocol.report import markdown
from training.protocol.results import as_json
from training.protocol.trial import Trial, TrialFaces, TrialScores, read_scores, score_trial, train_trial

REPORT_NAME, RESULTS_NAME = "report.md", "results.json"


class View(Protocol):
    """Who is told how far trials have come."""

    def skipped(self, label: str) -> None:
        """A trial was done before."""

    def training(self, label: str, steps: int) -> Callable[[Progress], None]:
        """A trial begins or goes on; what is returned is told of its progress."""

    def scoring(self, label: str, faces: int) -> Callable[[int], None]:
        """A trained network is read on `faces`; what is returned is told how many more were."""


@dataclass(frozen=True)
class Machine:
    """Where to train.

    Attributes:
        accelerator: of Lightning Fabric, "auto", "cpu", "cuda".
        devices: how many; with several, this command runs once on each (distributed data parallel).
    """

    accelerator: str = "auto"
    devices: int = 1


def run_trials(
    trials: Sequence[Trial], root: Path, people: People, machine: Machine, view: View
) -> list[TrialScores] | None:
    """Train and read trials that are not done yet; nothing that is done is repeated.

    With several devices all are trained before any is read, so that no process waits for another's reading.

    Args:
        trials: in order.
        root: folder that the trials' folders are named under.
        people: whose faces.
        machine: where.
        view: told of the progress.

    Returns:
        The scores of all trials; None in a process that only helped to train.

    Raises:
        TrainingError, ShardError: as the parts of a trial do.
    """
    pending = [trial for trial in trials if read_scores(trial, people) is None]
    for trial in trials:
        if trial not in pending:
            view.skipped(_label(trial, root))
    waiting = []
    for trial in pending:
        faces = TrialFaces.of(trial, people)
        steps = trial.config.for_faces(len(faces.train)).optimiser.steps
        report = view.training(_label(trial, root), steps)
        run = train_trial(trial, people, machine.accelerator, machine.devices, report)
        device, main = run.fabric.device, run.fabric.is_global_zero
        del run  # its weights and the optimiser's would stay on the device
        if machine.devices == 1:
            _read(trial, root, people, device, view)
        elif main:
            waiting.append((trial, device))
    if pending and machine.devices > 1 and not main:
        return None
    for trial, device in waiting:
        _read(trial, root, people, device, view)
    found = [read_scores(trial, people) for trial in trials]
    return [scores for scores in found if scores is not None]


def _read(trial: Trial, root: Path, people: People, device: torch.device, view: View) -> None:
    _, held_out, test = TrialFaces.of(trial, people).counts
    score_trial(trial, people, device, view.scoring(_label(trial, root), held_out + test))


def _label(trial: Trial, root: Path) -> str:
    name = trial.folder.relative_to(root).as_posix()
    return f"{name} ({trial.decoder})" if trial.decoder else name


def protocol_trials(
    out: Path, people: People, config: TrainConfig, names: Sequence[str], hold_out: int | None
) -> list[Trial]:
    """The trials of the named folds, each in a folder of its fold's name.

    Raises:
        FoldError: a fold cannot be made of the people there.
    """
    return [Trial(out / fold.name, config, fold) for fold in make_folds(people.parts, names, hold_out)]


def run_protocol(
    out: Path,
    people: People,
    config: TrainConfig,
    machine: Machine,
    view: View,
    names: Sequence[str] = PART_NAMES,
    hold_out: int | None = None,
) -> Path | None:
    """Train and read the folds that are not done yet and write the report of all that are.

    Args:
        out: folder of the folds and the report.
        people: whose faces.
        config: recipe.
        machine: where.
        view: told of the progress.
        names: folds to do now; others that were done before are in the report as well.
        hold_out: people held out of training; one in nine by default.

    Returns:
        The Markdown report; None in a process that only helped to train.

    Raises:
        FoldError, ShardError, TrainingError: nothing can be trained, the folder holds folds of other settings, or a
            run went wrong.
    """
    trials = protocol_trials(out, people, config, names, hold_out)
    # Before hours of training: what is there and does not fit must be told now.
    earlier = _done_before(out, people, config, [name for name in people.parts if name not in names], hold_out)
    scores = run_trials(trials, out, people, machine, view)
    if scores is None:
        return None
    return write_report(out, people, sorted([*scores, *earlier], key=lambda one: one.trial.fold.name))


def _done_before(
    out: Path, people: People, config: TrainConfig, names: Sequence[str], hold_out: int | None
) -> list[TrialScores]:
    """The scores of those folds that were done before.

    Raises:
        TrainingError: one of them was done with other settings.
    """
    found = []
    for name in names:
        try:
            (trial,) = protocol_trials(out, people, config, [name], hold_out)
        except FoldError:  # the people there make no such fold, so it was never done
            continue
        scores = read_scores(trial, people)
        if scores is not None:
            found.append(scores)
    return found


def write_report(out: Path, people: People, scores: Sequence[TrialScores]) -> Path:
    """Write report.md, results.json and the plots; returns the first.

    Raises:
        OSError: the folder cannot be written.
    """

    measures = measure(scores)
    title = f"{TITLES[people.dataset]}: F1 by Action Unit, {len(scores)} folds"
    save_figure(draw_f1(measures, published(people.dataset), title), out / "f1.png")
    save_figure(draw_roc(scores, measures), out / "roc.png")
    if any(one.held_out is not None for one in scores):
        save_figure(draw_reliability(scores, measures), out / "reliability.png")
    write_text(out / RESULTS_NAME, json.dumps(as_json(people, scores, measures), indent=1) + "\n")
    write_text(out / REPORT_NAME, markdown(people, scores, measures))
    return out / REPORT_NAME


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step."""
    draft = path.with_suffix(".writing")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
