from __future__ import annotations

import numpy as np
import pytest

from training.synthetic.identity import Identity, draw_identity
from training.synthetic.labels import CLOSED_BELOW, OPEN_FROM, Labels, visible
from training.synthetic.pack import FacePack
from training.synthetic.recipes import BANDS, LABELLED, MASKINGS
from training.synthetic.sampler import express

CLOSED = 0.0


@pytest.fixture(scope="module")
def person(toy: FacePack) -> Identity:
    return draw_identity(toy, 0, "train", 0)


def label(
    toy: FacePack,
    person: Identity,
    units: dict[int, float],
    opening: float = CLOSED,
    nuisances: dict[str, float] | None = None,
) -> Labels:
    return visible(toy, express(toy, person, units, nuisances or {}), opening)


def column(labels: Labels, unit: int) -> tuple[int, float]:
    index = LABELLED.index(unit)
    return int(labels.occurrence[index]), float(labels.weight[index])


def test_a_neutral_face_is_labelled_absent_throughout(toy: FacePack, person: Identity) -> None:
    labels = label(toy, person, {})
    assert labels.occurrence.sum() == 0
    assert labels.weight.all()
    assert labels.occurrence.shape == labels.weight.shape == labels.intensity.shape == (15,)


@pytest.mark.parametrize("unit", [unit for unit in LABELLED if unit not in (25, 26)])
@pytest.mark.parametrize(("place", "expected"), [("below", (0, 1.0)), ("inside", (0, 0.0)), ("above", (1, 1.0))])
def test_bands(toy: FacePack, person: Identity, unit: int, place: str, expected: tuple[int, float]) -> None:
    band = BANDS[unit]
    middle = (band.absent_below + band.present_from) / 2
    intensity = {"below": band.absent_below - 0.01, "inside": middle, "above": band.present_from}[place]
    assert column(label(toy, person, {unit: intensity}), unit) == expected


@pytest.mark.parametrize(
    ("commanded", "opening", "expected"),
    [
        (0.0, CLOSED, (0, 1.0)),
        (0.0, CLOSED_BELOW, (0, 0.0)),
        (0.0, OPEN_FROM, (1, 1.0)),  # lips parted by another unit or at rest
        (0.8, CLOSED, (0, 1.0)),  # commanded, yet nothing to be seen
        (0.8, OPEN_FROM, (1, 1.0)),
    ],
)
def test_parted_lips_are_what_is_seen(
    toy: FacePack, person: Identity, commanded: float, opening: float, expected: tuple[int, float]
) -> None:
    assert column(label(toy, person, {25: commanded}, opening), 25) == expected


def test_a_dropped_jaw_implies_parted_lips(toy: FacePack, person: Identity) -> None:
    labels = label(toy, person, {26: 0.8}, CLOSED)
    assert column(labels, 26) == (1, 1.0)
    assert column(labels, 25) == (1, 1.0)


def test_parting_the_lips_alone_drops_no_jaw(toy: FacePack, person: Identity) -> None:
    assert column(label(toy, person, {25: 1.0}, 1.0), 26) == (0, 1.0)


@pytest.mark.parametrize("masking", MASKINGS)
def test_hidden_units_weigh_nothing_while_absent(toy: FacePack, person: Identity, masking: object) -> None:
    rule = next(m for m in MASKINGS if m == masking)
    covering = {rule.while_present: 1.0}
    assert column(label(toy, person, covering), rule.absent) == (0, 0.0)
    assert column(label(toy, person, {**covering, rule.absent: 1.0}), rule.absent) == (1, 1.0)
    weaker = {rule.while_present: rule.from_intensity - 0.01}
    assert column(label(toy, person, weaker), rule.absent)[1] == 1.0


@pytest.mark.parametrize(
    ("nuisances", "units"),
    [({"eyeBlink": 1.0}, (6, 7)), ({"mouthPucker": 0.5}, (23, 24)), ({"mouthFunnel": 0.5}, (23, 24))],
)
def test_nuisances_hide_units(
    toy: FacePack, person: Identity, nuisances: dict[str, float], units: tuple[int, ...]
) -> None:
    labels = label(toy, person, {}, nuisances=nuisances)
    undecided = {unit for unit, weight in zip(LABELLED, labels.weight, strict=True) if weight == 0}
    assert undecided == set(units)
    assert labels.occurrence.sum() == 0


def test_pressed_lips_that_show_the_teeth_are_undecided(toy: FacePack, person: Identity) -> None:
    assert column(label(toy, person, {24: 1.0}, OPEN_FROM), 24) == (1, 0.0)


def test_values_are_plain(toy: FacePack, person: Identity) -> None:
    labels = label(toy, person, {12: 0.7})
    assert set(np.unique(labels.occurrence)) <= {0, 1}
    assert set(np.unique(labels.weight)) <= {0.0, 1.0}
    assert labels.intensity[LABELLED.index(12)] == pytest.approx(0.7)
