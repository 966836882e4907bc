"""The native table: CSV and Parquet hold the same values, empty frames keep their place."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from service.exports import parquet, table
from service.exports.formats import Format
from service.exports.recording import ExportFrame, Recording
from service.exports.table import columns
from tests.service.exports.kit import AUS, CLIP, PICTURES, frame, pictures, two_faces

NATIVE = [table.FORMAT, parquet.FORMAT]


def read(made: Format, frames: list[ExportFrame], recording: Recording = CLIP) -> list[dict[str, object]]:
    data = b"".join(made.write(frames, recording))
    if made is parquet.FORMAT:
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
        return [{k: v if v is None or isinstance(v, str) else float(v) for k, v in row.items()} for row in rows]
    lines = csv.DictReader(io.StringIO(data.decode(), newline=""))
    return [{k: v if k == "file" else float(v) if v else None for k, v in line.items()} for line in lines]


@pytest.mark.parametrize("made", NATIVE, ids=lambda made: made.name)
def test_what_is_written_is_read_back(made: Format) -> None:
    back = read(made, two_faces())
    places = [(row["frame"], row["face"]) for row in back]
    assert places[:6] == [(0, None), (1, 0), (2, 0), (3, 0), (4, 0), (4, 3)]
    assert (6, 3) in places
    assert list(back[0]) == [column.name for column in columns(AUS)]
    empty, first, blind = back[0], back[1], back[5]
    assert all(value is None for name, value in empty.items() if name not in ("frame", "time_ms"))
    assert first["time_ms"] == pytest.approx(33.367)
    assert (first["box_x"], first["box_y"], first["box_width"], first["box_height"]) == (10, 20.5, 100, 119.75)
    assert first["AU12_probability"] == pytest.approx(0.3, abs=1e-6)
    assert (first["AU4_active"], back[2]["AU12_active"]) == (0, 1)
    assert blind["AU12_probability"] is None
    assert blind["AU12_active"] is None, "what could not be read is no decision"
    assert blind["AU4_active"] == 1


@pytest.mark.parametrize("made", NATIVE, ids=lambda made: made.name)
def test_a_table_of_pictures_names_them(made: Format) -> None:
    back = read(made, pictures(), PICTURES)
    assert [(row["file"], row["face"]) for row in back] == [
        ("smile.jpg", 0),
        ('wall, "white" & <old>.png', None),
        ("päar.jpg", 0),
        ("päar.jpg", 1),
    ]


def test_many_rows_cross_row_groups() -> None:
    made = list(parquet.write((frame(index) for index in range(10_000)), CLIP))
    assert len(made) > 2, "row groups leave one by one"
    file = pq.ParquetFile(io.BytesIO(b"".join(made)))
    assert file.metadata.num_row_groups > 1
    assert file.read().column("frame").to_pylist() == list(range(10_000))


def test_a_long_table_leaves_in_pieces() -> None:
    made = list(table.write((frame(index) for index in range(20_000)), CLIP))
    assert len(made) > 3
    assert b"".join(made).count(b"\n") == 20_001


def test_parquet_says_what_its_columns_mean() -> None:
    schema = pq.read_schema(io.BytesIO(b"".join(parquet.write([], CLIP))))
    assert schema.metadata[b"roigcn.checkpoint"] == b"tiny:1"
    assert schema.metadata[b"roigcn.synthetic_only"] == b"true"
    assert b"not an intensity" in schema.field("AU12_score").metadata[b"meaning"]
    assert b"milliseconds" in schema.field("time_ms").metadata[b"meaning"]


def test_parquet_keeps_times_whole() -> None:
    long = [replace(frame(0), pts_ms=3_600_033.367)]
    assert read(parquet.FORMAT, long)[0]["time_ms"] == 3_600_033.367


@pytest.mark.parametrize("made", NATIVE, ids=lambda made: made.name)
def test_values_are_those_of_the_store(made: Format) -> None:
    frames = two_faces()
    stored = [(f.frame, face) for f in frames for face in f.faces]
    back = [row for row in read(made, frames) if row["face"] is not None]
    assert len(back) == len(stored)
    for row, (index, face) in zip(back, stored, strict=True):
        assert row["frame"] == index
        for k, code in enumerate(AUS):
            value = row[f"{code}_score"]
            assert np.isnan(face.au_score[k]) if value is None else value == pytest.approx(face.au_score[k], abs=1e-5)
