"""Formats and AU events in JSON."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from model.events import AuEvent, Baseline
from service.results.schemas import CHECKPOINT_EXAMPLE, JOB_EXAMPLE, CheckpointBlock
from worker.store.records import JobKind, JobState

_FORMAT_EXAMPLE: dict[str, Any] = {
    "name": "elan",
    "title": "ELAN",
    "summary": "ELAN annotation file: a tier per face and AU with its events",
    "media_type": "text/x-eaf+xml",
    "suffix": ".eaf",
    "kinds": ["video"],
    "events": True,
}
_EVENT_EXAMPLE: dict[str, Any] = {
    "au": "AU12",
    "track": 0,
    "onset_ms": 400.0,
    "apex_ms": 680.0,
    "offset_ms": 1240.0,
    "onset_frame": 10,
    "apex_frame": 17,
    "offset_frame": 30,
    "peak_probability": 0.97,
    "mean_probability": 0.81,
    "peak_score": 0.92,
    "mean_score": 0.55,
    "frames": 21,
}


class FormatAnswer(BaseModel):
    """A format in which results leave."""

    name: str = Field(description="For `format=` of a job's export")
    title: str = Field(description="For a button or a list")
    summary: str
    media_type: str
    suffix: str = Field(description="Ending of the file's name")
    kinds: list[JobKind] = Field(description="What it can hold")
    events: bool = Field(description="Whether it holds AU events, so that `on`, `off` and so on apply")


class FormatsAnswer(BaseModel):
    """Every format."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"formats": [_FORMAT_EXAMPLE]}]})

    formats: list[FormatAnswer]


class ExportFile(BaseModel):
    """An export whose format is JSON, such as COCO."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [{"info": {}, "licenses": [], "categories": [], "annotations": [], "images": []}]
        },
    )


class EventAnswer(BaseModel):
    """An AU event: where an AU begins, is clearest and ends on one face."""

    au: str = Field(description="FACS code", examples=["AU12"])
    track: int = Field(description="The number that the face keeps through the clip")
    onset_ms: float = Field(description="Presentation time of the first frame")
    apex_ms: float = Field(
        description="Time of the frame at which the network is surest; not the strongest contraction"
    )
    offset_ms: float = Field(description="When the last frame stops being shown")
    onset_frame: int
    apex_frame: int
    offset_frame: int = Field(description="The last frame that is part of the event")
    peak_probability: float
    mean_probability: float
    peak_score: float
    mean_score: float
    frames: int = Field(description="Frames of the event in which the AU could be read")

    @classmethod
    def of(cls, event: AuEvent) -> EventAnswer:
        """The event with the digits that answers have."""
        times = {name: round(getattr(event, name), 3) for name in ("onset_ms", "apex_ms", "offset_ms")}
        names = ("peak_probability", "mean_probability", "peak_score", "mean_score")
        values = {name: round(getattr(event, name), 5) + 0.0 for name in names}
        counts = {name: getattr(event, name) for name in ("onset_frame", "apex_frame", "offset_frame", "frames")}
        return cls(au=event.au, track=event.track, **times, **values, **counts)


class Thresholds(BaseModel):
    """The two thresholds of an AU."""

    on: float
    off: float


class EventsAnswer(BaseModel):
    """The AU events of a clip, and what they were found with."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "job": JOB_EXAMPLE,
                    "state": "succeeded",
                    "checkpoint": CHECKPOINT_EXAMPLE,
                    "baseline": "none",
                    "min_ms": 100.0,
                    "gap_ms": 100.0,
                    "thresholds": {"AU12": {"on": 0.3648, "off": 0.25536}},
                    "frames": 250,
                    "tracks": [0],
                    "events": [_EVENT_EXAMPLE],
                }
            ]
        }
    )

    job: UUID
    state: JobState = Field(description="State of the job; the events of a running job are those in the frames so far")
    checkpoint: CheckpointBlock | None = Field(description="null while no worker has taken the job up")
    baseline: Baseline = Field(
        description="What the thresholds act on: `none`, the probability; `median`, its rise above the face's median"
    )
    min_ms: float
    gap_ms: float
    thresholds: dict[str, Thresholds] = Field(description="By AU")
    frames: int = Field(description="Frames that were read, those without a face too")
    tracks: list[int] = Field(description="Numbers of the faces")
    events: list[EventAnswer] = Field(description="By face, then AU, then time; those of one AU and face never overlap")
