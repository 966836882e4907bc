"""Image jobs: claim what is queued, analyse it in one batch, store all of it in one transaction; until nothing is left.

While one batch is computed the next one gathers in the queue: batches form by themselves, without a timer.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np

from model.image import ImageError, read_image
from model.values import AuPrediction, Crop, Face
from worker.rest import against_neutral
from worker.runtime import Loaded, Runtime
from worker.store.claims import ClaimRepository
from worker.store.errors import LeaseLostError
from worker.store.records import ClaimedImage, FaceSelection, FrameResult, Job, JobError, JobState
from worker.store.results import ResultRepository
from worker.unavailable import UNAVAILABLE

log = logging.getLogger(__name__)

INTERNAL = JobError("internal", "the analysis failed; the log of the worker says why")


@dataclass(frozen=True, slots=True)
class _Found:
    """The faces of a picture, before the network."""

    width: int
    height: int
    faces: tuple[Face, ...]
    crops: tuple[Crop, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Done:
    """An analysed picture."""

    loaded: Loaded
    width: int
    height: int
    result: FrameResult


def drain(runtime: Runtime) -> int:
    """Work until no image job is queued or the process should stop; returns how many were taken."""
    taken = 0
    while not runtime.stopping:
        with runtime.busy(), runtime.database.begin() as connection:
            claimed = ClaimRepository(connection).claim_images(
                runtime.settings.batch_size, runtime.worker_id, runtime.settings.lease_seconds
            )
        if not claimed:
            break
        with runtime.busy(*(item.job.id for item in claimed)):
            _store(runtime, _analyse(runtime, claimed))
        taken += len(claimed)
    return taken


def _analyse(runtime: Runtime, claimed: Sequence[ClaimedImage]) -> list[tuple[Job, _Done | JobError]]:
    """Checkpoint by checkpoint: to load one may close another."""
    by_checkpoint: dict[UUID | None, list[ClaimedImage]] = {}
    for item in claimed:
        by_checkpoint.setdefault(item.job.checkpoint_id, []).append(item)
    return [outcome for group in by_checkpoint.values() for outcome in _analyse_alike(runtime, group)]


def _analyse_alike(runtime: Runtime, claimed: Sequence[ClaimedImage]) -> list[tuple[Job, _Done | JobError]]:
    """Pictures that all want the same checkpoint."""
    outcomes: list[tuple[Job, _Done | JobError]] = []
    try:
        loaded = runtime.loaded(claimed[0].job)
    except UNAVAILABLE as error:
        log.error("image job %s: %s", claimed[0].job.id, error)
        return [(item.job, JobError("checkpoint-unavailable", str(error))) for item in claimed]
    except Exception:
        log.exception("image job %s", claimed[0].job.id)
        return [(item.job, INTERNAL) for item in claimed]
    batch: list[tuple[Job, _Found]] = []
    for item in claimed:
        try:
            found = _find(runtime, loaded, item)
        except ImageError as error:
            outcomes.append((item.job, JobError(error.slug, error.detail)))
        except Exception:
            log.exception("image job %s", item.job.id)
            outcomes.append((item.job, INTERNAL))
        else:
            batch.append((item.job, found))
        runtime.pulse()
    return outcomes + _predict(runtime, loaded, batch)


def _find(runtime: Runtime, loaded: Loaded, item: ClaimedImage) -> _Found:
    rgb = read_image(item.payload, runtime.settings.max_image_pixels)
    faces = loaded.analyzer.faces(rgb)
    if item.job.options.faces is FaceSelection.LARGEST:
        faces = faces[:1]
    crops = tuple(loaded.analyzer.crop(rgb, face) for face in faces)
    return _Found(rgb.shape[1], rgb.shape[0], tuple(faces), crops)


def _predict(
    runtime: Runtime, loaded: Loaded, batch: Sequence[tuple[Job, _Found]]
) -> list[tuple[Job, _Done | JobError]]:
    """All faces of all pictures in one go; should that fail, each picture alone, so that one cannot spoil the rest."""
    try:
        predictions = iter(loaded.analyzer.predict([crop for _, found in batch for crop in found.crops]))
    except Exception:
        if len(batch) == 1:
            log.exception("image job %s", batch[0][0].id)
            return [(batch[0][0], INTERNAL)]
        return [outcome for single in batch for outcome in _predict(runtime, loaded, [single])]
    runtime.pulse()
    return [
        (
            job,
            _Done(
                loaded,
                found.width,
                found.height,
                FrameResult(0, 0.0, _held(loaded, job, [(face, next(predictions)) for face in found.faces])),
            ),
        )
        for job, found in batch
    ]


def _held(
    loaded: Loaded, job: Job, found: Sequence[tuple[Face, AuPrediction]]
) -> tuple[tuple[Face, AuPrediction], ...]:
    """The faces as the job's options want them, against the rest of a neutral picture if there is one."""
    if job.options.rest is None:
        return tuple(found)
    return tuple(against_neutral(loaded.analyzer, found, np.array(job.options.rest, np.float32)))


def _store(runtime: Runtime, outcomes: Sequence[tuple[Job, _Done | JobError]]) -> None:
    """One transaction for the batch; a job that was lost meanwhile is left out of it."""
    with runtime.database.begin() as connection:
        claims, results = ClaimRepository(connection), ResultRepository(connection)
        for job, outcome in outcomes:
            try:
                with connection.begin_nested():
                    if isinstance(outcome, JobError):
                        claims.fail(job, outcome)
                        continue
                    state = claims.describe(
                        job,
                        checkpoint_id=outcome.loaded.checkpoint.id,
                        reading=outcome.loaded.analyzer.decides_by,
                        width=outcome.width,
                        height=outcome.height,
                    )
                    if state is JobState.CANCELLING:
                        claims.cancelled(job)
                        continue
                    results.copy_frames(job, [outcome.result])
                    claims.finish(job, frames_total=1)
            except LeaseLostError as error:
                log.info("%s; its result is dropped", error)
    runtime.pulse()
