"""A clip at a glance: times, boxes and AU values of many frames in columns, small enough for a page to hold whole.

A face takes about 250 bytes a frame, a sixteenth of what `/frames` says of it; landmarks and regions stay there.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field

from model.action_units import CATALOGUE
from model.manifest import decision_thresholds
from service.context import Context
from service.results.answers import checkpoint_block
from service.results.schemas import CHECKPOINT_EXAMPLE, JOB_EXAMPLE, CheckpointBlock
from service.rounding import rounded
from worker.store.jobs import JobRepository
from worker.store.records import FaceRow, JobState
from worker.store.results import ResultRepository

_EXAMPLE: dict[str, Any] = {
    "job": JOB_EXAMPLE,
    "state": "succeeded",
    "checkpoint": CHECKPOINT_EXAMPLE,
    "aus": ["AU1", "AU12"],
    "names": ["Inner Brow Raiser", "Lip Corner Puller"],
    "thresholds": {"AU1": 0.43, "AU12": 0.5},
    "frame": [0, 1],
    "pts_ms": [0.0, 40.0],
    "faces": {
        "frame": [0, 1],
        "face": [0, 0],
        "track": [0, 0],
        "box": [[181.2, 64.9, 89.4, 121.7], [181.4, 64.9, 89.3, 121.8]],
        "score": [[-0.4, 0.7312], [-0.41, 0.744]],
        "probability": [[0.12, 0.9512], [0.11, 0.954]],
        "active": [2, 2],
    },
    "own_rest": [0],
    "next": None,
}


class FaceColumns(BaseModel):
    """One entry in each list for every face of every frame, in order of frames."""

    frame: list[int]
    face: list[int] = Field(description="Number of the face within its frame")
    track: list[int] = Field(description="The number that a face keeps through the clip")
    box: list[list[float]] = Field(description="x, y, width, height in pixels of the upright picture")
    score: list[list[float | None]] = Field(description="One number for each of `aus`")
    probability: list[list[float | None]] = Field(description="One number for each of `aus`")
    active: list[int] = Field(description="Decisions as a bit field: bit k is the k-th of `aus`")


class TimelinePage(BaseModel):
    """A page of a job's timeline."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    job: UUID
    state: JobState
    checkpoint: CheckpointBlock | None
    aus: list[str] = Field(description="The AUs, in the order of all numbers")
    names: list[str] = Field(description="Their FACS names")
    thresholds: dict[str, float] = Field(
        description="On the probability, of the reading that decided this clip; without one, an AU is decided by its "
        "maps"
    )
    frame: list[int] = Field(description="Numbers of the frames, those without a face too")
    pts_ms: list[float] = Field(description="Their presentation times in milliseconds")
    faces: FaceColumns
    own_rest: list[int] = Field(
        description="Tracks whose brows and lids (AU1, 2, 4, 7) were held against how that person rests in the clip; "
        "none before the job has ended, when probabilities and decisions of these AUs change for the last time"
    )
    next: str | None = Field(description="Path of the next page; null when nothing more is stored")


async def timeline_page(context: Context, tenant: str, job_id: UUID, after: int | None, limit: int) -> TimelinePage:
    """A page of a job's timeline.

    Raises:
        worker.store.errors.NotFoundError: the tenant has no such job.
    """

    def read(connection: sa.Connection) -> TimelinePage:
        job = JobRepository(connection).get_or_raise(tenant, job_id)
        results = ResultRepository(connection)
        rows = results.frames_page(job, after, limit + 1)
        checkpoint = context.checkpoint_of(connection, job)
        codes = checkpoint.au_codes if checkpoint else ()
        page = rows[:limit]
        return TimelinePage(
            job=job.id,
            state=job.state,
            checkpoint=checkpoint_block(checkpoint) if checkpoint else None,
            aus=list(codes),
            names=[CATALOGUE[code].name if code in CATALOGUE else code for code in codes],
            thresholds=decision_thresholds(checkpoint.manifest, context.reading_of(job)) if checkpoint else {},
            frame=[row.frame for row in page],
            pts_ms=[round(row.pts_ms, 3) for row in page],
            faces=_columns([face for row in page for face in row.faces]),
            own_rest=[track.track for track in results.tracks(job) if track.rest is not None],
            next=f"/jobs/{job.id}/timeline?after={page[-1].frame}&limit={limit}" if len(rows) > limit else None,
        )

    return await context.database.run(read)


def _columns(faces: list[FaceRow]) -> FaceColumns:
    if not faces:
        return FaceColumns(frame=[], face=[], track=[], box=[], score=[], probability=[], active=[])
    corners = np.stack([face.box_xyxy for face in faces])
    bits = 1 << np.arange(len(faces[0].au_active), dtype=np.int64)
    return FaceColumns(
        frame=[face.frame for face in faces],
        face=[face.face for face in faces],
        track=[face.track for face in faces],
        box=rounded(np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]), 1),
        score=rounded(np.stack([face.au_score for face in faces]), 3),
        probability=rounded(np.stack([face.au_probability for face in faces]), 3),
        active=[int(bits[face.au_active].sum()) for face in faces],
    )
