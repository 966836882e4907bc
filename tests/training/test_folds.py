from __future__ import annotations

import pytest

from training.data.folds import (
    DATASET_PARTS,
    FoldError,
    dealt_parts,
    held_out_of,
    make_folds,
    missing_subjects,
    published_parts,
)


@pytest.mark.parametrize(("dataset", "sizes"), [("bp4d", [14, 14, 13]), ("disfa", [9, 9, 9])])
def test_the_published_parts_hold_every_person_once(dataset: str, sizes: list[int]) -> None:
    parts = DATASET_PARTS[dataset]
    assert [len(part) for part in parts.values()] == sizes
    people = [subject for part in parts.values() for subject in part]
    assert len(set(people)) == sum(sizes)
    wanted = (
        {f"F{i:03}" for i in range(1, 24)} | {f"M{i:03}" for i in range(1, 19)}
        if dataset == "bp4d"
        else {f"SN{i:03}" for i in range(1, 33)} - {f"SN{i:03}" for i in (14, 15, 19, 20, 22)}
    )
    assert set(people) == wanted


@pytest.mark.parametrize("dataset", ["bp4d", "disfa"])
@pytest.mark.parametrize("hold_out", [None, 0, 5])
def test_no_person_is_in_two_places_of_a_fold(dataset: str, hold_out: int | None) -> None:
    everyone = sorted(subject for part in DATASET_PARTS[dataset].values() for subject in part)
    folds = make_folds(published_parts(dataset, everyone), hold_out=hold_out)
    assert sorted(subject for fold in folds for subject in fold.test) == everyone
    for fold in folds:
        assert sorted((*fold.train, *fold.held_out, *fold.test)) == everyone
        assert fold.test == DATASET_PARTS[dataset][fold.name]
        expected = {None: 3 if dataset == "bp4d" else 2}.get(hold_out, hold_out)
        assert len(fold.held_out) == expected


def test_the_held_out_are_spread_evenly_and_always_the_same() -> None:
    assert held_out_of([str(i) for i in range(18)], None) == ("4", "13")
    assert held_out_of(["a", "b"], None) == ("b",)
    assert held_out_of(["a", "b"], 0) == ()
    bp4d = make_folds(DATASET_PARTS["bp4d"])
    assert bp4d[0].held_out == ("F007", "F021", "M013")
    assert {subject[0] for fold in bp4d for subject in fold.held_out} == {"F", "M"}


def test_folds_of_other_people_are_dealt() -> None:
    parts = dealt_parts([str(i) for i in range(7)])
    assert [len(part) for part in parts.values()] == [3, 2, 2]
    assert dealt_parts([])["P1"] == ()


def test_absent_people_are_counted() -> None:
    assert missing_subjects("disfa", [s for s in sum(DATASET_PARTS["disfa"].values(), ()) if s != "SN009"]) == (
        "SN009",
    )
    assert missing_subjects("rendered", ["1"]) == ()


@pytest.mark.parametrize(
    ("subjects", "names", "hold_out", "says"),
    [
        (["F001", "SN001"], ("P1",), None, "another data set"),
        (["F001", "F003"], ("P4",), None, "no part 'P4'"),
        (["F001", "F003", "F005"], ("P3",), None, "--folds P1,P2"),
        (["F001", "F003"], ("P1",), None, "needs 2"),
        (["F001"], ("P1",), 0, "needs 1"),
        (["F001", "F003", "F005"], ("P1",), 2, "needs 3"),
        ([], ("P1",), None, "no people to test"),
    ],
)
def test_impossible_folds_are_explained(
    subjects: list[str], names: tuple[str, ...], hold_out: int | None, says: str
) -> None:
    with pytest.raises(FoldError, match=says):
        make_folds(published_parts("bp4d", subjects), names, hold_out)
