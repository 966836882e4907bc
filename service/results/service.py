"""From stored rows to answers: pure shaping, and the reads that feed it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from model.action_units import CATALOGUE
from model.values import Float32Array
from service.context import Context
from service.results.schemas import (
    ActionUnitAnswer,
    Box,
    CheckpointBlock,
    FaceAnswer,
    FrameAnswer,
    FramesPage,
    RoiMap,
)
from worker.store.jobs import JobRepository
from worker.store.records import CheckpointRecord, FaceRow, FrameRow, Job
from worker.store.results import ResultRepository

SYNTHETIC_NOTE = (
    "Trained on rendered faces only: good to try every step with, not to be trusted on real faces before it is "
    "replaced by a checkpoint that was trained and measured on them."
)
_STREAM_PAGE_FRAMES = 200


def checkpoint_block(record: CheckpointRecord) -> CheckpointBlock:
    """Which network, and what to keep in mind about it."""
    training = record.manifest.get("training")
    synthetic_only = bool(training.get("synthetic_only")) if isinstance(training, dict) else False
    return CheckpointBlock(
        name=record.name,
        version=record.version,
        synthetic_only=synthetic_only,
        note=SYNTHETIC_NOTE if synthetic_only else None,
    )


def face_answer(row: FaceRow, au_codes: Sequence[str], roi_maps: Float32Array | None = None) -> FaceAnswer:
    """A stored face as it is answered.

    Args:
        row: the face; its arrays have K entries.
        au_codes: the K codes of its checkpoint.
        roi_maps: (K, H, W) to put into the answer, None to leave them out.
    """
    left, top, right, bottom = _rounded(row.box_xyxy, 2)
    amplitudes = [[None, None]] * len(au_codes) if row.roi_amplitude is None else _rounded(row.roi_amplitude, 5)
    centres = [None] * len(au_codes) if row.roi_centres is None else _rounded(row.roi_centres, 2)
    scores, probabilities = _rounded(row.au_score, 5), _rounded(row.au_probability, 5)
    aus = [
        ActionUnitAnswer(
            au=code,
            name=CATALOGUE[code].name if code in CATALOGUE else code,
            score=scores[k],
            probability=probabilities[k],
            active=bool(row.au_active[k]),
            left=amplitudes[k][0],
            right=amplitudes[k][1],
            roi=centres[k],
            roi_map=None if roi_maps is None else _inline(roi_maps[k]),
        )
        for k, code in enumerate(au_codes)
    ]
    return FaceAnswer(
        box=Box(x=left, y=top, width=round(right - left, 2), height=round(bottom - top, 2)),
        score=round(float(row.face_score), 5),
        presence=round(float(row.presence), 5),
        track=row.track,
        landmarks=_rounded(row.landmarks, 2),
        aus=aus,
    )


def frame_answer(row: FrameRow, au_codes: Sequence[str]) -> FrameAnswer:
    """A stored frame as it is answered."""
    return FrameAnswer(
        frame=row.frame, pts_ms=round(row.pts_ms, 3), faces=[face_answer(face, au_codes) for face in row.faces]
    )


async def frames_page(context: Context, tenant: str, job_id: UUID, after: int | None, limit: int) -> FramesPage:
    """A page of a job's frames.

    Raises:
        worker.store.errors.NotFoundError: the tenant has no such job.
    """

    def read(connection: sa.Connection) -> FramesPage:
        job = JobRepository(connection).get_or_raise(tenant, job_id)
        rows = ResultRepository(connection).frames_page(job, after, limit + 1)
        checkpoint = context.checkpoint_of(connection, job)
        codes = checkpoint.au_codes if checkpoint else ()
        more = len(rows) > limit
        frames = [frame_answer(row, codes) for row in rows[:limit]]
        return FramesPage(
            job=job.id,
            state=job.state,
            checkpoint=checkpoint_block(checkpoint) if checkpoint else None,
            frames=frames,
            next=f"/jobs/{job.id}/frames?after={frames[-1].frame}&limit={limit}" if more else None,
        )

    return await context.database.run(read)


async def frame_lines(context: Context, tenant: str, job_id: UUID, after: int | None = None) -> AsyncIterator[bytes]:
    """All stored frames of a job as NDJSON, a few hundred lines at a time, each read in a transaction of its own.

    Memory holds one page, whatever the length of the clip; a slow reader holds no connection.
    """

    def read(connection: sa.Connection, after: int | None) -> tuple[bytes, int | None]:
        job = JobRepository(connection).get(tenant, job_id)
        if job is None:  # deleted while it was read
            return b"", None
        rows = ResultRepository(connection).frames_page(job, after, _STREAM_PAGE_FRAMES)
        checkpoint = context.checkpoint_of(connection, job)
        codes = checkpoint.au_codes if checkpoint else ()
        lines = b"".join(frame_answer(row, codes).model_dump_json().encode() + b"\n" for row in rows)
        return lines, rows[-1].frame if rows else None

    while True:
        lines, after = await context.database.run(read, after)
        if not lines:
            return
        yield lines


async def job_or_raise(context: Context, tenant: str, job_id: UUID) -> Job:
    """The tenant's job.

    Raises:
        worker.store.errors.NotFoundError: there is none.
    """

    def read(connection: sa.Connection) -> Job:
        return JobRepository(connection).get_or_raise(tenant, job_id)

    return await context.database.run(read)


def _rounded(values: npt.ArrayLike, decimals: int) -> Any:
    """Nested lists of Python floats with few digits; what is not a number becomes None."""
    array = np.round(np.asarray(values, np.float64), decimals) + 0.0  # -0.0 reads as 0.0
    if np.isfinite(array).all():
        return array.tolist()
    objects = array.astype(object)
    objects[~np.isfinite(array)] = None
    return objects.tolist()


def _inline(roi_map: Float32Array) -> RoiMap:
    height, width = roi_map.shape
    data = base64.b64encode(np.ascontiguousarray(roi_map, "<f4").tobytes()).decode()
    return RoiMap(height=height, width=width, dtype="<f4", data=data)
