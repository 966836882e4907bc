"""Real worker processes on a real Postgres, killed, cancelled and stopped."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import psycopg
import pytest
import sqlalchemy as sa
from PIL import Image

from model.analyzer import Analyzer
from model.values import Float32Array, UInt8Array
from service.exports.recording import face_rows
from worker.bell import Bell
from worker.pipeline import analyze_video
from worker.rest import RestGatherer, against_rest
from worker.store.catalogue import CheckpointRepository, MediaRepository, WorkerRepository
from worker.store.database import psycopg_url
from worker.store.jobs import JobRepository
from worker.store.media import StoredFile
from worker.store.notify import JOB_CHANNEL, JobEvent
from worker.store.records import FaceSelection, FrameResult, FrameRow, Job, JobOptions, JobState, RoiStorage
from worker.store.results import ResultRepository
from worker.video import VideoReader

WriteClip = Callable[..., Path]
Scene = Callable[[int], Iterator[UInt8Array]]


def _encoded(rgb: UInt8Array, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, kind)
    return buffer.getvalue()


def _frames(place: object, job: Job) -> list[FrameRow]:
    with place.engine.connect() as connection:  # type: ignore[attr-defined]
        return list(ResultRepository(connection).stream_frames(job))


def _whole(frames: list[FrameRow]) -> bool:
    return [frame.frame for frame in frames] == list(range(len(frames)))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, write_clip: WriteClip, scene: Scene) -> Path:
    """36 frames at a variable rate: two faces and a gap."""
    times = [40 * number + (7 if number % 3 else 0) for number in range(36)]
    return write_clip(tmp_path_factory.mktemp("clip") / "two.mp4", scene(36), pts_ms=times)


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory, write_clip: WriteClip, scene: Scene) -> Path:
    """160 frames: long enough to be interrupted."""
    return write_clip(tmp_path_factory.mktemp("clip") / "long.mp4", scene(160))


def test_pictures_are_analysed_in_batches(running, astronaut: UInt8Array, tiny_analyzer: Analyzer) -> None:
    photo = _encoded(astronaut, "PNG")
    jobs = running.send(*[photo] * 12)
    done = [running.wait(job) for job in jobs]
    assert {job.state for job in done} == {JobState.SUCCEEDED}
    assert {(job.width, job.height, job.frames_done, job.frames_total) for job in done} == {(512, 512, 1, 1)}
    assert {job.reading for job in done} == {"both"}
    assert len({job.finished_at for job in done}) <= 2  # one transaction, one time: a batch
    ((face, au),) = tiny_analyzer.analyze(astronaut)
    with running.engine.connect() as connection:
        results = ResultRepository(connection)
        for job in done:
            (frame,) = results.frames_page(job)
            (stored,) = frame.faces
            np.testing.assert_allclose(stored.landmarks, face.landmarks, atol=0.05)
            np.testing.assert_allclose(stored.au_score, au.score, atol=1e-3)
            maps = results.roi_map(job, 0, 0)
            assert maps is not None
            assert np.abs(maps - au.roi_maps).max() <= np.ptp(au.roi_maps) / 20
        assert done[0].checkpoint_id is not None
        checkpoint = CheckpointRepository(connection).get(done[0].checkpoint_id)
    assert checkpoint is not None
    assert (checkpoint.name, checkpoint.version, checkpoint.au_codes) == ("tiny", "1", ("AU1", "AU12", "AU25"))


def test_bad_pictures_do_not_spoil_a_batch(running, astronaut: UInt8Array) -> None:
    photo = _encoded(astronaut)
    wall = _encoded(np.full((90, 120, 3), 128, np.uint8))
    jobs = running.send(photo, b"", b"no picture", photo[: len(photo) // 3], wall, photo)
    done = [running.wait(job) for job in jobs]
    good = [JobState.SUCCEEDED, *[JobState.FAILED] * 3, JobState.SUCCEEDED, JobState.SUCCEEDED]
    assert [job.state for job in done] == good
    slugs = [job.error.slug for job in done if job.error]
    assert slugs == ["media-unreadable", "unsupported-media", "media-unreadable"]
    assert [len(_frames(running, job)[0].faces) for job in done if not job.error] == [1, 0, 1]


def test_options_of_a_picture(running, astronaut: UInt8Array) -> None:
    two = np.concatenate([astronaut, astronaut[::2, ::2].repeat(2, axis=0)[:, :256]], axis=1)
    options = JobOptions(roi=RoiStorage.NONE, faces=FaceSelection.LARGEST, store=False)
    (job,) = running.send(_encoded(two), options=options)
    assert running.wait(job).state is JobState.SUCCEEDED
    (frame,) = _frames(running, job)
    assert len(frame.faces) == 1
    assert frame.faces[0].roi_amplitude is None
    with running.engine.connect() as connection:
        assert ResultRepository(connection).roi_map(job, 0, 0) is None
        assert JobRepository(connection).payload("lab", job.id) is None


def test_a_picture_past_its_deadline_fails(running, astronaut: UInt8Array) -> None:
    (job,) = running.send(_encoded(astronaut), seconds=-1)
    done = running.wait(job)
    assert done.error is not None
    assert done.error.slug == "queue-full"


def _same_decisions(stored: list[FrameRow], expected: list[FrameResult], analyzer: Analyzer) -> dict[int, Float32Array]:
    """Check that a clip's faces were decided against the rests that the whole of it has, which are given back."""
    rows = [row for frame in expected for row in face_rows(frame.index, frame.pts_ms, frame.faces)]
    gatherer = RestGatherer()
    gatherer.add(rows)
    tracks = gatherer.tracks()
    wanted = against_rest(analyzer, tracks, rows)
    for face, row in zip([face for frame in stored for face in frame.faces], wanted, strict=True):
        np.testing.assert_allclose(face.au_probability, row.au_probability, atol=2e-3)
        clear = np.abs(row.au_probability - 0.5) > 0.01
        np.testing.assert_array_equal(face.au_active[clear], row.au_active[clear])
    return {number: track.rest for number, track in tracks.items()}


def test_a_clip_is_stored_frame_by_frame(running, clip: Path, tiny_analyzer: Analyzer) -> None:
    with psycopg.connect(psycopg_url(running.url), autocommit=True) as listener:
        listener.execute(f"LISTEN {JOB_CHANNEL}")
        job = running.submit(clip)
        done = running.wait(job)
        events = [JobEvent.parse(note.payload) for note in listener.notifies(timeout=0.5)]
    assert (done.state, done.frames_done, done.frames_total) == (JobState.SUCCEEDED, 36, 36)
    assert (done.width, done.height, done.warnings, done.error) == (480, 256, (), None)
    assert done.reading == "both"
    progress = [event.frames_done for event in events if event.job == job.id]
    assert progress == sorted(progress)
    assert len(set(progress)) >= 5  # it moved
    assert events[-1] == JobEvent(job.id, JobState.SUCCEEDED, 36)

    stored, expected = _frames(running, done), list(analyze_video(clip, tiny_analyzer))
    assert [(row.frame, row.pts_ms) for row in stored] == [(frame.index, frame.pts_ms) for frame in expected]
    for row, frame in zip(stored, expected, strict=True):
        assert [face.track for face in row.faces] == [face.track for face, _ in frame.faces]
        for face, (other, au) in zip(row.faces, frame.faces, strict=True):
            np.testing.assert_allclose(face.landmarks, other.landmarks, atol=0.05)
            np.testing.assert_allclose(face.au_score, au.score, atol=1e-3)
    assert [len(row.faces) for row in stored[12:16]] == [0] * 4
    assert _same_decisions(stored, expected, tiny_analyzer) == {}, "too short to know how anyone rests"
    with running.engine.connect() as connection:
        results = ResultRepository(connection)
        assert [(track.track, track.rest) for track in results.tracks(done)] == [(0, None), (1, None)]
        assert results.roi_map(done, 20, 1) is not None
        assert done.media_id is not None
        media = MediaRepository(connection).get_or_raise("lab", done.media_id)
    assert (media.width, media.height, media.frames) == (480, 256, 36)


def test_a_turned_clip_is_upright(running, tmp_path: Path, write_clip: WriteClip, astronaut: UInt8Array) -> None:
    lying = [np.rot90(astronaut[:400], -1)] * 5  # turned clockwise; the matrix turns it back
    done = running.wait(running.submit(write_clip(tmp_path / "turned.mp4", lying, rotation=90)))
    assert (done.state, done.width, done.height) == (JobState.SUCCEEDED, 512, 400)
    for frame in _frames(running, done):
        (face,) = frame.faces
        eyes, mouth = face.landmarks[36:48].mean(axis=0), face.landmarks[48:].mean(axis=0)
        assert mouth[1] - eyes[1] > 2 * abs(mouth[0] - eyes[0])


def test_broken_clips(running, tmp_path: Path, write_clip: WriteClip, scene: Scene) -> None:
    whole = write_clip(tmp_path / "a.mp4", scene(40), options={"g": "8"}, container_options={"movflags": "faststart"})
    renamed = whole.rename(tmp_path / "a.png")
    truncated, empty, text = tmp_path / "t.mp4", tmp_path / "e.mp4", tmp_path / "x.mp4"
    truncated.write_bytes(renamed.read_bytes()[: renamed.stat().st_size * 6 // 10])
    empty.touch()
    text.write_text("no clip\n" * 100)
    done = [running.wait(running.submit(path)) for path in (renamed, truncated, empty, text)]
    assert [job.state for job in done] == [JobState.SUCCEEDED, JobState.SUCCEEDED, JobState.FAILED, JobState.FAILED]
    assert [job.error.slug for job in done if job.error] == ["media-unreadable", "media-unreadable"]
    assert done[0].warnings == ()
    assert "40 pictures" in done[1].warnings[0]
    frames = _frames(running, done[1])
    assert 5 < len(frames) == done[1].frames_done < 40
    assert _whole(frames)


def test_a_clip_whose_file_is_gone(running) -> None:
    with running.engine.begin() as connection:
        gone = StoredFile("ab/" + "0" * 32, "0" * 64, 1000)
        media = MediaRepository(connection).create("lab", gone, mime="video/mp4")
        job, _ = JobRepository(connection).create_video_job("lab", media.id)
    done = running.wait(job)
    assert done.error is not None
    assert done.error.slug == "media-unreadable"


def test_cancel_stops_a_running_clip(running, long_clip: Path, tiny_analyzer: Analyzer) -> None:
    job = running.submit(long_clip)
    running.wait(job, lambda job: job.frames_done > 0)
    with running.engine.begin() as connection:
        assert JobRepository(connection).request_cancel("lab", job.id).state is JobState.CANCELLING
    done = running.wait(job)
    assert done.state is JobState.CANCELLED
    frames = _frames(running, done)
    assert 0 < len(frames) == done.frames_done < 160
    assert _whole(frames)
    _same_decisions(frames, list(analyze_video(long_clip, tiny_analyzer))[: len(frames)], tiny_analyzer)


def test_delete_stops_a_running_clip(running, long_clip: Path, clip: Path) -> None:
    job = running.submit(long_clip)
    running.wait(job, lambda job: job.frames_done > 0)
    with running.engine.begin() as connection:
        (uri,) = JobRepository(connection).delete("lab", job.id)
    running.media.delete(uri)
    assert running.wait(running.submit(clip)).state is JobState.SUCCEEDED  # the worker is well and free again
    with running.engine.connect() as connection:
        assert (
            connection.execute(sa.text("SELECT count(*) FROM frames WHERE job_id = :id"), {"id": job.id}).scalar() == 0
        )


def test_a_killed_worker_loses_no_frame(workplace, long_clip: Path, tiny_analyzer: Analyzer) -> None:
    job = workplace.submit(long_clip)
    for enough in (30, 80):
        worker = workplace.start("video", commit_frames=10, sweep_seconds=0.5, lease_seconds=2)
        workplace.wait(job, lambda job, enough=enough: job.frames_done >= enough)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    assert workplace.job(job).state is JobState.RUNNING  # nobody is left to notice
    workplace.start("video", commit_frames=10, sweep_seconds=0.5, lease_seconds=2)
    done = workplace.wait(job)
    assert (done.state, done.frames_done, done.warnings) == (JobState.SUCCEEDED, 160, ())
    stored = _frames(workplace, done)
    with VideoReader(long_clip) as reader:
        assert [(row.frame, row.pts_ms) for row in stored] == [(f.index, f.pts_ms) for f in reader.frames()]
    expected = list(analyze_video(long_clip, tiny_analyzer))
    assert [[face.track for face in row.faces] for row in stored] == [
        [face.track for face, _ in frame.faces] for frame in expected
    ]
    with workplace.engine.connect() as connection:
        counts = connection.execute(
            sa.text("SELECT (SELECT count(*) FROM face_frames), (SELECT count(*) FROM roi_maps)")
        ).one()
        tracks = ResultRepository(connection).tracks(done)
    faces = sum(len(frame.faces) for frame in expected)
    assert tuple(counts) == (faces, faces)
    assert sum(track.frames for track in tracks) == faces
    rests = _same_decisions(stored, expected, tiny_analyzer)
    assert rests.keys() == {track.track for track in tracks if track.rest is not None} == {0, 1}
    for track in tracks:
        np.testing.assert_allclose(track.rest, rests[track.track], atol=1e-3)
    assert any(
        not np.array_equal(face.au_probability, au.probability)
        for row, frame in zip(stored, expected, strict=True)
        for face, (_, au) in zip(row.faces, frame.faces, strict=True)
    )


def test_a_clip_goes_on_by_the_reading_it_was_begun_with(workplace, long_clip: Path, tiny_analyzer: Analyzer) -> None:
    job = workplace.submit(long_clip)
    worker = workplace.start("video", commit_frames=10, reading="network")
    workplace.wait(job, lambda job: job.frames_done >= 30)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert 0 < workplace.job(job).frames_done < 160
    workplace.start("video")
    done = workplace.wait(job)
    assert (done.state, done.reading) == (JobState.SUCCEEDED, "network")
    alone = tiny_analyzer.deciding_by("network")
    assert alone.deciding_by("network") is alone
    for row, frame in zip(_frames(workplace, done), analyze_video(long_clip, alone), strict=True):
        for face, (_, prediction) in zip(row.faces, frame.faces, strict=True):
            np.testing.assert_allclose(face.au_probability, prediction.probability, atol=2e-2)
    with workplace.engine.connect() as connection:
        assert {track.rest for track in ResultRepository(connection).tracks(done)} == {None}


def test_what_was_read_before_a_clip_broke_off_is_held_against_its_rest(
    workplace, tmp_path: Path, write_clip: WriteClip, scene: Scene, tiny_analyzer: Analyzer
) -> None:
    path = write_clip(tmp_path / "a.h264", scene(100))  # a raw stream announces no duration
    workplace.start("video", max_video_seconds=3)
    done = workplace.wait(workplace.submit(path))
    assert (done.state, done.error and done.error.slug) == (JobState.FAILED, "media-too-long")
    frames = _frames(workplace, done)
    assert _whole(frames)
    assert 60 < len(frames) == done.frames_done < 100
    rests = _same_decisions(frames, list(analyze_video(path, tiny_analyzer))[: len(frames)], tiny_analyzer)
    with workplace.engine.connect() as connection:
        tracks = ResultRepository(connection).tracks(done)
    assert rests.keys() == {track.track for track in tracks if track.rest is not None}
    assert rests


def test_a_stopped_worker_puts_its_clip_back(workplace, long_clip: Path) -> None:
    worker = workplace.start("video", commit_frames=10)
    job = workplace.submit(long_clip)
    workplace.wait(job, lambda job: job.frames_done > 0)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    left = workplace.job(job)
    assert (left.state, left.lease, left.attempts) == (JobState.QUEUED, None, 0)
    assert 0 < left.frames_done < 160
    assert len(_frames(workplace, left)) == left.frames_done
    with workplace.engine.connect() as connection:
        assert WorkerRepository(connection).list() == []


def test_a_worker_without_a_network_ends(workplace) -> None:
    with pytest.raises(AssertionError, match="ended with 1"):
        workplace.start("detect", checkpoint="missing")


def test_workers_on_a_shared_broker(workplace, redis_url: str, astronaut: UInt8Array, long_clip: Path) -> None:
    photo = _encoded(astronaut)
    # The sweep comes too rarely to matter: it is the bell in Redis that wakes them.
    shared = {"broker_url": redis_url, "sweep_seconds": 300, "lease_seconds": 900}
    detect = workplace.start("detect", **shared)
    pool = workplace.start("video", **shared, concurrency=2, commit_frames=10)
    bell = Bell.on(redis_url)
    done = []
    for _ in range(2):
        jobs = workplace.send(*[photo] * 6)
        assert bell.ring("detect")
        done += [workplace.wait(job) for job in jobs]
    assert {job.state for job in done} == {JobState.SUCCEEDED}
    clips = [workplace.submit(long_clip, JobOptions(roi=RoiStorage.NONE)) for _ in range(2)]
    bell.ring("video")
    for job in clips:  # both at once: one child each
        workplace.wait(job, lambda job: job.frames_done > 0)
    assert {workplace.job(job).state for job in clips} == {JobState.RUNNING}
    children = psutil.Process(pool.pid).children()
    assert len(children) == 2
    for process in (detect, pool):
        process.send_signal(signal.SIGTERM)
    assert [process.wait(40) for process in (detect, pool)] == [0, 0]
    assert {workplace.job(job).state for job in clips} == {JobState.QUEUED}
    assert not any(child.is_running() and child.status() != "zombie" for child in children)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-Q", "detect", "-P", "prefork"], "must run with -P solo"),
        (["-Q", "typo", "-P", "solo"], "unknown queue typo"),
    ],
)
def test_wrong_commands_are_explained(database: str, tmp_path: Path, arguments: list[str], message: str) -> None:
    import subprocess
    import sys

    environment = os.environ | {"ROIGCN_DATABASE_URL": database, "ROIGCN_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker", *arguments]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode != 0
    assert message in process.stderr + process.stdout


def test_progress_is_monotonic_in_time(running, clip: Path) -> None:
    """The times of stored frames rise whatever the rate."""
    done = running.wait(running.submit(clip, JobOptions(roi=RoiStorage.PEAKS)))
    assert all(first.pts_ms < second.pts_ms for first, second in pairwise(_frames(running, done)))
