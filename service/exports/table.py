"""The native table, tidy: one row per face and frame. As CSV (`native`) here, as Parquet in `parquet`.

A frame without a face keeps its place with one row whose `face` is empty. Coordinates are pixels of the upright image,
origin at the top left; times are milliseconds of the container's time stamps. Tables of pictures begin with the column
`file`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from service.exports.formats import BOTH, Format
from service.exports.recording import ExportFrame, Recording, box_xywh, decisions
from service.exports.text import Cell, csv_pieces
from service.rounding import MS_DIGITS, SCORE_DIGITS, rounded
from worker.store.records import FaceRow, JobKind

Kind = Literal["text", "int", "time", "float", "bool"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: its name, type and what it holds, with the unit."""

    name: str
    kind: Kind
    meaning: str


_FILE = Column("file", "text", "file name of the picture")
_FRAME = (
    Column("frame", "int", "number of the frame in decoding order, from 0"),
    Column("time_ms", "time", "presentation time from the container, milliseconds"),
)
_FACE = (
    Column("face", "int", "number that the face keeps through the clip; empty where no face was found"),
    Column("face_score", "float", "confidence of the face detector, 0 to 1"),
    Column("box_x", "float", "left edge of the face, pixels"),
    Column("box_y", "float", "top edge of the face, pixels"),
    Column("box_width", "float", "width of the face, pixels"),
    Column("box_height", "float", "height of the face, pixels"),
)


def columns(au_codes: Sequence[str], kind: JobKind = JobKind.VIDEO) -> tuple[Column, ...]:
    """The columns for a checkpoint's Action Units: the face's, then score, probability and presence of each AU."""
    per_au = (
        (
            Column(f"{code}_score", "float", f"{code}: ROI amplitude, about -1 absent to 1 occurred; not an intensity"),
            Column(f"{code}_probability", "float", f"{code}: calibrated probability that it occurred, 0 to 1"),
            Column(f"{code}_active", "bool", f"{code}: 1 occurred, 0 absent"),
        )
        for code in au_codes
    )
    file = (_FILE,) if kind is JobKind.IMAGE else ()
    return file + _FRAME + _FACE + tuple(column for group in per_au for column in group)


def rows(frame: ExportFrame, recording: Recording) -> Iterator[list[Cell]]:
    """The rows of one frame, one per face; one with empty cells where there is no face."""
    place: list[Cell] = [frame.name] if recording.kind is JobKind.IMAGE else []
    place += [frame.frame, round(frame.pts_ms, MS_DIGITS)]
    if not frame.faces:
        yield place + [None] * (len(_FACE) + 3 * len(recording.au_codes))
    for face in frame.faces:
        yield place + _face_cells(face)


def _face_cells(face: FaceRow) -> list[Cell]:
    cells: list[Cell] = [face.track, round(face.face_score, SCORE_DIGITS), *box_xywh(face)]
    scores, probabilities = rounded(face.au_score, SCORE_DIGITS), rounded(face.au_probability, SCORE_DIGITS)
    for group in zip(scores, probabilities, decisions(face), strict=True):
        cells.extend(group)
    return cells


def write(frames: Iterable[ExportFrame], recording: Recording) -> Iterator[bytes]:
    """The table as CSV; presence is 0 or 1, an unknown value an empty cell."""
    header = [column.name for column in columns(recording.au_codes, recording.kind)]
    return csv_pieces(header, (row for frame in frames for row in rows(frame, recording)))


FORMAT = Format(
    name="native",
    title="Table (CSV)",
    summary="Tidy CSV: one row per face and frame with score, probability and presence of each AU",
    media_type="text/csv",
    suffix=".aus.csv",
    kinds=BOTH,
    write=write,
)
