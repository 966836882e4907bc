"""Training samples: one affine for picture and landmarks together, chance from the sample's number alone.

A sample is a function of (seed, position in the run): which face, which affine, which effects. So a resumed run draws
what the uninterrupted one would have drawn, whatever the number of loader processes, and nothing needs to be stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, Sampler

from model.geometry import BORDER_RGB, CROP_SCALE, apply_affine, crop_affine, crop_to_map, extract_crop, warp
from model.landmarks import FLIP_68
from model.manifest import Normalisation
from model.roi import roi_centres, target_maps
from training.config import AugmentSection, TrainConfig
from training.data.augment import augment_photo
from training.data.shards import FaceShards

PLAIN_BORDER = 0.2
MEAN, STD = np.array(Normalisation().mean, np.float32), np.array(Normalisation().std, np.float32)
BROWS = slice(17, 27)
COVERED_FROM = 0.6
"""Share of a ROI's surroundings behind a hand or another thing from which on nobody could judge the AU there."""


@dataclass(frozen=True)
class Batch:
    """What one step needs; B samples, K Action Units, maps of H x H pixels.

    Attributes:
        pictures: (B, 3, S, S) float32, normalised.
        targets: (B, K, H, H) float32 target maps.
        labels: (B, K) float32 in {0, 1}.
        weights: (B, K) float32.
    """

    pictures: torch.Tensor
    targets: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(*(x.to(device) for x in (self.pictures, self.targets, self.labels, self.weights)))


def normalise(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(..., S, S, 3) uint8 to (..., 3, S, S) float32: (rgb / 255 - mean) / std of a manifest's default."""
    scaled = (rgb.astype(np.float32) * np.float32(1 / 255) - MEAN) / STD
    return np.ascontiguousarray(np.moveaxis(scaled, -1, -3))


def jittered_affine(
    landmarks: npt.NDArray[np.floating], size: int, rng: np.random.Generator, config: AugmentSection
) -> tuple[npt.NDArray[np.float64], bool]:
    """The picture-to-crop affine of METHOD 6.4 with rotation, zoom, shift and flip about the crop's centre.

    Returns:
        (2, 3) affine and whether it mirrors; landmarks must then also be renumbered (`model.landmarks.FLIP_68`).
    """
    base = crop_affine(landmarks, size, CROP_SCALE)
    angle = math.radians(rng.uniform(-config.rotation_degrees, config.rotation_degrees))
    zoom = math.exp(rng.uniform(math.log(config.zoom[0]), math.log(config.zoom[1])))
    mirrored = bool(rng.random() < config.flip)
    turn = zoom * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    if mirrored:
        turn = np.diag([-1.0, 1.0]) @ turn
    middle = np.full(2, (size - 1) / 2)
    shift = rng.normal(0, config.shift * size, 2) if config.shift else np.zeros(2)
    linear = turn @ base[:, :2]
    offset = turn @ (base[:, 2] - middle) + middle + shift
    return np.concatenate([linear, offset[:, None]], axis=1), mirrored


def noisy_landmarks(
    landmarks: npt.NDArray[np.float64], rng: np.random.Generator, config: AugmentSection
) -> npt.NDArray[np.float64]:
    """Landmarks (68, 2) as a detector might see them: each point, the brows and all points displaced at random."""
    scale = float(np.linalg.norm(landmarks[39] - landmarks[42]))
    down = landmarks[33] - (landmarks[39] + landmarks[42]) / 2
    down = down / (np.linalg.norm(down) + 1e-6)
    noisy = landmarks + rng.normal(0, 1, landmarks.shape) * config.point_noise * scale
    noisy[BROWS] += down * rng.uniform(-config.brow_shift, config.brow_shift) * scale
    return np.asarray(noisy + rng.normal(0, 1, 2) * config.centre_shift * scale)


def hidden_aus(covered: npt.NDArray[np.float32], centres: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Action Units whose both ROIs lie behind something: the picture does not show whether they occur.

    Args:
        covered: (S, S), 1 where something opaque stands before the face.
        centres: (K, 2, 2) of the ROIs in pixels of the crop; those outside it count as seen.

    Returns:
        (K,) bool.
    """
    if not covered.any() or not len(centres):
        return np.zeros(len(centres), bool)
    around = max(3, covered.shape[0] // 12)
    share = cv2.blur(covered, (around, around))
    x, y = np.moveaxis(np.asarray(centres, np.float32), -1, 0)
    at = cv2.remap(share, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray((at >= COVERED_FROM).all(axis=-1), np.bool_)


def balance_weights(
    labels: npt.NDArray[np.float32], weights: npt.NDArray[np.float32], balance: str
) -> npt.NDArray[np.float32]:
    """Weight of a negative and of a positive label per AU.

    "sign": half of each AU's weight to either class. "au": inverse occurrence, mean 1 over AUs (Table 4); an AU that
    never occurs weighs 1 and has no part in that mean.
    Both are limited to ten times the neutral weight, so that a very rare class can not rule the gradient.

    Returns:
        (2, K): row 0 for label 0, row 1 for label 1.
    """
    total = np.maximum(weights.sum(0), 1)
    rate = np.clip((labels * weights).sum(0) / total, 1e-3, 1 - 1e-3)
    if balance == "sign":
        table = np.stack([0.5 / (1 - rate), 0.5 / rate])
    elif balance == "au":
        occurs = (labels * weights).sum(0) > 0
        inverse = np.where(occurs, (1 / rate) / (1 / rate[occurs]).mean(), 1) if occurs.any() else np.ones_like(rate)
        table = np.stack([inverse, inverse])
    else:
        table = np.ones((2, labels.shape[1]))
    return np.asarray(np.minimum(table, 10), np.float32)


class TrainingSamples(Dataset[tuple[torch.Tensor, ...]]):
    """Augmented samples of shards, addressed by (position in the run, face).

    Args:
        faces: the shards.
        config: the run.
    """

    def __init__(self, faces: FaceShards, config: TrainConfig) -> None:
        self.faces, self.config = faces, config
        self.au_codes = config.network.au_codes
        self.labels, self.weights = faces.labels, faces.weights
        self.class_weights = balance_weights(self.labels, self.weights, config.target.balance)

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, address: tuple[int, int]) -> tuple[torch.Tensor, ...]:
        position, face = address
        config, rng = self.config, np.random.default_rng([self.config.seed, position])
        rgb, landmarks = self.faces.face(face)
        size = config.network.input_size
        affine, mirrored = jittered_affine(landmarks, size, rng, config.augment)
        # Most real crops lie inside their picture, so the renders' missing surroundings are mostly made up by
        # mirroring; some keep the flat border that inference shows beyond a picture's edge.
        plain = rng.random() < PLAIN_BORDER
        crop = warp(rgb, affine, size, BORDER_RGB if plain else "mirror")
        points = apply_affine(affine, landmarks)
        if mirrored:
            points = points[FLIP_68]
        crop, covered = augment_photo(crop, points, rng, config.augment.photo)
        seen = noisy_landmarks(points, rng, config.augment)
        centres = roi_centres(crop_to_map(seen), self.au_codes, config.target.rule)
        targets, drawn = target_maps(
            centres,
            self.labels[face],
            config.map_size,
            half_width=config.target.half_width,
            sigma=config.target.sigma,
            positives_only=config.network.variant == "heatmap",
        )
        labels = self.labels[face]
        sign = self.class_weights[(labels > 0.5).astype(int), np.arange(len(labels))]
        visible = ~hidden_aus(covered, roi_centres(points, self.au_codes, config.target.rule))
        weights = drawn * self.weights[face] * sign * visible
        return (
            torch.from_numpy(normalise(crop)),
            torch.from_numpy(np.asarray(targets, np.float32)),
            torch.from_numpy(labels),
            torch.from_numpy(np.asarray(weights, np.float32)),
        )


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng([seed, epoch, count]).permutation(count)


class RunOrder(Sampler[list[tuple[int, int]]]):
    """Batches of (position, face) from any step to the last: each epoch a new permutation, no face skipped.

    Args:
        faces: number of faces.
        batch: samples a step.
        first_step: the first step wanted.
        last_step: the step before which to stop.
        seed: of the permutations.
        rank: which of `world` processes this is; each takes its own part of every batch.
        world: number of processes.
    """

    def __init__(
        self, faces: int, batch: int, first_step: int, last_step: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        self.faces, self.batch, self.seed = faces, batch, seed
        self.first_step, self.last_step = first_step, last_step
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return max(0, self.last_step - self.first_step)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.first_step, self.last_step):
            positions = range(step * self.batch + self.rank, (step + 1) * self.batch, self.world)
            yield [
                (position, int(_permutation(self.seed, position // self.faces, self.faces)[position % self.faces]))
                for position in positions
            ]


def collate(samples: list[tuple[torch.Tensor, ...]]) -> Batch:
    """Stack samples; the pictures in channels_last, which is the faster layout for convolutions."""
    pictures, targets, labels, weights = (torch.stack(column) for column in zip(*samples, strict=True))
    return Batch(pictures.contiguous(memory_format=torch.channels_last), targets, labels, weights)


def evaluation_crop(
    rgb: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.floating], size: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """The crop that inference makes: (S, S, 3) uint8 and landmarks (68, 2) in its pixels."""
    crop = extract_crop(rgb, np.asarray(landmarks, np.float32), size, CROP_SCALE)
    return crop.pixels, crop.landmarks
