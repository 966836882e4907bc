from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.landmarks import FLIP_68
from training.synthetic.conventions import net_offsets, shifted
from training.synthetic.generate import render_identity
from training.synthetic.pack import FacePack
from training.synthetic.renderer import RenderedFace, Renderer


def test_offsets_are_mirror_symmetric_and_small() -> None:
    offsets = net_offsets()
    np.testing.assert_allclose(offsets[FLIP_68] * [-1, 1], offsets, atol=1e-6)
    assert np.abs(offsets).max() < 0.3
    assert (offsets[17:27, 1] > 0).all()  # brows are painted below where the chart of the head has them


@pytest.mark.parametrize("degrees", [0, 30, 180])
def test_points_move_with_the_face(toy: FacePack, degrees: float) -> None:
    upright = toy.vertices[toy.landmarks][:, :2] * [1, -1]
    turn = np.deg2rad(degrees)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    offsets = net_offsets()
    turned = shifted((upright @ rotation * 7).astype(np.float32), offsets)
    np.testing.assert_allclose(turned, shifted(upright.astype(np.float32), offsets) @ rotation * 7, atol=1e-4)
    inner_ocular = np.linalg.norm(upright[42] - upright[39])
    moved = np.linalg.norm(turned - upright @ rotation * 7, axis=1) / 7 / inner_ocular
    np.testing.assert_allclose(moved, np.linalg.norm(offsets, axis=1), atol=1e-5)


def test_many_faces_at_once(faces: list[RenderedFace]) -> None:
    landmarks = np.stack([face.landmarks for face in faces])
    together = shifted(landmarks, net_offsets())
    np.testing.assert_array_equal(together[2], shifted(landmarks[2], net_offsets()))
    np.testing.assert_array_equal(shifted(landmarks, np.zeros((68, 2), np.float32)), landmarks)


def test_packs_say_whether_their_landmarks_move(toy: FacePack, faces: list[RenderedFace]) -> None:
    following = render_identity(Renderer(replace(toy, follow_net=True), 96), 0, "train", 0, 1)[0]
    np.testing.assert_array_equal(following.pixels, faces[0].pixels)
    np.testing.assert_allclose(following.landmarks, shifted(faces[0].landmarks, net_offsets()), atol=1e-4)
