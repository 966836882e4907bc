from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import CODES, toy_faces
from training.data.folds import FoldError, make_folds
from training.data.shards import ShardError, write_shard
from training.protocol.people import dataset_in, open_people


def prepared(folder: Path, dataset: str, subjects: tuple[str, ...]) -> Path:
    folder.mkdir()
    for number, subject in enumerate(subjects):
        arrays = toy_faces(6, seed=number) | {"subject": np.array([subject])}
        write_shard(folder / f"{subject}-000.npz", arrays)
    about = {"format_version": 1, "dataset": dataset, "au_codes": CODES, "size": 48, "subjects": subjects}
    (folder / "dataset.json").write_text(json.dumps(about))
    return folder


def test_rendered_identities_are_folded_without_overlap(toy_data: Path) -> None:
    people = open_people("rendered", toy_data)
    assert dataset_in(toy_data) == "rendered"
    assert [len(part) for part in people.parts.values()] == [7, 7, 6]
    seen: set[int] = set()
    total = 0
    for fold in make_folds(people.parts):
        parts = [people.faces(names, CODES) for names in (fold.train, fold.held_out, fold.test)]
        persons = [set(part.identities) for part in parts]
        assert not persons[0] & persons[1]
        assert not (persons[0] | persons[1]) & persons[2]
        assert sum(map(len, parts)) == 80
        seen |= persons[2]
        total += len(parts[2])
    assert (len(seen), total) == (20, 80)


@pytest.mark.parametrize(
    ("dataset", "subjects", "parts"),
    [
        ("bp4d", ("F001", "F003", "F004", "M018"), [("F001",), ("F003", "M018"), ("F004",)]),
        ("disfa", ("SN001", "SN006", "SN003"), [("SN001",), ("SN006",), ("SN003",)]),
        ("csv", ("zoe", "ada", "eve", "bob"), [("ada", "zoe"), ("bob",), ("eve",)]),
    ],
)
def test_prepared_people_are_parted(
    tmp_path: Path, dataset: str, subjects: tuple[str, ...], parts: list[tuple[str, ...]]
) -> None:
    folder = prepared(tmp_path / "set", dataset, subjects)
    people = open_people(dataset_in(folder), folder)
    assert list(people.parts.values()) == parts
    assert len(people.faces(subjects[:2], CODES)) == 12
    with pytest.raises(ShardError, match="no labels for AU1"):
        people.faces(subjects[:1], ("AU1",))


@pytest.mark.parametrize(("asked", "holds"), [("disfa", "bp4d"), ("rendered", "bp4d"), ("bp4d", "csv")])
def test_another_data_set_is_named(tmp_path: Path, asked: str, holds: str) -> None:
    folder = prepared(tmp_path / "set", holds, ("F001", "F003"))
    with pytest.raises(ShardError, match=f"holds {holds}.*say {holds} instead"):
        open_people(asked, folder)  # type: ignore[arg-type]


def test_strangers_are_refused(tmp_path: Path) -> None:
    people = open_people("bp4d", prepared(tmp_path / "set", "bp4d", ("F001", "F099")))
    with pytest.raises(FoldError, match="F099"):
        _ = people.parts


def test_rendered_faces_are_not_taken_for_prepared_ones(toy_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="roigcn prepare"):
        open_people("bp4d", toy_data)
    with pytest.raises(ShardError, match="no such folder"):
        open_people("rendered", tmp_path / "nowhere")
    with pytest.raises(ShardError, match="unknown data set 'emotionet'"):
        dataset_in(prepared(tmp_path / "set", "emotionet", ("a",)))
