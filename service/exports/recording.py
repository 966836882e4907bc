"""What an exporter reads: a description of the job or file, and its frames one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePath

import numpy as np

from model.events import AuEvent, ClipSignals, EventOptions, Timeline
from model.values import AuPrediction, Face
from service.rounding import PIXEL_DIGITS, rounded
from worker.store.records import FaceRow, JobKind


@dataclass(frozen=True, slots=True)
class Recording:
    """A clip, or one or several pictures, and what analysed it.

    Attributes:
        kind: pictures or a clip.
        name: file name of the clip or picture, for display and for links to it.
        au_codes: the K Action Units that the arrays of a face follow.
        checkpoint: "name:version".
        synthetic_only: whether the checkpoint was trained on rendered faces only.
        thresholds: decision thresholds on the probability by AU code; an AU without one is left out.
        made_at: when the analysis was asked for.
        width: of the upright picture, pixels; None if not known, or if several pictures differ.
        height: of the same.
        fps: average rate of a clip, for display; times never come from it.
        duration_ms: of a clip, as its container says.
        frames: how many frames or pictures; None if not known before the end.
        mime: media type of the file.
        job: id of the job, None without a server.
        events: when an AU counts as an event, for the formats that hold events.
    """

    kind: JobKind
    name: str
    au_codes: tuple[str, ...]
    checkpoint: str
    made_at: datetime
    synthetic_only: bool = False
    thresholds: Mapping[str, float] = field(default_factory=dict)
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    duration_ms: float | None = None
    frames: int | None = None
    mime: str | None = None
    job: str | None = None
    events: EventOptions = field(default_factory=EventOptions)

    @property
    def stem(self) -> str:
        """The file name without its ending."""
        return PurePath(self.name).stem or "roigcn"


@dataclass(frozen=True, slots=True)
class ExportFrame:
    """One frame of a clip or one picture, with its faces; one without faces keeps its place.

    Attributes:
        frame: number in decoding order, from 0; pictures are numbered in the order in which they were given.
        pts_ms: presentation time from the container, milliseconds; 0 in a picture.
        faces: rows as they are stored, largest face first.
        name: file name of the picture; in a clip the clip's.
        width: of the upright picture, pixels; None if not known.
        height: of the same.
    """

    frame: int
    pts_ms: float
    faces: tuple[FaceRow, ...]
    name: str
    width: int | None = None
    height: int | None = None


def face_rows(frame: int, pts_ms: float, faces: Sequence[tuple[Face, AuPrediction]]) -> tuple[FaceRow, ...]:
    """Faces of the analyser or the pipeline as the rows that the store would give back."""
    return tuple(
        FaceRow(
            frame=frame,
            face=number,
            track=face.track,
            pts_ms=pts_ms,
            box_xyxy=face.box_xyxy,
            face_score=float(face.score),
            presence=float(face.presence),
            landmarks=face.landmarks,
            au_score=prediction.score,
            au_probability=prediction.probability,
            au_active=prediction.active,
            roi_amplitude=prediction.roi_amplitude,
            roi_centres=prediction.roi_centres,
            measures=prediction.measures,
        )
        for number, (face, prediction) in enumerate(faces)
    )


def box_xywh(face: FaceRow) -> tuple[float, float, float, float]:
    """Left, top, width and height in pixels, rounded as everywhere."""
    left, top, right, bottom = rounded(face.box_xyxy, PIXEL_DIGITS)
    return left, top, round(right - left, PIXEL_DIGITS), round(bottom - top, PIXEL_DIGITS)


def box_xyxy(face: FaceRow) -> tuple[float, float, float, float]:
    """Left, top, right and bottom in pixels, rounded as everywhere."""
    left, top, right, bottom = rounded(face.box_xyxy, PIXEL_DIGITS)
    return left, top, right, bottom


def decisions(face: FaceRow) -> list[bool | None]:
    """Whether each AU occurs; None where it could not be read, which is no decision."""
    known = np.isfinite(face.au_probability) & np.isfinite(face.au_score)
    return [active if read else None for active, read in zip(face.au_active.tolist(), known.tolist(), strict=True)]


def padded(code: str) -> str:
    """An AU code with two digits, as OpenFace and py-feat write it: AU4 is AU04."""
    return f"AU{int(code.removeprefix('AU')):02d}"


def collect(frames: Iterable[ExportFrame], au_codes: Sequence[str]) -> ClipSignals:
    """All scores of a clip, for its events."""
    signals = ClipSignals(au_codes)
    for frame in frames:
        faces = [(face.track, face.au_probability, face.au_score) for face in frame.faces]
        signals.add(frame.frame, frame.pts_ms, faces)
    return signals


def events_of(frames: Iterable[ExportFrame], recording: Recording) -> tuple[list[AuEvent], ClipSignals, Timeline]:
    """The events of a clip, with the scores that they were found in and the clip's timeline."""
    signals = collect(frames, recording.au_codes)
    return signals.events(recording.events, recording.thresholds), signals, signals.timeline()
