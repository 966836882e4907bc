"""Random streams that depend on what they are for and never on the order in which work is done."""

from __future__ import annotations

import numpy as np

STREAMS = {"identity": 1, "appearance": 2, "expression": 3, "scene": 4, "sensor": 5, "clip": 6}


def stream(seed: int, purpose: str, *key: int) -> np.random.Generator:
    """Return the random generator of one purpose.

    Args:
        seed: the seed of the whole data set, 0 or more.
        purpose: a key of `STREAMS`; two purposes never share random numbers.
        key: numbers, 0 or more, that name the thing drawn, such as identity and picture number.

    Returns:
        A generator that is the same on every run, in every process, for the same arguments.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAMS[purpose], *key)))
