"""What an analysed face looks like in JSON; the same in every answer of the service."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from worker.store.records import JobState

Point = Annotated[tuple[float, float], Field(description="x, y in pixels of the upright image")]

Affine = Annotated[
    tuple[tuple[float, float, float], tuple[float, float, float]],
    Field(description="From pixels (column, row) of the map to pixels of the upright image; centres are whole numbers"),
]

FACE_EXAMPLE: dict[str, Any] = {
    "box": {"x": 181.2, "y": 64.9, "width": 89.4, "height": 121.7},
    "score": 0.9231,
    "presence": 0.9987,
    "track": 0,
    "landmarks": [[176.31, 104.77]] * 68,
    "aus": [
        {
            "au": "AU12",
            "name": "Lip Corner Puller",
            "score": 0.7312,
            "probability": 0.9512,
            "active": True,
            "left": 0.7312,
            "right": 0.6904,
            "roi": [[203.11, 151.42], [243.87, 150.03]],
        }
    ],
}
CHECKPOINT_EXAMPLE: dict[str, Any] = {
    "name": "w18s-rendered",
    "version": "1",
    "synthetic_only": True,
    "note": "Trained on rendered faces only: read its scores on photos as a demonstration.",
}
JOB_EXAMPLE = "019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10"


class Box(BaseModel):
    """A rectangle in pixels of the upright image."""

    x: float = Field(description="Left edge")
    y: float = Field(description="Top edge")
    width: float
    height: float


class RoiMap(BaseModel):
    """An AU's map, inline."""

    height: int
    width: int
    dtype: str = Field(description="Always `<f4`: little-endian 32 bit floats, row by row")
    to_image: Affine | None = Field(default=None, description="null where the landmarks place no map")
    data: str = Field(description="The numbers in base64")


class ActionUnitAnswer(BaseModel):
    """One Action Unit of a face."""

    au: str = Field(description="FACS code", examples=["AU12"])
    name: str = Field(description="FACS name", examples=["Lip Corner Puller"])
    score: float | None = Field(
        description="About -1 (absent) to 1 (occurred); the larger of `left` and `right`. null where the AU's regions "
        "lie outside the face's crop"
    )
    probability: float | None = Field(description="Calibrated, 0 to 1; null with `score`")
    active: bool = Field(description="The decision: does the AU occur")
    left: float | None = Field(
        description="Amplitude at the region on the LEFT SIDE OF THE IMAGE (the subject's right when the picture is "
        "not mirrored); for AUs whose regions lie one above the other, the upper one"
    )
    right: float | None = Field(description="Amplitude at the region on the right side of the image, or the lower one")
    roi: tuple[Point, Point] | None = Field(
        default=None,
        description="Centres of the two regions in the order `left`, `right`. Absent with `roi=none`",
        exclude_if=lambda value: value is None,
    )
    roi_map: RoiMap | None = Field(
        default=None,
        description="Only of `/detect?roi=full&store=false`, where no stored map can be asked for later",
        exclude_if=lambda value: value is None,
    )


class FaceAnswer(BaseModel):
    """One face and its Action Units."""

    model_config = ConfigDict(json_schema_extra={"examples": [FACE_EXAMPLE]})

    box: Box
    score: float = Field(description="Confidence of the face detector, 0 to 1")
    presence: float | None = Field(description="Probability that the landmark net saw a face, 0 to 1")
    track: int = Field(description="The number that a face keeps through a clip; in a picture 0, 1, 2 … by size")
    landmarks: list[Point] = Field(description="68 points in iBUG order", min_length=68, max_length=68)
    aus: list[ActionUnitAnswer] = Field(description="In the order of the checkpoint's Action Units")


class CheckpointBlock(BaseModel):
    """Which network said so."""

    model_config = ConfigDict(json_schema_extra={"examples": [CHECKPOINT_EXAMPLE]})

    name: str
    version: str
    synthetic_only: bool = Field(description="Whether it was trained on rendered faces only")
    note: str | None = Field(default=None, description="What to keep in mind when reading its numbers")


class FrameAnswer(BaseModel):
    """One frame of a job with its faces; a frame without a face has none and keeps its place."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"frame": 12, "pts_ms": 400.0, "faces": [FACE_EXAMPLE]}]})

    frame: int = Field(description="Number of the frame in decoding order, from 0")
    pts_ms: float = Field(description="Presentation time in milliseconds, from the container")
    faces: list[FaceAnswer]


class FramesPage(BaseModel):
    """A page of frames."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "job": JOB_EXAMPLE,
                    "state": "succeeded",
                    "checkpoint": CHECKPOINT_EXAMPLE,
                    "frames": [{"frame": 12, "pts_ms": 400.0, "faces": [FACE_EXAMPLE]}],
                    "next": f"/jobs/{JOB_EXAMPLE}/frames?after=12&limit=1",
                }
            ]
        }
    )

    job: UUID
    state: JobState = Field(description="State of the job; frames of a running job are those stored so far")
    checkpoint: CheckpointBlock | None = Field(description="null while no worker has taken the job up")
    frames: list[FrameAnswer]
    next: str | None = Field(description="Path of the next page; null when nothing more is stored")
