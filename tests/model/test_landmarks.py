from __future__ import annotations

import numpy as np
import pytest

from model.landmarks import FLIP_68, LAYOUTS, convert, flip, layout_for
from model.values import Float64Array


@pytest.mark.parametrize(("name", "points"), [("ibug68", 68), ("ibug66", 66), ("ibug49", 49), ("mediapipe478", 478)])
def test_layouts(name: str, points: int) -> None:
    layout = LAYOUTS[name]
    assert layout.points == points
    assert layout_for(points) is layout
    assert layout.from_layout.max() < points


@pytest.mark.parametrize(
    ("i49", "i68"), [(0, 17), (4, 21), (5, 22), (22, 39), (31, 48), (42, 59), (43, 61), (45, 63), (46, 65), (48, 67)]
)
def test_49_points_are_those_of_bp4d(i49: int, i68: int) -> None:
    points = np.zeros((49, 2))
    points[i49] = 7, 8
    assert convert(points, "ibug49")[i68].tolist() == [7, 8]


def test_missing_points_are_nan() -> None:
    whole = convert(np.ones((49, 2)), "ibug49")
    assert np.flatnonzero(np.isnan(whole[:, 0])).tolist() == [*range(17), 60, 64]
    assert np.flatnonzero(np.isnan(convert(np.ones((66, 2)), "ibug66")[:, 0])).tolist() == [60, 64]


def test_disfa_to_bp4d_is_a_range() -> None:
    # METHOD 1.1: the 49 points are points 18 to 66, counted from 1, of DISFA's 66.
    points = np.random.default_rng(0).normal(size=(66, 2))
    np.testing.assert_array_equal(convert(points, "ibug66", "ibug49"), points[17:66])


@pytest.mark.parametrize("source", ["ibug66", "ibug49"])
def test_there_and_back(source: str) -> None:
    points = np.random.default_rng(1).normal(size=(3, LAYOUTS[source].points, 2)).astype(np.float32)
    back = convert(convert(points, source), "ibug68", source)
    np.testing.assert_array_equal(back, points)
    assert back.dtype == np.float32


def test_mediapipe_corners() -> None:
    mesh = np.arange(478 * 3, dtype=float).reshape(478, 3)
    face = convert(mesh, "mediapipe478")
    for i68, vertex in {39: 133, 42: 362, 48: 61, 54: 291, 33: 2, 8: 152, 30: 4, 51: 0, 57: 17}.items():
        assert face[i68].tolist() == mesh[vertex, :2].tolist()
    assert len(set(LAYOUTS["mediapipe478"].from_layout.tolist())) == 68


def test_conversion_copies() -> None:
    points = np.zeros((68, 2))
    convert(points, "ibug68")[:] = 1
    assert not points.any()


def test_empty_batch() -> None:
    assert convert(np.zeros((0, 478, 2)), "mediapipe478").shape == (0, 68, 2)
    assert flip(np.zeros((0, 68, 2)), 10).shape == (0, 68, 2)


@pytest.mark.parametrize("layout", ["ibug68", "ibug66", "ibug49"])
def test_flip_mirrors_a_symmetric_face_onto_itself(face: Float64Array, layout: str) -> None:
    points = convert(face, "ibug68", layout)
    mirrored = flip(points, width=257, layout=layout)  # the face's axis is x = 128
    np.testing.assert_allclose(mirrored, points, atol=1e-9)


def test_flip_twice_is_nothing() -> None:
    points = np.random.default_rng(2).normal(size=(2, 68, 2))
    np.testing.assert_allclose(flip(flip(points, 64), 64), points, atol=1e-12)
    np.testing.assert_array_equal(FLIP_68[FLIP_68], np.arange(68))
    assert flip(points, 64)[0, 48, 0] == 63 - points[0, 54, 0]


@pytest.mark.parametrize(
    ("points", "source", "target", "message"),
    [
        (np.zeros((68, 2)), "dlib", "ibug68", "unknown landmark layout 'dlib'"),
        (np.zeros((68, 2)), "ibug68", "mediapipe478", "cannot make mediapipe478"),
        (np.zeros((67, 2)), "ibug68", "ibug68", r"\(67, 2\)"),
        (np.zeros((68, 4)), "ibug68", "ibug68", r"\(68, 4\)"),
        (np.zeros(68), "ibug68", "ibug68", r"\(68,\)"),
    ],
)
def test_convert_refuses(points: Float64Array, source: str, target: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert(points, source, target)


def test_other_refusals() -> None:
    with pytest.raises(ValueError, match="no landmark layout has 5 points"):
        layout_for(5)
    with pytest.raises(ValueError, match="no mirror permutation"):
        flip(np.zeros((478, 2)), 10, "mediapipe478")
