from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from model.faces.finder import FaceFinder
from model.faces.tracker import FaceTracker, TrackerState
from model.values import Face, Frame, UInt8Array
from tests.model.faces.conftest import Stage

STEP_MS = 40.0


def _run(tracker: FaceTracker, pictures: Iterable[UInt8Array], start: int = 0) -> list[list[Face]]:
    return [
        tracker.update(Frame(index, index * STEP_MS, picture)) for index, picture in enumerate(pictures, start=start)
    ]


def _tracks(frames: Sequence[Sequence[Face]]) -> list[tuple[int, ...]]:
    return [tuple(face.track for face in faces) for faces in frames]


def _left(face: Face) -> float:
    return float(face.box_xyxy[0])


def test_two_faces_keep_their_numbers_and_are_followed_closely(finder: FaceFinder, stage: Stage) -> None:
    pictures = [stage.frame((0, 20 + 4 * t, 60 + 2 * t), (1, 290 - 2 * t, 80)) for t in range(12)]
    frames = _run(FaceTracker(finder), pictures)
    assert _tracks(frames) == [(0, 1)] * 12
    fresh = sorted(finder.find(pictures[-1]), key=_left)
    for face, found in zip(sorted(frames[-1], key=_left), fresh, strict=True):
        eyes = np.linalg.norm(found.landmarks[45] - found.landmarks[36])
        assert np.linalg.norm(face.landmarks - found.landmarks, axis=1).mean() < 0.04 * eyes


def test_crossing_faces_keep_their_numbers(finder: FaceFinder, stage: Stage) -> None:
    steps = np.linspace(0, 1, 24)
    frames = _run(FaceTracker(finder), [stage.frame((0, 10 + 300 * t, 90), (1, 310 - 300 * t, 70)) for t in steps])
    first, last = ({face.track: _left(face) for face in frames[i]} for i in (0, -1))
    assert set(first) == set(last) == {0, 1}
    assert (first[0] < first[1]) != (last[0] < last[1])
    assert {number for faces in _tracks(frames) for number in faces} == {0, 1}


@pytest.mark.parametrize("cover", ["covered", "black"])
def test_a_short_gap(finder: FaceFinder, stage: Stage, cover: str) -> None:
    there = stage.frame((0, 150, 80))
    gone = np.zeros_like(there) if cover == "black" else stage.frame()
    frames = _run(FaceTracker(finder), [there] * 4 + [gone] * 5 + [there] * 3)
    assert _tracks(frames) == [(0,)] * 4 + [()] * 5 + [(0,)] * 3


def test_a_long_gap_ends_a_track(finder: FaceFinder, stage: Stage) -> None:
    there, gone = stage.frame((0, 150, 80)), stage.frame()
    frames = _run(FaceTracker(finder, max_gap_ms=150), [there] * 2 + [gone] * 4 + [there] * 2)
    assert _tracks(frames) == [(0,)] * 2 + [()] * 4 + [(1,)] * 2


def test_entry_and_exit(finder: FaceFinder, stage: Stage) -> None:
    xs = [*range(-160, 480, 40)]
    frames = _run(FaceTracker(finder), [stage.frame((1, 10, 20), (0, x, 150)) for x in xs])
    seen = [number for faces in _tracks(frames) for number in faces]
    assert seen.count(0) == len(xs)
    assert 8 <= seen.count(1) < len(xs)
    assert set(seen) == {0, 1}
    assert _tracks(frames)[0] == _tracks(frames)[-1] == (0,)


def test_a_cut_glues_nobody(finder: FaceFinder, stage: Stage) -> None:
    shots = [stage.frame((0, 150, 80))] * 3 + [stage.frame((1, 150, 80), background=1)] * 3
    assert _tracks(_run(FaceTracker(finder), shots)) == [(0,)] * 3 + [(1,)] * 3


def test_a_cut_to_an_empty_room_and_back_keeps_the_number(finder: FaceFinder, stage: Stage) -> None:
    shots = [stage.frame((0, 150, 80))] * 3 + [stage.frame(background=1)] * 5 + [stage.frame((0, 150, 80))] * 2
    assert _tracks(_run(FaceTracker(finder), shots)) == [(0,)] * 3 + [()] * 5 + [(0,)] * 2


def test_another_person_at_the_same_place_is_another_track(finder: FaceFinder, stage: Stage) -> None:
    shots = [stage.frame((0, 150, 80))] * 3 + [stage.frame((1, 150, 80))] * 18
    tracks = _tracks(_run(FaceTracker(finder), shots))
    assert tracks[:3] == [(0,)] * 3
    assert set(tracks[3:]) <= {(), (1,)}
    assert tracks[-1] == (1,)


def test_a_flash_changes_nothing(finder: FaceFinder, stage: Stage) -> None:
    normal = stage.frame((0, 150, 80))
    flash = np.clip(normal * 1.6 + 50, 0, 255).astype(np.uint8)
    assert _tracks(_run(FaceTracker(finder), [normal, normal, flash, normal])) == [(0,)] * 4


def test_a_clip_without_faces(finder: FaceFinder, stage: Stage) -> None:
    tracker = FaceTracker(finder)
    assert _run(tracker, [stage.frame()] * 3) == [[]] * 3
    assert tracker.state().next_track == 0


def test_going_on_from_a_state_changes_nothing(finder: FaceFinder, stage: Stage) -> None:
    pictures = [stage.frame((0, 20 + 8 * t, 60), (1, 290 - 8 * t, 120)) for t in range(10)]
    whole = _run(FaceTracker(finder), pictures)
    first = FaceTracker(finder)
    _run(first, pictures[:6])
    rest = _run(FaceTracker(finder, state=first.state()), pictures[6:], start=6)
    assert _tracks(rest) == _tracks(whole[6:])
    for face, expected in zip(
        (f for faces in rest for f in faces), (f for faces in whole[6:] for f in faces), strict=True
    ):
        np.testing.assert_array_equal(face.landmarks, expected.landmarks)


def test_a_state_notices_the_cut_right_after_it(finder: FaceFinder, stage: Stage) -> None:
    first = FaceTracker(finder)
    _run(first, [stage.frame((0, 150, 80))] * 2)
    rest = _run(FaceTracker(finder, state=first.state()), [stage.frame((1, 150, 80), background=1)], start=2)
    assert _tracks(rest) == [(1,)], "at once: an unlike face after a cut is not held back"


def test_going_on_from_stored_faces_keeps_numbers(finder: FaceFinder, stage: Stage) -> None:
    pictures = [stage.frame((0, 20 + 8 * t, 60), (1, 290 - 8 * t, 120)) for t in range(8)]
    whole = _run(FaceTracker(finder), pictures)
    stored = [(index, index * STEP_MS, whole[index]) for index in range(5)]
    state = TrackerState.from_faces(stored, next_track=4)
    assert (state.next_track, state.last_index, state.last_ms) == (4, 4, 4 * STEP_MS)
    assert _tracks(_run(FaceTracker(finder, state=state), pictures[5:], start=5)) == _tracks(whole[5:])


def test_states_from_few_faces(finder: FaceFinder, stage: Stage) -> None:
    assert TrackerState.from_faces([], next_track=0) == TrackerState()
    face = finder.find(stage.frame((0, 150, 80)))
    long_ago = TrackerState.from_faces([(0, 0.0, face), (90, 3600.0, [])], next_track=0)
    assert (long_ago.next_track, long_ago.tracks) == (1, ())


@pytest.mark.parametrize("options", [{"redetect_every": 0}, {"tiles_every": 0}, {"max_gap_ms": -1.0}])
def test_impossible_options(finder: FaceFinder, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least"):
        FaceTracker(finder, **options)
