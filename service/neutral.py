"""`neutral=JOB` of a request: a picture of the same person at rest, which was sent before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from fastapi import Query

from service.context import Context
from service.problems import NotFound, Validation
from worker.store.errors import NotFoundError
from worker.store.jobs import JobRepository
from worker.store.records import FaceRow, JobKind, JobState
from worker.store.results import ResultRepository

NeutralJob = Annotated[
    UUID | None,
    Query(
        description="Job of a picture of the same person at rest, as `/detect` gave it. Brows and lids (AU1, AU2, AU4, "
        "AU7) of the largest face of a picture, or of the face that is seen most in a clip, are held against it"
    ),
]

_CLOSE = {"Connection": "close"}  # the body of the request will not be read
_SEND = "Send a picture of the person at rest to /detect and give its job."


async def rest_of(context: Context, tenant: str, job_id: UUID | None) -> tuple[float, ...] | None:
    """How brows and lids of the largest face of a neutral picture rest; None without one.

    Raises:
        NotFound: the tenant has no such job.
        Validation: it is no picture, has no face, or was read without measures.
    """
    if job_id is None:
        return None
    return await context.database.run(_read, tenant, job_id)


def _read(connection: sa.Connection, tenant: str, job_id: UUID) -> tuple[float, ...]:
    try:
        job = JobRepository(connection).get_or_raise(tenant, job_id)
    except NotFoundError as error:
        raise NotFound(f"There is no job {job_id} for `neutral`. {_SEND}", headers=_CLOSE) from error
    if job.kind is not JobKind.IMAGE or job.state is not JobState.SUCCEEDED:
        raise Validation(f"`neutral` names a {job.kind.value} that has {job.state.value}. {_SEND}", headers=_CLOSE)
    faces = [face for frame in ResultRepository(connection).frames_page(job, limit=1) for face in frame.faces]
    if not faces:
        raise Validation(f"The picture of `neutral` shows no face. {_SEND}", headers=_CLOSE)
    rest = rest_in(faces)
    if rest is None:
        raise Validation(
            "Brows and lids of the picture of `neutral` were not measured: it was read by the network alone, or by a "
            "checkpoint that measures nothing. Send it again with the present settings.",
            headers=_CLOSE,
        )
    return rest


def rest_in(faces: Sequence[FaceRow]) -> tuple[float, ...] | None:
    """How brows and lids of the first, the largest of a picture's faces rest; None where they were not measured."""
    measures = faces[0].measures if faces else None
    if measures is None or not np.isfinite(measures).all():
        return None
    return tuple(measures.tolist())
