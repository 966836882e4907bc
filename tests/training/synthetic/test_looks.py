from __future__ import annotations

import numpy as np
import pytest

from training.synthetic import camera, wrinkles
from training.synthetic.appearance import HairStyle, paint_looks
from training.synthetic.brows import draw_style, paint_brows
from training.synthetic.identity import draw_identity
from training.synthetic.noise import cloud, smooth_step
from training.synthetic.pack import FacePack

SHORT = HairStyle((0.1, 0.1, 0.1), 10.0, 0.0, 0.0, 0.5, 0.0, 1.0)


def test_the_same_person_looks_the_same(toy: FacePack) -> None:
    person = draw_identity(toy, 0, "train", 4)
    first, again = (paint_looks(toy, toy.landmark_uvs(), person, 128) for _ in range(2))
    np.testing.assert_array_equal(first.texture, again.texture)
    assert first.hair == again.hair
    assert first.texture.shape == (128, 128, 3)
    assert first.height.shape == (128, 128)
    other = paint_looks(toy, toy.landmark_uvs(), draw_identity(toy, 0, "train", 5), 128)
    assert (first.texture != other.texture).mean() > 0.5


@pytest.mark.parametrize("seed", range(4))
def test_brows_lie_where_the_landmarks_are(toy: FacePack, seed: int) -> None:
    rng = np.random.default_rng(seed)
    uvs = toy.landmark_uvs()
    opacity = paint_brows(draw_style(rng), uvs, 128, rng)
    assert opacity.shape == (128, 128)
    assert opacity.min() >= 0
    assert 0.1 < opacity.max() <= 1
    rows, columns = (opacity > 0.05).nonzero()
    top, bottom = (1 - uvs[17:27, 1].max()) * 128, (1 - uvs[17:27, 1].min()) * 128
    assert top - 9 < rows.min()
    assert rows.max() < bottom + 9
    assert (columns < 64).any()
    assert (columns >= 64).any()


def test_lines_deepen_with_their_unit_and_with_age() -> None:
    gains = np.ones(len(wrinkles.NAMES), np.float32)
    depth = wrinkles.depths([{}, {4: 0.5}, {4: 1.0}], 0.5, gains)[:, wrinkles.NAMES.index("glabella")]
    assert depth[0] < depth[1] < depth[2]
    young, old = (wrinkles.depths([{4: 1.0}], age, gains) for age in (0.0, 1.0))
    assert (young <= old).all()
    assert wrinkles.depths([], 0.5, gains).shape == (0, len(wrinkles.NAMES))


def test_lines_are_painted_apart(toy: FacePack) -> None:
    lines = wrinkles.paint_lines(toy.landmark_uvs(), 128, np.random.default_rng(0))
    assert lines.shape == (len(wrinkles.NAMES), 128, 128)
    assert (np.abs(lines).max((1, 2)) > 0.1).all()
    rows = np.arange(128)[None, :, None]
    height = {
        n: float((np.abs(m) * rows[0]).sum() / np.abs(m).sum()) for n, m in zip(wrinkles.NAMES, lines, strict=True)
    }
    assert height["forehead_middle"] < height["glabella"] < height["nasolabial"] < height["chin_dimples"]


@pytest.mark.parametrize("seed", range(6))
def test_the_camera_hands_over_bytes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = camera.paint_background(rng, 64)
    assert picture.min() >= 0
    assert picture.max() <= 1
    pixels = camera.expose(picture, rng)
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8


def test_only_long_hair_hangs_behind_the_head() -> None:
    background = camera.plain_background(64)
    landmarks = np.full((68, 2), 32, np.float32)
    landmarks[[0, 36]], landmarks[[16, 45]] = (20, 30), (44, 30)
    rng = np.random.default_rng(0)
    assert camera.hang_hair(background, landmarks, 1.6, SHORT, rng) is background
    long_hair = HairStyle((0.1, 0.1, 0.1), 10.0, 0.0, 0.0, 0.5, 18.0, 1.0)
    hung = camera.hang_hair(background, landmarks, 1.6, long_hair, rng)
    assert (np.abs(hung - background).max(-1) > 0.2).mean() > 0.2


def test_noise() -> None:
    field = cloud(np.random.default_rng(0), 33, (16, 4))
    assert field.shape == (33, 33)
    assert field.dtype == np.float32
    np.testing.assert_allclose(smooth_step(np.array([-1, 0, 0.5, 1, 2], np.float32), 0, 1), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(smooth_step(np.array([0.0, 1.0], np.float32), 1, 0), [1, 0])
