"""The values that repositories take and give: frozen, without behaviour beyond small conveniences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from model.values import AuPrediction, BoolArray, Face, Float32Array


class JobKind(StrEnum):
    """What a job works on."""

    IMAGE = "image"
    VIDEO = "video"


class JobState(StrEnum):
    """Where a job stands; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the job will never change again."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class RoiStorage(StrEnum):
    """How much of the ROI maps is kept: the maps, centres and amplitudes only, or nothing."""

    FULL = "full"
    PEAKS = "peaks"
    NONE = "none"


class FaceSelection(StrEnum):
    """Which faces of a picture are analysed."""

    ALL = "all"
    LARGEST = "largest"


@dataclass(frozen=True, slots=True)
class JobOptions:
    """A client's wishes.

    Attributes:
        roi: what is kept of the ROI maps.
        faces: all faces, or the largest of each picture.
        store: whether an image (its bytes and rows) stays after the answer; videos always stay.
        rest: (Q,) measures of the person at rest, taken from a neutral picture; the largest face of a picture, or the
            one that is seen most in a clip, is held against them.
    """

    roi: RoiStorage = RoiStorage.FULL
    faces: FaceSelection = FaceSelection.ALL
    store: bool = True
    rest: tuple[float, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """The options as a JSON object."""
        options: dict[str, Any] = {"roi": self.roi.value, "faces": self.faces.value, "store": self.store}
        return options if self.rest is None else options | {"rest": list(self.rest)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> JobOptions:
        """The inverse of `to_json`; unknown members are ignored, missing ones take their defaults."""
        return cls(
            roi=RoiStorage(data.get("roi", RoiStorage.FULL)),
            faces=FaceSelection(data.get("faces", FaceSelection.ALL)),
            store=bool(data.get("store", True)),
            rest=None if data.get("rest") is None else tuple(map(float, data["rest"])),
        )


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed: a problem slug (`media-unreadable`, `worker-lost` ...) and a sentence for the client."""

    slug: str
    detail: str


@dataclass(frozen=True, slots=True)
class Job:
    """One row of `jobs`.

    A `Job` that a repository gave for a tenant is the proof of access that `ResultRepository` asks for; a `Job` that
    a claim gave carries the lease that fences the worker's writes.

    Attributes:
        reading: `network`, or `both` where the reading of landmarks joins in; None until a worker has taken it up, and
            for jobs of earlier versions.
        frames_done: frames committed.
        frames_total: the container's own count or an estimate until the job has succeeded, then the exact count.
        width: of the upright picture, pixels; None until a worker has opened it.
        attempts: claims since the job last made progress.
        lease: identity of the claim that holds the job.
        deadline: an image job not claimed by then fails.
        warnings: what the client should know of a job that went well, e.g. a truncated file.
        resume: the tracker's state at the last commit.
        request_sha256: fingerprint of the request that used `idempotency_key`.
        updated_at: time of the last change of state or progress (heartbeats do not count).
    """

    id: UUID
    tenant: str
    kind: JobKind
    state: JobState
    options: JobOptions
    media_id: UUID | None
    checkpoint_id: UUID | None
    reading: str | None
    frames_done: int
    frames_total: int | None
    width: int | None
    height: int | None
    attempts: int
    worker: UUID | None
    lease: UUID | None
    lease_until: datetime | None
    deadline: datetime | None
    cancel_requested: bool
    error: JobError | None
    warnings: tuple[str, ...]
    resume: bytes | None = field(repr=False)
    idempotency_key: str | None
    request_sha256: str | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class ClaimedImage:
    """An image job that this worker holds, with the picture's bytes."""

    job: Job
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MediaRecord:
    """One row of `media`: a file of the media store. `name` is the client's file name, for display only."""

    id: UUID
    tenant: str
    sha256: str
    kind: JobKind
    mime: str
    name: str | None
    bytes: int
    width: int | None
    height: int | None
    fps: float | None
    duration_ms: float | None
    frames: int | None
    uri: str
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """One row of `checkpoints`: what the stored rows of a job were made with."""

    id: UUID
    name: str
    version: str
    sha256: str
    au_codes: tuple[str, ...]
    manifest: Mapping[str, Any] = field(repr=False)
    created_at: datetime


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """One row of `workers`: a live worker process; `age_seconds` is the time since its last heartbeat."""

    id: UUID
    queues: tuple[str, ...]
    pid: int
    host: str
    checkpoint: str | None
    engine: str | None
    started_at: datetime
    seen_at: datetime
    age_seconds: float


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """One row of `api_keys`; the key itself is never stored."""

    id: UUID
    tenant: str
    name: str
    key_sha256: bytes = field(repr=False)
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What the pipeline found in one frame (an image is frame 0 of itself).

    Attributes:
        index: frame number in decoding order, from 0.
        pts_ms: presentation time in milliseconds from the start of the stream.
        faces: each face with its prediction; empty for a frame without faces.
    """

    index: int
    pts_ms: float
    faces: tuple[tuple[Face, AuPrediction], ...] = ()


@dataclass(frozen=True, slots=True)
class FaceRow:
    """One row of `face_frames`: a face in a frame. Arrays over K Action Units follow the checkpoint's `au_codes`.

    Attributes:
        face: number of the face within its frame, from 0, largest first.
        track: number that the face keeps through the clip.
        box_xyxy: (4,) left, top, right, bottom, pixels of the upright picture.
        presence: probability, 0 to 1, that the landmark net saw a face.
        landmarks: (68, 2) pixels of the upright picture.
        au_score: (K,) about -1 to 1.
        au_probability: (K,) 0 to 1, NaN where the AU could not be read.
        au_active: (K,) decisions.
        roi_amplitude: (K, 2), or None with roi=none.
        roi_centres: (K, 2, 2) (x, y) pixels of the upright picture, or None with roi=none.
        measures: (Q,) of brows and lids, see `AuPrediction`; None where they were not taken.
    """

    frame: int
    face: int
    track: int
    pts_ms: float
    box_xyxy: Float32Array
    face_score: float
    presence: float
    landmarks: Float32Array
    au_score: Float32Array
    au_probability: Float32Array
    au_active: BoolArray
    roi_amplitude: Float32Array | None
    roi_centres: Float32Array | None
    measures: Float32Array | None = None


@dataclass(frozen=True, slots=True)
class FrameRow:
    """One stored frame with its faces; a frame without faces keeps its place."""

    frame: int
    pts_ms: float
    faces: tuple[FaceRow, ...]


@dataclass(frozen=True, slots=True)
class TrackRow:
    """One row of `tracks`: where a face was seen; `frames` counts the frames that hold it.

    Attributes:
        rest: (Q,) what its measures are at rest, once its AUs have been decided against it; else None.
    """

    track: int
    first_frame: int
    last_frame: int
    frames: int
    rest: Float32Array | None = None
