from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.data.shards import FaceShards
from training.synthetic.generate import Recipe, generate, render_faces
from training.synthetic.pack import PackError
from training.synthetic.renderer import RenderedFace, Renderer
from training.synthetic.shards import (
    AU_CODES,
    ShardError,
    iterate_shards,
    pack_faces,
    read_shard,
    shard_path,
    write_shard,
)

RECIPE = Recipe(face_pack=None, split="train", images=7, size=48, faces_per_identity=2, shard_faces=4)


def _all(folder: Path) -> dict[str, np.ndarray]:
    shards = list(iterate_shards(folder))
    return {name: np.concatenate([shard[name] for shard in shards]) for name in ("images", "labels", "identities")}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered")
    assert generate(RECIPE, folder) == 7
    return folder


def test_the_training_code_reads_the_shards(rendered: Path) -> None:
    faces = FaceShards(sorted(rendered.glob("*.npz")), ("AU12", "AU1"))
    assert len(faces) == 7
    picture, landmarks = faces.face(6)
    assert picture.shape == (48, 48, 3)
    assert landmarks.shape == (68, 2)
    assert faces.labels.shape == (7, 2)


def test_members_of_a_shard(rendered: Path) -> None:
    shard = read_shard(shard_path(rendered, 1))
    shapes = {name: (array.shape, array.dtype.kind) for name, array in shard.items()}
    assert shapes == {
        "images": ((3, 48, 48, 3), "u"),
        "landmarks": ((3, 68, 2), "f"),
        "labels": ((3, 15), "i"),
        "weights": ((3, 15), "f"),
        "intensities": ((3, 15), "f"),
        "identities": ((3,), "i"),
        "au_codes": ((15,), "U"),
        "aux": ((3, 5), "f"),
    }
    assert tuple(shard["au_codes"]) == AU_CODES
    assert shard["identities"].tolist() == [2, 2, 3]


def test_a_rerun_renders_nothing_and_a_lost_shard_comes_back_the_same(rendered: Path) -> None:
    before = _all(rendered)
    assert generate(RECIPE, rendered) == 0
    shard_path(rendered, 0).unlink()
    told: list[int] = []
    assert generate(RECIPE, rendered, progress=told.append) == 4
    assert told == [4]
    after = _all(rendered)
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name])


def test_more_pictures_extend_a_folder(tmp_path: Path) -> None:
    generate(replace(RECIPE, images=3), tmp_path)
    first = _all(tmp_path)["images"]
    assert generate(replace(RECIPE, images=5), tmp_path) == 5  # the short shard is rendered again, whole
    np.testing.assert_array_equal(_all(tmp_path)["images"][:3], first)
    assert json.loads((tmp_path / "dataset.json").read_text())["images"] == 5


def test_several_processes_render_the_same(rendered: Path, tmp_path: Path) -> None:
    assert generate(RECIPE, tmp_path, workers=2) == 7
    np.testing.assert_array_equal(_all(tmp_path)["images"], _all(rendered)["images"])


def test_seed_and_split_change_everything(rendered: Path) -> None:
    renderer = Renderer(RECIPE.open_pack(), 48)
    first = _all(rendered)["images"][:2]
    for other in (replace(RECIPE, seed=1), replace(RECIPE, split="test")):
        pictures = np.stack([face.pixels for face in render_faces(renderer, other, 0, 2)])
        assert (pictures != first).mean() > 0.5


@pytest.mark.parametrize("change", [{"seed": 1}, {"split": "test"}, {"size": 64}])
def test_a_folder_of_another_data_set_is_refused(rendered: Path, change: dict[str, object]) -> None:
    (name,) = change
    with pytest.raises(ShardError, match=rf"another {name}.*empty --out"):
        generate(replace(RECIPE, **change), rendered)


def test_a_missing_pack_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="does not exist"):
        generate(replace(RECIPE, face_pack=tmp_path / "none.npz"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [{"images": 0}, {"size": 8}, {"shard_faces": 3}, {"split": "dev"}, {"faces_per_identity": 0}, {"seed": -1}],
)
def test_impossible_recipes_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"start at|multiple|split"):
        replace(RECIPE, **change)


def test_a_full_disk_leaves_no_partial_shard(
    tmp_path: Path, faces: list[RenderedFace], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    target = shard_path(tmp_path, 0)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ShardError, match=r"No space left.*Free some space"):
        write_shard(target, pack_faces(faces))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_shard(
    tmp_path: Path, faces: list[RenderedFace], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = shard_path(tmp_path, 0)
    write_shard(target, pack_faces(faces[:2]))
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(5, "I/O error")))
    with pytest.raises(ShardError):
        write_shard(target, pack_faces(faces))
    monkeypatch.undo()
    assert len(read_shard(target)["labels"]) == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"plain text"])
def test_a_broken_shard_is_named(tmp_path: Path, content: bytes) -> None:
    path = shard_path(tmp_path, 0)
    path.write_bytes(content)
    with pytest.raises(ShardError, match=r"shard-00000\.npz is not a readable shard"):
        read_shard(path)


def test_a_shard_holds_at_least_one_face() -> None:
    with pytest.raises(ValueError, match="at least one"):
        pack_faces([])
