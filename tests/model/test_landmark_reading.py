from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.brow_measures import MEASURES
from model.landmark_reading import FEATURES, PREFIX, LandmarkReading, mirrored, shape_features
from tests.model.test_brow_measures import turn
from tests.readings import random_reading, solid_face


def face(seed: int = 0) -> np.ndarray:
    """Landmarks that lie about where a face has them, so that there are eyes and a nose to hold on to."""
    points = np.random.default_rng(seed).normal(0, 1, (68, 2)) * 2 + 50
    points[36:42] += (-15, -10)
    points[42:48] += (15, -10)
    points[27:36] += (0, 8)
    return points


@settings(max_examples=40, deadline=None)
@given(
    angle=st.floats(-math.pi, math.pi),
    scale=st.floats(0.1, 20),
    shift=st.tuples(st.floats(-1000, 1000), st.floats(-1000, 1000)),
)
def test_features_do_not_know_place_size_and_roll(angle: float, scale: float, shift: tuple[float, float]) -> None:
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    moved = scale * face() @ turn.T + shift
    np.testing.assert_allclose(shape_features(moved[None]), shape_features(face()[None]), atol=2e-4)


def test_a_face_and_its_mirror_image_are_read_alike() -> None:
    faces = np.stack([face(0), face(1)])
    np.testing.assert_allclose(random_reading().logits(faces), random_reading().logits(mirrored(faces)), atol=1e-5)
    np.testing.assert_allclose(mirrored(mirrored(faces)), faces)


def test_members_are_averaged() -> None:
    both = random_reading(members=2)
    parts = [
        LandmarkReading(
            both.mean,
            both.deviation,
            both.hidden_weight[m : m + 1],
            both.hidden_bias[m : m + 1],
            both.out_weight[m : m + 1],
            both.out_bias[m : m + 1],
            both.reference,
            both.measure_weight,
        )
        for m in range(2)
    ]
    faces = face()[None]
    mean = (parts[0].logits(faces) + parts[1].logits(faces)) / 2
    np.testing.assert_allclose(both.logits(faces), mean, atol=1e-5)


def test_no_faces_and_broken_faces() -> None:
    assert shape_features(np.zeros((0, 68, 2))).shape == (0, FEATURES)
    assert random_reading().logits(np.zeros((0, 68, 2))).shape == (0, 3)
    assert np.isnan(random_reading().logits(np.zeros((1, 68, 2)))).all()
    with pytest.raises(ValueError, match=r"\(N, 68, 2\), got \(68, 2\)"):
        shape_features(face())


def test_tensors_there_and_back() -> None:
    tensors = random_reading().tensors()
    again = LandmarkReading.of_tensors(tensors | {"conv1.weight": np.zeros(3)})
    np.testing.assert_array_equal(again.logits(face()[None]), random_reading().logits(face()[None]))
    with pytest.raises(ValueError, match="out_bias"):
        LandmarkReading.of_tensors({key: value for key, value in tensors.items() if key != f"{PREFIX}out_bias"})
    for earlier in ("", "_v2"):
        with pytest.raises(ValueError, match="earlier roigcn; publish the run again"):
            LandmarkReading.of_tensors({key.replace("_v4", earlier): value for key, value in tensors.items()})
    with pytest.raises(ValueError, match="hidden_bias is"):
        LandmarkReading.of_tensors(tensors | {f"{PREFIX}hidden_bias": np.zeros((2, 5))})


def test_movement_is_what_measures_are_above_the_rest() -> None:
    read, solid = random_reading(("AU1", "AU4", "AU12")), solid_face()[None]
    frown = solid.copy()
    frown[:, 17:27, 1] += 3
    rest, low = (read.measures(face[..., :2], face[..., 2]) for face in (solid, frown))
    brow = (rest - low)[0, [MEASURES.index("brow_inner"), MEASURES.index("brow_middle")]]
    assert (brow > 0.01).all()
    np.testing.assert_allclose(read.movement(low, rest[0])[0], [-20 * brow[0], 20 * brow.sum(), 0], atol=1e-3)
    np.testing.assert_array_equal(read.movement(rest, rest[0]), np.zeros((1, 3)))
    np.testing.assert_array_equal(read.movement(low, rest), read.movement(low, rest[0]))


def test_it_knows_which_aus_are_measured() -> None:
    assert random_reading(("AU12", "AU7", "AU2")).measured.tolist() == [False, True, True]


def test_without_depth_nothing_has_moved() -> None:
    read, flat = random_reading(), solid_face()[None, :, :2]
    measures = read.measures(flat, np.full((1, 68), np.nan))
    assert np.isnan(measures).all()
    np.testing.assert_array_equal(read.movement(measures, np.zeros(len(MEASURES))), np.zeros((1, 3)))


def test_a_nod_is_no_movement() -> None:
    read, solid = random_reading(), solid_face()
    nodded = ((solid - solid.mean(axis=0)) @ turn(0.5, 0.2, 0.1).T)[None]
    still = read.measures(solid[None, :, :2], solid[None, :, 2])
    np.testing.assert_allclose(read.measures(nodded[..., :2], nodded[..., 2]), still, atol=1e-5)
