"""One network of a protocol: trained on a fold's people, then read on those it tests and on those held out.

A trial's folder holds the run (`training.loop`) and, when it is done, `scores.npz` with everything that reports are
made of. A trial that was killed goes on where it stopped; one that is done is not repeated.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from model.decode import Decoder
from training.calibration import Calibrator, fit_calibrator
from training.config import TrainConfig
from training.data.folds import Fold
from training.data.shards import FaceShards, ShardError, write_shard
from training.evaluate import Predictions, Reading, predict
from training.export import read_run
from training.loop import Progress, Run, run_identity
from training.monitor import look_at
from training.protocol.people import People
from training.state import TrainingError
from training.subjects import open_subject

SCORES_NAME = "scores"
FIELDS = ("score", "decision", "labels", "weights", "identities")


@dataclass(frozen=True)
class Trial:
    """What is to be trained and read.

    Attributes:
        folder: of the run and its scores.
        config: the recipe, as the user gave it; epochs become steps when the training faces are known.
        fold: whose faces are trained on, held out and tested.
        decoder: how the maps are read; None for the one that goes with the variant.
    """

    folder: Path
    config: TrainConfig
    fold: Fold
    decoder: Decoder | None = None

    @property
    def scores_path(self) -> Path:
        """Where the scores lie."""
        return self.folder / (f"{SCORES_NAME}-{self.decoder}.npz" if self.decoder else f"{SCORES_NAME}.npz")

    @property
    def reading(self) -> Reading:
        """How the network's maps are read."""
        own = Reading.of_config(self.config)
        return replace(own, decoder=self.decoder) if self.decoder else own


@dataclass(frozen=True)
class TrialFaces:
    """The faces of a trial; `held_out` is None where nobody is held out."""

    train: FaceShards
    held_out: FaceShards | None
    test: FaceShards

    @classmethod
    def of(cls, trial: Trial, people: People) -> TrialFaces:
        """Open them.

        Raises:
            ShardError: people or Action Units are missing.
        """
        codes, fold = trial.config.network.au_codes, trial.fold
        held_out = people.faces(fold.held_out, codes) if fold.held_out else None
        return cls(people.faces(fold.train, codes), held_out, people.faces(fold.test, codes))

    @property
    def counts(self) -> tuple[int, int, int]:
        """Faces to train on, held out and to test."""
        return len(self.train), len(self.held_out) if self.held_out else 0, len(self.test)


@dataclass(frozen=True)
class TrialScores:
    """What a trial found.

    Attributes:
        trial: which.
        test: on the people tested.
        held_out: on the people held out of training; None without any.
        steps: of the run.
        faces: trained on, held out, tested.
        made_with: versions and device, for the report.
    """

    trial: Trial
    test: Predictions
    held_out: Predictions | None
    steps: int
    faces: tuple[int, int, int]
    made_with: dict[str, str]

    @cached_property
    def calibrator(self) -> Calibrator | None:
        """Fitted on the people held out of training; None without any."""
        held_out = self.held_out
        return None if held_out is None else fit_calibrator(held_out.score, held_out.labels, held_out.weights)


def trial_key(trial: Trial, faces: TrialFaces) -> str:
    """What must be the same for scores to be used again: recipe, decoder, people, faces."""
    prints = [part.fingerprint if part else "" for part in (faces.train, faces.held_out, faces.test)]
    whole = {
        "config": json.loads(run_identity(trial.config.for_faces(len(faces.train)))),
        "decoder": trial.reading.decoder,
        "fold": [trial.fold.name, *map(list, (trial.fold.train, trial.fold.held_out, trial.fold.test))],
        "faces": prints,
    }
    return json.dumps(whole, sort_keys=True)


def read_scores(trial: Trial, people: People) -> TrialScores | None:
    """The scores of a trial that is done, None of one that is not.

    Raises:
        TrainingError: the folder holds the scores of something else.
    """
    if not trial.scores_path.exists():
        return None
    faces = TrialFaces.of(trial, people)
    try:
        with np.load(trial.scores_path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays["about"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise TrainingError(
            f"{trial.scores_path}: broken ({error}); remove it, the same command makes it anew"
        ) from error
    if about["key"] != trial_key(trial, faces):
        raise TrainingError(
            f"{trial.folder}: holds the scores of another recipe, other people or other faces; choose another --out"
        )

    def part(prefix: str) -> Predictions:
        return Predictions(*(arrays[f"{prefix}_{name}"] for name in FIELDS))

    held_out = part("held_out") if "held_out_score" in arrays else None
    return TrialScores(trial, part("test"), held_out, about["steps"], faces.counts, about["made_with"])


def train_trial(
    trial: Trial,
    people: People,
    accelerator: str = "auto",
    devices: int = 1,
    report: Callable[[Progress], None] = lambda _: None,
) -> Run:
    """Train a trial to its last step; goes on where it was stopped. The test part is not looked at.

    Raises:
        TrainingError: the folder holds another run, the loss is no longer finite, the disk is full.
        ShardError: faces are missing.
    """
    faces = TrialFaces.of(trial, people)
    watched = faces.held_out
    run = Run(trial.config.for_faces(len(faces.train)), faces.train, trial.folder, None, accelerator, devices)
    run.train(
        report if run.fabric.is_global_zero else lambda _: None,
        evaluate=None if watched is None else lambda running: look_at(running, watched, "held_out"),
    )
    return run


def score_trial(
    trial: Trial, people: People, device: torch.device, advance: Callable[[int], None] = lambda _: None
) -> TrialScores:
    """Read the trained network on the tested and the held-out people and write the scores.

    Raises:
        TrainingError: the run is not there or not at its last step, or the scores cannot be written.
    """
    faces = TrialFaces.of(trial, people)
    config = trial.config.for_faces(len(faces.train))
    if (done := read_run(trial.folder).step) < config.optimiser.steps:
        raise TrainingError(f"{trial.folder}: trained for {done} of {config.optimiser.steps} steps; let it go on first")
    subject = open_subject(trial.folder)
    network = subject.network.to(device)
    parts = {"test": faces.test} | ({"held_out": faces.held_out} if faces.held_out else {})
    found = {name: predict(network, part, trial.reading, advance=advance) for name, part in parts.items()}
    made_with = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "processor",
    }
    about = {"key": trial_key(trial, faces), "steps": config.optimiser.steps, "made_with": made_with}
    arrays = {f"{name}_{field}": getattr(part, field) for name, part in found.items() for field in FIELDS}
    try:
        write_shard(trial.scores_path, arrays | {"about": np.array(json.dumps(about))})
    except ShardError as error:
        raise TrainingError(str(error)) from error
    return TrialScores(trial, found["test"], found.get("held_out"), config.optimiser.steps, faces.counts, made_with)
