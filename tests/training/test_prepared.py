from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import CODES, toy_faces
from training.data.prepared import PreparedSet, is_prepared
from training.data.shards import FaceShards, ShardError, find_shards, write_shard

MANIFEST = {"format_version": 1, "dataset": "bp4d", "au_codes": list(CODES), "size": 48, "subjects": ["F001", "M002"]}


def prepared(folder: Path, **changes: object) -> Path:
    """F001 in two files, M002 in one."""
    folder.mkdir(exist_ok=True)
    for seed, name in enumerate(("F001-000", "F001-001", "M002-000")):
        subject = name.split("-")[0]
        write_shard(folder / f"{name}.npz", toy_faces(3 + seed, seed=seed) | {"subject": np.array([subject])})
    (folder / "dataset.json").write_text(json.dumps(MANIFEST | changes))
    return folder


def test_faces_are_asked_for_by_subject(tmp_path: Path) -> None:
    opened = PreparedSet.open(prepared(tmp_path))
    assert (opened.dataset, opened.au_codes, opened.size) == ("bp4d", CODES, 48)
    assert opened.subjects == ("F001", "M002")
    assert [path.name for path in opened.shards_of(["M002", "F001"])] == [
        "M002-000.npz",
        "F001-000.npz",
        "F001-001.npz",
    ]
    faces = opened.faces(["F001"], ("AU25", "AU4"))
    assert len(faces) == 7
    np.testing.assert_array_equal(faces.labels[:3], toy_faces(3, seed=0)["labels"][:, [2, 0]])


def test_a_subject_in_two_files_is_one_person(tmp_path: Path) -> None:
    opened = PreparedSet.open(prepared(tmp_path))
    assert list(opened.faces(["F001", "M002"], CODES).identities) == [0] * 7 + [1] * 5
    assert list(opened.faces(["M002", "F001"], CODES).identities) == [0] * 5 + [1] * 7


def test_the_same_name_in_another_folder_is_another_person(tmp_path: Path) -> None:
    paths = [prepared(tmp_path / name) / f"F001-00{i}.npz" for name in ("a", "b") for i in (0, 1)]
    assert list(FaceShards(paths, CODES).identities) == [0] * 7 + [1] * 7


def test_shards_with_and_without_a_subject_mix(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    write_shard(folder / "other.npz", toy_faces(6, seed=9))  # its identities: 0 0 0 0 1 1
    faces = FaceShards([folder / f"{n}.npz" for n in ("F001-000", "other", "F001-001", "M002-000")], CODES)
    assert list(faces.identities) == [0] * 3 + [1] * 4 + [2] * 2 + [0] * 4 + [3] * 5


def test_prefixes_of_other_subjects_are_not_mixed_in(tmp_path: Path) -> None:
    folder = prepared(tmp_path, subjects=["F001", "F0011"])
    write_shard(folder / "F0011-000.npz", toy_faces(2, seed=5) | {"subject": np.array(["F0011"])})
    assert {path.name for path in PreparedSet.open(folder).shards_of(["F001"])} == {"F001-000.npz", "F001-001.npz"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"finished": False}, "not finished; run the same"),
        ({"format_version": 2}, "prepare it again"),
        ({"subjects": []}, "no face could be prepared"),
        ({"size": "wide"}, "not of `roigcn prepare`"),
        ({"au_codes": None}, "not of `roigcn prepare`"),
    ],
)
def test_unusable_folders_say_what_to_do(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(ShardError, match=says):
        PreparedSet.open(prepared(tmp_path, **changes))


def test_missing_things_are_named(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="no such folder"):
        PreparedSet.open(tmp_path / "nowhere")
    with pytest.raises(ShardError, match=r"no dataset\.json"):
        PreparedSet.open(tmp_path)
    folder = prepared(tmp_path)
    opened = PreparedSet.open(folder)
    with pytest.raises(ShardError, match=r"no faces of F002, F003; it holds F001, M002"):
        opened.shards_of(["F001", "F002", "F003"])
    with pytest.raises(ShardError, match="no labels for AU7; it holds AU4, AU12, AU25"):
        opened.faces(["F001"], ("AU4", "AU7"))
    with pytest.raises(ShardError, match="prepare parts"):
        opened.part("train")
    (folder / "M002-000.npz").unlink()
    with pytest.raises(ShardError, match=r"M002-\*\.npz are gone"):
        opened.shards_of(["M002"])
    (folder / "dataset.json").write_text("{")
    with pytest.raises(ShardError, match="cannot be read"):
        PreparedSet.open(folder)


def test_parts_are_lists_of_subjects(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    with pytest.raises(ShardError, match="prepare parts"):
        find_shards(folder, "train")
    (folder / "parts.json").write_text(json.dumps({"train": ["F001"], "test": ["M002"], "calibration": ["M003"]}))
    assert [path.name for path in find_shards(folder, "train")] == ["F001-000.npz", "F001-001.npz"]
    assert [path.name for path in find_shards(folder, "test")] == ["M002-000.npz"]
    with pytest.raises(ShardError, match="no faces of M003"):
        find_shards(folder, "calibration")
    with pytest.raises(ShardError, match="no part 'dev'"):
        find_shards(folder, "dev")
    (folder / "parts.json").write_text("[]")
    with pytest.raises(ShardError, match="choose the parts again"):
        find_shards(folder, "train")


def test_rendered_folders_are_told_apart(tmp_path: Path) -> None:
    assert not is_prepared(tmp_path)
    assert is_prepared(prepared(tmp_path))
    (tmp_path / "dataset.json").write_text(json.dumps({"format_version": 1, "split": "train", "images": 3}))
    assert not is_prepared(tmp_path)
    with pytest.raises(ShardError, match="rendered faces"):
        PreparedSet.open(tmp_path)
