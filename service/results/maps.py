"""ROI maps of a stretch of frames at once, one byte a pixel, with their place in the picture: what a player draws."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field

from model.values import Float32Array
from service.context import Context
from service.problems import NotFound
from service.results.placing import crop_scale, map_to_image
from service.results.schemas import JOB_EXAMPLE, Affine
from service.rounding import rounded
from worker.store.jobs import JobRepository
from worker.store.records import FaceRow, RoiStorage
from worker.store.results import ResultRepository

STEP = 0.0125
"""Value of one step of a map's bytes: -127 to 127 reach from -1.59 to 1.59."""

_EXAMPLE: dict[str, Any] = {
    "job": JOB_EXAMPLE,
    "aus": ["AU12"],
    "step": STEP,
    "faces": [
        {
            "frame": 12,
            "face": 0,
            "track": 0,
            "height": 2,
            "width": 2,
            "to_image": [[5.2, 0.0, 120.4], [0.0, 5.2, 60.1]],
            "data": "AAp/gQ==",
        }
    ],
}


class FaceMaps(BaseModel):
    """The maps of one face in one frame."""

    frame: int
    face: int
    track: int
    height: int
    width: int
    to_image: Affine | None
    data: str = Field(description="Base64 of signed bytes, (AU, height, width); times `step` they are the values")


class RoiMapsAnswer(BaseModel):
    """ROI maps of a stretch of frames."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    job: UUID
    aus: list[str] = Field(description="The AUs, in the order of the maps")
    step: float = Field(description="Value of one step of the bytes")
    faces: list[FaceMaps]


async def roi_maps(
    context: Context, tenant: str, job_id: UUID, first: int, count: int, wanted: list[str] | None
) -> RoiMapsAnswer:
    """Maps of the frames `first` to `first + count - 1` that are stored.

    Raises:
        NotFound: no such job or AU, or the job keeps no maps.
    """

    def read(connection: sa.Connection) -> RoiMapsAnswer:
        job = JobRepository(connection).get_or_raise(tenant, job_id)
        if job.options.roi is not RoiStorage.FULL:
            raise NotFound(
                f"This job keeps no ROI maps (roi={job.options.roi}). Analyse the picture or clip again with roi=full."
            )
        checkpoint = context.checkpoint_of(connection, job)
        if checkpoint is None:
            return RoiMapsAnswer(job=job.id, aus=wanted or [], step=STEP, faces=[])
        codes = wanted or list(checkpoint.au_codes)
        if unknown := [code for code in codes if code not in checkpoint.au_codes]:
            raise NotFound(f"The job's checkpoint has no {unknown[0]}. It has {', '.join(checkpoint.au_codes)}.")
        chosen = [checkpoint.au_codes.index(code) for code in codes]
        results = ResultRepository(connection)
        frames = results.frames_page(job, after=first - 1 if first else None, limit=count)
        rows = {
            (face.frame, face.face): face for frame in frames for face in frame.faces if frame.frame < first + count
        }
        found = results.roi_maps(job, first, first + count - 1)
        scale = crop_scale(checkpoint)
        faces = [_face(rows[key], maps[chosen], scale) for key, maps in found if key in rows]
        return RoiMapsAnswer(job=job.id, aus=codes, step=STEP, faces=faces)

    return await context.database.run(read)


def _face(row: FaceRow, maps: Float32Array, scale: float) -> FaceMaps:
    height, width = maps.shape[1:]
    affine = map_to_image(row.landmarks, height, scale)
    steps = np.clip(np.rint(np.nan_to_num(maps) / STEP), -127, 127).astype(np.int8)
    return FaceMaps(
        frame=row.frame,
        face=row.face,
        track=row.track,
        height=height,
        width=width,
        to_image=None if affine is None else rounded(affine, 4),
        data=base64.b64encode(steps.tobytes()).decode(),
    )
