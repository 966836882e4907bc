from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.synthetic.identity import IDENTITIES_PER_SPLIT, SPLITS, draw_identity, identity_number
from training.synthetic.pack import FacePack
from training.synthetic.recipes import (
    BANDS,
    CONFIGURATIONS,
    CONTRADICTIONS,
    LABELLED,
    SHAPES_OF_AU,
    UNLABELLED,
    UPPER_FACE,
)
from training.synthetic.sampler import (
    HIGHEST_WEIGHT,
    LOWEST_WEIGHT,
    draw_expression,
    draw_units,
    express,
    without_contradictions,
)
from training.synthetic.seeds import stream

SEEDS = st.integers(0, 2**32 - 1)


def _present(units: dict[int, float]) -> set[int]:
    return {unit for unit in LABELLED if units.get(unit, 0.0) >= BANDS[unit].present_from}


@settings(max_examples=300, deadline=None)
@given(SEEDS)
def test_drawn_units_never_contradict(seed: int) -> None:
    units = draw_units(np.random.default_rng(seed))
    present = _present(units)
    assert not [pair for pair in CONTRADICTIONS if present.issuperset(pair)]
    assert 26 not in present or 25 in present
    assert not (7 in present and 5 in units)
    assert all(0.0 < intensity <= 1.0 for intensity in units.values())
    assert set(units) <= {*LABELLED, *UNLABELLED}


@settings(max_examples=200, deadline=None)
@given(st.sets(st.sampled_from(LABELLED)), SEEDS)
def test_contradictions_are_resolved_by_dropping_only(units: set[int], seed: int) -> None:
    left = without_contradictions(units, np.random.default_rng(seed))
    assert not [pair for pair in CONTRADICTIONS if left.issuperset(pair)]
    assert left <= units | {25}
    assert 26 not in left or 25 in left


def test_no_configuration_of_the_table_contradicts_itself() -> None:
    for units, frequency in CONFIGURATIONS:
        assert not [pair for pair in CONTRADICTIONS if set(units).issuperset(pair)], units
        assert frequency > 0
        assert list(units) == sorted(set(units))
        assert 26 not in units or 25 in units


def test_the_mouth_says_little_of_the_brows() -> None:
    rng = np.random.default_rng(0)
    faces = [_present(draw_units(rng)) for _ in range(4000)]
    drawn = np.array([[unit in face for unit in LABELLED] for face in faces])
    upper = np.isin(LABELLED, UPPER_FACE)
    between = np.corrcoef(drawn.T)[np.ix_(upper, ~upper)]
    assert np.abs(between).max() < 0.16
    inner, outer = drawn[:, LABELLED.index(1)], drawn[:, LABELLED.index(2)]
    assert 0.5 < inner[outer].mean() < 0.75, "the outer brow mostly takes the inner along, not always"


def test_every_unit_is_drawn_often_enough_and_absent_more_often() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_units(rng) for _ in range(3000)]
    for unit in LABELLED:
        share = np.mean([unit in _present(units) for units in drawn])
        assert 0.08 < share < 0.45, (unit, share)
    neutral = np.mean([not _present(units) for units in drawn])
    assert 0.08 < neutral < 0.25
    ambiguous = [BANDS[u].absent_below <= x < BANDS[u].present_from for d in drawn for u, x in d.items() if u in BANDS]
    assert 0.02 < np.mean(ambiguous) < 0.3


def test_expressions_depend_on_the_seed_alone(toy: FacePack) -> None:
    person = draw_identity(toy, 5, "train", 3)
    first, again, other = (draw_expression(toy, person, stream(5, "expression", 3, n)) for n in (0, 0, 1))
    np.testing.assert_array_equal(first.weights, again.weights)
    assert first.units == again.units
    assert not np.array_equal(first.weights, other.weights)
    assert first.weights.dtype == np.float32
    assert (first.weights >= LOWEST_WEIGHT).all()
    assert (first.weights <= np.float32(HIGHEST_WEIGHT)).all()


@pytest.mark.parametrize("unit", SHAPES_OF_AU)
def test_each_unit_moves_its_own_shapes(toy: FacePack, unit: int) -> None:
    person = draw_identity(toy, 0, "train", 0)
    calm = express(toy, person, {}, {}).weights
    moved = express(toy, person, {unit: 0.5}, {}).weights - calm
    expected = {row for shape in SHAPES_OF_AU[unit] for row in toy.sides(shape)}
    assert {int(row) for row in np.abs(moved).nonzero()[0]} == expected


def test_people_never_meet_between_splits(toy: FacePack) -> None:
    drawn = {split: [draw_identity(toy, 0, split, index) for index in range(40)] for split in SPLITS}
    numbers = [{person.number for person in people} for people in drawn.values()]
    assert len(set.union(*numbers)) == sum(map(len, numbers)) == 120
    shapes = {person.shape.tobytes() for people in drawn.values() for person in people}
    assert len(shapes) == 120
    test_skins = {skin for person in drawn["test"] for skin in person.skins}
    other_skins = {skin for split in ("train", "calibration") for person in drawn[split] for skin in person.skins}
    assert test_skins == set(toy.held_out_skins)
    assert other_skins == set(toy.training_skins())


@pytest.mark.parametrize(("split", "index"), [("validation", 0), ("train", -1), ("test", IDENTITIES_PER_SPLIT)])
def test_numbers_outside_a_split_are_refused(split: str, index: int) -> None:
    with pytest.raises(ValueError, match=r"unknown split|outside"):
        identity_number(split, index)


def test_streams_do_not_mix() -> None:
    draws = {
        (purpose, key): stream(0, purpose, key).random()
        for purpose in ("identity", "appearance", "scene")
        for key in range(3)
    }
    assert len(set(draws.values())) == len(draws)
