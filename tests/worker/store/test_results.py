from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa

from worker.store.records import FrameResult, Job, JobOptions, RoiStorage, TrackRow
from worker.store.results import ResultRepository
from worker.store.tables import frames

MakeResult = Callable[..., FrameResult]
MakeJob = Callable[..., Job]


def test_what_is_copied_is_read_back(engine: sa.Engine, make_video_job: MakeJob, make_result: MakeResult) -> None:
    job = make_video_job()
    results = [make_result(0, (0, 1)), make_result(1, ()), make_result(2, (1,))]
    with engine.begin() as connection:
        ResultRepository(connection).copy_frames(job, results)
    with engine.connect() as connection:
        repository = ResultRepository(connection)
        page = repository.frames_page(job)
        assert [(row.frame, row.pts_ms, len(row.faces)) for row in page] == [(0, 0.0, 2), (1, 40.0, 0), (2, 80.0, 1)]
        for row, result in zip(page, results, strict=True):
            for number, (stored, (face, au)) in enumerate(zip(row.faces, result.faces, strict=True)):
                assert (stored.frame, stored.face, stored.track) == (result.index, number, face.track)
                assert (stored.face_score, stored.presence) == (face.score, face.presence)
                assert stored.roi_amplitude is not None
                assert stored.roi_centres is not None
                np.testing.assert_array_equal(stored.box_xyxy, face.box_xyxy)
                np.testing.assert_array_equal(stored.landmarks, face.landmarks)
                np.testing.assert_array_equal(stored.au_score, au.score)
                np.testing.assert_array_equal(stored.au_probability, au.probability)
                np.testing.assert_array_equal(stored.au_active, au.active)
                np.testing.assert_array_equal(stored.roi_amplitude, au.roi_amplitude)
                np.testing.assert_array_equal(stored.roi_centres, au.roi_centres)
                assert (stored.measures is None) == (au.measures is None)
                if au.measures is not None:
                    np.testing.assert_array_equal(stored.measures, au.measures)
                maps = repository.roi_map(job, result.index, number)
                assert maps is not None
                np.testing.assert_allclose(maps, au.roi_maps, atol=0.07)
        assert repository.face(job, 2, 0) is not None
        assert repository.face(job, 1, 0) is None
        assert repository.roi_map(job, 1, 0) is None


@pytest.mark.parametrize(
    ("roi", "peaks", "maps"), [(RoiStorage.FULL, 1, 1), (RoiStorage.PEAKS, 1, 0), (RoiStorage.NONE, 0, 0)]
)
def test_no_more_is_kept_than_was_asked_for(
    engine: sa.Engine, make_video_job: MakeJob, make_result: MakeResult, roi: RoiStorage, peaks: int, maps: int
) -> None:
    job = make_video_job(JobOptions(roi=roi))
    with engine.begin() as connection:
        repository = ResultRepository(connection)
        repository.copy_frames(job, [make_result(0)])
        face = repository.face(job, 0, 0)
        assert face is not None
        assert (face.roi_amplitude is not None) == (face.roi_centres is not None) == bool(peaks)
        assert (repository.roi_map(job, 0, 0) is not None) == bool(maps)


def test_tracks_grow_over_commits(engine: sa.Engine, make_video_job: MakeJob, make_result: MakeResult) -> None:
    job = make_video_job()
    for part in ([make_result(0, (0,)), make_result(1, (0, 1))], [make_result(2, ())], [make_result(3, (1,))]):
        with engine.begin() as connection:
            ResultRepository(connection).copy_frames(job, part)
    with engine.connect() as connection:
        assert ResultRepository(connection).tracks(job) == [TrackRow(0, 0, 1, 2), TrackRow(1, 1, 3, 2)]


def test_measures_of_a_track_and_its_rest(engine: sa.Engine, make_video_job: MakeJob, make_result: MakeResult) -> None:
    job, other = make_video_job(), make_video_job()
    results = [make_result(0, (0, 1)), make_result(1, ()), make_result(2, (1, 0))]
    with engine.begin() as connection:
        repository = ResultRepository(connection)
        repository.copy_frames(job, results)
        repository.copy_frames(other, results[:1])
        frames, times, measures = zip(*repository.measures(job, 0), strict=True)
        assert (frames, times) == ((0, 2), (0.0, 80.0))
        np.testing.assert_array_equal(measures, [results[0].faces[0][1].measures, results[2].faces[1][1].measures])
        assert repository.measures(job, 1) == []
        repository.set_rest(job, 0, measures[0])
        rests = [track.rest for track in repository.tracks(job)]
        assert rests[0] is not None
        np.testing.assert_array_equal(rests[0], measures[0])
        assert rests[1] is None
        assert [track.rest for track in repository.tracks(other)] == [None, None]


def test_another_decision_takes_the_place_of_the_first(
    engine: sa.Engine, make_video_job: MakeJob, make_result: MakeResult
) -> None:
    job, other = make_video_job(), make_video_job()
    with engine.begin() as connection:
        repository = ResultRepository(connection)
        for each in (job, other):
            repository.copy_frames(each, [make_result(0, (0, 1)), make_result(1, (0,))])
        before = repository.frames_page(job)
        chosen = before[0].faces[1]
        chance = np.array([0.25, np.nan, 0.5], np.float32)
        repository.decide(job, [replace(chosen, au_probability=chance, au_active=~chosen.au_active)])
        repository.decide(job, [])
        after = repository.frames_page(job)
        np.testing.assert_array_equal(after[0].faces[1].au_probability, chance)
        np.testing.assert_array_equal(after[0].faces[1].au_active, ~chosen.au_active)
        np.testing.assert_array_equal(after[0].faces[1].au_score, chosen.au_score)
        for old, new in ((before[0].faces[0], after[0].faces[0]), (before[1].faces[0], after[1].faces[0])):
            np.testing.assert_array_equal(old.au_probability, new.au_probability)
        untouched = repository.frames_page(other)[0].faces[1]
        np.testing.assert_array_equal(untouched.au_probability, chosen.au_probability)


def test_a_frame_cannot_be_stored_twice(engine: sa.Engine, make_video_job: MakeJob, make_result: MakeResult) -> None:
    job = make_video_job()
    with engine.begin() as connection:
        ResultRepository(connection).copy_frames(job, [make_result(0)])
    with pytest.raises(psycopg.errors.UniqueViolation), engine.begin() as connection:
        ResultRepository(connection).copy_frames(job, [make_result(1), make_result(0)])
    with engine.connect() as connection:
        assert connection.execute(sa.select(frames.c.frame)).scalars().all() == [0]


def test_pages_and_stream_hold_every_frame_once(
    engine: sa.Engine, make_video_job: MakeJob, make_result: MakeResult
) -> None:
    job = make_video_job(JobOptions(roi=RoiStorage.NONE))
    other = make_video_job(JobOptions(roi=RoiStorage.NONE))
    with engine.begin() as connection:
        repository = ResultRepository(connection)
        repository.copy_frames(job, [make_result(index, (0, 1) if index % 3 else ()) for index in range(25)])
        repository.copy_frames(other, [make_result(3)])
        assert [row.frame for row in repository.frames_page(job, after=4, limit=3)] == [5, 6, 7]
        assert repository.frames_page(job, after=24) == []
        streamed = list(repository.stream_frames(job, page_size=7))
        assert [row.frame for row in repository.stream_frames(job, after=20, page_size=2)] == [21, 22, 23, 24]
    assert [row.frame for row in streamed] == list(range(25))
    assert all(first.pts_ms < second.pts_ms for first, second in pairwise(streamed))
    assert [len(row.faces) for row in streamed] == [2 if index % 3 else 0 for index in range(25)]


def test_nothing_is_no_error(engine: sa.Engine, make_video_job: MakeJob) -> None:
    job = make_video_job()
    with engine.begin() as connection:
        repository = ResultRepository(connection)
        repository.copy_frames(job, [])
        assert repository.frames_page(job) == []
        assert list(repository.stream_frames(job)) == []
        assert repository.tracks(job) == []
