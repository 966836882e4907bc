"""The native table: CSV and Parquet hold the same values, empty frames keep their place."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.values import AuPrediction, Face
from service.exports.table import FORMATS, OpenTable, columns, rows

AUS = ("AU4", "AU12")


def face(track: int, left: float = 10.0) -> Face:
    box = np.array([left, 20, left + 100, 140], np.float32)
    return Face(box_xyxy=box, score=0.875, landmarks=np.zeros((68, 2), np.float32), presence=0.99, track=track)


def prediction(valid: tuple[bool, bool] = (True, True)) -> AuPrediction:
    return AuPrediction(
        score=np.array([-0.5, 0.75], np.float32),
        probability=np.array([0.125, 0.875 if valid[1] else np.nan], np.float32),
        active=np.array([False, True]),
        valid=np.array(valid),
        roi_amplitude=np.zeros((2, 2), np.float32),
        roi_centres=np.zeros((2, 2, 2), np.float32),
        roi_maps=np.zeros((2, 8, 8), np.float32),
    )


FRAMES = [
    (0, 0.0, [(face(0), prediction()), (face(3, 200.5), prediction((True, False)))]),
    (1, 33.367, []),
    (2, 66.733, [(face(3), prediction())]),
]


def write(path: Path, table_format: str, frames: list = FRAMES) -> None:
    with OpenTable(path, table_format, AUS, {"checkpoint": "tiny:1"}) as table:
        for index, time_ms, faces in frames:
            table.write_frame(index, time_ms, faces)


def read(path: Path, table_format: str) -> list[dict[str, float | None]]:
    if table_format == "parquet":
        return [
            {key: None if value is None else float(value) for key, value in row.items()}
            for row in pq.read_table(path).to_pylist()
        ]
    with path.open(newline="") as file:
        return [{key: float(value) if value else None for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("table_format", FORMATS)
def test_what_is_written_is_read_back(tmp_path: Path, table_format: str) -> None:
    write(tmp_path / "t", table_format)
    back = read(tmp_path / "t", table_format)
    assert [(row["frame"], row["face"]) for row in back] == [(0, 0), (0, 3), (1, None), (2, 3)]
    assert list(back[0]) == [column.name for column in columns(AUS)]
    first, second, empty, _ = back
    assert (first["box_x"], first["box_y"], first["box_width"], first["box_height"]) == (10, 20, 100, 120)
    assert (first["AU4_score"], first["AU4_active"], first["AU12_probability"]) == (-0.5, 0, 0.875)
    assert second["AU12_probability"] is None
    assert second["AU12_active"] is None, "what could not be read is no decision"
    assert empty["time_ms"] == pytest.approx(33.367, abs=1e-3)
    assert all(value is None for name, value in empty.items() if name not in ("frame", "time_ms"))


@pytest.mark.parametrize("table_format", FORMATS)
def test_a_clip_without_frames_is_a_table_without_rows(tmp_path: Path, table_format: str) -> None:
    write(tmp_path / "t", table_format, [])
    assert read(tmp_path / "t", table_format) == []


def test_many_rows_cross_row_groups(tmp_path: Path) -> None:
    write(tmp_path / "t", "parquet", [(index, index * 40.0, []) for index in range(10_000)])
    table = pq.ParquetFile(tmp_path / "t")
    assert table.metadata.num_rows == 10_000
    assert table.metadata.num_row_groups > 1
    assert table.read().column("frame").to_pylist() == list(range(10_000))


def test_parquet_says_what_its_columns_mean(tmp_path: Path) -> None:
    write(tmp_path / "t", "parquet")
    schema = pq.read_schema(tmp_path / "t")
    assert schema.metadata[b"roigcn.checkpoint"] == b"tiny:1"
    assert b"not an intensity" in schema.field("AU12_score").metadata[b"meaning"]


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"csv, parquet"):
        OpenTable(tmp_path / "t", "xlsx", AUS)


def test_every_row_has_every_column() -> None:
    for index, time_ms, faces in FRAMES:
        for row in rows(index, time_ms, faces, len(AUS)):
            assert len(row) == len(columns(AUS))
