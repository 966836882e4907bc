from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.geometry import (
    BORDER_RGB,
    CROP_SCALE,
    apply_affine,
    compose,
    crop_affine,
    crop_to_map,
    extract_crop,
    face_frame,
    invert_affine,
    map_to_crop,
    warp,
)
from model.values import Float64Array

IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])
angles = st.floats(-np.pi, np.pi)
zooms = st.floats(0.05, 20)
shifts = st.floats(-1000, 1000)


def similarity(angle: float, zoom: float, x: float, y: float) -> Float64Array:
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    return np.array([[cos, -sin, x], [sin, cos, y]])


def test_frame_of_an_upright_face(face: Float64Array) -> None:
    s, u, v = face_frame(face)
    assert s == pytest.approx(52)
    np.testing.assert_allclose([u, v], [[1, 0], [0, 1]], atol=1e-12)


@given(angle=angles, zoom=zooms, x=shifts, y=shifts)
def test_frame_turns_with_the_face(face: Float64Array, angle: float, zoom: float, x: float, y: float) -> None:
    s, u, v = face_frame(apply_affine(similarity(angle, zoom, x, y), face))
    assert s == pytest.approx(52 * zoom, rel=1e-6)
    np.testing.assert_allclose(u, [np.cos(angle), np.sin(angle)], atol=1e-6)
    np.testing.assert_allclose(v, [-np.sin(angle), np.cos(angle)], atol=1e-6)


def test_frame_of_a_mirrored_face_still_points_down(face: Float64Array) -> None:
    mirrored = face * [-1, 1]
    _, u, v = face_frame(mirrored)
    np.testing.assert_allclose([u, v], [[-1, 0], [0, 1]], atol=1e-12)


def test_frame_without_eyes_is_nan(face: Float64Array) -> None:
    one_spot = np.zeros_like(face)
    s, u, v = face_frame(np.stack([face, one_spot]))
    assert s.tolist() == pytest.approx([52, 0])
    assert np.isfinite(u[0]).all()
    assert np.isnan([u[1], v[1]]).all()


def test_crop_holds_the_five_point_box(face: Float64Array) -> None:
    to_crop = crop_affine(face, 256)
    five = np.array([face[36:42].mean(0), face[42:48].mean(0), face[30], face[48], face[54]])
    box = np.ptp(five, axis=0)
    assert to_crop[0, 0] == pytest.approx(256 / (CROP_SCALE * box.max()))
    middle = (five.max(0) + five.min(0)) / 2
    np.testing.assert_allclose(apply_affine(to_crop, middle[None]), [[127.5, 127.5]], atol=1e-9)
    assert to_crop[0, 1] == to_crop[1, 0] == 0


@given(angle=angles, zoom=zooms, x=shifts, y=shifts)
def test_crop_follows_the_face_without_turning(
    face: Float64Array, angle: float, zoom: float, x: float, y: float
) -> None:
    move = similarity(angle, zoom, x, y)
    upright, moved = crop_affine(face, 128), crop_affine(apply_affine(move, face), 128)
    assert moved[0, 0] == pytest.approx(upright[0, 0] / zoom, rel=1e-6)
    assert moved[0, 1] == moved[1, 0] == 0
    # The same point of the face sits in the middle of the crop.
    middle = apply_affine(invert_affine(upright), np.array([[63.5, 63.5]]))
    np.testing.assert_allclose(apply_affine(moved, apply_affine(move, middle)), [[63.5, 63.5]], atol=1e-5)


def test_crop_of_a_batch(face: Float64Array) -> None:
    both = crop_affine(np.stack([[face, 2 * face]]), 64)
    assert both.shape == (1, 2, 2, 3)
    np.testing.assert_allclose(both[0, 1], crop_affine(2 * face, 64))
    assert crop_affine(np.zeros((0, 68, 2)), 64).shape == (0, 2, 3)


@pytest.mark.parametrize("broken", ["spot", "missing", "shape", "infinite"])
def test_crop_refuses(face: Float64Array, broken: str) -> None:
    points = face.copy()
    if broken == "spot":
        points[:] = 3
    elif broken == "missing":
        points[48] = np.nan
    elif broken == "infinite":
        points[30] = np.inf
    else:
        points = points[:67]
    with pytest.raises(ValueError, match=r"68, 2|cannot place a face crop"):
        crop_affine(points, 64)


@given(angle=angles, zoom=zooms, x=shifts, y=shifts)
def test_affines_compose_and_invert(angle: float, zoom: float, x: float, y: float) -> None:
    first, second = similarity(angle, zoom, x, y), np.array([[1.0, 0.5, 3], [0, 2, -1]])
    points = np.random.default_rng(0).normal(size=(5, 2))
    together = apply_affine(compose(second, first), points)
    np.testing.assert_allclose(together, apply_affine(second, apply_affine(first, points)), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(compose(invert_affine(first), first), IDENTITY, atol=1e-9)


def test_a_flat_affine_has_no_inverse() -> None:
    with pytest.raises(ValueError, match="no inverse"):
        invert_affine(np.zeros((2, 3)))


@pytest.mark.parametrize(("crop", "on_map"), [(0.0, -0.375), (1.5, 0.0), (127.5, 31.5), (255.5, 63.5)])
def test_map_pixels(crop: float, on_map: float) -> None:
    assert crop_to_map(crop) == pytest.approx(on_map)
    assert map_to_crop(on_map) == pytest.approx(crop)


def picture(height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_warp_by_nothing_is_nothing() -> None:
    rgb = picture(40, 40)
    np.testing.assert_array_equal(warp(rgb, IDENTITY, 40), rgb)


def test_warp_shifts_whole_pixels_and_fills_the_border() -> None:
    rgb = picture()
    shifted = warp(rgb, [[1, 0, 5], [0, 1, -3]], 30)
    np.testing.assert_array_equal(shifted[:, 5:], rgb[3:33, :25])
    assert (shifted[:, :5] == BORDER_RGB).all()
    repeated = warp(rgb, [[1, 0, 5], [0, 1, -3]], 30, border="edge")
    assert (repeated[:, :5] == rgb[3:33, :1]).all()


def test_warp_averages_when_it_shrinks() -> None:
    # A fine chequerboard is grey from afar; picking single pixels would give black or white.
    board = np.indices((512, 512)).sum(axis=0) % 2 * 255
    rgb = np.repeat(board[..., None], 3, axis=2).astype(np.uint8)
    small = warp(rgb, [[1 / 16, 0, 0.5 / 16 - 0.5], [0, 1 / 16, 0.5 / 16 - 0.5]], 32)
    assert np.abs(small.astype(int) - 127).max() <= 2


def test_warp_keeps_positions_when_it_shrinks() -> None:
    rgb = np.zeros((403, 301, 3), np.uint8)
    rgb[200:208, 100:108] = 255  # its middle is (103.5, 203.5)
    small = warp(rgb, [[1 / 8, 0, 1], [0, 1 / 8, 2]], 64, border=(0, 0, 0)).astype(float)[..., 0]
    ys, xs = np.indices(small.shape)
    assert (small * xs).sum() / small.sum() == pytest.approx(103.5 / 8 + 1, abs=0.05)
    assert (small * ys).sum() / small.sum() == pytest.approx(203.5 / 8 + 2, abs=0.05)


@pytest.mark.parametrize("far", [1e4, -1e4, 1e7])
def test_warp_outside_the_picture_is_border(far: float) -> None:
    assert (warp(picture(), [[1, 0, far], [0, 1, far]], 16) == BORDER_RGB).all()


def test_warp_takes_pictures_larger_than_opencv_does() -> None:
    rgb = np.zeros((4, 40_000, 3), np.uint8)
    rgb[:, 39_000:] = 9
    assert (warp(rgb, [[1, 0, -39_500], [0, 1, 0]], 4) == 9).all()


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (5, 5), (5, 5, 4)])
def test_warp_refuses(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="picture"):
        warp(np.zeros(shape, np.uint8), IDENTITY, 8)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_extract_crop_moves_pixels_with_landmarks(face: Float64Array, size: int) -> None:
    rgb = np.zeros((500, 400, 3), np.uint8)
    nose = np.round(face[30] + [60, 120]).astype(int)
    rgb[nose[1] - 3 : nose[1] + 4, nose[0] - 3 : nose[0] + 4] = 255
    crop = extract_crop(rgb, face - face[30] + nose, size)
    assert crop.pixels.shape == (size, size, 3)
    assert crop.landmarks.dtype == np.float32
    bright = crop.pixels[..., 0].astype(float) * (crop.pixels[..., 0] > 130)
    ys, xs = np.indices(bright.shape)
    middle = [(bright * xs).sum() / bright.sum(), (bright * ys).sum() / bright.sum()]
    np.testing.assert_allclose(middle, crop.landmarks[30], atol=0.3)
    np.testing.assert_allclose(apply_affine(crop.to_image, crop.landmarks)[30], nose, atol=1e-3)


@pytest.mark.parametrize("size", [64, 256])
def test_depth_shrinks_and_grows_with_the_crop(face: Float64Array, size: int) -> None:
    rgb, depth = np.zeros((300, 300, 3), np.uint8), np.linspace(-20, 20, 68).astype(np.float32)
    crop = extract_crop(rgb, face, size, depth=depth)
    assert crop.depth is not None
    zoom = np.linalg.norm(crop.landmarks[45] - crop.landmarks[36]) / np.linalg.norm(face[45] - face[36])
    np.testing.assert_allclose(crop.depth, zoom * depth, rtol=1e-5)
    assert extract_crop(rgb, face, size).depth is None


def test_extract_crop_wants_one_face(face: Float64Array) -> None:
    with pytest.raises(ValueError, match="one face"):
        extract_crop(picture(), face[None], 64)
