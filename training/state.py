"""What a run leaves on disk to go on from, and what it may begin with."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model.network import SUPERVISION_PREFIX, RoiGcn

STATE, PREVIOUS = "state.ckpt", "state-previous.ckpt"
STATE_VERSION = 1


class TrainingError(Exception):
    """A run that cannot start, resume or go on; the message says what to do."""


@dataclass(frozen=True)
class StartingPoint:
    """Weights of an earlier run to begin with.

    Attributes:
        weights: of the network; without the supervision head if they come from a published checkpoint.
        history: what the earlier runs were, oldest first, as a manifest tells it.
    """

    weights: dict[str, torch.Tensor]
    history: tuple[dict[str, Any], ...] = ()


def carry_weights(network: RoiGcn, state: dict[str, torch.Tensor]) -> None:
    """Begin with the weights of another run, which may have had another input size (low resolution first).

    Only the supervision head knows the size of the maps: its weight maps are resized, and divided by the growth of the
    number of pixels that they sum over. Weights of a published checkpoint, which lack that head, leave it as it is.

    Raises:
        TrainingError: the weights are those of another architecture.
    """
    own = network.state_dict()
    carried = dict(state)
    key = f"{SUPERVISION_PREFIX}weight"
    if key in own and key in carried and own[key].shape[1] != carried[key].shape[1]:
        rows, before, after = carried[key].shape[0], math.isqrt(carried[key].shape[1]), math.isqrt(own[key].shape[1])
        maps = carried[key].view(rows, 1, before, before)
        resized = nn.functional.interpolate(maps, size=(after, after), mode="bilinear", align_corners=False)
        carried[key] = resized.flatten(1) * (before / after) ** 2
    try:
        network.load_state_dict(own | carried)
    except RuntimeError as error:
        raise TrainingError(f"the weights to start from are of another architecture: {error}") from error


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write the run's state so that a kill or a full disk at any moment leaves a whole one.

    Raises:
        TrainingError: it could not be written; the last good state is untouched.
    """
    draft = path.with_suffix(".writing")
    try:
        with draft.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch wraps a failing write in RuntimeError
        draft.unlink(missing_ok=True)
        raise TrainingError(f"{path}: the state could not be written ({error}); the last good one is intact") from error
    if path.exists():
        path.replace(path.with_name(PREVIOUS))
    draft.replace(path)


def load_state(folder: Path) -> dict[str, Any] | None:
    """The newest whole state in a run's folder, or None where there is none.

    Raises:
        TrainingError: states are there and none can be read.
    """
    problems = []
    for name in (STATE, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a broken file
            problems.append(f"{path.name}: {error}")
            continue
        if state.get("version") == STATE_VERSION:
            return dict(state)
        problems.append(f"{path.name}: written by another version of roigcn")
    if problems:
        raise TrainingError(f"{folder}: no state can be read ({'; '.join(problems)}); remove them to start anew")
    return None
