"""The answer of `POST /detect`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from service.results.schemas import CHECKPOINT_EXAMPLE, FACE_EXAMPLE, JOB_EXAMPLE, CheckpointBlock, FaceAnswer

DETECT_EXAMPLE: dict[str, Any] = {
    "job": JOB_EXAMPLE,
    "image": {"width": 512, "height": 512},
    "checkpoint": CHECKPOINT_EXAMPLE,
    "faces": [FACE_EXAMPLE],
    "links": {"job": f"/jobs/{JOB_EXAMPLE}", "roi": f"/jobs/{JOB_EXAMPLE}/frames/0/faces/{{face}}/roi/{{au}}"},
}


class ImageBlock(BaseModel):
    """Size of the upright image, in whose pixels all coordinates are."""

    width: int
    height: int


class DetectLinks(BaseModel):
    """Where the stored results are."""

    job: str
    roi: str | None = Field(description="Template of the ROI pictures' paths; null unless `roi=full`")


class DetectAnswer(BaseModel):
    """The faces of a picture, largest first; a picture without a face has none."""

    model_config = ConfigDict(json_schema_extra={"examples": [DETECT_EXAMPLE]})

    job: UUID | None = Field(description="The stored job; null with `store=false`")
    image: ImageBlock
    checkpoint: CheckpointBlock
    faces: list[FaceAnswer]
    links: DetectLinks | None = Field(description="null with `store=false`")
