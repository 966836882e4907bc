from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import CODES, toy_faces
from training.data.shards import FaceShards, ShardError, find_shards, read_shard


def write(path: Path, **changes: object) -> Path:
    arrays = toy_faces(6, seed=1) | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_a_shard_comes_back_as_it_was_written(tmp_path: Path, compressed: bool) -> None:
    arrays = toy_faces(5, seed=2)
    path = tmp_path / "a.npz"
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    shard = read_shard(path, CODES)
    for name in ("images", "landmarks", "labels", "weights"):
        np.testing.assert_array_equal(getattr(shard, name), arrays[name])
    assert isinstance(shard.images, np.memmap) != compressed


def test_label_columns_follow_the_asked_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz")
    both, turned = read_shard(path, CODES), read_shard(path, ("AU25", "AU4"))
    np.testing.assert_array_equal(turned.labels, both.labels[:, [2, 0]])


def test_weights_and_identities_are_optional(tmp_path: Path) -> None:
    shard = read_shard(write(tmp_path / "a.npz", weights=None, identities=None), CODES)
    assert (shard.weights == 1).all()
    assert list(shard.identities) == list(range(6))


def test_identities_do_not_meet_across_shards(tmp_path: Path) -> None:
    paths = [write(tmp_path / name) for name in ("a.npz", "b.npz")]
    faces = FaceShards(paths, CODES)
    assert not set(faces.identities[:6]) & set(faces.identities[6:])
    np.testing.assert_array_equal(faces.face(7)[0], faces.face(1)[0])
    for outside in (-1, 12):
        with pytest.raises(IndexError):
            faces.face(outside)


MANY_FILES = """
import resource, sys
from pathlib import Path
from training.data.shards import FaceShards, ShardError
resource.setrlimit(resource.RLIMIT_NOFILE, (64, int(sys.argv[2])))
try:
    faces = FaceShards([Path(sys.argv[1])] * 100, ("AU4",))
    print(len(faces), faces.face(599)[0].shape)
except ShardError as error:
    print(error)
"""


@pytest.mark.parametrize(("hard", "says"), [(4096, "600 (48, 48, 3)"), (64, "raise it (`ulimit -n 65536`)")])
def test_more_shards_than_files_may_be_open(tmp_path: Path, hard: int, says: str) -> None:
    command = [sys.executable, "-c", MANY_FILES, str(write(tmp_path / "a.npz")), str(hard)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert says in result.stdout, result.stderr


def test_another_process_opens_the_files_itself(tmp_path: Path) -> None:
    faces = FaceShards([write(tmp_path / "a.npz"), write(tmp_path / "b.npz")], CODES)
    parcel = pickle.dumps(faces)
    assert len(parcel) < 1000
    opened = pickle.loads(parcel)
    assert isinstance(opened.shards[0].images, np.memmap)
    np.testing.assert_array_equal(opened.labels, faces.labels)
    np.testing.assert_array_equal(opened.identities, faces.identities)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"images": None}, "no images"),
        ({"au_codes": None}, "no au_codes"),
        ({"labels": np.zeros((5, 3), np.int8)}, "lengths differ"),
        ({"images": np.zeros((6, 8, 9, 3), np.uint8)}, "wanted (N, S, S, 3)"),
        ({"images": np.zeros((6, 8, 8, 3), np.float32)}, "uint8"),
        ({"landmarks": np.zeros((6, 49, 2), np.float32)}, "(6, 68, 2)"),
        ({"au_codes": np.array(["AU1", "AU2", "AU5"])}, "no labels for AU4, AU12, AU25"),
    ],
)
def test_foreign_shards_are_named_with_their_fault(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    path = write(tmp_path / "a.npz", **changes)
    with pytest.raises(ShardError) as error:
        read_shard(path, CODES)
    assert says in str(error.value)
    assert "a.npz" in str(error.value)


@pytest.mark.parametrize("kept", [0, 10, 200, -40, -3])
def test_truncated_shards_are_refused(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "a.npz")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ShardError, match=r"broken|cut short"):
        read_shard(path, CODES)


def test_missing_things_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="no such file"):
        read_shard(tmp_path / "none.npz", CODES)
    with pytest.raises(ShardError, match="roigcn render"):
        find_shards(tmp_path / "nowhere", "train")
    with pytest.raises(ShardError, match="no shards of the part 'test'"):
        find_shards(tmp_path, "test")
    with pytest.raises(ShardError, match="no shards given"):
        FaceShards([], CODES)


def test_empty_shards_hold_no_faces(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **{name: value[:0] if name != "au_codes" else value for name, value in toy_faces(3, 1).items()})
    with pytest.raises(ShardError, match="hold no faces"):
        FaceShards([path], CODES)


def test_parts_are_folders_or_prefixes(tmp_path: Path) -> None:
    flat = write(tmp_path / "train-0.npz")
    assert find_shards(tmp_path, "train") == [flat]
    (tmp_path / "train").mkdir()
    inside = write(tmp_path / "train" / "shard-00000.npz")
    assert find_shards(tmp_path, "train") == [inside]


def test_a_subset_keeps_pictures_labels_and_people_together(tmp_path: Path) -> None:
    faces = FaceShards([write(tmp_path / "a.npz"), write(tmp_path / "b.npz")], CODES)
    part = faces.subset([7, 1, 4])
    assert len(part) == 3
    for row, number in enumerate((1, 4, 7)):
        np.testing.assert_array_equal(part.face(row)[0], faces.face(number)[0])
        np.testing.assert_array_equal(part.labels[row], faces.labels[number])
        assert part.identities[row] == faces.identities[number]
    np.testing.assert_array_equal(part.subset([2]).face(0)[1], faces.face(7)[1])
    opened = pickle.loads(pickle.dumps(part))
    np.testing.assert_array_equal(opened.labels, part.labels)
    assert opened.fingerprint == part.fingerprint


def test_subsets_have_fingerprints_of_their_own(tmp_path: Path) -> None:
    faces = FaceShards([write(tmp_path / "a.npz"), write(tmp_path / "b.npz")], CODES)
    assert re.fullmatch(r"a\.npz@[0-9a-f]{8}:6;b\.npz@[0-9a-f]{8}:6", faces.fingerprint)
    assert faces.subset(range(12)).fingerprint == faces.fingerprint
    prints = {faces.subset(chosen).fingerprint for chosen in ([0, 1], [0, 2], [6, 7], [0, 6])}
    assert len(prints) == 4
    assert [part.rsplit(":", 1)[1] for part in faces.subset([0, 1, 6]).fingerprint.split(";")] == ["2", "1"]


@pytest.mark.parametrize(("chosen", "error"), [([], ShardError), ([12], IndexError), ([-1], IndexError)])
def test_impossible_choices_are_refused(tmp_path: Path, chosen: list[int], error: type[Exception]) -> None:
    paths = [write(tmp_path / "a.npz"), write(tmp_path / "b.npz")]
    with pytest.raises(error):
        FaceShards(paths, CODES, chosen)


@pytest.mark.parametrize("changed", ["labels", "weights", "landmarks", "images"])
def test_other_faces_under_the_same_name_have_another_fingerprint(tmp_path: Path, changed: str) -> None:
    before = toy_faces(6, 1)
    after = {name: value.copy() for name, value in before.items()}
    if changed == "images":
        after["images"] = np.zeros((6, 40, 40, 3), np.uint8)
    else:
        after[changed][0] = 1 - after[changed][0]
    prints = []
    for folder, arrays in (("one", before), ("other", after), ("again", before)):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "a.npz", **arrays)
        prints.append(FaceShards([tmp_path / folder / "a.npz"], CODES).fingerprint)
    assert prints[0] == prints[2] != prints[1]
