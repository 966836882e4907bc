from __future__ import annotations

import pytest

from model.action_units import AU_SETS, CATALOGUE, RULE_NAMES, ActionUnit, resolve
from model.landmarks import FLIP_68, LAYOUTS


def test_named_sets_are_those_of_the_method() -> None:
    assert {name: [int(code[2:]) for code in codes] for name, codes in AU_SETS.items()} == {
        "bp4d": [1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24],
        "disfa": [1, 2, 4, 6, 9, 12, 25, 26],
        "faces15": [1, 2, 4, 6, 7, 9, 10, 12, 14, 15, 17, 23, 24, 25, 26],
    }


def test_the_paper_trains_what_is_no_extension() -> None:
    trained = {code for codes in AU_SETS.values() for code in codes}
    assert {unit.code for unit in CATALOGUE.values() if not unit.extension} == trained


def test_catalogue_ascends_and_names_are_unique() -> None:
    numbers = [unit.number for unit in CATALOGUE.values()]
    assert numbers == sorted(set(numbers))
    assert len({unit.name for unit in CATALOGUE.values()}) == len(CATALOGUE)


@pytest.mark.parametrize("unit", CATALOGUE.values(), ids=lambda unit: unit.code)
def test_every_unit_keeps_the_contract(unit: ActionUnit) -> None:
    assert CATALOGUE[unit.code] is unit
    assert unit.code == f"AU{unit.number}"
    assert unit.half in ("upper", "lower")
    assert set(unit.rules) == set(RULE_NAMES)
    known = set(LAYOUTS["ibug49"].to_layout.tolist())
    for rule in unit.rules.values():
        # METHOD 1.1: the 49-point layout is enough for every rule.
        assert set(rule.first + rule.second) <= known
        mirrored = {int(FLIP_68[i]) for i in rule.first}
        if rule.first == (51,):  # the vertical pair: each point is its own mirror image
            assert (rule.second, mirrored) == ((57,), {51})
            assert not unit.sided
        else:
            assert mirrored == set(rule.second)
    # Upper-face actions are driven from both hemispheres; midline ones have no side.
    assert unit.dominant_side == ("left" if unit.sided and unit.half == "lower" else "both")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("disfa", AU_SETS["disfa"]),
        (" BP4D ", AU_SETS["bp4d"]),
        ("AU12", ("AU12",)),
        ("1, 2,AU4", ("AU1", "AU2", "AU4")),
        ("au06 12", ("AU6", "AU12")),
        ([12, 6], ("AU12", "AU6")),
        (("AU1", "12"), ("AU1", "AU12")),
        (AU_SETS["faces15"], AU_SETS["faces15"]),
        ([43], ("AU43",)),
    ],
)
def test_resolve(given: str | list[str | int], wanted: tuple[str, ...]) -> None:
    assert resolve(given) == wanted


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "no Action Unit given"),
        ([], "no Action Unit given"),
        ("ck+", "unknown Action Unit or set"),
        ([3], "unknown Action Unit"),
        ([True], "unknown Action Unit"),
        (["AU"], "unknown Action Unit"),
        (["AU12", 12], "named twice: AU12"),
    ],
)
def test_resolve_refuses(given: str | list[str | int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve(given)
