"""Three folds of people, named by the part that they test (METHOD 6.3).

The parts of BP4D and DISFA are those that published code agrees on; the paper does not list its own. Of the people of
the two other parts some are held out of training, to calibrate on: nothing about a fold is chosen on its test part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

Parts = Mapping[str, tuple[str, ...]]

PART_NAMES = ("P1", "P2", "P3")


def _parts(prefix: str, *rows: str) -> Parts:
    names = (tuple(prefix + number for number in row.split()) for row in rows)
    return MappingProxyType(dict(zip(PART_NAMES, names, strict=True)))


DATASET_PARTS: Mapping[str, Parts] = MappingProxyType(
    {
        "bp4d": _parts(
            "",
            "F001 F002 F008 F009 F010 F016 F018 F023 M001 M004 M007 M008 M012 M014",
            "F003 F005 F011 F013 F020 F022 M002 M005 M010 M011 M013 M016 M017 M018",
            "F004 F006 F007 F012 F014 F015 F017 F019 F021 M003 M006 M009 M015",
        ),
        "disfa": _parts(
            "SN",
            "001 002 009 010 016 026 027 030 032",
            "006 011 012 013 018 021 024 028 031",
            "003 004 005 007 008 017 023 025 029",
        ),
    }
)
"""The parts of METHOD 6.3 by data set: 14, 14 and 13 people of BP4D, three times nine of DISFA."""


class FoldError(Exception):
    """People that cannot be divided as the protocol wants; the message names them and says what to do."""


@dataclass(frozen=True)
class Fold:
    """One train and test division; no person is in two of the three.

    Attributes:
        name: of the part that is tested.
        train: people trained on.
        held_out: people of the other two parts kept for calibration and thresholds.
        test: people tested.
    """

    name: str
    train: tuple[str, ...]
    held_out: tuple[str, ...]
    test: tuple[str, ...]


def published_parts(dataset: str, subjects: Sequence[str]) -> Parts:
    """The parts of BP4D or DISFA, with those of their people that are there.

    Raises:
        FoldError: a person belongs to no part: the data are of another set.
    """
    parts = DATASET_PARTS[dataset]
    known = {subject for part in parts.values() for subject in part}
    strangers = sorted(set(subjects) - known)
    if strangers:
        raise FoldError(
            f"{', '.join(strangers[:5])}{' ...' if len(strangers) > 5 else ''}: not among the {len(known)} people of "
            f"{dataset}; is this another data set?"
        )
    there = set(subjects)
    return {name: tuple(subject for subject in part if subject in there) for name, part in parts.items()}


def missing_subjects(dataset: str, subjects: Sequence[str]) -> tuple[str, ...]:
    """People of BP4D or DISFA that are not there; none for other sets."""
    there = set(subjects)
    return tuple(s for part in DATASET_PARTS.get(dataset, {}).values() for s in part if s not in there)


def dealt_parts(subjects: Sequence[str]) -> Parts:
    """Three parts of any people: dealt in the given order, every third to one part."""
    return {name: tuple(subjects[i :: len(PART_NAMES)]) for i, name in enumerate(PART_NAMES)}


def held_out_of(subjects: Sequence[str], count: int | None) -> tuple[str, ...]:
    """Who of the training people is kept for calibration: `count` of them, evenly spaced in the given order.

    By default one in nine, at least one: three of BP4D's 27 or 28, two of DISFA's 18.
    """
    wanted = max(1, round(len(subjects) / 9)) if count is None else count
    return tuple(subjects[(2 * i + 1) * len(subjects) // (2 * wanted)] for i in range(wanted))


def make_folds(parts: Parts, names: Sequence[str] = PART_NAMES, hold_out: int | None = None) -> tuple[Fold, ...]:
    """The folds that test the named parts.

    Args:
        parts: all people, by part.
        names: parts to test.
        hold_out: people of the training parts to keep for calibration; one in nine by default; 0 trains on all of them,
            as the paper did.

    Raises:
        FoldError: an unknown part, a part without people, or too few people left to train on.
    """
    folds = []
    for name in names:
        if name not in parts:
            raise FoldError(f"there is no part {name!r}; the parts are {', '.join(parts)}")
        if not parts[name]:
            raise FoldError(
                f"fold {name} has no people to test; prepare data with people of part {name}, "
                f"or leave it out: --folds {','.join(other for other in parts if parts[other]) or 'P1'}"
            )
        others = sorted(subject for other, part in parts.items() if other != name for subject in part)
        needed = 2 if hold_out is None else hold_out + 1
        if len(others) < needed:
            calibrating = 1 if hold_out is None else hold_out
            raise FoldError(
                f"fold {name} has {len(others)} people outside its test part and needs {needed}: one to train on and "
                f"{calibrating} held out for calibration; prepare more people, or hold out fewer (--hold-out 0: none)"
            )
        held_out = held_out_of(others, hold_out)
        train = tuple(subject for subject in others if subject not in set(held_out))
        folds.append(Fold(name, train, held_out, parts[name]))
    return tuple(folds)
