"""What can be scored: the folder of a run or of a published checkpoint, opened alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.checkpoint import MANIFEST_NAME, load_checkpoint
from model.network import RoiGcn
from training.calibration import Calibrator, fit_calibrator
from training.data.shards import FaceShards
from training.evaluate import Reading, predict
from training.export import read_run
from training.loop import build_network


@dataclass(frozen=True)
class Subject:
    """A network with the way to read its maps.

    Attributes:
        network: in evaluation mode.
        reading: crop, centres, decoder.
        calibrator: a checkpoint's own; None for a run.
    """

    network: RoiGcn
    reading: Reading
    calibrator: Calibrator | None

    def calibrated(
        self, held_out: FaceShards | None, advance: Callable[[int], None] = lambda _: None
    ) -> Calibrator | None:
        """Its own calibration, or one fitted on held-out faces, or None without any."""
        if self.calibrator is not None or held_out is None:
            return self.calibrator
        found = predict(self.network, held_out, self.reading, advance=advance)
        return fit_calibrator(found.score, found.labels, found.weights)


def open_subject(folder: Path) -> Subject:
    """Open a run or a checkpoint.

    Raises:
        TrainingError: the folder is neither.
        CheckpointError: it is a checkpoint that cannot be used.
    """
    if (folder / MANIFEST_NAME).exists():
        checkpoint = load_checkpoint(folder)
        slope, intercept = checkpoint.manifest.platt()
        threshold = checkpoint.manifest.threshold_array()
        calibrator = Calibrator(*(np.asarray(values, np.float64) for values in (slope, intercept, threshold)))
        return Subject(checkpoint.load_network(), Reading.of_manifest(checkpoint.manifest), calibrator)
    run = read_run(folder)
    network = build_network(run.config, pretrained=False)
    network.load_state_dict(network.state_dict() | run.state)
    return Subject(network.eval(), Reading.of_config(run.config), None)
