"""The native table as Parquet: each column's meaning and unit as field metadata, the run as file metadata."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from service.exports.formats import BOTH, Format
from service.exports.recording import ExportFrame, Recording
from service.exports.table import columns, rows
from service.exports.text import Cell

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_PER_GROUP = 4096


def metadata(recording: Recording) -> dict[str, str]:
    """What the file says of its origin, under keys that begin with `roigcn.`."""
    known = {
        "file": recording.name,
        "kind": recording.kind.value,
        "checkpoint": recording.checkpoint,
        "synthetic_only": str(recording.synthetic_only).lower(),
        "made_at": recording.made_at.isoformat(),
        "job": recording.job,
        "width": recording.width,
        "height": recording.height,
        "fps": recording.fps,
        "duration_ms": recording.duration_ms,
    }
    return {f"roigcn.{key}": str(value) for key, value in known.items() if value is not None}


def _schema(recording: Recording) -> pa.Schema:
    import pyarrow as pa

    types = {"text": pa.string(), "int": pa.int32(), "time": pa.float64(), "float": pa.float32(), "bool": pa.bool_()}
    fields = [
        pa.field(column.name, types[column.kind], metadata={"meaning": column.meaning})
        for column in columns(recording.au_codes, recording.kind)
    ]
    return pa.schema(fields, metadata=metadata(recording))


class _Pipe(io.RawIOBase):
    """A sink that gives away what was written to it."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting.append(bytes(data))
        return len(self._waiting[-1])

    def take(self) -> bytes:
        taken = b"".join(self._waiting)
        self._waiting = []
        return taken


def write(frames: Iterable[ExportFrame], recording: Recording) -> Iterator[bytes]:
    """The table as Parquet, a row group at a time."""
    import pyarrow as pa  # a second of imports that a service which never writes Parquet need not pay
    import pyarrow.parquet as pq

    schema, pipe = _schema(recording), _Pipe()
    table = chain.from_iterable(rows(frame, recording) for frame in frames)
    with pq.ParquetWriter(pipe, schema, compression="zstd") as writer:
        while group := list(islice(table, _ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_arrays(_arrays(group, schema), schema=schema))
            yield pipe.take()
    yield pipe.take()


def _arrays(group: list[list[Cell]], schema: pa.Schema) -> list[Any]:
    import pyarrow as pa

    return [pa.array(cells, field.type) for cells, field in zip(zip(*group, strict=True), schema, strict=True)]


FORMAT = Format(
    name="parquet",
    title="Table (Parquet)",
    summary="The native table as Parquet, with meanings and units as metadata",
    media_type="application/vnd.apache.parquet",
    suffix=".parquet",
    kinds=BOTH,
    write=write,
)
