"""Hair on the head: where it grows, how its edge frays and how its strands are toned."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from training.synthetic.appearance import HairStyle
from training.synthetic.noise import cloud

STRAND_MAP_SIZE = 512
STRANDS_AROUND_HEAD = 2.0  # times the map is repeated around the head


def paint_strands(rng: np.random.Generator) -> Tensor:
    """Return (1, 1, S, S) strand noise, long along the second axis' columns: about -1.5 to 1.5."""
    fine = rng.standard_normal((STRAND_MAP_SIZE // 24, STRAND_MAP_SIZE), np.float32)
    coarse = rng.standard_normal((STRAND_MAP_SIZE // 48, STRAND_MAP_SIZE // 6), np.float32)
    target = (STRAND_MAP_SIZE, STRAND_MAP_SIZE)
    layers = [cv2.resize(layer, target, interpolation=cv2.INTER_LINEAR) for layer in (fine, coarse)]
    field = 0.5 * layers[0] + 0.5 * layers[1] + 0.15 * cloud(rng, STRAND_MAP_SIZE, (32, 16))
    return torch.from_numpy(field.astype(np.float32))[None, None]


def growth(rest: Tensor, style: HairStyle, fray: Tensor | float = 0.0) -> Tensor:
    """Return how far inside the hair a point of the mean head lies, in head units; negative is bare skin.

    Args:
        rest: (..., 3) points of the mean head.
        style: the hair.
        fray: (...,) or 0, strand noise that roughens the edge.
    """
    x, y, z = rest.unbind(-1)
    bow = torch.exp(-(((x / 6.0 - style.parting) / 0.9) ** 2))
    line = style.hairline - style.fringe * bow
    front = (y - line) + 0.35 * (8.5 - z).clamp(-2, 8) + fray * (0.35 + 0.3 * style.fringe)
    side = (5.2 - z) * 0.9 + 0.55 * (y - 3.0).clamp(-6, 6)
    inside = torch.maximum(torch.minimum(front, side), y - line - 0.5 + fray * 0.4 * style.fringe)
    inside = torch.where(y < -1.5, inside - 2 * (-1.5 - y), inside)
    ear = (x.abs() > 7.6) & (y < 6.0) & (z < 2.2) & (z > -4.2)
    return torch.where(ear, torch.full_like(inside, -1.0), inside)


def opacity(rest: Tensor, style: HairStyle, fray: Tensor | float = 0.0) -> Tensor:
    """Return (...,) opacity of the hair over points of the mean head, 0 to 1; arguments as in `growth`."""
    return style.cover * torch.sigmoid(growth(rest, style, fray) * 3.0)


def strand_tone(strands: Tensor, rest: Tensor) -> Tensor:
    """Return (M,) strand noise at (M, 3) points of the mean head; strands run down from the crown."""
    x, y, z = rest.unbind(-1)
    around = torch.atan2(x, z + 1.0) / torch.pi * STRANDS_AROUND_HEAD
    down = (y - 5.0) / 10.0 + 0.1 * z / 10.0
    grid = torch.stack([(around + 1) % 2 - 1, down.clamp(-1, 1)], -1)[None, None]
    sampled = torch.nn.functional.grid_sample(strands, grid, align_corners=False, padding_mode="reflection")
    return sampled[0, 0, 0]
