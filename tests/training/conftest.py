from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training.config import TrainConfig

CODES = ("AU4", "AU12", "AU25")
SIZE = 48


def face_landmarks(size: int) -> np.ndarray:
    """A symmetric frontal layout of 68 points in a picture of `size` pixels."""
    half = {
        **{i: (-1 + 0.11 * i * (i / 8), -0.2 + 0.2 * i) for i in range(8)},
        **{17: (-0.8, -0.62), 18: (-0.65, -0.72), 19: (-0.5, -0.74), 20: (-0.35, -0.7), 21: (-0.2, -0.64)},
        **{36: (-0.62, -0.38), 37: (-0.5, -0.45), 38: (-0.38, -0.45), 39: (-0.26, -0.36), 40: (-0.38, -0.32)},
        **{41: (-0.5, -0.32), 31: (-0.2, 0.22), 32: (-0.1, 0.26), 48: (-0.42, 0.6), 49: (-0.28, 0.52)},
        **{50: (-0.12, 0.48), 59: (-0.25, 0.7), 58: (-0.12, 0.76), 60: (-0.34, 0.6), 61: (-0.12, 0.56)},
        **{67: (-0.12, 0.64)},
    }
    middle = {8: 1.3, 27: -0.38, 28: -0.2, 29: -0.03, 30: 0.13, 33: 0.28, 51: 0.5, 57: 0.78, 62: 0.57, 66: 0.65}
    from model.landmarks import FLIP_68

    points = np.zeros((68, 2))
    for i, (x, y) in half.items():
        points[i] = x, y
        points[FLIP_68[i]] = -x, y
    for i, y in middle.items():
        points[i] = 0, y
    return size / 2 + points * size * 0.26


def toy_faces(count: int, seed: int, size: int = SIZE) -> dict[str, np.ndarray]:
    """Grey faces whose Action Units are plain marks: black brows (AU4), red mouth corners (AU12), white lips (AU25)."""
    rng = np.random.default_rng(seed)
    images, landmarks, labels = [], [], []
    for _ in range(count):
        points = face_landmarks(size) + rng.normal(0, 1, 2)
        label = rng.random(len(CODES)) < 0.5
        rgb = np.full((size, size, 3), rng.integers(90, 160), np.uint8)
        rgb = np.clip(rgb + rng.normal(0, 6, rgb.shape), 0, 255).astype(np.uint8)
        for on, places, colour in zip(
            label, ((19, 24), (48, 54), (62, 66)), ((0, 0, 0), (255, 0, 0), (255, 255, 255)), strict=True
        ):
            if on:
                for place in places:
                    cv2.circle(rgb, tuple(int(v) for v in points[place]), 3, colour, -1)
        images.append(rgb)
        landmarks.append(points)
        labels.append(label)
    return {
        "images": np.stack(images),
        "landmarks": np.stack(landmarks).astype(np.float32),
        "labels": np.stack(labels).astype(np.int8),
        "weights": np.ones((count, len(CODES)), np.float32),
        "au_codes": np.array(CODES),
        "identities": np.arange(count) // 4,
    }


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the parts train (two shards), calibration and test."""
    root = tmp_path_factory.mktemp("toy")
    for part, counts in {"train": (48, 32), "calibration": (40,), "test": (40,)}.items():
        (root / part).mkdir()
        (root / part / "dataset.json").write_text('{"head": "toy"}')
        for number, count in enumerate(counts):
            np.savez(root / part / f"shard-{number:05d}.npz", **toy_faces(count, seed=len(part) * 10 + number))
    return root


@pytest.fixture
def tiny_config() -> TrainConfig:
    """A run of a few steps at 32 pixels."""
    return TrainConfig.model_validate(
        {
            "name": "tiny",
            "network": {"backbone": "hrnet_w18_small", "input_size": 32, "aus": list(CODES)},
            "target": {"half_width": 1, "sigma": 0.8},
            "augment": {"rotation_degrees": 5, "photo": 0.3},
            "data": {"workers": 0},
            "optimiser": {
                "name": "adamw",
                "lr": 3e-3,
                "weight_decay": 0.01,
                "schedule": "constant",
                "batch": 8,
                "steps": 6,
                "loss_scale": 100,
                "ema": 0.9,
            },
            "log": {"every": 2, "save_every": 2, "evaluate_every": 100},
        }
    )


@pytest.fixture(autouse=True)
def _few_threads() -> None:
    torch.set_num_threads(1)
