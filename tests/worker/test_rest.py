from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from model.analyzer import Analyzer
from model.brow_measures import MEASURES
from model.own_rest import REST_MS
from model.values import UInt8Array
from worker.rest import RestGatherer, RestingTrack, against_neutral, against_rest
from worker.store.records import FaceRow

MakeRow = Callable[..., FaceRow]


@pytest.fixture
def make_row(tiny_analyzer: Analyzer, astronaut: UInt8Array) -> MakeRow:
    """`make_row(frame, track, rise=0)`: the astronaut at 25 frames a second, with every measure raised."""
    ((face, prediction),) = tiny_analyzer.analyze(astronaut)
    assert prediction.measures is not None
    own = prediction.measures

    def make(frame: int, track: int = 0, rise: float = 0.0) -> FaceRow:
        return FaceRow(
            frame=frame,
            face=track,
            track=track,
            pts_ms=frame * 40.0,
            box_xyxy=face.box_xyxy,
            face_score=face.score,
            presence=face.presence,
            landmarks=face.landmarks,
            au_score=prediction.score,
            au_probability=prediction.probability,
            au_active=prediction.active,
            roi_amplitude=None,
            roi_centres=None,
            measures=own + np.float32(rise),
        )

    return make


LONG = int(REST_MS / 40) + 1


def test_tracks_rest_apart(make_row: MakeRow) -> None:
    gatherer = RestGatherer()
    for frame in range(LONG):
        moved = 1.0 if frame % 3 == 0 else 0.0
        gatherer.add([make_row(frame, 0, moved), make_row(frame, 1, 0.5), replace(make_row(frame, 2), measures=None)])
    for frame in range(LONG - 1):
        gatherer.add([make_row(frame, 3)])  # seen for too short a time
    tracks = gatherer.tracks()
    assert set(tracks) == {0, 1}
    np.testing.assert_allclose(tracks[1].rest - tracks[0].rest, 0.5, atol=1e-5)
    assert set(tracks[0].measures) == set(range(LONG))
    assert RestGatherer().tracks() == {}


def test_faces_of_several_tracks_are_decided_in_their_order(tiny_analyzer: Analyzer, make_row: MakeRow) -> None:
    rest = make_row(0).measures
    assert rest is not None
    faces = [make_row(0, 0, 0.2), make_row(0, 1, 0.2), make_row(1, 0, -0.2), replace(make_row(1, 1), measures=None)]
    tracks = {
        0: RestingTrack(rest, {0: rest + np.float32(0.2), 1: rest - np.float32(0.2)}),
        1: RestingTrack(rest + np.float32(0.2), {0: rest + np.float32(0.2)}),
        7: RestingTrack(rest, {0: rest}),
    }
    decided = against_rest(tiny_analyzer, tracks, faces)
    assert [(face.frame, face.track) for face in decided] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    high, level, low, unmeasured = (face.au_probability[0] for face in decided)
    assert low < level < high
    assert [face.au_active[0] for face in decided[:3:2]] == [True, False]
    assert unmeasured == faces[3].au_probability[0]
    for before, after in zip(faces, decided, strict=True):
        np.testing.assert_array_equal(before.au_probability[1:], after.au_probability[1:])
        np.testing.assert_array_equal(before.au_score, after.au_score)
    assert against_rest(tiny_analyzer, {}, faces) == faces
    assert against_rest(tiny_analyzer, tracks, []) == []


def test_a_blink_is_gone_from_what_lids_are_held_against(make_row: MakeRow) -> None:
    gatherer, lids = RestGatherer(), MEASURES.index("lids_open")
    for frame in range(LONG):
        row = make_row(frame)
        assert row.measures is not None
        if frame in (20, 21, 22):
            closed = row.measures.copy()
            closed[lids] = 0
            row = replace(row, measures=closed)
        gatherer.add([row])
    track, own = gatherer.tracks()[0], make_row(0).measures
    assert own is not None
    assert {round(float(measures[lids] / own[lids]), 3) for measures in track.measures.values()} == {1.0}


def test_a_rest_from_elsewhere_is_that_of_the_face_seen_most(make_row: MakeRow) -> None:
    gatherer, rest = RestGatherer(), make_row(0).measures
    assert rest is not None
    for frame in range(8):
        gatherer.add([make_row(frame, 0, 0.3)] if frame < 3 else [make_row(frame, 0, 0.3), make_row(frame, 1, 0.3)])
    tracks = gatherer.tracks(rest)
    assert set(tracks) == {0}, "eight frames are too few to know a rest; that of the first is given"
    np.testing.assert_array_equal(tracks[0].rest, rest)
    assert RestGatherer().tracks(rest) == {}


def test_of_a_picture_the_largest_face_is_held_against_a_neutral_one(
    tiny_analyzer: Analyzer, astronaut: UInt8Array
) -> None:
    two = tiny_analyzer.analyze(np.concatenate([astronaut, astronaut[::2, ::2].repeat(2, axis=0)[:, :256]], axis=1))
    assert len(two) == 2
    measures = two[0][1].measures
    assert measures is not None
    held = against_neutral(tiny_analyzer, two, measures - np.float32(0.2))
    assert held[0][1].probability[0] > two[0][1].probability[0] + 0.05
    assert held[0][0] is two[0][0]
    assert held[1] is two[1]
    assert against_neutral(tiny_analyzer, [], measures) == []
    unmeasured = [(two[0][0], replace(two[0][1], measures=None))]
    assert against_neutral(tiny_analyzer, unmeasured, measures) == unmeasured


def test_measures_are_those_of_the_model(make_row: MakeRow) -> None:
    measures = make_row(0).measures
    assert measures is not None
    assert measures.shape == (len(MEASURES),)
