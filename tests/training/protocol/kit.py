"""Scores made by hand, as a trained fold would have left them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.config import TrainConfig
from training.data.folds import Fold
from training.evaluate import Predictions
from training.protocol.trial import Trial, TrialScores


def predictions(labels: list[list[int]], score: list[list[float]], people: list[int] | None = None) -> Predictions:
    """Faces by row; decided present above 0; each face its own person unless told; label 9 is unknown."""
    truth, values = np.array(labels, np.float32), np.array(score, np.float32)
    known = truth != 9
    identities = np.arange(len(truth)) if people is None else np.array(people)
    decided = np.where(np.isfinite(values), values, -1) > 0
    return Predictions(values, decided, np.where(known, truth, 0), known.astype(np.float32), identities)


def scores(
    config: TrainConfig, name: str, test: Predictions, held_out: Predictions | None = None, steps: int = 6
) -> TrialScores:
    """A done trial of the fold that tests part `name`."""
    fold = Fold(name, ("a",), ("b",) if held_out else (), ("c",))
    counts = (10, len(held_out.labels) if held_out else 0, len(test.labels))
    return TrialScores(Trial(Path(name), config, fold), test, held_out, steps, counts, {"torch": "0"})


def random_predictions(seed: int, faces: int = 240, aus: int = 3, people: int = 8, skill: float = 1.0) -> Predictions:
    """Scores that know something of the labels."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((faces, aus)) < [0.5, 0.3, 0.2][:aus]).astype(np.float32)
    score = (skill * (labels - 0.5) + rng.normal(0, 0.6, labels.shape)).astype(np.float32)
    return Predictions(score, score > 0, labels, np.ones_like(labels), np.arange(faces) % people)
