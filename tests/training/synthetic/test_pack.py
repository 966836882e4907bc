from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.synthetic.pack import (
    ENVIRONMENT_VARIABLE,
    PACK_MATERIALS,
    REQUIRED_KEYS,
    FacePack,
    Material,
    PackError,
    find_pack,
    load_pack,
)


def write_pack(path: Path, toy: FacePack, **changes: object) -> Path:
    """Write the toy head in the layout of a real pack."""
    names = list(PACK_MATERIALS)
    of_pack = {material: number for number, material in enumerate(PACK_MATERIALS.values())}
    of_pack[Material.MOUTH] = of_pack[Material.BACK]  # a pack does not tell them apart
    jpegs = [cv2.imencode(".jpg", cv2.cvtColor(skin, cv2.COLOR_RGB2BGR))[1] for skin in toy.skins]
    arrays: dict[str, object] = {
        "base": toy.vertices,
        "I": toy.identity_modes.astype(np.float16),
        "E": toy.shapes.astype(np.float16),
        "names": np.array(toy.shape_names),
        "tri": toy.triangles.astype(np.int32),
        "trt": toy.uv_triangles.astype(np.int32),
        "vt": toy.uvs,
        "tmat": np.array([of_pack[Material(material)] for material in toy.materials], np.int8),
        "mats": np.array(names),
        "lm": toy.landmarks.astype(np.int32),
        "skin_jpg": np.concatenate(jpegs),
        "skin_len": np.array([len(jpeg) for jpeg in jpegs]),
        **changes,
    }
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_a_pack_is_read_back(tmp_path: Path, toy: FacePack) -> None:
    pack = load_pack(write_pack(tmp_path / "pack.npz", toy))
    np.testing.assert_array_equal(pack.triangles, toy.triangles)
    np.testing.assert_array_equal(pack.landmarks, toy.landmarks)
    np.testing.assert_allclose(pack.shapes, toy.shapes, atol=2e-3)
    np.testing.assert_allclose(pack.landmark_uvs(), toy.landmark_uvs(), atol=1e-6)
    assert pack.shape_names == toy.shape_names
    assert pack.skins.shape == toy.skins.shape
    assert np.abs(pack.skins.astype(int) - toy.skins).mean() < 6
    assert set(np.unique(pack.materials)) == set(np.unique(toy.materials))


def test_the_environment_names_the_pack(tmp_path: Path, toy: FacePack, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pack(tmp_path / "pack.npz", toy)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(path))
    assert find_pack() == path


def test_without_a_pack_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    with pytest.raises(PackError, match=r"--face-pack PATH.*ROIGCN_FACE_PACK.*--toy"):
        load_pack()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"nowhere\.npz does not exist"):
        load_pack(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_pack_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pack.npz"
    path.write_bytes(content)
    with pytest.raises(PackError, match="cannot be read as a face pack"):
        load_pack(path)


@pytest.mark.parametrize("key", REQUIRED_KEYS)
def test_a_pack_that_lacks_a_part_is_refused(tmp_path: Path, toy: FacePack, key: str) -> None:
    path = write_pack(tmp_path / "pack.npz", toy, **{key: None})
    with pytest.raises(PackError, match=f"lacks {key}"):
        load_pack(path)


def test_a_damaged_skin_is_refused(tmp_path: Path, toy: FacePack) -> None:
    path = write_pack(tmp_path / "pack.npz", toy, skin_jpg=np.zeros(10, np.uint8), skin_len=np.array([10]))
    with pytest.raises(PackError, match="skin"):
        load_pack(path)
