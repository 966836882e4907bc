"""The native table: one row per face and frame, as CSV or Parquet, written while the clip is analysed.

A frame without a face keeps its place with one row whose `face` is empty. Coordinates are pixels of the upright image,
origin at the top left; times are milliseconds of the container's time stamps.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import pyarrow as pa
import pyarrow.parquet as pq

from model.values import AuPrediction, Face

Kind = Literal["int", "float", "bool"]
Value = int | float | bool | None

_ARROW = {"int": pa.int32(), "float": pa.float32(), "bool": pa.bool_()}
_ROWS_PER_GROUP = 4096


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: its name, type and what it holds, with the unit."""

    name: str
    kind: Kind
    meaning: str


_FIXED = (
    Column("frame", "int", "number of the frame in decoding order, from 0"),
    Column("time_ms", "float", "presentation time, milliseconds"),
    Column("face", "int", "number that the face keeps through the clip; empty where no face was found"),
    Column("face_score", "float", "confidence of the face detector, 0 to 1"),
    Column("box_x", "float", "left edge of the face, pixels"),
    Column("box_y", "float", "top edge of the face, pixels"),
    Column("box_width", "float", "width of the face, pixels"),
    Column("box_height", "float", "height of the face, pixels"),
)


def columns(au_codes: Sequence[str]) -> tuple[Column, ...]:
    """The columns for a checkpoint's Action Units: the face's, then score, probability and presence of each AU."""
    per_au = (
        (
            Column(f"{code}_score", "float", f"{code}: ROI amplitude, about -1 absent to 1 occurred; not an intensity"),
            Column(f"{code}_probability", "float", f"{code}: calibrated probability that it occurred, 0 to 1"),
            Column(f"{code}_active", "bool", f"{code}: 1 occurred, 0 absent"),
        )
        for code in au_codes
    )
    return _FIXED + tuple(column for group in per_au for column in group)


def _number(value: float, digits: int) -> float | None:
    """Rounded; None for what could not be read (NaN)."""
    return round(float(value), digits) if math.isfinite(value) else None


def rows(
    frame: int, time_ms: float, faces: Sequence[tuple[Face, AuPrediction]], au_count: int
) -> list[tuple[Value, ...]]:
    """The rows of one frame, one per face; one with empty cells where there is no face."""
    if not faces:
        return [(frame, round(time_ms, 3), *(None,) * (len(_FIXED) - 2 + 3 * au_count))]
    return [_row(frame, time_ms, face, prediction) for face, prediction in faces]


def _row(frame: int, time_ms: float, face: Face, prediction: AuPrediction) -> tuple[Value, ...]:
    left, top, right, bottom = (float(edge) for edge in face.box_xyxy)
    fixed = (
        frame,
        round(time_ms, 3),
        face.track,
        _number(face.score, 4),
        round(left, 2),
        round(top, 2),
        round(right - left, 2),
        round(bottom - top, 2),
    )
    per_au: list[Value] = []
    triples = zip(prediction.score, prediction.probability, prediction.active, prediction.valid, strict=True)
    for score, probability, active, valid in triples:
        per_au += [_number(score, 4), _number(probability, 4), bool(active) if valid else None]
    return (*fixed, *per_au)


class TableWriter(Protocol):
    """Takes rows as they come; nothing but a few thousand rows is held in memory."""

    def write(self, table_rows: Iterable[Sequence[Value]]) -> None:
        """Append rows in the order of the columns."""

    def close(self) -> None:
        """Finish the file."""


class CsvWriter:
    """CSV with a header line; presence is 0 or 1, an unknown value an empty cell."""

    def __init__(self, path: Path, au_codes: Sequence[str]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow([column.name for column in columns(au_codes)])

    def write(self, table_rows: Iterable[Sequence[Value]]) -> None:
        """Append rows."""
        for row in table_rows:
            self._csv.writerow([int(value) if isinstance(value, bool) else value for value in row])

    def close(self) -> None:
        """Flush and close."""
        self._file.close()


class ParquetWriter:
    """Parquet with one field per column, its meaning as field metadata, and the run's as file metadata."""

    def __init__(self, path: Path, au_codes: Sequence[str], metadata: Mapping[str, str]) -> None:
        fields = [
            pa.field(column.name, _ARROW[column.kind], metadata={"meaning": column.meaning})
            for column in columns(au_codes)
        ]
        self._schema = pa.schema(fields, metadata={f"roigcn.{key}": value for key, value in metadata.items()})
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[Sequence[Value]] = []

    def write(self, table_rows: Iterable[Sequence[Value]]) -> None:
        """Append rows; full row groups go to disk."""
        self._rows.extend(table_rows)
        if len(self._rows) >= _ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            arrays: list[Any] = [
                pa.array(values, type=field.type)
                for values, field in zip(zip(*self._rows, strict=True), self._schema, strict=True)
            ]
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
            self._rows = []

    def close(self) -> None:
        """Write the rest and the footer."""
        self._flush()
        self._writer.close()


FORMATS = ("csv", "parquet")


class OpenTable:
    """A table writer as a context manager: `with OpenTable(path, "csv", au_codes, metadata) as table`.

    Raises:
        ValueError: unknown format.
    """

    def __init__(
        self, path: Path, table_format: str, au_codes: Sequence[str], metadata: Mapping[str, str] | None = None
    ) -> None:
        if table_format not in FORMATS:
            raise ValueError(f"unknown table format {table_format!r}; known are {', '.join(FORMATS)}")
        self._au_count = len(au_codes)
        self._writer: TableWriter = (
            CsvWriter(path, au_codes) if table_format == "csv" else ParquetWriter(path, au_codes, metadata or {})
        )

    def write_frame(self, frame: int, time_ms: float, faces: Sequence[tuple[Face, AuPrediction]]) -> None:
        """Append the rows of one frame."""
        self._writer.write(rows(frame, time_ms, faces, self._au_count))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._writer.close()
