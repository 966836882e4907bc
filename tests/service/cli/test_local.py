"""Commands that need no server, run in this process: output, files, exit codes."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from model.checkpoint import Checkpoint
from model.values import UInt8Array
from service.cli import app
from service.cli.output import Exit

Run = Callable[..., Result]


@pytest.fixture
def run(tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command with the tiny checkpoint as the active one, in a folder of its own."""
    monkeypatch.setenv("ROIGCN_DATA_DIR", str(tiny_checkpoint.path.parents[2]))
    monkeypatch.setenv("ROIGCN_CHECKPOINT", "tiny")
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def photo(tmp_path: Path, astronaut: UInt8Array) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(astronaut).save(path)
    return path


@pytest.fixture
def clip(tmp_path: Path, write_clip: Callable[..., Path], astronaut: UInt8Array) -> Path:
    face = np.ascontiguousarray(astronaut[:300, 96:352])
    return write_clip(tmp_path / "clip.mp4", [face] * 6 + [np.zeros_like(face)] * 2)


def test_detect_prints_one_line_per_au_in_a_pipe(run: Run, photo: Path) -> None:
    result = run("detect", photo)
    assert result.exit_code == Exit.DONE, result.output
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[2] for row in rows] == ["AU1", "AU12", "AU25"]
    assert all(row[0] == str(photo) and row[1] == "0" and row[5] in "01" for row in rows)
    assert all(-2 < float(row[3]) < 2 and 0 <= float(row[4]) <= 1 for row in rows)


def test_detect_says_what_the_network_was_trained_on(run: Run, photo: Path) -> None:
    assert "rendered faces only" in run("detect", photo).stderr


def test_detect_json_has_everything(run: Run, photo: Path) -> None:
    document = json.loads(run("detect", photo, "--json").stdout)
    assert (document["width"], document["height"], document["synthetic_only"]) == (512, 512, True)
    (face,) = document["faces"]
    assert len(face["landmarks"]) == 68
    assert set(face["aus"][0]) == {"au", "name", "score", "probability", "active", "left", "right", "roi"}


def test_detect_draws(run: Run, photo: Path, tmp_path: Path) -> None:
    assert run("detect", photo, "--overlay", tmp_path / "out.png").exit_code == Exit.DONE
    drawn = Image.open(tmp_path / "out.png")
    assert drawn.width > 512, "the picture with its panel of bars"


def test_a_broken_picture_does_not_stop_the_others(run: Run, photo: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:3000])
    result = run("detect", broken, tmp_path / "missing.jpg", photo)
    assert result.exit_code == Exit.FAILED
    assert str(broken) in result.stderr
    assert "missing.jpg" in result.stderr
    assert len(result.stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["detect"], Exit.USAGE, "Missing argument"),
        (["detect", "a.jpg", "b.jpg", "--overlay", "no/folder"], Exit.USAGE, "existing folder"),
        (["detect", "a.jpg", "--overlay", "picture.txt"], Exit.USAGE, ".png"),
        (["detect", "a.jpg", "--checkpoint", "nonesuch"], Exit.UNAVAILABLE, "nonesuch"),
        (["detect", "a.jpg", "--engine", "abacus"], Exit.UNAVAILABLE, "abacus"),
        (["video", "missing.mp4"], Exit.USAGE, "missing.mp4"),
        (["nonesuch"], Exit.USAGE, "nonesuch"),
        (["checkpoints", "show", "nonesuch"], Exit.UNAVAILABLE, "nonesuch"),
        (["worker"], Exit.USAGE, "ROIGCN_DATABASE_URL"),
        (["api"], Exit.USAGE, "ROIGCN_DATABASE_URL"),
        (["serve", "--port", "0x50"], Exit.USAGE, "port"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_says_what_to_do(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: Exit, words: str
) -> None:
    monkeypatch.delenv("ROIGCN_DATABASE_URL", raising=False)
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr


def test_video_writes_every_frame(run: Run, clip: Path) -> None:
    result = run("video", clip)
    assert result.exit_code == Exit.DONE, result.output
    target = clip.with_suffix(".aus.csv")
    assert result.stdout.strip() == str(target)
    with target.open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(8))
    assert [row["face"] for row in rows] == ["0"] * 6 + [""] * 2
    assert float(rows[5]["time_ms"]) == pytest.approx(200.0)


def test_video_writes_parquet_that_names_its_checkpoint(run: Run, clip: Path, tmp_path: Path) -> None:
    assert run("video", clip, "-o", tmp_path / "t.parquet").exit_code == Exit.DONE
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.num_rows == 8
    assert table.schema.metadata[b"roigcn.checkpoint"] == b"tiny:1"


def test_video_does_not_overwrite_unasked(run: Run, clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "t.csv"
    target.write_text("mine")
    assert run("video", clip, "-o", target).exit_code == Exit.USAGE
    assert target.read_text() == "mine"
    assert run("video", clip, "-o", target, "--overwrite").exit_code == Exit.DONE
    assert target.read_text().startswith("frame,")


def test_a_broken_clip_leaves_no_file(run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(500))
    result = run("video", broken)
    assert result.exit_code == Exit.FAILED
    assert "broken.mp4" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["broken.mp4"]


def test_checkpoints_are_listed_shown_and_activated(
    run: Run, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    shutil.copytree(tiny_checkpoint.path, tmp_path / "data" / "checkpoints" / "tiny" / "1")
    monkeypatch.setenv("ROIGCN_DATA_DIR", str(tmp_path / "data"))

    def active() -> list[str]:
        return [row["name"] for row in json.loads(run("checkpoints", "--json").stdout) if row["active"]]

    rows = json.loads(run("checkpoints", "--json").stdout)
    assert {"tiny", "w18s-rendered"} <= {row["name"] for row in rows}
    assert active() == ["w18s-rendered"], "the built-in one, where nobody chose"
    manifest = json.loads(run("checkpoints", "show", "tiny").stdout)
    assert manifest["au_codes"] == ["AU1", "AU12", "AU25"]
    assert run("checkpoints", "activate", "tiny:1").exit_code == Exit.DONE
    assert active() == ["tiny"]


def test_assets_are_present_and_nothing_is_fetched(run: Run) -> None:
    result = run("assets")
    assert result.exit_code == Exit.DONE
    assert result.stdout.count("present") >= 2
    assert "fetching" not in result.stderr


def test_help_names_every_command() -> None:
    text = CliRunner().invoke(app, ["--help"]).stdout
    for command in ("detect", "video", "explain", "serve", "submit", "watch", "assets", "checkpoints", "keys"):
        assert command in text
