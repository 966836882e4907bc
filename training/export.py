"""Publishing: a run becomes a versioned checkpoint with an honest manifest and a model card beside the weights.

The figures in the manifest are measured with the half-precision weights that are published, read back from disk: on the
test part, with calibration and thresholds fitted on the calibration part.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.checkpoint import Checkpoint, write_checkpoint
from model.manifest import (
    Architecture,
    Calibration,
    Manifest,
    Metrics,
    RoiConfig,
    Training,
)
from model.network import SUPERVISION_PREFIX
from training.calibration import Calibrator, fit_calibrator
from training.config import TrainConfig
from training.data.origin import Origin
from training.data.shards import FaceShards
from training.evaluate import Reading, mean_auc_interval, predict, table_of
from training.landmark_opinion import Judged, check_faces, fit_on, keep_of, landmark_opinion
from training.landmark_reading import LANDMARK_VOICE
from training.manifest_metrics import manifest_metrics
from training.model_card import model_card
from training.state import TrainingError, load_state


@dataclass(frozen=True)
class TrainedRun:
    """What a run's folder holds of its result.

    Attributes:
        config: the recipe.
        all_weights: the whole network, averaged where averaging was on.
        step: steps done.
        data: names and lengths of the training shards.
        history: earlier runs whose weights this one began with, oldest first.
    """

    config: TrainConfig
    all_weights: dict[str, torch.Tensor]
    step: int
    data: str
    history: tuple[dict[str, Any], ...] = ()

    @property
    def lineage(self) -> tuple[dict[str, Any], ...]:
        """The history with this run at its end."""
        own = {
            "name": self.config.name,
            "input_size": self.config.network.input_size,
            "faces": self.faces,
            "steps": self.step,
            "samples": self.step * self.config.optimiser.batch,
        }
        return (*self.history, own)

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """The weights to publish: without the supervision head, which serves training alone."""
        return {key: value for key, value in self.all_weights.items() if not key.startswith(SUPERVISION_PREFIX)}

    @property
    def faces(self) -> int:
        """Number of different training faces."""
        return sum(int(shard.rsplit(":", 1)[1]) for shard in self.data.split(";"))


def read_run(folder: Path) -> TrainedRun:
    """The result of a run, finished or not.

    Raises:
        TrainingError: the folder holds no state.
    """
    state = load_state(folder)
    if state is None:
        raise TrainingError(
            f"{folder}: holds no training state; start one with `roigcn train --data SHARDS --out {folder}`"
        )
    weights = state["average"] or state["network"]
    config = TrainConfig.model_validate_json(state["config"])
    return TrainedRun(config, weights, int(state["step"]), state["data"], tuple(state["history"]))


def averaged(run: TrainedRun, earlier: Mapping[str, torch.Tensor]) -> TrainedRun:
    """The run with the mean of its weights and those that it began with.

    Weights along one training path can be averaged; late ones fit the rendered faces best, earlier ones can do better
    on others (Wortsman et al. 2022).

    Args:
        run: of `read_run`.
        earlier: weights of an earlier run or of a published checkpoint; what serves training alone is not needed.

    Raises:
        TrainingError: the two are of different architectures.
    """
    mean = {}
    for key, value in run.state.items():
        if key not in earlier or earlier[key].shape != value.shape:
            raise TrainingError("weights of different architectures cannot be averaged")
        mean[key] = (value + earlier[key]) / 2 if value.is_floating_point() else value
    return replace(run, all_weights=mean)


def code_revision() -> str | None:
    """Commit of the working tree this code runs from, with "+changes" where it differs; None outside a repository."""
    git = shutil.which("git")
    here = Path(__file__).resolve().parent
    if git is None:
        return None

    def ask(*arguments: str) -> str | None:
        found = subprocess.run([git, "-C", str(here), *arguments], capture_output=True, text=True, check=False)
        return found.stdout.strip() if found.returncode == 0 else None

    revision = ask("rev-parse", "--short=12", "HEAD")
    if not revision:
        return None
    return revision + ("+changes" if ask("status", "--porcelain", "--untracked-files=no", "--", "..") else "")


def publish(
    run: TrainedRun,
    calibration: FaceShards,
    test: FaceShards,
    root: Path,
    name: str,
    version: str,
    data_text: str,
    origin: Origin,
    summary: str = "",
    real_faces: str = "",
    synthetic_only: bool = True,
    licence: str = "",
    revision: str | None = None,
    landmarks: FaceShards | Checkpoint | None = None,
    landmark_voice: float = LANDMARK_VOICE,
    advance: Callable[[int], None] = lambda _: None,
) -> Checkpoint:
    """Measure a run and write it as `<root>/<name>/<version>`.

    Args:
        run: of `read_run`.
        calibration: faces of people held out of training and of the test part.
        test: faces that the published figures are measured on.
        root: of checkpoints.
        name: of the checkpoint.
        version: of the checkpoint; a published version is never overwritten.
        data_text: what it was trained on, in words.
        origin: where calibration and test faces come from.
        summary: one line for lists.
        real_faces: what it was seen to do on real faces, in words.
        synthetic_only: whether no real face was trained on.
        licence: of the weights; what the origin's faces ask for by default.
        revision: of the code that trained; the working tree's by default.
        landmarks: faces that a reading of landmarks is fitted on, to join the network's score; or a published
            checkpoint whose reading joins it.
        landmark_voice: share of the landmarks in the joint log odds, 0 to 1.
        advance: told how many faces were scored.

    Raises:
        CheckpointError: the version exists or a weight is not finite.
        AssetError: a reading of landmarks is wanted and the face nets are missing.
        TrainingError: a reading of landmarks is wanted of too few faces.
    """
    config, reading = run.config, Reading.of_config(run.config)
    if landmarks is not None:
        check_faces(calibration, reading.au_codes)
    kept = keep_of(landmarks, reading.au_codes) if isinstance(landmarks, Checkpoint) else None
    draft = Manifest(
        name=name,
        version=version,
        summary=summary or config.summary,
        architecture=Architecture(
            backbone=config.network.backbone, variant=config.network.variant, phi_act=config.network.phi_act
        ),
        au_codes=reading.au_codes,
        input_size=reading.input_size,
        map_size=config.map_size,
        roi=RoiConfig(rule=reading.roi.rule, sigma=reading.roi.sigma, half_width=reading.roi.half_width),
        decoder=reading.decoder,
        training=Training(
            data=data_text,
            synthetic_only=synthetic_only,
            images=run.faces,
            steps=sum(part["steps"] for part in run.lineage),
            revision=revision or code_revision(),
            date=datetime.now(UTC).date().isoformat(),
            samples=sum(part["samples"] for part in run.lineage),
            runs=run.lineage,
            config=config.model_dump(mode="json", exclude={"log"}),
        ),
        metrics=Metrics(protocol="not measured"),
        real_faces=real_faces,
        licence=licence or origin.licence(),
    )
    with tempfile.TemporaryDirectory() as scratch:
        rounded = write_checkpoint(Path(scratch) / name / version, run.state, draft).load_network()
    held_out = predict(rounded, calibration, reading, advance=advance)
    calibrator = fit_calibrator(held_out.score, held_out.labels, held_out.weights)
    found = predict(rounded, test, reading, advance=advance)
    table = table_of(found, reading.au_codes, calibrator)
    metrics = manifest_metrics(
        table,
        protocol=origin.test_protocol(
            len(found.labels), len(np.unique(found.identities)), calibration_faces=len(held_out.labels)
        ),
        plain_f1=table_of(found, reading.au_codes).mean.f1,
        interval=mean_auc_interval(found),
    )
    manifest = draft.model_copy(update={"metrics": metrics, **calibration_fields(calibrator, reading.au_codes)})
    tensors: dict[str, torch.Tensor | npt.NDArray[np.float32]] = dict(run.state)
    if isinstance(landmarks, FaceShards):
        kept = fit_on(landmarks, reading.au_codes, origin.pictures)
    if kept is not None:
        parts = Judged(calibration, held_out), Judged(test, found)
        opinion = landmark_opinion(kept, *parts, reading.au_codes, landmark_voice)
        manifest = manifest.model_copy(update={"landmark_opinion": opinion})
        tensors |= kept.reading.tensors()
    return write_checkpoint(root / name / version, tensors, manifest, card=lambda final: model_card(final, origin))


def calibration_fields(calibrator: Calibrator, au_codes: tuple[str, ...]) -> dict[str, object]:
    """The manifest's `calibration` and `thresholds`; AUs that could not be fitted are left out."""
    fitted = [k for k in range(len(au_codes)) if np.isfinite(calibrator.slope[k])]
    return {
        "calibration": {
            au_codes[k]: Calibration(
                slope=round(float(calibrator.slope[k]), 5), intercept=round(float(calibrator.intercept[k]), 5)
            )
            for k in fitted
        },
        "thresholds": {
            au_codes[k]: round(float(calibrator.threshold[k]), 4)
            for k in fitted
            if np.isfinite(calibrator.threshold[k])
        },
    }
