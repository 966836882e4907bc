from __future__ import annotations

import numpy as np
import pytest

from model.faces.finder import FaceFinder
from model.faces.landmarker import Regions, regions_of_landmarks
from model.geometry import apply_affine
from model.values import Float64Array, UInt8Array


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2, 3.0])
def test_a_region_maps_its_square_onto_the_nets_pixels(angle: float) -> None:
    region = Regions(np.array([[100.0, 80.0]]), np.array([64.0]), np.array([angle]))
    affine = region.to_region()[0]
    along, down = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    centre = np.array([100.0, 80.0])
    np.testing.assert_allclose(apply_affine(affine, centre)[0], [127.5, 127.5])
    np.testing.assert_allclose(apply_affine(affine, centre - 32 * along - 32 * down)[0], [-0.5, -0.5], atol=1e-9)
    np.testing.assert_allclose(apply_affine(affine, centre + 32 * along - 32 * down)[0], [255.5, -0.5], atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 0.5, -2.0])
def test_regions_turn_and_grow_with_the_face(face: Float64Array, angle: float) -> None:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    upright, turned = regions_of_landmarks(face[None]), regions_of_landmarks((2 * face @ turn.T)[None])
    np.testing.assert_allclose(turned.sides, 2 * upright.sides)
    np.testing.assert_allclose(turned.centres[0], 2 * turn @ upright.centres[0])
    np.testing.assert_allclose(np.exp(1j * turned.angles), np.exp(1j * (upright.angles + angle)))


def test_no_regions() -> None:
    regions = regions_of_landmarks(np.empty((0, 68, 2)))
    assert regions.to_region().shape == (0, 2, 3)


def test_following_from_its_own_points_moves_them_little(finder: FaceFinder, photo: UInt8Array) -> None:
    found = finder.find(photo)
    again = finder.follow(photo, found)[0]
    assert again is not None
    eyes = np.linalg.norm(found[0].landmarks[45] - found[0].landmarks[36])
    assert np.linalg.norm(again.landmarks - found[0].landmarks, axis=1).mean() < 0.02 * eyes
