"""The second opinion of a checkpoint: a reading of landmarks fitted, joined with the network's scores, and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from model.checkpoint import Checkpoint
from model.landmark_reading import LandmarkReading
from model.manifest import Fusion, LandmarkOpinion, Metrics, MovementFusion, OwnRest
from training.calibration import MIN_CLASS_FACES
from training.data.shards import FaceShards
from training.evaluate import Predictions, mean_auc_interval, table_of
from training.landmark_movement import LEAST_PICTURES, Shares, fit_movement, rests_of
from training.landmark_reading import fit_joint, fit_reading, net_landmarks
from training.manifest_metrics import manifest_metrics
from training.metrics import score_table
from training.state import TrainingError


@dataclass(frozen=True)
class Judged:
    """Held-out faces and what the network says of them."""

    faces: FaceShards
    found: Predictions

    @cached_property
    def points(self) -> npt.NDArray[np.float32]:
        """(N, 68, 3) of the landmark net."""
        return net_landmarks(self.faces)

    def moves(self, reading: LandmarkReading) -> npt.NDArray[np.float64]:
        """(N, K) movement of each face from its person's own rest; NaN where that isn't known."""
        measures = reading.measures(self.points[..., :2], self.points[..., 2])
        rests = rests_of(measures, self.found.identities)
        moved = reading.movement(measures, rests).astype(np.float64)
        moved[~(np.isfinite(measures) & np.isfinite(rests)).all(axis=1)] = np.nan
        return moved


@dataclass(frozen=True)
class FittedReading:
    """A reading of landmarks, with what it was fitted on in words."""

    reading: LandmarkReading
    fitted_on: str


def fit_on(faces: FaceShards, au_codes: tuple[str, ...], pictures: str) -> FittedReading:
    """Fit a reading on training faces.

    Args:
        faces: to fit on.
        au_codes: K.
        pictures: what kind of pictures these are, in words.

    Raises:
        TrainingError: too few faces.
    """
    try:
        reading = fit_reading(net_landmarks(faces), faces.labels, faces.weights, faces.identities, au_codes)
    except ValueError as error:
        raise TrainingError(f"no reading of landmarks can be fitted: {error}") from error
    members = reading.hidden_weight.shape[0]
    return FittedReading(reading, f"{len(faces)} {pictures} with the landmark net's points, {members} perceptrons")


def keep_of(checkpoint: Checkpoint, au_codes: tuple[str, ...]) -> FittedReading:
    """The reading of a published checkpoint, to be joined with another network.

    Raises:
        TrainingError: it has none, or one of other Action Units.
    """
    reading, opinion = checkpoint.landmark_reading(), checkpoint.manifest.landmark_opinion
    if reading is None or opinion is None:
        raise TrainingError(f"{checkpoint.path}: this checkpoint reads no landmarks")
    if checkpoint.manifest.au_codes != au_codes:
        raise TrainingError(f"{checkpoint.path}: reads {', '.join(checkpoint.manifest.au_codes)}, not the run's AUs")
    return FittedReading(reading, f"{opinion.training} (the reading of {checkpoint.ref})")


def check_faces(calibration: FaceShards, au_codes: tuple[str, ...]) -> None:
    """Ask, before anything is measured, whether both readings of every AU can be joined.

    Raises:
        TrainingError: the calibration part shows an AU too seldom, or too seldom its absence.
    """
    counted = calibration.weights > 0
    present = (counted & (calibration.labels > 0.5)).sum(axis=0)
    few = [
        f"{code} ({yes} with, {no} without)"
        for code, yes, no in zip(au_codes, present, counted.sum(axis=0) - present, strict=True)
        if min(yes, no) < MIN_CLASS_FACES
    ]
    if few:
        raise TrainingError(
            f"the calibration part has too few faces of {', '.join(few)}: a reading of landmarks needs "
            f"{MIN_CLASS_FACES} of each kind. Choose more people for calibration, or publish without it"
        )


def landmark_opinion(
    fitted: FittedReading,
    calibration: Judged,
    test: Judged,
    au_codes: tuple[str, ...],
    voice: float,
) -> LandmarkOpinion:
    """Join a reading of landmarks with the network's scores of the held-out parts, and measure both.

    Args:
        fitted: the reading.
        calibration: to join both and to choose thresholds.
        test: to measure on.
        au_codes: K.
        voice: see `fit_joint`.

    Raises:
        TrainingError: too few faces.
    """
    reading, held_out, found = fitted.reading, calibration.found, test.found
    looks = [reading.logits(part.points[..., :2]) for part in (calibration, test)]
    try:
        joint = fit_joint(held_out.score, looks[0], held_out.labels, held_out.weights, voice)
    except ValueError as error:
        raise TrainingError(f"network and landmarks cannot be joined: {error}") from error
    chance = joint.probability(found.score, looks[1])
    alone = table_of(replace(found, score=looks[1], decision=looks[1] > 0), au_codes)
    metrics = _measured(
        found,
        chance,
        joint.threshold,
        au_codes,
        "the same faces and parts, landmarks as the landmark net sets them; of the joint log odds "
        f"{voice:.0%} come from the landmarks, the rest from the network. The landmarks alone: mean AUC "
        f"{alone.mean.auc:.3f}",
    )
    opinion = LandmarkOpinion(
        fusion={
            code: Fusion(
                score=round(float(joint.score[k]), 5),
                landmarks=round(float(joint.landmarks[k]), 5),
                intercept=round(float(joint.intercept[k]), 5),
            )
            for k, code in enumerate(au_codes)
        },
        thresholds={code: round(float(joint.threshold[k]), 4) for k, code in enumerate(au_codes)},
        training=fitted.fitted_on,
        metrics=metrics,
    )
    fusions = _movement(calibration, looks[0], reading, au_codes)
    if not fusions:
        return opinion
    moved = test.moves(reading)
    for code, fusion in fusions.items():
        k = au_codes.index(code)
        known = np.isfinite(moved[:, k])
        logit = fusion.score * found.score[:, k] + fusion.landmarks * looks[1][:, k] + fusion.intercept
        chance[known, k] = expit(logit[known] + fusion.movement * moved[known, k])
    shares = Shares()
    protocol = (
        "the same faces and parts, each face held against the median of its person's faces (at least "
        f"{LEAST_PICTURES}), as in a clip it is held against the clip's; {', '.join(fusions)} with {shares.score:.0%} "
        f"of the network, {shares.landmarks:.0%} of the landmarks and {shares.movement:.0%} of the movement of brows "
        "and lids, the others as on single pictures"
    )
    own_rest = OwnRest(fusion=fusions, metrics=_measured(found, chance, joint.threshold, au_codes, protocol))
    return opinion.model_copy(update={"own_rest": own_rest})


def _movement(
    part: Judged, looks: npt.NDArray[np.float32], reading: LandmarkReading, au_codes: tuple[str, ...]
) -> Mapping[str, MovementFusion]:
    """How each AU that is measured is decided where the person's rest is known."""
    found, moved, fusions = part.found, part.moves(reading), {}
    for k in np.flatnonzero(reading.measured):
        score, look, move = found.score[:, k], looks[:, k], moved[:, k]
        kept = (found.weights[:, k] > 0) & np.isfinite(score) & np.isfinite(look) & np.isfinite(move)
        fusion = fit_movement(score[kept], look[kept], move[kept], found.labels[kept, k] > 0.5)
        if fusion is not None:
            fusions[au_codes[k]] = fusion
    return fusions


def _measured(
    found: Predictions,
    chance: npt.NDArray[np.float64],
    thresholds: npt.NDArray[np.float64],
    au_codes: tuple[str, ...],
    protocol: str,
) -> Metrics:
    both = replace(found, score=chance.astype(np.float32), decision=chance >= thresholds)
    table = score_table(au_codes, both.labels, both.weights, both.score, chance, both.decision)
    return manifest_metrics(table, protocol, plain_f1=float("nan"), interval=mean_auc_interval(both))
