"""py-feat's Fex as CSV, for `feat.utils.io.read_feat` and everything that works on a Fex.

The value of an AU is its calibrated probability, 0 to 1, as py-feat's own detectors give it; an AU that could not be
read is empty, an AU that the checkpoint has not has no column. A frame without a face is one row whose face is empty.
`frame` counts from 0. `approx_time` is the container's time stamp in py-feat's notation, MM:SS; the exact one is in
`time_ms`. `Identity` names a track of this clip, a number that a face keeps while it is followed: NOBODY IS RECOGNISED.
Emotions, poses and identity embeddings are not there and are not computed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from service.exports.formats import BOTH, Format
from service.exports.recording import ExportFrame, Recording, box_xywh, padded
from service.exports.text import Cell, csv_pieces
from service.rounding import MS_DIGITS, PIXEL_DIGITS, SCORE_DIGITS, rounded
from worker.store.records import FaceRow, JobKind

_BOX = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore")
_POINTS = 68


def write(frames: Iterable[ExportFrame], recording: Recording) -> Iterator[bytes]:
    """One row per face and frame."""
    header = [
        *("input", "frame", "approx_time", "time_ms"),
        *_BOX,
        *(f"{axis}_{point}" for axis in "xy" for point in range(_POINTS)),
        *(padded(code) for code in recording.au_codes),
        "Identity",
    ]
    blank: list[Cell] = [None] * (len(_BOX) + 2 * _POINTS + len(recording.au_codes) + 1)
    clip = recording.kind is JobKind.VIDEO

    def rows() -> Iterator[list[Cell]]:
        for frame in frames:
            minutes, seconds = divmod(int(max(frame.pts_ms, 0.0) // 1000), 60)
            times: list[Cell] = [f"{minutes:02d}:{seconds:02d}", round(frame.pts_ms, MS_DIGITS)] if clip else [None] * 2
            place: list[Cell] = [frame.name, frame.frame, *times]
            yield from ([*place, *_face(face)] for face in frame.faces)
            if not frame.faces:
                yield [*place, *blank]

    return csv_pieces(header, rows())


def _face(face: FaceRow) -> list[Cell]:
    x, y = rounded(face.landmarks.T, PIXEL_DIGITS)
    score = round(face.face_score, SCORE_DIGITS)
    return [*box_xywh(face), score, *x, *y, *rounded(face.au_probability, SCORE_DIGITS), f"face_{face.track}"]


FORMAT = Format(
    name="pyfeat",
    title="py-feat CSV",
    summary="CSV that py-feat reads as a Fex: boxes, landmarks and the probability of each AU",
    media_type="text/csv",
    suffix=".pyfeat.csv",
    kinds=BOTH,
    write=write,
)
