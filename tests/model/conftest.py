"""A face to test geometry on: symmetric, upright, about the size it has in a 256-pixel crop; and small checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from model.checkpoint import Architecture, Calibration, Checkpoint, Manifest, Metrics, Training, write_checkpoint
from model.landmarks import FLIP_68
from model.network import NetworkConfig, RoiGcn
from model.values import Float64Array

# Examples are judged by their answers, not by how busy the machine is.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

INNER_OCULAR = 52.0
MIDDLE = (128.0, 100.0)  # between the inner eye corners, in pixels

# Image-left half and midline, in inner-ocular distances from the point between the eyes.
_HALF = {
    **{i: (-2.3 * np.cos(i * np.pi / 16), 0.2 + 3.4 * np.sin(i * np.pi / 16)) for i in range(9)},
    **dict(
        zip(range(17, 22), [(-1.9, -0.55), (-1.55, -0.85), (-1.2, -0.92), (-0.8, -0.85), (-0.4, -0.7)], strict=True)
    ),
    **dict(zip(range(27, 31), [(0, -0.05), (0, 0.4), (0, 0.8), (0, 1.15)], strict=True)),
    **dict(zip(range(31, 34), [(-0.4, 1.35), (-0.2, 1.42), (0, 1.48)], strict=True)),
    **dict(zip((36, 37, 38, 39), [(-1.45, 0), (-1.2, -0.18), (-0.8, -0.18), (-0.5, 0)], strict=True)),
    **dict(zip((40, 41), [(-0.75, 0.12), (-1.2, 0.12)], strict=True)),
    **dict(zip((48, 49, 50, 51), [(-0.8, 2.1), (-0.5, 1.97), (-0.2, 1.9), (0, 1.93)], strict=True)),
    **dict(zip((57, 58, 59), [(0, 2.45), (-0.25, 2.42), (-0.55, 2.32)], strict=True)),
    **dict(zip((60, 61, 62, 66, 67), [(-0.7, 2.1), (-0.3, 2.07), (0, 2.1), (0, 2.2), (-0.3, 2.2)], strict=True)),
}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread: tiny networks gain nothing from more, and lose much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def face() -> Float64Array:
    """(68, 2) iBUG landmarks in pixels; read only."""
    points = np.full((68, 2), np.nan)
    for index, point in _HALF.items():
        points[index] = point
        points[FLIP_68[index]] = -point[0], point[1]
    points = points * INNER_OCULAR + MIDDLE
    assert np.isfinite(points).all()
    points.setflags(write=False)
    return points


def random_manifest(config: NetworkConfig, au_codes: tuple[str, ...], **changes: Any) -> Manifest:
    """A manifest that fits a network that was never trained."""
    fields: dict[str, Any] = {
        "name": "random",
        "version": "1",
        "architecture": Architecture(**config.to_dict()),
        "au_codes": au_codes,
        "input_size": config.input_size,
        "map_size": config.map_size,
        "calibration": {code: Calibration(slope=2.0, intercept=0.5) for code in au_codes[1:]},
        "training": Training(data="none: random weights", synthetic_only=False, date="2026-01-01"),
        "metrics": Metrics(protocol="none"),
        "licence": "Apache-2.0",
        **changes,
    }
    return Manifest(**fields)


@pytest.fixture(scope="session")
def make_checkpoint() -> Callable[..., Checkpoint]:
    """Writes a checkpoint of random weights: `make(root, version="1", variant="neg", ...)`."""

    def make(
        root: Path, *, name: str = "random", version: str = "1", date: str = "2026-01-01", **architecture: Any
    ) -> Checkpoint:
        au_codes = ("AU1", "AU4", "AU12", "AU25")
        settings = {"backbone": "hrnet_w18_small", "input_size": 64, "num_aus": len(au_codes), **architecture}
        config = NetworkConfig(**settings)
        torch.manual_seed(7)
        network = RoiGcn(config)
        torch.nn.init.normal_(network.head.weight, std=0.02)  # maps of about the size that training gives
        with torch.no_grad():  # statistics that are not those of an untouched normalisation
            for _ in range(3):
                network.backbone(torch.randn(2, 3, 64, 64))
        training = Training(data="none: random weights", synthetic_only=False, date=date)
        manifest = random_manifest(config, au_codes, name=name, version=version, training=training)
        return write_checkpoint(root / name / version, network.eval().inference_state(), manifest)

    return make


@pytest.fixture(scope="session")
def checkpoint(make_checkpoint: Callable[..., Checkpoint], tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The paper's network, small and with random weights; do not change its files."""
    return make_checkpoint(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="session")
def graph_cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Converted networks of this session."""
    return tmp_path_factory.mktemp("graphs")
