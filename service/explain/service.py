"""From a stored face to what the network did with it: asked of a worker once, drawn here for each Action Unit.

This process cuts the crop and never runs the network: a row with the crop goes to the workers of the `detect` queue,
which put the arrays into it (`worker.explanations`).
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from PIL import Image
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from model.explain_panel import ExplainedFace, checkpoint_note, explain_panel
from model.explanation import ExplanationError, check_explainable, default_au, read_explanation
from model.geometry import apply_affine, crop_affine, extract_crop, invert_affine
from model.manifest import Manifest
from model.values import Crop
from service.context import Context
from service.errors import from_job_error
from service.problems import CheckpointUnavailable, JobCancelled, NotExplainable, NotFound, QueueFull
from service.results.pictures import StoredFrame, find_frame, frame_pixels
from worker.store.catalogue import WorkerRepository
from worker.store.explanations import ExplanationRepository, StoredExplanation
from worker.store.jobs import JobRepository
from worker.store.notify import DETECT_QUEUE
from worker.store.records import FaceRow, Job

MAX_WAITING = 64  # of all tenants: a worker makes about one a second
_LOOK_SECONDS = 1.0

Gone = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class ShownFace:
    """A face whose arrays are there.

    Attributes:
        row: the stored face.
        manifest: of the checkpoint that read it.
        au: to draw.
        crop: (S, S, 3) uint8 RGB, row by row.
        arrays: of `model.explanation.explanation_bytes`.
    """

    row: FaceRow
    manifest: Manifest
    au: str
    crop: bytes = field(repr=False)
    arrays: bytes = field(repr=False)


async def shown_face(
    context: Context, tenant: str, job_id: UUID, frame: int, face: int, au: str | None, gone: Gone
) -> ShownFace:
    """The arrays of a face, made now if they are not there yet.

    Args:
        context: the app's.
        tenant: the caller's.
        job_id: of the job.
        frame: number of the frame.
        face: number of the face in it.
        au: the AU to draw; None for the likeliest.
        gone: whether the client has left.

    Raises:
        NotFound: no such job, frame, face or AU.
        JobNotFinished: that frame is not stored yet.
        NotExplainable: the checkpoint has no graph convolution.
        JobExpired: the picture is gone.
        MediaUnreadable: the picture cannot be decoded any more.
        QueueFull: nobody computed it in time.
        CheckpointUnavailable: the workers have the checkpoint no more.
    """

    def read(connection: sa.Connection) -> tuple[StoredFrame, StoredExplanation | None]:
        found = find_frame(connection, context, tenant, job_id, frame, pixels=True)
        return found, ExplanationRepository(connection).get(found.job, frame, face)

    found, stored = await context.database.run(read)
    row, manifest = _face(found, face), _manifest(found)
    if au is not None and au not in manifest.au_codes:
        raise NotFound(f"The job's checkpoint has no {au}. It has {', '.join(manifest.au_codes)}.")
    if stored is None or stored.arrays is None:
        rgb = await frame_pixels(context, found)
        cut = await run_in_threadpool(extract_crop, rgb, row.landmarks, manifest.input_size, manifest.crop.scale)
        stored = await _ask(context, found.job, frame, face, np.ascontiguousarray(cut.pixels).tobytes(), gone)
    assert stored.arrays is not None, "_ask gives rows with arrays"
    chosen = au or default_au(manifest.au_codes, row.au_probability, row.au_active)
    return ShownFace(row, manifest, chosen, stored.crop, stored.arrays)


async def draw(shown: ShownFace) -> bytes:
    """The picture as PNG."""
    return await run_in_threadpool(_draw, shown)


def _face(found: StoredFrame, face: int) -> FaceRow:
    faces, frame = found.row.faces, found.row.frame
    if face >= len(faces):
        raise NotFound(f"Frame {frame} has {len(faces)} faces, numbered from 0; there is no face {face}.")
    return faces[face]


def _manifest(found: StoredFrame) -> Manifest:
    record = found.checkpoint
    try:
        manifest = Manifest.model_validate(record.manifest)
    except ValidationError as error:
        raise CheckpointUnavailable(
            f"The manifest stored for {record.name}:{record.version} cannot be read by this version of the service. "
            "Analyse the picture again."
        ) from error
    try:
        check_explainable(manifest.architecture.variant)
    except ExplanationError as error:
        raise NotExplainable(f"{record.name}:{record.version}: {error}.") from error
    return manifest


async def _ask(context: Context, job: Job, frame: int, face: int, crop: bytes, gone: Gone) -> StoredExplanation:
    """Put the crop before the workers and wait for the arrays."""
    seconds = context.settings.explain_seconds

    def write(connection: sa.Connection) -> None:
        repository = ExplanationRepository(connection)
        if repository.queued() >= MAX_WAITING:
            raise QueueFull(f"{MAX_WAITING} faces wait already. Ask again shortly.", headers={"Retry-After": "5"})
        if JobRepository(connection).get(job.tenant, job.id) is None:
            raise _deleted()
        repository.request(job, frame, face, crop, deadline_seconds=seconds)

    def read(connection: sa.Connection) -> StoredExplanation | None:
        return ExplanationRepository(connection).get(job, frame, face)

    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    with context.listener.subscribe(job.id) as news:
        await context.database.run(write)
        context.ringer.ring(DETECT_QUEUE)
        while True:
            stored = await context.database.run(read)
            if stored is None:
                raise _deleted()
            if stored.error is not None:
                raise from_job_error(stored.error)
            if stored.arrays is not None:
                return stored
            remaining = deadline - loop.time()
            if remaining <= 0 or await gone():
                raise await _too_late(context)
            await news.wait(min(remaining, _LOOK_SECONDS))


def _deleted() -> JobCancelled:
    return JobCancelled("The job was deleted while its face was being explained. Analyse the picture again if needed.")


async def _too_late(context: Context) -> QueueFull:
    def read(connection: sa.Connection) -> bool:
        workers = WorkerRepository(connection).list(context.settings.worker_alive_seconds)
        return any(DETECT_QUEUE in worker.queues for worker in workers)

    if await context.database.run(read):
        advice = "The workers are busy: ask again shortly, or start more of them."
    else:
        advice = "No worker for pictures is alive: start one (`roigcn serve` does) and see /health/ready."
    seconds = context.settings.explain_seconds
    return QueueFull(f"The face was not explained within {seconds:g} s. {advice}", headers={"Retry-After": "5"})


def _draw(shown: ShownFace) -> bytes:
    manifest, row, size = shown.manifest, shown.row, shown.manifest.input_size
    to_crop = crop_affine(row.landmarks, size, manifest.crop.scale)
    crop = Crop(
        np.frombuffer(shown.crop, np.uint8).reshape(size, size, 3),
        invert_affine(to_crop),
        apply_affine(to_crop, row.landmarks).astype(np.float32),
    )
    explained = ExplainedFace(
        crop,
        read_explanation(shown.arrays),
        manifest.roi.rule,
        row.au_probability,
        row.au_active,
        checkpoint_note(manifest),
    )
    file = io.BytesIO()
    Image.fromarray(explain_panel(explained, shown.au)).save(file, "PNG", compress_level=3)
    return file.getvalue()
