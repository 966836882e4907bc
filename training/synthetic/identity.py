"""People who do not exist: their shape, resting face, way of moving and looks, all from one number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.synthetic.pack import FacePack, FloatArray
from training.synthetic.recipes import LABELLED, RESTING_SHAPES, UNLABELLED
from training.synthetic.seeds import stream

IDENTITIES_PER_SPLIT = 10_000_000
SPLITS: Mapping[str, int] = {"train": 0, "calibration": 1, "test": 2}
IDENTITY_SPREAD = 0.85  # of the modes' unit variance: full spread gives implausible heads
IDENTITY_LIMIT = 2.5


@dataclass(frozen=True, eq=False)
class Identity:
    """One person.

    Attributes:
        number: unique over all splits; split s holds s * `IDENTITIES_PER_SPLIT` and up.
        seed: the data set's seed, from which the looks are drawn too.
        shape: (M,) float32 weights of the identity modes.
        resting: (E,) float32 shape weights of the face at rest.
        gains: Action Unit -> how far this person moves at intensity 1.
        skins: the two skins that are mixed; both held out in the test split, both not elsewhere.
        skin_mix: share of the second skin, 0 to 0.35.
        age: 0 to 1, depth of permanent lines and of expression wrinkles.
    """

    number: int
    seed: int
    shape: FloatArray
    resting: FloatArray
    gains: Mapping[int, float]
    skins: tuple[int, int]
    skin_mix: float
    age: float


def identity_number(split: str, index: int) -> int:
    """Return the number of the index-th person of a split.

    Raises:
        ValueError: for an unknown split or an index outside it.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    if not 0 <= index < IDENTITIES_PER_SPLIT:
        raise ValueError(f"identity index {index} is outside 0..{IDENTITIES_PER_SPLIT - 1}")
    return SPLITS[split] * IDENTITIES_PER_SPLIT + index


def draw_identity(pack: FacePack, seed: int, split: str, index: int) -> Identity:
    """Draw one person of a split; people and, in the test split, skins never meet those of another split."""
    number = identity_number(split, index)
    rng = stream(seed, "identity", number)
    modes = np.clip(rng.normal(size=len(pack.identity_modes)), -IDENTITY_LIMIT, IDENTITY_LIMIT) * IDENTITY_SPREAD
    allowed = pack.held_out_skins if split == "test" else pack.training_skins()
    first, second = rng.choice(allowed, size=2)
    return Identity(
        number=number,
        seed=seed,
        shape=modes.astype(np.float32),
        resting=_resting_face(pack, rng),
        gains={unit: float(rng.uniform(0.85, 1.25)) for unit in (*LABELLED, *UNLABELLED)},
        skins=(int(first), int(second)),
        skin_mix=float(rng.uniform(0.0, 0.35)),
        age=float(rng.uniform(0.05, 1.0)),
    )


def _resting_face(pack: FacePack, rng: np.random.Generator) -> FloatArray:
    weights = np.zeros(len(pack.shape_names), np.float32)
    for shape, deviation in RESTING_SHAPES.items():
        offset = rng.normal(0.0, deviation) if rng.random() < 0.5 else 0.0
        for row in pack.sides(shape):
            weights[row] += offset * rng.uniform(0.7, 1.3)
    return weights
