from __future__ import annotations

import numpy as np
import pytest

from model.faces.association import (
    LIKENESS_AT_ONCE,
    Expectation,
    assign,
    contests,
    face_size,
    is_cut,
    likeness,
    look_of,
    unit,
    view_of,
)
from model.values import Face, Float32Array, Float64Array, UInt8Array
from tests.model.faces.conftest import Stage

STILL = np.zeros(2)


def _face(points: Float64Array, dx: float = 0.0, scale: float = 1.0) -> Face:
    landmarks = (points * scale + [dx, 0]).astype(np.float32)
    return Face(np.concatenate([landmarks.min(axis=0), landmarks.max(axis=0)]), 1.0, landmarks)


def _look(*values: float) -> Float32Array:
    return unit(np.array(values, np.float32))


def _track(
    points: Float64Array, look: Float32Array | None = None, unseen_s: float = 0.03, contested: bool = False
) -> Expectation:
    looks = () if look is None else (look,)
    return Expectation(points.astype(np.float32), STILL, looks, unseen_s, contested)


def test_nothing_to_assign(face: Float64Array) -> None:
    assert assign([], [_face(face)], [_look(1)]) == {}
    assert assign([_track(face)], [], []) == {}


def test_nearest_pairs_win_together(face: Float64Array) -> None:
    size = face_size(face)
    tracks = [_track(face), _track(face + np.array([0.5 * size, 0]))]
    # Both faces are nearer to the second track; only together the sum is least.
    faces = [_face(face, 0.9 * size), _face(face, 0.4 * size)]
    assert assign(tracks, faces, [_look(1), _look(1)]) == {0: 1, 1: 0}


@pytest.mark.parametrize(
    ("moved", "scale", "fits"), [(0.9, 1.0, True), (1.2, 1.0, False), (0, 1.5, True), (0, 2.2, False)]
)
def test_what_a_face_can_do_between_frames(face: Float64Array, moved: float, scale: float, fits: bool) -> None:
    centred = face - face.mean(axis=0)
    candidate = _face(centred, moved * face_size(face), scale)
    assert assign([_track(centred)], [candidate], [_look(1)]) == ({0: 0} if fits else {})


def test_likeness_decides_between_equal_places(face: Float64Array) -> None:
    red, blue = _look(1, 0, 0.2), _look(0, 1, 0.2)
    tracks = [_track(face, red), _track(face, blue)]
    assert assign(tracks, [_face(face), _face(face)], [blue, red]) == {0: 1, 1: 0}
    assert assign(tracks[:1], [_face(face)], [blue]) == {}


def test_time_makes_a_lesser_likeness_enough_unless_contested(face: Float64Array) -> None:
    before, now = _look(1, 0), _look(1, 1.2)
    assert 0.5 < likeness(before, now) < LIKENESS_AT_ONCE
    assert assign([_track(face, before)], [_face(face)], [now]) == {}
    assert assign([_track(face, before, 1.0)], [_face(face)], [now]) == {0: 0}
    assert assign([_track(face, before, 1.0, contested=True)], [_face(face)], [now]) == {}


def test_a_moving_face_is_expected_ahead_or_where_it_was(face: Float64Array) -> None:
    size = face_size(face)
    moving = Expectation(face.astype(np.float32), np.array([1.5 * size, 0]), (), 0.03)
    for dx in (0, 1.5 * size):
        assert assign([moving], [_face(face, dx)], [_look(1)]) == {0: 0}
    assert assign([moving], [_face(face, -1.5 * size)], [_look(1)]) == {}


def test_a_face_at_a_lost_ones_place_contests_it_for_a_while(face: Float64Array) -> None:
    far = _track(face + np.array([5 * face_size(face), 0]))
    assert contests(_face(face), [far, _track(face, unseen_s=0.2)]) == [1]
    assert contests(_face(face), [_track(face, unseen_s=0.8)]) == []
    assert contests(_face(face), []) == []


def test_looks_ignore_light_and_tell_people_apart(
    face: Float64Array, stage: Stage, heads: tuple[UInt8Array, UInt8Array]
) -> None:
    points = _face(face / 256 * 160)
    one, other = (look_of(head, points) for head in heads)
    dimmer = look_of((heads[0] * 0.6 + 20).astype(np.uint8), points)
    assert likeness(one, one) == pytest.approx(1)
    assert likeness(one, dimmer) > 0.98
    assert likeness(one, other) < LIKENESS_AT_ONCE


def test_views_tell_shots_apart(stage: Stage) -> None:
    first, second = (view_of(background) for background in stage.backgrounds)
    lit = view_of(np.clip(stage.backgrounds[0] * 1.6 + 50, 0, 255).astype(np.uint8))
    assert first is not None
    assert second is not None
    assert lit is not None
    assert not is_cut(first, lit)
    assert is_cut(first, second)
    assert view_of(np.zeros((90, 160, 3), np.uint8)) is None
    assert view_of(np.zeros((1, 1, 3), np.uint8)) is None
