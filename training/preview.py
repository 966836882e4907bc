"""A picture of predictions: each face beside its target map, its predicted map and the Action Units by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from model.geometry import crop_to_map
from model.network import RoiGcn
from model.roi import roi_centres, target_maps
from training.data.samples import evaluation_crop
from training.data.shards import FaceShards
from training.evaluate import Reading, predict_maps

CELL = 160
TEXT_WIDTH = 240


def signed_colours(values: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """(H, W) from -1 to 1 as RGB: red above 0, blue below, white at 0."""
    strength = np.clip(values, -1, 1)[..., None]
    red, blue = np.array([200.0, 30, 30]), np.array([30.0, 60, 200])
    return np.asarray(255 + np.abs(strength) * (np.where(strength > 0, red, blue) - 255), np.uint8)


def strongest(maps: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """(K, H, W) to (H, W): at each pixel the value farthest from 0."""
    k = np.abs(maps).argmax(0)
    return np.asarray(np.take_along_axis(maps, k[None], 0)[0])


def draw_predictions(
    network: RoiGcn, faces: FaceShards, reading: Reading, chosen: Sequence[int]
) -> npt.NDArray[np.uint8]:
    """RGB picture with one row for each chosen face: crop, targets, prediction, then truth and scores by AU."""
    crops = [evaluation_crop(*faces.face(i), reading.input_size) for i in chosen]
    was_training = network.training
    network.eval()
    maps = predict_maps(network, np.stack([pixels for pixels, _ in crops]))
    network.train(was_training)
    rows = []
    for i, (pixels, landmarks), predicted in zip(chosen, crops, maps, strict=True):
        centres = crop_to_map(roi_centres(landmarks, reading.au_codes, reading.roi.rule))
        wanted, _ = target_maps(
            centres, faces.labels[i], predicted.shape[-1], half_width=reading.roi.half_width, sigma=reading.roi.sigma
        )
        cells = [cv2.resize(pixels, (CELL, CELL), interpolation=cv2.INTER_AREA)]
        cells += [
            cv2.resize(signed_colours(strongest(shown)), (CELL, CELL), interpolation=cv2.INTER_NEAREST)
            for shown in (wanted, predicted)
        ]
        rows.append(np.concatenate([*cells, _names(reading.au_codes, faces.labels[i], wanted, predicted)], axis=1))
    return np.concatenate(rows)


def _names(
    au_codes: Sequence[str],
    labels: npt.NDArray[np.float32],
    wanted: npt.NDArray[np.float32],
    predicted: npt.NDArray[np.float32],
) -> npt.NDArray[np.uint8]:
    """Codes with the mean signed amplitude; green where it agrees with the label, red where not; bold when present."""
    panel = np.full((CELL, TEXT_WIDTH, 3), 255, np.uint8)
    for k, code in enumerate(au_codes):
        template = np.abs(wanted[k])
        amplitude = float((predicted[k] * template).sum() / max(float((template**2).sum()), 1e-6))
        present = bool(labels[k] > 0.5)
        colour = (0, 130, 0) if (amplitude > 0) == present else (200, 0, 0)
        place = (6 + (k // 10) * 120, 14 + (k % 10) * 15)
        text = f"{code[2:]:>2} {'yes' if present else 'no '} {amplitude:+.2f}"
        cv2.putText(panel, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 2 if present else 1, cv2.LINE_AA)
    return panel


def save_predictions(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    """Write an RGB picture as JPEG."""
    cv2.imwrite(str(path), np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 88])
