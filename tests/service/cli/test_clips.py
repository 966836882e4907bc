"""Several clips and folders of clips: which are found, where their results go, what is refused before any work."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import typer

from service.cli.clips import Existing, Task, find_clips, plan
from service.cli.output import Exit
from tests.service.cli.test_local import Run, clip, photo, run

__all__ = ["clip", "photo", "run"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    (folder / "within").mkdir(parents=True)
    for name in ("b.MP4", "a.mov", "notes.txt", "._a.mov", "within/c.mp4", "a.aus.csv"):
        (folder / name).touch()
    return folder


def test_clips_of_a_folder_are_found_once_in_order(folder: Path) -> None:
    named = folder / "notes.txt"
    assert find_clips([named, folder, folder / "b.MP4"]) == [named, folder / "a.mov", folder / "b.MP4"]


@pytest.mark.parametrize("out", [None, "results"])
def test_results_lie_beside_the_clips_or_in_a_folder(folder: Path, out: str | None) -> None:
    target = None if out is None else folder / out
    if target:
        target.mkdir()
    tasks = plan([folder / "b.MP4"], target, ".eaf", one=False, existing=Existing())
    assert tasks == [Task(folder / "b.MP4", (target or folder) / "b.eaf")]


def test_one_clip_may_have_a_file_of_any_name(folder: Path) -> None:
    (task,) = plan([folder / "b.MP4"], folder / "mine.csv", ".aus.csv", one=True, existing=Existing())
    assert task.target == folder / "mine.csv"


def test_results_that_are_there(folder: Path) -> None:
    clips = find_clips([folder])
    assert len(plan(clips, None, ".aus.csv", one=False, existing=Existing(overwrite=True))) == 2
    (left,) = plan(clips, None, ".aus.csv", one=False, existing=Existing(skip=True))
    assert left.clip.name == "b.MP4"


@pytest.mark.parametrize(
    ("names", "out", "words"),
    [
        (["a.mov", "b.MP4"], None, "a.aus.csv exists; give --overwrite to replace, or --skip-existing"),
        (["a.mov"], "missing/t.csv", "missing does not exist"),
        (["a.mov", "b.MP4"], "missing", "existing folder"),
        (["b.MP4", "within/b.mkv"], "within", "both be written to"),
    ],
    ids=["existing", "no folder", "a file for two", "one file for two"],
)
def test_refusals(
    folder: Path, names: list[str], out: str | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "within/b.mkv").touch()
    with pytest.raises(typer.Exit) as end:
        plan(
            [folder / name for name in names],
            None if out is None else folder / out,
            ".aus.csv",
            one=len(names) == 1,
            existing=Existing(),
        )
    assert end.value.exit_code == Exit.USAGE
    assert words in capsys.readouterr().err.replace("\n", "")


def test_a_folder_without_clips(tmp_path: Path) -> None:
    with pytest.raises(typer.Exit):
        find_clips([tmp_path])


def test_a_broken_clip_does_not_stop_the_others(run: Run, clip: Path, tmp_path: Path) -> None:
    study, tables = tmp_path / "study", tmp_path / "tables"
    study.mkdir()
    tables.mkdir()
    for name in ("one.mp4", "two.mp4"):
        shutil.copy(clip, study / name)
    (study / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(500))
    result = run("video", study, "--out", tables)
    assert result.exit_code == Exit.FAILED, result.output
    assert "broken.mp4" in result.stderr
    assert "1 of 3 clips" in result.stderr
    assert result.stdout.split() == [str(tables / "one.aus.csv"), str(tables / "two.aus.csv")]
    for name in ("one", "two"):
        with (tables / f"{name}.aus.csv").open() as file:
            assert len(list(csv.DictReader(file))) == 8
    assert len(list(tables.iterdir())) == 2
    again = run("video", study, "--out", tables, "--skip-existing")
    assert (again.exit_code, again.stdout) == (Exit.FAILED, "")
    assert "2 of 3 clips have a result" in again.stderr
