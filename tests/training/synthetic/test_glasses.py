from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.synthetic.gbuffer import blend_over
from training.synthetic.glasses import FRAME, LENS, Glasses, draw_glasses, frame_mesh, frame_points
from training.synthetic.identity import draw_identity
from training.synthetic.pack import FacePack
from training.synthetic.renderer import Renderer
from training.synthetic.sampler import express
from training.synthetic.scene import plain_scene

THICK = Glasses(2.3, 1.8, 4.0, 0.4, (0.9, 0.0, 0.9), 0.1, 0.2)


def test_the_mesh_fits_the_points(toy: FacePack) -> None:
    points = frame_points(THICK, toy.vertices[toy.landmarks])
    triangles, parts = frame_mesh()
    assert set(triangles.ravel()) == set(range(len(points)))
    assert set(parts) == {FRAME, LENS}
    assert len(parts) == len(triangles)
    assert points.dtype == np.float32


def test_glasses_sit_in_front_of_the_eyes(toy: FacePack) -> None:
    landmarks = toy.vertices[toy.landmarks]
    points = frame_points(THICK, landmarks)
    triangles, parts = frame_mesh()
    lenses = points[np.unique(triangles[parts == LENS])]
    assert (lenses[:, 2] > landmarks[36:48, 2].max()).all()
    for eye in (slice(36, 42), slice(42, 48)):
        x, y = landmarks[eye, :2].mean(0)
        side = lenses[lenses[:, 0] * x > 0]
        assert side[:, 0].min() < x < side[:, 0].max()
        assert side[:, 1].min() < y < side[:, 1].max()
    mirrored = points * [-1, 1, 1]
    assert np.abs(np.sort(mirrored[:, 0]) - np.sort(points[:, 0])).max() < 0.05


def test_a_share_of_people_wear_them() -> None:
    drawn = [draw_glasses(np.random.default_rng(seed)) for seed in range(400)]
    assert 0.08 < np.mean([pair is not None for pair in drawn]) < 0.25


def test_they_are_drawn_over_the_face(renderer: Renderer, toy: FacePack) -> None:
    person = draw_identity(toy, 0, "train", 1)
    looks = renderer.paint(person).looks
    pictures = [
        renderer.render(
            person, renderer.dress(replace(looks, glasses=pair)), [express(toy, person, {}, {})], [scene], plain=True
        )[0].pixels
        for scene in (plain_scene(), plain_scene(yaw=40.0))
        for pair in (None, THICK)
    ]
    for bare, worn in (pictures[:2], pictures[2:]):
        purple = (worn[..., 0] > 120) & (worn[..., 1] < 60) & (worn[..., 2] > 120)
        assert 0.01 < purple.mean() < 0.15
        assert not ((bare[..., 0] > 120) & (bare[..., 1] < 60) & (bare[..., 2] > 120)).any()


@pytest.mark.parametrize(
    ("cover", "opacity", "colour", "covered"),
    [(1.0, 0.0, 0.2, 1.0), (1.0, 1.0, 0.8, 1.0), (1.0, 0.5, 0.5, 1.0), (0.0, 0.5, 0.8, 0.5), (0.0, 0.0, 0.2, 0.0)],
)
def test_layers(cover: float, opacity: float, colour: float, covered: float) -> None:
    images, cover_map = torch.full((1, 2, 2, 3), 0.2), torch.full((1, 2, 2), cover)
    blend_over(images, cover_map, torch.tensor([3]), torch.full((1, 3), 0.8), torch.tensor([opacity]))
    torch.testing.assert_close(images[0, 1, 1], torch.full((3,), colour))
    assert cover_map[0, 1, 1].item() == pytest.approx(covered)
    torch.testing.assert_close(images[0, 0, 0], torch.full((3,), 0.2))
