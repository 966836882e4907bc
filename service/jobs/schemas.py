"""Jobs in JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from service.results.schemas import CHECKPOINT_EXAMPLE, JOB_EXAMPLE, CheckpointBlock
from worker.store.records import JobKind, JobState


class Progress(BaseModel):
    """How far a job is."""

    frames_done: int = Field(description="Frames whose rows are stored")
    frames_total: int | None = Field(description="Frames that the container announces; null when it does not say")
    fraction: float | None = Field(description="frames_done / frames_total, 0 to 1; null when unknown")


class JobProblem(BaseModel):
    """Why a job failed."""

    type: str = Field(description="Stable slug, as the `type` of a problem document", examples=["media-unreadable"])
    detail: str


class JobLinks(BaseModel):
    """Where to go on."""

    self: str
    events: str
    frames: str


class JobMedia(BaseModel):
    """The file of a job."""

    name: str | None = Field(description="File name as the client gave it")
    mime: str
    bytes: int
    sha256: str
    width: int | None
    height: int | None
    fps: float | None = Field(description="Average frames per second; times of frames are their own, see `pts_ms`")
    duration_ms: float | None


JOB_ANSWER_EXAMPLE: dict[str, Any] = {
    "id": JOB_EXAMPLE,
    "kind": "video",
    "state": "running",
    "progress": {"frames_done": 300, "frames_total": 750, "fraction": 0.4},
    "options": {"roi": "full", "faces": "all"},
    "checkpoint": CHECKPOINT_EXAMPLE,
    "media": {
        "name": "interview.mp4",
        "mime": "video/mp4",
        "bytes": 4831022,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "width": 1280,
        "height": 720,
        "fps": 25.0,
        "duration_ms": 30000.0,
    },
    "reading": "both",
    "attempts": 1,
    "error": None,
    "warnings": [],
    "created_at": "2026-11-22T10:00:00Z",
    "started_at": "2026-11-22T10:00:01Z",
    "finished_at": None,
    "expires_at": None,
    "links": {
        "self": f"/jobs/{JOB_EXAMPLE}",
        "events": f"/jobs/{JOB_EXAMPLE}/events",
        "frames": f"/jobs/{JOB_EXAMPLE}/frames",
    },
}


class JobAnswer(BaseModel):
    """A job as it stands."""

    model_config = ConfigDict(json_schema_extra={"examples": [JOB_ANSWER_EXAMPLE]})

    id: UUID
    kind: JobKind
    state: JobState
    progress: Progress
    options: dict[str, Any]
    checkpoint: CheckpointBlock | None = Field(description="The network that the job uses to its end")
    reading: Literal["network", "both"] | None = Field(
        description="What decides: the paper's network alone, or both with the reading of landmarks; null before a "
        "worker has taken the job up"
    )
    media: JobMedia | None = Field(description="null when the job's media is not kept")
    attempts: int = Field(description="How often a worker took it up")
    error: JobProblem | None
    warnings: list[str] = Field(description="What to know of a job that went well, such as a truncated file")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None = Field(description="When rows and media are deleted")
    links: JobLinks


class JobsPage(BaseModel):
    """A page of jobs, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"jobs": [JOB_ANSWER_EXAMPLE], "next": None}]})

    jobs: list[JobAnswer]
    next: str | None = Field(description="Path of the next page; null on the last one")
