"""Draws expressions: which Action Units, how strong, how lopsided, and what else the face does meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from training.synthetic.identity import Identity
from training.synthetic.pack import FacePack, FloatArray
from training.synthetic.recipes import (
    ADD_PROBABILITY,
    ALONE_PROBABILITY,
    AMBIGUOUS_PROBABILITY,
    BANDS,
    CONFIGURATION_SHARE,
    CONFIGURATIONS,
    CONTRADICTIONS,
    COUPLINGS,
    INNER_WITH_OUTER,
    KEEP_PROBABILITY,
    LABELLED,
    MIXED_PROBABILITY,
    NEUTRAL_SHARE,
    NUISANCES,
    SHAPES_OF_AU,
    STRETCH_IN_DISTRESS,
    STRETCH_PROBABILITY,
    TRACE_PROBABILITY,
    UPPER_FACE,
)

LOWEST_WEIGHT, HIGHEST_WEIGHT = -0.7, 1.7
ONE_SIDED = (2, 10, 12, 14, 15)  # units that people often show on one side only


@dataclass(frozen=True, eq=False)
class Expression:
    """What a face is told to do.

    Attributes:
        units: Action Unit number -> commanded intensity, 0 to 1; units that are not named are 0.
        weights: (E,) float32 shape weights, resting face, couplings and nuisances included.
        nuisances: shape -> weight of the movements that carry no label.
    """

    units: Mapping[int, float]
    weights: FloatArray
    nuisances: Mapping[str, float]


def draw_units(rng: np.random.Generator) -> dict[int, float]:
    """Draw Action Units with intensities: present ones, traces, ambiguous ones and unlabelled AU5 and AU20."""
    present = without_contradictions(_draw_present(rng), rng)
    units = {unit: _present_intensity(unit, rng) for unit in sorted(present)}
    for unit in LABELLED:
        if unit in present:
            continue
        chance = rng.random()
        if chance < AMBIGUOUS_PROBABILITY:
            if not _contradicts(unit, present):
                units[unit] = float(rng.uniform(BANDS[unit].absent_below, BANDS[unit].present_from))
        elif chance < AMBIGUOUS_PROBABILITY + TRACE_PROBABILITY:
            units[unit] = float(rng.uniform(0.02, BANDS[unit].absent_below))
    if rng.random() < 0.08 and 7 not in present:
        units[5] = float(rng.uniform(0.2, 1.0))
    distressed = 1 in present and (4 in present or 15 in present)
    if rng.random() < (STRETCH_IN_DISTRESS if distressed else STRETCH_PROBABILITY) and 12 not in present:
        units[20] = float(rng.uniform(0.2, 1.0))
    return units


def _draw_present(rng: np.random.Generator) -> set[int]:
    kind = rng.random()
    if kind < NEUTRAL_SHARE:
        return set()
    if kind < NEUTRAL_SHARE + CONFIGURATION_SHARE:
        kept = {unit for unit in _draw_configuration(rng) if rng.random() < KEEP_PROBABILITY}
        present = kept | {unit for unit in LABELLED if rng.random() < ADD_PROBABILITY}
    else:
        present = {unit for unit in LABELLED if rng.random() < ALONE_PROBABILITY}
    return present | {1} if 2 in present and rng.random() < INNER_WITH_OUTER else present


def _draw_configuration(rng: np.random.Generator) -> set[int]:
    frequency = np.array([weight for _, weight in CONFIGURATIONS])
    above, below = rng.choice(len(CONFIGURATIONS), size=2, p=frequency / frequency.sum())
    if rng.random() >= MIXED_PROBABILITY:
        return set(CONFIGURATIONS[above][0])
    upper = set(CONFIGURATIONS[above][0]) & set(UPPER_FACE)
    return upper | set(CONFIGURATIONS[below][0]) - set(UPPER_FACE)


def without_contradictions(units: Iterable[int], rng: np.random.Generator) -> set[int]:
    """Drop one unit of each contradicting pair, at random; a dropped jaw (AU26) never leaves lips that contradict.

    AU26 parts the lips, so AU25 is always there with it.
    """
    left = set(units)
    if 26 in left:
        left.add(25)
    for pair in rng.permutation(np.array(CONTRADICTIONS)):
        if left.issuperset(pair.tolist()):
            dropped = int(rng.choice(pair))
            left.discard(dropped)
            if dropped == 25:
                left.discard(26)
    return left


def _contradicts(unit: int, present: Iterable[int]) -> bool:
    return any(unit in pair and (set(pair) - {unit}) & set(present) for pair in CONTRADICTIONS)


def _present_intensity(unit: int, rng: np.random.Generator) -> float:
    least = BANDS[unit].present_from
    return float(least + (1.0 - least) * rng.beta(1.3, 1.2))


def draw_expression(pack: FacePack, identity: Identity, rng: np.random.Generator) -> Expression:
    """Draw an expression of a person: units, couplings, gaze, blink and movements without a label."""
    return express(pack, identity, draw_units(rng), draw_nuisances(rng), rng)


def draw_nuisances(rng: np.random.Generator) -> dict[str, float]:
    """Draw movements that carry no label: shape -> weight."""
    drawn = {
        shape: float(rng.uniform(least, most))
        for shape, (probability, least, most) in NUISANCES.items()
        if rng.random() < probability
    }
    drawn["eyeBlink"] = 1.0 if rng.random() < 0.05 else float(rng.uniform(0.0, 0.25))
    drawn |= gaze(float(rng.normal(0.0, 0.25)), float(rng.normal(0.0, 0.2)))
    return drawn


def gaze(to_right: float, up: float) -> dict[str, float]:
    """Return the shape weights of both eyes looking to the picture's right and up, each about -1 to 1."""
    horizontal = ("eyeLookIn_R", "eyeLookOut_L") if to_right > 0 else ("eyeLookOut_R", "eyeLookIn_L")
    vertical = ("eyeLookUp_L", "eyeLookUp_R") if up > 0 else ("eyeLookDown_L", "eyeLookDown_R")
    return dict.fromkeys(horizontal, abs(to_right)) | dict.fromkeys(vertical, abs(up))


def express(
    pack: FacePack,
    identity: Identity,
    units: Mapping[int, float],
    nuisances: Mapping[str, float],
    rng: np.random.Generator | None = None,
) -> Expression:
    """Turn units and nuisances into shape weights.

    Args:
        pack: the head.
        identity: whose resting face and gains apply.
        units: Action Unit -> intensity, 0 to 1.
        nuisances: shape -> weight, added as it is.
        rng: draws asymmetry and couplings; None moves both sides alike and adds no couplings.
    """
    weights = identity.resting.copy()
    for unit, intensity in units.items():
        sides = _asymmetry(unit, rng)
        for shape, weight in SHAPES_OF_AU[unit].items():
            _add(pack, weights, shape, weight * intensity * identity.gains[unit], sides)
    if rng is not None:
        _couple(pack, weights, units, rng)
    for shape, weight in nuisances.items():
        _add(pack, weights, shape, weight, (1.0, 1.0))
    return Expression(dict(units), np.clip(weights, LOWEST_WEIGHT, HIGHEST_WEIGHT), dict(nuisances))


def _add(pack: FacePack, weights: FloatArray, shape: str, weight: float, sides: tuple[float, float]) -> None:
    rows = pack.sides(shape)
    for row, side in zip(rows, sides if len(rows) == 2 else (sum(sides) / 2,), strict=True):
        weights[row] += weight * side


def _asymmetry(unit: int, rng: np.random.Generator | None) -> tuple[float, float]:
    if rng is None:
        return (1.0, 1.0)
    left, right = (float(gain) for gain in rng.uniform(0.85, 1.1, 2))
    if unit in ONE_SIDED and rng.random() < 0.12:
        weak = float(rng.uniform(0.1, 0.6))
        return (left * weak, right) if rng.random() < 0.5 else (left, right * weak)
    return (left, right)


def _couple(pack: FacePack, weights: FloatArray, units: Mapping[int, float], rng: np.random.Generator) -> None:
    for coupling in COUPLINGS:
        strength = min(units.get(unit, 0.0) for unit in coupling.units)
        if strength > 0.0 and rng.random() < coupling.probability:
            _add(pack, weights, coupling.shape, strength * float(rng.uniform(0.0, coupling.most)), (1.0, 1.0))
