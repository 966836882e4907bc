from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from model.faces.assets import AssetError
from model.faces.finder import FaceFinder, box_area, merge_same, number_by_size
from model.geometry import apply_affine
from model.image import read_image
from model.landmarks import convert
from model.values import Face, Float64Array, UInt8Array

# Points of the photo read off an enlargement, +-3 pixels: eye corners, tip of the nose, corners of the mouth.
BY_EYE = {
    36: (192, 100),
    39: (211, 103),
    42: (236, 104),
    45: (258, 104),
    30: (222, 126),
    48: (202, 139),
    54: (245, 140),
}


def _errors(face: Face, affine: Float64Array) -> Float64Array:
    points = apply_affine(affine, np.array(list(BY_EYE.values()), np.float64))
    return np.linalg.norm(face.landmarks[list(BY_EYE)] - points, axis=1)


IDENTITY = np.array([[1.0, 0, 0], [0, 1.0, 0]])


def test_the_photo(finder: FaceFinder, photo: UInt8Array) -> None:
    (face,) = finder.find(photo)
    assert face.landmarks.shape == (68, 2)
    assert face.landmarks.dtype == face.box_xyxy.dtype == np.float32
    assert 0.8 < face.score <= 1
    assert face.presence > 0.99
    assert face.track == 0
    np.testing.assert_allclose(face.box_xyxy, [179, 69, 271, 178], atol=5)
    assert _errors(face, IDENTITY).max() < 6


def test_depth_is_told_in_the_pictures_pixels(finder: FaceFinder, photo: UInt8Array) -> None:
    (face,), (twice,) = finder.find(photo), finder.find(cv2.resize(photo, None, fx=2, fy=2))
    assert face.depth is not None
    assert twice.depth is not None
    assert face.depth.shape == (68,)
    assert face.depth.dtype == np.float32
    eyes = float(np.linalg.norm(face.landmarks[45] - face.landmarks[36]))
    assert face.depth[30] < face.depth[[36, 45, 0, 16]].min() - 0.3 * eyes, "the tip of the nose is nearest"
    np.testing.assert_allclose(twice.depth - twice.depth.mean(), 2 * (face.depth - face.depth.mean()), atol=0.1 * eyes)
    (again,) = finder.follow(photo, [face])
    assert again is not None
    assert again.depth is not None
    np.testing.assert_allclose(again.depth, face.depth, atol=0.05 * eyes)


def test_whole_meshes(finder: FaceFinder, photo: UInt8Array) -> None:
    (face,) = finder.find(photo)
    meshes = finder.meshes(photo, [face, face])
    assert meshes.shape == (2, 478, 2)
    (again,) = finder.follow(photo, [face])
    assert again is not None
    np.testing.assert_allclose(convert(meshes[0], "mediapipe478"), again.landmarks, atol=1e-3)
    assert finder.meshes(photo, []).shape == (0, 478, 2)


@pytest.mark.parametrize("degrees", [-60, -45, -20, 20, 45, 60])
def test_rolled_faces(finder: FaceFinder, photo: UInt8Array, degrees: float) -> None:
    turn = cv2.getRotationMatrix2D((225, 125), degrees, 1.0)
    (face,) = finder.find(cv2.warpAffine(photo, turn, (512, 512)))
    assert _errors(face, turn).max() < 6


@pytest.mark.parametrize("scale", [0.4, 0.5, 2.0])
def test_sizes(finder: FaceFinder, photo: UInt8Array, scale: float) -> None:
    picture = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    (face,) = finder.find(picture)
    assert _errors(face, scale * IDENTITY).max() < 6 * scale


def test_a_close_up_cut_by_the_edges(finder: FaceFinder, photo: UInt8Array) -> None:
    (face,) = finder.find(np.ascontiguousarray(photo[78:176, 182:268]))
    assert _errors(face, np.array([[1.0, 0, -182], [0, 1.0, -78]])).max() < 6
    assert (face.box_xyxy >= -0.5).all()
    assert (face.box_xyxy <= [85.5, 97.5, 85.5, 97.5]).all()


def test_many_faces_come_largest_first(finder: FaceFinder, photo: UInt8Array) -> None:
    head = photo[20:240, 112:332]
    picture = np.full((500, 900, 3), 90, np.uint8)
    for side, x, y in ((220, 30, 30), (150, 300, 40), (300, 560, 20), (110, 300, 300), (120, 60, 350)):
        picture[y : y + side, x : x + side] = cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA)
    faces = finder.find(picture)
    areas = [box_area(face.box_xyxy) for face in faces]
    assert len(faces) == 5
    assert areas == sorted(areas, reverse=True)
    assert [face.track for face in faces] == [0, 1, 2, 3, 4]


def test_a_small_face_in_a_large_picture_needs_the_tiles(finder: FaceFinder, photo: UInt8Array) -> None:
    rng = np.random.default_rng(3)
    coarse = rng.integers(60, 160, (30, 40, 3), np.uint8)
    picture = cv2.resize(coarse, (4000, 3000), interpolation=cv2.INTER_CUBIC)
    picture[2100:2612, 3000:3512] = photo
    (face,) = finder.find(picture)
    assert _errors(face, np.array([[1.0, 0, 3000], [0, 1.0, 2100]])).max() < 6
    assert finder.find(picture, tiles=False) == []


def test_min_size_leaves_small_faces_out(photo: UInt8Array) -> None:
    assert FaceFinder(min_size=200, threads=1).find(photo) == []


def test_known_faces_are_not_returned_again(finder: FaceFinder, photo: UInt8Array) -> None:
    picture = np.concatenate([photo, photo], axis=1)
    faces = finder.find(picture)
    assert len(faces) == 2
    (other,) = finder.find(picture, known=faces[:1])
    np.testing.assert_allclose(other.landmarks, faces[1].landmarks, atol=0.01)


def test_a_photo_stored_sideways(finder: FaceFinder, photo: UInt8Array) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated 90 degrees clockwise
    file = io.BytesIO()
    Image.fromarray(np.rot90(photo)).save(file, "JPEG", quality=95, exif=exif)
    (face,) = finder.find(read_image(file.getvalue()))
    assert _errors(face, IDENTITY).max() < 6


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((600, 800, 3), np.uint8),
        np.full((333, 1, 3), 200, np.uint8),
        np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8),
        np.ascontiguousarray(np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (1, 300, 3))),
    ],
    ids=["one pixel", "black", "one column", "noise", "gradient"],
)
def test_pictures_without_faces(finder: FaceFinder, picture: UInt8Array) -> None:
    assert finder.find(picture) == []
    assert finder.follow(picture, []) == []


def test_things_are_no_faces(finder: FaceFinder) -> None:
    import skimage.data

    for thing in (skimage.data.coffee(), skimage.data.rocket(), skimage.data.hubble_deep_field()):
        assert finder.find(np.asarray(thing)) == []


@pytest.mark.parametrize(
    "broken", [np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3), np.float32)]
)
def test_arrays_that_are_no_pictures(finder: FaceFinder, broken: UInt8Array) -> None:
    with pytest.raises(ValueError, match=r"expected an \(H, W, 3\) uint8 picture"):
        finder.find(broken)


def test_follow_finds_a_moved_face_and_misses_an_absent_one(finder: FaceFinder, photo: UInt8Array) -> None:
    (face,) = finder.find(photo)
    face = replace(face, track=7)
    shift = np.array([[1.0, 0, 14], [0, 1.0, -9]])
    (moved,) = finder.follow(cv2.warpAffine(photo, shift, (512, 512)), [face])
    assert moved is not None
    assert (moved.track, moved.score) == (7, face.score)
    assert _errors(moved, shift).max() < 6
    bare = np.ascontiguousarray(photo[300:, 250:])
    assert finder.follow(cv2.resize(bare, (512, 512)), [face]) == [None]


def test_missing_nets_are_explained(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="roigcn assets"):
        FaceFinder(tmp_path)


def _face(box: tuple[float, float, float, float], score: float) -> Face:
    return Face(np.array(box, np.float32), score, np.zeros((68, 2), np.float32))


def test_merging_and_numbering() -> None:
    small, twin, big = _face((0, 0, 10, 10), 0.6), _face((1, 0, 11, 10), 0.9), _face((100, 0, 140, 40), 0.5)
    merged = merge_same([small, twin, big])
    assert [face.score for face in merged] == [0.9, 0.5]
    inside = _face((105, 5, 120, 25), 0.9)
    assert merge_same([big, inside]) == [inside]
    assert merge_same([big, small], known=[inside]) == [small]
    assert [(face.score, face.track) for face in number_by_size(merged)] == [(0.5, 0), (0.9, 1)]
    assert merge_same([]) == number_by_size([]) == []
