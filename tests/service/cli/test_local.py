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
from pympi import Eaf
from typer.testing import CliRunner

from model.analyzer import Analyzer
from model.checkpoint import Checkpoint
from model.values import UInt8Array
from service.cli import app, detect, video
from service.cli.output import Exit
from service.exports.recording import face_rows
from service.exports.registry import FORMATS
from worker.pipeline import analyze_video
from worker.rest import RestGatherer, against_rest
from worker.store.records import JobKind

Run = Callable[..., Result]
EXAMPLE = Path(__file__).parents[3] / "examples" / "clips" / "two_faces.mp4"
FACES = EXAMPLE.parents[1] / "faces"


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


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, tiny_analyzer: Analyzer) -> None:
    """The commands take the session's analyser, so that many runs load its network once."""
    for command in (detect, video):
        monkeypatch.setattr(command, "open_analyzer", lambda *_: tiny_analyzer)


def test_detect_writes_every_format_that_holds_pictures(run: Run, photo: Path, loaded: None) -> None:
    for made in (known for known in FORMATS.values() if JobKind.IMAGE in known.kinds):
        result = run("detect", photo, "--format", made.name)
        target = photo.with_suffix(made.suffix)
        assert (result.exit_code, result.stdout.strip()) == (Exit.DONE, str(target)), result.output
        assert target.stat().st_size > 100


def test_detect_writes_one_file_of_several_pictures(run: Run, photo: Path, tmp_path: Path, loaded: None) -> None:
    blank, broken = tmp_path / "blank.png", tmp_path / "broken.jpg"
    Image.new("RGB", (64, 48)).save(blank)
    broken.write_bytes(photo.read_bytes()[:3000])
    target = tmp_path / "all.coco.json"
    result = run("detect", photo, broken, blank, "--out", target)
    assert result.exit_code == Exit.FAILED, "one of them could not be read"
    document = json.loads(target.read_text())
    assert [(image["file_name"], image["width"], image["height"]) for image in document["images"]] == [
        ("photo.jpg", 512, 512),
        ("blank.png", 64, 48),
    ]
    assert [annotation["image_id"] for annotation in document["annotations"]] == [1]


def test_detect_leaves_no_file_where_no_picture_could_be_read(run: Run, tmp_path: Path, loaded: None) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"x" * 100)
    assert run("detect", tmp_path / "broken.jpg", "--format", "native").exit_code == Exit.FAILED
    assert [path.name for path in tmp_path.iterdir()] == ["broken.jpg"]


def test_video_writes_every_format_that_holds_clips(run: Run, clip: Path, loaded: None) -> None:
    made = [known for known in FORMATS.values() if JobKind.VIDEO in known.kinds]
    for known in made:
        result = run("video", clip, "--format", known.name, "--min-ms", "0")
        target = clip.with_suffix(known.suffix)
        assert (result.exit_code, result.stdout.strip()) == (Exit.DONE, str(target)), result.output
        assert target.stat().st_size > 300
    tiers = Eaf(str(clip.with_suffix(".eaf"))).get_tier_names()
    assert list(tiers) == ["face0", "face0:AU1", "face0:AU12", "face0:AU25"]


def test_formats_are_listed(run: Run) -> None:
    listed = [line.split("\t") for line in run("formats").stdout.splitlines()]
    assert [row[0] for row in listed] == list(FORMATS)
    assert [row["format"] for row in json.loads(run("formats", "--json").stdout)] == list(FORMATS)


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
        (["detect", "."], Exit.FAILED, ".: a folder; name its pictures"),
        (["explain", "."], Exit.FAILED, ".: a folder; name its pictures"),
        (["detect", "a.jpg", "--engine", "abacus"], Exit.UNAVAILABLE, "abacus"),
        (["detect", "a.jpg", "--format", "elan"], Exit.USAGE, "formats that do: native"),
        (["detect", "a.jpg", "--format", "xlsx"], Exit.USAGE, "known are native"),
        (["detect", "a.jpg", "--json", "--format", "coco"], Exit.USAGE, "give one of them"),
        (["detect", "a.jpg", "b.jpg", "--format", "coco"], Exit.USAGE, "pictures.coco.json"),
        (["detect", "a.jpg", "--out", "a.docx"], Exit.USAGE, "names no format"),
        (["video", __file__, "--format", "xlsx"], Exit.USAGE, "known are native"),
        (["video", __file__, "--format", "elan", "--on", "2"], Exit.USAGE, "at most 1"),
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


def test_brows_in_a_clip_are_held_against_its_own_rest(run: Run, tmp_path: Path, tiny_analyzer: Analyzer) -> None:
    clip = Path(shutil.copy(EXAMPLE, tmp_path))
    assert run("video", clip, "-o", tmp_path / "t.csv").exit_code == Exit.DONE
    with (tmp_path / "t.csv").open() as file:
        written = {(int(row["frame"]), int(row["face"])): row for row in csv.DictReader(file) if row["face"]}
    single = [row for f in analyze_video(clip, tiny_analyzer) for row in face_rows(f.index, f.pts_ms, f.faces)]
    gatherer = RestGatherer()
    gatherer.add(single)
    tracks = gatherer.tracks()
    assert set(tracks) == {0, 1}
    rested = against_rest(tiny_analyzer, tracks, single)
    assert len(written) == len(rested) == 220
    for row in rested:
        for code, chance in zip(("AU1", "AU12", "AU25"), row.au_probability, strict=True):
            assert float(written[row.frame, row.track][f"{code}_probability"]) == pytest.approx(chance, abs=6e-3)
    changes = [abs(a.au_probability[0] - b.au_probability[0]) for a, b in zip(single, rested, strict=True)]
    assert max(changes) > 0.1


def probabilities(result: Result) -> list[float]:
    assert result.exit_code == Exit.DONE, result.output
    return [float(line.split("\t")[4]) for line in result.stdout.splitlines()]


def test_a_picture_is_held_against_a_neutral_one(run: Run) -> None:
    surprise, neutral = FACES / "surprise.jpg", FACES / "neutral.jpg"
    plain, held = probabilities(run("detect", surprise)), probabilities(run("detect", surprise, "--neutral", neutral))
    assert abs(plain[0] - held[0]) > 0.1
    assert plain[1:] == held[1:], "only AU1 is measured"


def test_a_short_clip_is_held_against_a_neutral_picture(run: Run, clip: Path, photo: Path, tmp_path: Path) -> None:
    rows = []
    for name, more in (("plain.csv", ()), ("held.csv", ("--neutral", FACES / "surprise.jpg"))):
        assert run("video", clip, "-o", tmp_path / name, *more).exit_code == Exit.DONE
        with (tmp_path / name).open() as file:
            rows.append([row for row in csv.DictReader(file) if row["face"]])
    assert len(rows[0]) == len(rows[1]) == 6
    for plain, held in zip(*rows, strict=True):
        assert abs(float(plain["AU1_probability"]) - float(held["AU1_probability"])) > 0.1
        assert plain["AU12_probability"] == held["AU12_probability"]


@pytest.mark.parametrize("command", ["detect", "video"])
def test_a_neutral_picture_must_tell_a_rest(
    run: Run, photo: Path, clip: Path, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = tmp_path / "wall.png"
    Image.new("RGB", (64, 64)).save(wall)
    target = photo if command == "detect" else clip
    result = run(command, target, "--neutral", wall)
    assert (result.exit_code, "shows no face" in result.stderr) == (Exit.FAILED, True)
    assert "--neutral" in run(command, target, "--neutral", clip).stderr
    assert run(command, target, "--neutral", tmp_path / "none.jpg").exit_code == Exit.USAGE
    monkeypatch.setenv("ROIGCN_READING", "network")
    result = run(command, target, "--neutral", photo)
    assert (result.exit_code, "measures no brows" in result.stderr) == (Exit.USAGE, True)
    assert not clip.with_suffix(".aus.csv").exists()


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
    elsewhere = run("checkpoints", "--data-dir", tmp_path / "other", "activate", "tiny:1")
    assert (elsewhere.exit_code, "behind the command" in elsewhere.stderr) == (Exit.USAGE, True)
    assert active() == ["w18s-rendered"], "the installation that the variable names was left alone"
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
