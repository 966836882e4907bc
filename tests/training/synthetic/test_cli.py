from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from training.synthetic.cli import app
from training.synthetic.contact import sheet
from training.synthetic.examples import PORTRAITS, render_portraits, two_faces
from training.synthetic.pack import ENVIRONMENT_VARIABLE
from training.synthetic.shards import iterate_shards
from training.synthetic.toy import toy_pack

SMALL = ["--toy", "--images", "4", "--size", "48", "--per-person", "2", "--shard-faces", "4"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_render_writes_shards_and_goes_on(tmp_path: Path) -> None:
    result = run("render", "--out", tmp_path, *SMALL)
    assert result.exit_code == 0, result.output
    assert "4 pictures rendered, 4 in 1 shards" in result.output
    assert [len(shard["labels"]) for shard in iterate_shards(tmp_path)] == [4]
    assert "0 pictures rendered" in run("render", "--out", tmp_path, *SMALL).output


def test_a_contact_sheet_is_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    result = run("render", "--out", tmp_path / "out", "--contact-sheet", path, *SMALL)
    assert result.exit_code == 0, result.output
    assert cv2.imread(str(path)).shape == (48 + 26, 4 * 48, 3)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 3, "--face-pack PATH"),
        (["--face-pack", "nowhere.npz"], 3, "does not exist"),
        (["--toy", "--split", "dev"], 2, "unknown split"),
        (["--toy", "--shard-faces", "7"], 2, "multiple"),
        (["--toy", "--raster", "vulkan"], 1, "unknown rasteriser"),
    ],
)
def test_mistakes_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    result = run("render", "--out", tmp_path / "out", *arguments)
    assert result.exit_code == code, result.output
    assert message in result.output


def test_another_data_set_in_the_folder_is_refused(tmp_path: Path) -> None:
    run("render", "--out", tmp_path, *SMALL)
    result = run("render", "--out", tmp_path, *SMALL, "--seed", "1")
    assert result.exit_code == 1
    assert "another seed" in result.output


def test_sheets_fill_their_last_row() -> None:
    tiles = [np.zeros((4, 3, 3), np.uint8)] * 5
    laid = sheet(tiles, columns=3)
    assert laid.shape == (8, 9, 3)
    assert (laid[4:, 6:] == 255).all()
    with pytest.raises(ValueError, match="at least one"):
        sheet([])


def test_examples_of_the_toy_head(tmp_path: Path) -> None:
    toy = toy_pack()
    written = render_portraits(toy, tmp_path / "faces", size=64)
    assert {path.stem for path in written} == {*PORTRAITS, "labels"}
    with (tmp_path / "faces" / "labels.csv").open(newline="") as file:
        rows = {row["picture"]: row for row in csv.DictReader(file)}
    assert set(rows) == {f"{name}.jpg" for name in PORTRAITS}
    smile, neutral = rows["smile.jpg"], rows["neutral.jpg"]
    assert (smile["AU12"], neutral["AU12"]) == ("1", "0")
    assert 0 < float(smile["left"]) < float(smile["right"]) < 64
    assert cv2.imread(str(written[0])).shape == (64, 64, 3)


def test_the_example_clip_shows_two_people_and_a_gap() -> None:
    clip = two_faces(toy_pack())
    assert len({actor.identity.number for actor in clip.actors}) == 2
    assert {clip.empty(frame) for frame in range(clip.frames)} == {True, False}
    assert not clip.empty(0)
    assert all(episode.end <= clip.seconds for actor in clip.actors for episode in actor.episodes)
