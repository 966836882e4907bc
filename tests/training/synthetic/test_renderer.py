from __future__ import annotations

import numpy as np
import pytest
import torch

from model.geometry import crop_affine
from training.synthetic.head import CROP_SCALE, MARGIN, face_square
from training.synthetic.identity import draw_identity
from training.synthetic.labels import CLOSED_BELOW, OPEN_FROM
from training.synthetic.pack import FacePack
from training.synthetic.recipes import LABELLED
from training.synthetic.renderer import RenderedFace, Renderer
from training.synthetic.sampler import express
from training.synthetic.scene import Scene, draw_scene, plain_scene, rotation


def test_pictures_and_landmarks(faces: list[RenderedFace]) -> None:
    for face in faces:
        assert face.pixels.shape == (96, 96, 3)
        assert face.pixels.dtype == np.uint8
        assert face.pixels.std() > 5
        assert face.landmarks.shape == (68, 2)
        assert face.landmarks.dtype == np.float32
        assert (face.landmarks > -10).all()
        assert (face.landmarks < 106).all()
        assert face.opening >= 0


def test_the_picture_is_the_training_crop_with_a_margin(faces: list[RenderedFace]) -> None:
    """The crop that the network cuts (METHOD 6.4) lies in the middle of the picture and fills 1 / 1.25 of it."""
    for face in faces:
        affine = crop_affine(face.landmarks, 96, CROP_SCALE * MARGIN)
        corners = np.array([[0.0, 0.0, 1.0], [95.0, 95.0, 1.0]]) @ affine.T
        np.testing.assert_allclose(corners, [[0.0, 0.0], [95.0, 95.0]], atol=0.75)


def test_the_face_square_does_not_depend_on_where_the_face_is(faces: list[RenderedFace]) -> None:
    landmarks = torch.from_numpy(faces[0].landmarks)
    squares = face_square(torch.stack([landmarks, landmarks * 2 + 5]))
    torch.testing.assert_close(squares[1], squares[0] * 2 + torch.tensor([5.0, 5.0, 0.0]), rtol=1e-4, atol=1e-3)


def _mouth(renderer: Renderer, toy: FacePack, units: dict[int, float]) -> RenderedFace:
    person = draw_identity(toy, 0, "train", 1)
    painted = renderer.paint(person)
    (face,) = renderer.render(person, painted, [express(toy, person, units, {})], [plain_scene()], plain=True)
    return face


@pytest.mark.parametrize(
    ("units", "parted"),
    [({}, False), ({24: 0.8}, False), ({12: 0.6}, False), ({25: 0.8}, True), ({26: 0.8}, True), ({10: 1.0}, True)],
)
def test_lips_part_when_they_should(renderer: Renderer, toy: FacePack, units: dict[int, float], parted: bool) -> None:
    face = _mouth(renderer, toy, units)
    assert face.opening >= OPEN_FROM if parted else face.opening < CLOSED_BELOW
    assert face.labels.occurrence[LABELLED.index(25)] == parted


def test_no_expressions_no_pictures(renderer: Renderer, toy: FacePack) -> None:
    person = draw_identity(toy, 0, "train", 0)
    assert renderer.render(person, renderer.paint(person), [], []) == []


def test_expressions_change_the_picture_where_they_act(renderer: Renderer, toy: FacePack) -> None:
    person = draw_identity(toy, 0, "train", 3)  # whose forehead wrinkles: a smooth one hardly changes the picture
    painted = renderer.paint(person)
    expressions = [express(toy, person, units, {}) for units in ({}, {1: 1.0, 2: 1.0, 4: 0.0}, {12: 1.0})]
    calm, brows, smile = renderer.render(
        person, painted, expressions, [plain_scene()] * 3, plain=True, framing=(0.0, 0.0, 26.0)
    )
    eye_line = int(calm.landmarks[36:48, 1].mean())
    for moved, upper in ((brows, True), (smile, False)):
        change = np.abs(moved.pixels.astype(int) - calm.pixels).sum((1, 2))
        above, below = change[:eye_line].sum(), change[eye_line:].sum()
        assert (above > 3 * below) if upper else (below > 3 * above)


def test_landmarks_follow_the_turned_head(renderer: Renderer, toy: FacePack) -> None:
    person = draw_identity(toy, 0, "train", 1)
    painted = renderer.paint(person)
    scenes = [plain_scene(yaw=30.0), plain_scene(yaw=-30.0), plain_scene(pitch=15.0), plain_scene(roll=20.0)]
    right, left, down, rolled = renderer.render(
        person, painted, [express(toy, person, {}, {})] * 4, scenes, plain=True, framing=(0.0, 0.0, 26.0)
    )
    assert right.landmarks[30, 0] > 48 > left.landmarks[30, 0]
    assert down.landmarks[30, 1] > right.landmarks[30, 1]
    assert rolled.landmarks[36, 1] > rolled.landmarks[45, 1]  # anticlockwise: the picture's left eye goes down


@pytest.mark.parametrize("seed", range(5))
def test_scenes(seed: int) -> None:
    scene: Scene = draw_scene(np.random.default_rng(seed))
    assert abs(scene.yaw) <= 45
    np.testing.assert_allclose(np.linalg.norm(scene.lights, axis=1), 1, atol=1e-5)
    turn = rotation(scene)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-5)
    assert np.linalg.det(turn) == pytest.approx(1.0, abs=1e-5)
