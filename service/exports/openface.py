"""OpenFace 2 CSV, for the R and Python code that reads the files of its FeatureExtraction.

As OpenFace writes them: names of the columns, ", " between the names of the header, frames from 1, time in seconds, a
row with `success` 0 for a frame without a face. The columns of its 17 + 18 AUs are all there, whatever the checkpoint
has, because readers ask for them by name; AUs that OpenFace lacks follow in the same style.

What is NOT OpenFace's: `AU.._r`, its intensity from 0 to 5, is always EMPTY (read as NaN or NA), because presence is no
intensity and a zero would be a measurement. `AU.._c` is the checkpoint's decision. The calibrated probability, 0 to 1,
stands in columns of its own, `AU.._p`. Gaze, head pose, 3D points and shape parameters are left out. Empty, where
OpenFace writes zeros, are the cells of an AU that the checkpoint has not or that could not be read, and those of rows
without success.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from service.exports.formats import VIDEO, Format
from service.exports.recording import ExportFrame, Recording, decisions, padded
from service.exports.text import Cell, csv_pieces
from service.rounding import MS_DIGITS, PIXEL_DIGITS, SCORE_DIGITS, rounded
from worker.store.records import FaceRow

INTENSITY = tuple(f"AU{au:02d}" for au in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45))
PRESENCE = tuple(sorted((*INTENSITY, "AU28")))
_POINTS = 68


def header(au_codes: Sequence[str]) -> list[str]:
    """Names of the columns for a checkpoint's AUs."""
    own = [padded(code) for code in au_codes]
    return [
        *("frame", "face_id", "timestamp", "confidence", "success"),
        *(f"{axis}_{point}" for axis in "xy" for point in range(_POINTS)),
        *(f"{au}_r" for au in sorted({*INTENSITY, *own})),
        *(f"{au}_c" for au in sorted({*PRESENCE, *own})),
        *(f"{au}_p" for au in own),
    ]


def write(frames: Iterable[ExportFrame], recording: Recording) -> Iterator[bytes]:
    """One row per face and frame."""
    own = [padded(code) for code in recording.au_codes]
    presence = sorted({*PRESENCE, *own})
    unknown: list[Cell] = [None] * len({*INTENSITY, *own})

    def rows() -> Iterator[list[Cell]]:
        for frame in frames:
            number, seconds = frame.frame + 1, round(frame.pts_ms / 1000, MS_DIGITS + 3)
            for face in frame.faces:
                decided = dict(zip(own, decisions(face), strict=True))
                yield [
                    *(number, face.track, seconds, round(face.face_score, SCORE_DIGITS), 1),
                    *_landmarks(face),
                    *unknown,
                    *(decided.get(au) for au in presence),
                    *rounded(face.au_probability, SCORE_DIGITS),
                ]
            if not frame.faces:
                blank: list[Cell] = [None] * (2 * _POINTS + len(unknown) + len(presence) + len(own))
                yield [number, 0, seconds, 0, 0, *blank]

    return csv_pieces(header(recording.au_codes), rows(), header_separator=", ")


def _landmarks(face: FaceRow) -> list[float]:
    x, y = rounded(face.landmarks.T, PIXEL_DIGITS)
    return [*x, *y]


FORMAT = Format(
    name="openface",
    title="OpenFace CSV",
    summary="CSV with OpenFace's columns: presence in AU.._c, probability in AU.._p; AU.._r (intensity) stays EMPTY",
    media_type="text/csv",
    suffix=".openface.csv",
    kinds=VIDEO,
    write=write,
)
