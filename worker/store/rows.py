"""Database rows to records and back; used by the repositories only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from model.values import Float32Array
from worker.store.records import (
    ApiKeyRecord,
    CheckpointRecord,
    FaceRow,
    Job,
    JobError,
    JobKind,
    JobOptions,
    JobState,
    MediaRecord,
    TrackRow,
)

Row = sa.Row[Any]


def job_of(row: Row) -> Job:
    """A row of `jobs`."""
    values = dict(row._mapping)
    error = values["error"]
    values.update(
        kind=JobKind(values["kind"]),
        state=JobState(values["state"]),
        options=JobOptions.from_json(values["options"]),
        error=None if error is None else JobError(error["slug"], error["detail"]),
        warnings=tuple(values["warnings"]),
    )
    return Job(**values)


def media_of(row: Row) -> MediaRecord:
    """A row of `media`."""
    return MediaRecord(**{**row._mapping, "kind": JobKind(row.kind)})


def checkpoint_of(row: Row) -> CheckpointRecord:
    """A row of `checkpoints`."""
    return CheckpointRecord(**{**row._mapping, "au_codes": tuple(row.au_codes)})


def api_key_of(row: Row) -> ApiKeyRecord:
    """A row of `api_keys`."""
    return ApiKeyRecord(**{**row._mapping, "scopes": frozenset(row.scopes)})


def face_of(row: Row) -> FaceRow:
    """A row of `face_frames`."""
    return FaceRow(
        frame=row.frame,
        face=row.face,
        track=row.track,
        pts_ms=row.pts_ms,
        box_xyxy=np.array(row.box, np.float32),
        face_score=row.face_score,
        presence=row.presence,
        landmarks=np.frombuffer(row.landmarks, "<f4").astype(np.float32).reshape(-1, 2),
        au_score=np.array(row.au_score, np.float32),
        au_probability=np.array(row.au_probability, np.float32),
        au_active=np.array(row.au_active, np.bool_),
        roi_amplitude=_array(row.roi_amplitude, (-1, 2)),
        roi_centres=_array(row.roi_centres, (-1, 2, 2)),
        measures=_array(row.measures, (-1,)),
    )


def track_of(row: Row) -> TrackRow:
    """A row of `tracks`."""
    return TrackRow(row.track, row.first_frame, row.last_frame, row.frames, _array(row.rest, (-1,)))


def landmarks_bytes(landmarks: npt.NDArray[np.floating[Any]]) -> bytes:
    """(68, 2) landmarks as `face_frames.landmarks`."""
    return np.ascontiguousarray(landmarks, "<f4").tobytes()


def floats(array: npt.NDArray[np.floating[Any]]) -> list[float]:
    """Any array as the flat list that a `real[]` column takes."""
    values: list[float] = np.asarray(array, np.float32).ravel().tolist()
    return values


def _array(values: list[float] | None, shape: tuple[int, ...]) -> Float32Array | None:
    return None if values is None else np.array(values, np.float32).reshape(shape)
