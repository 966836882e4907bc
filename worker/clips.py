"""Video jobs: claim one, run it through the pipeline, commit every few hundred frames or seconds, go on where it was.

Rows, ROI maps, progress and the tracker's state are committed together: a worker that is killed loses only what it had
not committed, and its successor goes on at exactly that frame, with the faces' numbers. With the end of the job the
Action Units are decided anew against each person's own rest (`worker.rest`), all of them or none.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import sqlalchemy as sa
from sqlalchemy.exc import InterfaceError, OperationalError

from model.faces.tracker import MAX_GAP_MS, TrackerState
from model.values import Face
from worker.errors import VideoError
from worker.images import INTERNAL
from worker.pipeline import Resume, VideoOptions, VideoRun
from worker.rest import settle
from worker.runtime import Loaded, Runtime
from worker.store.catalogue import MediaRepository
from worker.store.claims import ClaimRepository
from worker.store.errors import LeaseLostError, NotFoundError
from worker.store.records import Job, JobError, JobState
from worker.store.results import FrameRows, ResultRepository, frame_rows
from worker.tracker_codec import decode_tracker, encode_tracker
from worker.unavailable import UNAVAILABLE

if TYPE_CHECKING:
    from model.analyzer import Reading

log = logging.getLogger(__name__)


def run_next(runtime: Runtime) -> Job | None:
    """Claim one video job and work on it until it ends, is cancelled, or the process should stop.

    Returns:
        The job as it was claimed, None when none was queued.
    """
    if runtime.stopping:
        return None
    with runtime.database.begin() as connection:
        job = ClaimRepository(connection).claim_video(runtime.worker_id, runtime.settings.lease_seconds)
    if job is None:
        return None
    log.info("video job %s: from frame %d", job.id, job.frames_done)
    try:
        with runtime.busy(job.id):
            _ClipRun(runtime, job).run()
    except LeaseLostError as error:
        log.warning("%s; stopped", error)
    except (OperationalError, InterfaceError):
        log.exception("video job %s: the database is gone; the job goes on when its lease has run out", job.id)
    except VideoError as error:
        _fail(runtime, job, JobError(error.slug, error.detail))
    except NotFoundError:
        _fail(runtime, job, JobError("media-unreadable", "the clip is no longer in the media store"))
    except UNAVAILABLE as error:
        _fail(runtime, job, JobError("checkpoint-unavailable", str(error)))
    except Exception:
        log.exception("video job %s", job.id)
        _fail(runtime, job, INTERNAL)
    return job


def _fail(runtime: Runtime, job: Job, error: JobError) -> None:
    log.warning("video job %s failed: %s (%s)", job.id, error.slug, error.detail)
    try:
        with runtime.database.begin() as connection:
            ClaimRepository(connection).fail(job, error)
    except LeaseLostError as lost:
        log.info("%s", lost)


class _ClipRun:
    """One claim of one job."""

    def __init__(self, runtime: Runtime, job: Job) -> None:
        self._runtime = runtime
        self._job = job
        self._rows: list[FrameRows] = []
        self._done = job.frames_done
        self._total = job.frames_total
        self._committed_at = time.monotonic()

    def run(self) -> None:
        settings, job = self._runtime.settings, self._job
        loaded = self._runtime.loaded(job)
        if job.frames_done and job.reading is not None:
            # A clip that goes on is decided as it was begun, whatever ROIGCN_READING says by now.
            loaded = replace(loaded, analyzer=loaded.analyzer.deciding_by(cast("Reading", job.reading)))
        options = VideoOptions(
            faces=job.options.faces,
            batch_size=settings.batch_size,
            max_seconds=settings.max_video_seconds,
            max_pixels=settings.max_video_pixels,
        )
        path, resume = self._open()
        with VideoRun(path, loaded.analyzer, options, resume, self._runtime.pulse) as clip:
            self._describe(clip, loaded)
            try:
                for result in clip:
                    self._rows.append(frame_rows(job, result))
                    self._done = result.index + 1
                    if self._should_leave():
                        break
                    if self._commit_is_due() and self._commit(clip) is JobState.CANCELLING:
                        break
            except VideoError as error:
                self._commit(clip)  # the frames before the error stay
                self._break_off(error, loaded)
            else:
                self._end(clip, loaded)

    def _open(self) -> tuple[Path, Resume]:
        """The file and where to go on."""
        job = self._job
        with self._runtime.database.connect() as connection:
            if job.media_id is None:
                raise NotFoundError("the job has no media")
            path = self._runtime.media.path(MediaRepository(connection).get_or_raise(job.tenant, job.media_id).uri)
            if job.frames_done == 0:
                return path, Resume(0)
            results = ResultRepository(connection)
            last = results.frames_page(job, after=job.frames_done - 2, limit=1)
            return path, Resume(job.frames_done, last[0].pts_ms, self._tracker_state(results, last[0].pts_ms))

    def _tracker_state(self, results: ResultRepository, last_ms: float) -> TrackerState:
        """The stored state; if another version of the program stored it, one made of the last stored faces."""
        job = self._job
        try:
            return decode_tracker(job.resume or b"")
        except ValueError as error:
            log.warning("video job %s: %s; going on from the stored faces", job.id, error)
        recent = [
            (
                row.frame,
                row.pts_ms,
                [Face(f.box_xyxy, f.face_score, f.landmarks, f.presence, f.track) for f in row.faces],
            )
            for row in results.frames_page(job, after=max(job.frames_done - 500, 0) - 1, limit=500)
            if row.pts_ms >= last_ms - MAX_GAP_MS
        ]
        next_track = max((track.track + 1 for track in results.tracks(job)), default=0)
        return TrackerState.from_faces(recent, next_track)

    def _describe(self, clip: VideoRun, loaded: Loaded) -> None:
        info, job = clip.info, self._job
        self._total = info.frames
        with self._runtime.database.begin() as connection:
            ClaimRepository(connection).describe(
                job,
                checkpoint_id=loaded.checkpoint.id,
                reading=loaded.analyzer.decides_by,
                width=info.width,
                height=info.height,
                frames_total=info.frames,
            )
            if job.media_id is not None:
                MediaRepository(connection).describe(
                    job.media_id,
                    width=info.width,
                    height=info.height,
                    fps=info.fps,
                    duration_ms=info.duration_ms,
                    frames=info.frames,
                )

    def _should_leave(self) -> bool:
        return self._runtime.stopping or self._job.id in self._runtime.cancelling

    def _commit_is_due(self) -> bool:
        settings = self._runtime.settings
        waited = time.monotonic() - self._committed_at
        return len(self._rows) >= settings.commit_frames or waited >= settings.commit_seconds

    def _commit(self, clip: VideoRun) -> JobState:
        """Store what has gathered, with the progress and the way to go on."""
        with self._runtime.database.begin() as connection:
            state = ClaimRepository(connection).progress(
                self._job,
                self._done,
                lease_seconds=self._runtime.settings.lease_seconds,
                resume=None if clip.tracker is None else encode_tracker(clip.tracker),
                frames_total=None if self._total is None else max(self._total, self._done),
            )
            ResultRepository(connection).copy_rows(self._job, self._rows)
        self._rows.clear()
        self._committed_at = time.monotonic()
        return state

    def _settle(self, connection: sa.Connection, loaded: Loaded) -> None:
        tracks = settle(loaded.analyzer, ResultRepository(connection), self._job, self._runtime.pulse)
        log.info("video job %s: %d tracks held against their own rest", self._job.id, tracks)

    def _break_off(self, error: VideoError, loaded: Loaded) -> None:
        """After a frame that cannot be read. One transaction: without the lease nothing is decided anew either."""
        log.warning("video job %s failed: %s (%s)", self._job.id, error.slug, error.detail)
        with self._runtime.database.begin() as connection:
            self._settle(connection, loaded)
            ClaimRepository(connection).fail(self._job, JobError(error.slug, error.detail))

    def _end(self, clip: VideoRun, loaded: Loaded) -> None:
        """After the last frame, or where the loop was left."""
        state = self._commit(clip)
        job = self._job
        with self._runtime.database.begin() as connection:
            claims = ClaimRepository(connection)
            put_back = self._runtime.stopping and not clip.finished and state is not JobState.CANCELLING
            if not put_back:
                self._settle(connection, loaded)
            if state is JobState.CANCELLING:
                claims.cancelled(job)
                log.info("video job %s: cancelled after %d frames", job.id, self._done)
            elif put_back:
                claims.release(job)
                log.info("video job %s: put back after %d frames, as this worker stops", job.id, self._done)
            else:
                claims.finish(job, frames_total=self._done, warnings=clip.warnings)
                log.info("video job %s: done, %d frames", job.id, self._done)
