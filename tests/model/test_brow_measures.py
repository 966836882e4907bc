from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.brow_measures import (
    MEASURES,
    MEASURES_OF_AU,
    RIGID_3D,
    brow_measures,
    measures_of,
    nodded,
    resting_reference,
    upright,
)
from model.landmarks import FLIP_68
from tests.readings import solid_face


def turn(nod: float, yaw: float, roll: float) -> np.ndarray:
    """Rotation matrix of angles in radians."""
    about_x = [[1, 0, 0], [0, math.cos(nod), -math.sin(nod)], [0, math.sin(nod), math.cos(nod)]]
    about_y = [[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]]
    about_z = [[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]]
    return np.array(about_x) @ np.array(about_y) @ np.array(about_z)


def measured(face: np.ndarray) -> dict[str, float]:
    reference = resting_reference(solid_face()[None])
    values = brow_measures(face[None, :, :2], face[None, :, 2], reference)[0]
    return dict(zip(MEASURES, values.tolist(), strict=True))


angles = st.floats(-0.7, 0.7)


@settings(max_examples=40, deadline=None)
@given(nod=angles, yaw=angles, roll=st.floats(-math.pi, math.pi), scale=st.floats(0.1, 20), shift=st.floats(-1e3, 1e3))
def test_neither_nod_nor_turn_nor_roll_nor_size_changes_a_measure(
    nod: float, yaw: float, roll: float, scale: float, shift: float
) -> None:
    face = solid_face()
    moved = scale * (face - face.mean(axis=0)) @ turn(nod, yaw, roll).T + shift
    assert measured(moved) == pytest.approx(measured(face), abs=1e-6)


def test_a_nod_would_pass_for_a_frown_without_depth() -> None:
    face = solid_face()
    nodded = (face - face.mean(axis=0)) @ turn(0.4, 0, 0).T
    height = face[[36, 39], 1].mean() - face[20, 1]
    assert nodded[[36, 39], 1].mean() - nodded[20, 1] < 0.97 * height
    assert measured(nodded)["brow_middle"] == pytest.approx(measured(face)["brow_middle"])


@pytest.mark.parametrize(
    ("points", "shift", "changed"),
    [
        ((21, 22), (0, -2), {"brow_inner": 1}),
        ((19, 20, 23, 24), (0, -2), {"brow_middle": 1}),
        ((18, 25), (0, -2), {"brow_outer": 1}),
        ((17, 26), (0, -2), {"brow_tail": 1}),
        ((22,), (2, 0), {"brow_gap": 1}),
        ((37, 38, 43, 44), (0, 1), {"lids_open": -1}),
        ((40, 41, 46, 47), (0, -1), {"lids_open": -1, "lower_lid": -1}),
        ((48, 54, 57, 8), (0, 5), {}),
    ],
)
def test_each_movement_changes_its_measures_alone(
    points: tuple[int, ...], shift: tuple[int, int], changed: dict[str, int]
) -> None:
    before, face = measured(solid_face()), solid_face()
    face[list(points), :2] += shift
    after = measured(face)
    moved = {name: after[name] - before[name] for name in MEASURES}
    signs = {name: int(np.sign(step)) for name, step in moved.items() if abs(step) > 1e-9}
    assert signs == changed


def test_mirror_images_measure_alike() -> None:
    face = solid_face()
    face[[17, 18, 37, 21]] += [(0, -3, 1), (1, -2, 0), (0, 1, 0), (-1, 2, 0)]
    mirror = face[FLIP_68] * [-1, 1, 1]
    assert measured(mirror) == pytest.approx(measured(face), abs=1e-9)


def test_a_face_is_turned_and_never_mirrored() -> None:
    face = solid_face()
    face[0, 2] += 30  # one side further away
    laid = upright(face[None], resting_reference(solid_face()[None]))[0]
    assert laid[16, 0] > 0 > laid[0, 0]


def test_the_reference_is_centred_of_unit_size_and_alike_on_both_sides() -> None:
    rng = np.random.default_rng(0)
    faces = solid_face() + rng.normal(0, 1, (20, 68, 3))
    reference = resting_reference(faces)
    assert reference.shape == (len(RIGID_3D), 3)
    np.testing.assert_allclose(reference.mean(axis=0), 0, atol=1e-9)
    assert (reference**2).sum(axis=1).mean() == pytest.approx(1)
    np.testing.assert_allclose(reference[RIGID_3D == 36], reference[RIGID_3D == 45] * [-1, 1, 1], atol=1e-9)
    laid = upright(solid_face()[None], resting_reference(solid_face()[None]))[0]
    eyes, mouth = laid[[36, 39, 42, 45]].mean(axis=0), laid[[48, 54]].mean(axis=0)
    assert mouth[1] - eyes[1] > 0.5
    assert mouth[2] == pytest.approx(eyes[2], abs=1e-6), "upright: eyes and mouth equally far away"
    with pytest.raises(ValueError, match="no face"):
        resting_reference(np.zeros((0, 68, 3)))


def test_the_reference_does_not_depend_on_how_the_faces_are_held() -> None:
    face = solid_face()
    poses = [(0.6, 0.3, 0.0), (0.0, 0.0, 0.0), (-0.4, 0.0, 1.0)]
    held = np.stack([(face - face.mean(axis=0)) @ turn(*pose).T for pose in poses])
    expected = resting_reference(face[None])
    for first in range(3):
        np.testing.assert_allclose(resting_reference(np.roll(held, first, axis=0)), expected, atol=1e-6)


def test_a_nod_takes_what_lies_below_away() -> None:
    below = np.array([[[0.0, 1.0, 0.0]]])
    np.testing.assert_allclose(nodded(below, [0.5])[0, 0], [0, math.cos(0.5), math.sin(0.5)])


def test_faces_without_depth_or_on_one_spot_are_not_measured() -> None:
    reference = resting_reference(solid_face()[None])
    faces = np.stack([solid_face(), solid_face(), np.zeros((68, 3))])
    faces[1, :, 2] = np.nan
    values = brow_measures(faces[..., :2], faces[..., 2], reference)
    assert np.isfinite(values[0]).all()
    assert np.isnan(values[1:]).all()
    assert brow_measures(np.zeros((0, 68, 2)), np.zeros((0, 68)), reference).shape == (0, len(MEASURES))
    assert measures_of(faces[:1]).shape == (1, len(MEASURES))


def test_every_named_measure_exists() -> None:
    assert {name for signs in MEASURES_OF_AU.values() for name in signs} <= set(MEASURES)
