"""Scores of a network on labelled faces: crop, maps and decoder as in inference, then tables of `training.metrics`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from model.decode import Decoder, decode
from model.geometry import crop_to_map
from model.manifest import Manifest, RoiConfig
from model.network import RoiGcn
from model.roi import roi_centres
from training.calibration import Calibrator
from training.config import TrainConfig
from training.data.samples import evaluation_crop, normalise
from training.data.shards import FaceShards
from training.metrics import ScoreTable, bootstrap_interval, roc_auc, score_table


@dataclass(frozen=True)
class Reading:
    """What is needed to read a network's maps: the part of a configuration or a manifest that inference uses.

    Attributes:
        au_codes: K Action Units in channel order.
        input_size: side of the crop.
        roi: centres and windows.
        decoder: name of the decoder.
    """

    au_codes: tuple[str, ...]
    input_size: int
    roi: RoiConfig
    decoder: Decoder

    @classmethod
    def of_config(cls, config: TrainConfig) -> Reading:
        """As a run with this configuration is read."""
        target = config.target
        roi = RoiConfig(rule=target.rule, sigma=target.sigma, half_width=target.half_width)
        decoder: Decoder = "positives" if config.network.variant == "heatmap" else "mask"
        return cls(config.network.au_codes, config.network.input_size, roi, decoder)

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> Reading:
        """As a published checkpoint is read."""
        return cls(manifest.au_codes, manifest.input_size, manifest.roi, manifest.decoder)


@dataclass(frozen=True)
class Predictions:
    """Of N faces and K Action Units.

    Attributes:
        score: (N, K) float32, about -1 to 1; NaN where unreadable.
        decision: (N, K) bool, the decoder's own.
        labels: (N, K) in {0, 1}.
        weights: (N, K).
        identities: (N,).
    """

    score: npt.NDArray[np.float32]
    decision: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    identities: npt.NDArray[np.int64]


@torch.inference_mode()
def predict_maps(network: RoiGcn, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """ROI maps (B, K, H, W) of crops (B, S, S, 3); the network must be in evaluation mode."""
    device = next(network.parameters()).device
    pictures = torch.from_numpy(normalise(crops)).to(device, memory_format=torch.channels_last)
    return network.roi_maps(pictures).float().cpu().numpy()


def predict(
    network: RoiGcn,
    faces: FaceShards,
    reading: Reading,
    chosen: Sequence[int] | None = None,
    batch: int = 32,
    advance: Callable[[int], None] = lambda _: None,
) -> Predictions:
    """Scores of faces by the way of inference.

    Args:
        network: put into evaluation mode here and back afterwards.
        faces: labelled faces.
        reading: how to read the maps.
        chosen: numbers of faces; all by default.
        batch: faces at a time.
        advance: told how many faces were done.
    """
    numbers = np.arange(len(faces)) if chosen is None else np.asarray(chosen)
    scores, decisions = [], []
    was_training = network.training
    network.eval()
    for start in range(0, len(numbers), batch):
        part = [faces.face(int(i)) for i in numbers[start : start + batch]]
        crops = [evaluation_crop(rgb, landmarks, reading.input_size) for rgb, landmarks in part]
        maps = predict_maps(network, np.stack([pixels for pixels, _ in crops]))
        landmarks = np.stack([points for _, points in crops])
        centres = crop_to_map(roi_centres(landmarks, reading.au_codes, reading.roi.rule))
        decoded = decode(
            maps, centres, decoder=reading.decoder, half_width=reading.roi.half_width, sigma=reading.roi.sigma
        )
        scores.append(decoded.score)
        decisions.append(decoded.decision)
        advance(len(part))
    network.train(was_training)
    return Predictions(
        np.concatenate(scores),
        np.concatenate(decisions),
        faces.labels[numbers],
        faces.weights[numbers],
        faces.identities[numbers],
    )


def table_of(predictions: Predictions, au_codes: Sequence[str], calibrator: Calibrator | None = None) -> ScoreTable:
    """The table of predictions; without a calibrator at the decoder's own decision and raw probability."""
    if calibrator is None:
        probability, decision = np.clip((predictions.score.astype(np.float64) + 1) / 2, 0, 1), predictions.decision
    else:
        probability, decision = (
            calibrator.probability(predictions.score),
            calibrator.decide(predictions.score, predictions.decision),
        )
    return score_table(au_codes, predictions.labels, predictions.weights, predictions.score, probability, decision)


def mean_auc_interval(predictions: Predictions, repeats: int = 200) -> tuple[float, float]:
    """95 % interval of the mean AUC over AUs when identities are drawn again."""

    def mean_auc(rows: npt.NDArray[np.int64]) -> float:
        values = []
        for k in range(predictions.labels.shape[1]):
            kept = rows[(predictions.weights[rows, k] > 0) & np.isfinite(predictions.score[rows, k])]
            values.append(roc_auc(predictions.labels[kept, k] > 0.5, predictions.score[kept, k].astype(np.float64)))
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    return bootstrap_interval(mean_auc, predictions.identities, repeats)
