"""Recordings that every exporter is tried with: small enough to read, with each case that has gone wrong somewhere."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from service.exports.recording import ExportFrame, Recording
from worker.store.records import FaceRow, JobKind

AUS = ("AU4", "AU12")
CLIP = Recording(
    kind=JobKind.VIDEO,
    name="two & faces.mp4",
    au_codes=AUS,
    checkpoint="tiny:1",
    made_at=datetime(2026, 11, 24, 12, 30, tzinfo=UTC),
    synthetic_only=True,
    thresholds={"AU4": 0.4},
    width=640,
    height=480,
    fps=29.97,
    duration_ms=400.4,
    frames=12,
    mime="video/mp4",
    job="019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10",
)
PICTURES = Recording(
    kind=JobKind.IMAGE,
    name="pictures",
    au_codes=AUS,
    checkpoint="tiny:1",
    made_at=datetime(2026, 11, 24, 12, 30, tzinfo=UTC),
    frames=3,
)
STEP_MS = 1001 / 30


def face(
    frame: int, track: int, probability: tuple[float, float], *, number: int = 0, pts_ms: float = 0.0, left: float = 10
) -> FaceRow:
    chance = np.array(probability, np.float32)
    landmarks = np.stack([left + np.arange(68) % 17 * 6.25, 20 + np.arange(68) // 17 * 30.5], axis=1)
    return FaceRow(
        frame=frame,
        face=number,
        track=track,
        pts_ms=pts_ms,
        box_xyxy=np.array([left, 20.5, left + 100, 140.25], np.float32),
        face_score=0.875,
        presence=0.99,
        landmarks=landmarks.astype(np.float32),
        au_score=(2 * chance - 1).astype(np.float32),
        au_probability=chance,
        au_active=np.nan_to_num(chance) >= np.array([0.4, 0.5]),
        roi_amplitude=np.stack([2 * chance - 1, chance - 1], axis=1).astype(np.float32),
        roi_centres=landmarks[:4].astype(np.float32).reshape(2, 2, 2),
    )


def frame(index: int, *faces: FaceRow) -> ExportFrame:
    return ExportFrame(index, index * STEP_MS, faces, CLIP.name, 640, 480)


NAN = float("nan")


def two_faces() -> list[ExportFrame]:
    """Face 0 is there but for frame 6 and smiles in frames 2 to 8; face 3 comes at frame 4, goes after 6, is back in 10
    and 11; its AU12 cannot be read at first. Frame 0 has no face.
    """
    smile = {0: 0.1, 1: 0.3, 2: 0.7, 3: 0.9, 4: 0.95, 5: 0.9, 7: 0.6, 8: 0.4, 9: 0.2, 10: 0.1, 11: 0.1}
    frames = []
    for index in range(12):
        faces = []
        if index > 0 and index != 6:
            faces.append(face(index, 0, (0.05, smile[index]), pts_ms=index * STEP_MS))
        if index in (4, 5, 6, 10, 11):
            brow = (0.8, NAN if index == 4 else 0.25)
            faces.append(face(index, 3, brow, number=len(faces), pts_ms=index * STEP_MS, left=300.5))
        frames.append(frame(index, *faces))
    return frames


def without_faces() -> list[ExportFrame]:
    return [frame(index) for index in range(3)]


def pictures() -> list[ExportFrame]:
    """One face, none, two; of different sizes, one with a name that needs quoting."""
    return [
        ExportFrame(0, 0.0, (face(0, 0, (0.1, 0.9)),), "smile.jpg", 200, 180),
        ExportFrame(1, 0.0, (), 'wall, "white" & <old>.png', 64, 48),
        ExportFrame(
            2, 0.0, (face(2, 0, (0.9, NAN)), face(2, 1, (0.2, 0.6), number=1, left=300.5)), "päar.jpg", 640, 480
        ),
    ]
