from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
import weakref
from collections import Counter
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from model.action_units import AU_SETS
from tests.training.conftest import face_landmarks
from tests.training.prepare.kit import check_face, rows_of
from tests.training.trees import Tree, make_bp4d
from training.data.prepared import PreparedSet
from training.data.shards import ShardError
from training.prepare.bp4d import Bp4d
from training.prepare.crops import Cutter, StoredFace
from training.prepare.run import Options, prepare
from training.prepare.source import NO_FACE, PrepareError, Sample
from training.prepare.subject import Shelf, StoppedError, prepare_subject, read_record

OPTIONS = Options(size=88, shard_faces=5)
WAIT_S = 60


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return make_bp4d(tmp_path_factory.mktemp("run") / "BP4D", frames=30)


def source(tree: Tree) -> Bp4d:
    return Bp4d.find(tree.root, AU_SETS["bp4d"])


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.npz"))}


@pytest.fixture(scope="module")
def whole(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree prepared in one go by one process."""
    out = tmp_path_factory.mktemp("whole") / "out"
    prepare(source(tree), out, OPTIONS)
    return out


def command(tree: Tree, out: Path, *more: str) -> list[str]:
    start = "import sys; from service.cli import main; sys.argv[0] = 'roigcn'; main()"
    options = ["--size", "88", "--shard-faces", "5", *more]
    return [sys.executable, "-c", start, "prepare", "bp4d", str(tree.root), str(out), *options]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_run_goes_on_to_the_same_files(tree: Tree, whole: Path, tmp_path: Path, workers: str) -> None:
    out = tmp_path / "out"
    picture = tree.root / "Sequences(2D+3D)" / "M001" / "T1" / "0020.jpg"
    kept = picture.rename(picture.with_suffix(".kept"))
    os.mkfifo(picture)  # reading it never ends, so the run is caught in the middle of M001
    with subprocess.Popen(command(tree, out, "--workers", workers), stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + WAIT_S
        while not (read_record(out, "F001") and read_record(out, "F002") and list(out.glob("M001-002.npz"))):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=WAIT_S)
    assert not alive  # nobody goes on working for a run that is gone
    kept.replace(picture)
    with pytest.raises(ShardError, match="not finished"):
        PreparedSet.open(out)
    for path in out.glob("*.npz"):
        with np.load(path) as shard:
            assert len(shard["images"]) == len(shard["labels"])
    assert read_record(out, "M001") is None
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("F*.npz")}
    assert len(before) == 24
    gone: Counter[str] = Counter()
    prepare(source(tree), out, OPTIONS, lambda subject, frames: gone.update({subject: frames}))
    assert gone == {"F001": 60, "F002": 60, "M001": 60}
    assert contents(out) == contents(whole)
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert not list(out.glob(".*.tmp"))


def test_several_processes_write_the_same(tree: Tree, whole: Path, tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    report = prepare(
        source(tree),
        tmp_path / "out",
        Options(size=88, shard_faces=5, workers=2),
        lambda subject, frames: seen.update({subject: frames}),
    )
    assert seen == {"F001": 60, "F002": 60, "M001": 60}
    assert contents(tmp_path / "out") == contents(whole)
    for name in ("dataset.json", "report.json", "report.md"):
        assert (tmp_path / "out" / name).read_text() == (whole / name).read_text()
    assert report.prepared == 58 + 60 + 30


def test_a_second_run_does_nothing_and_a_lost_file_is_made_again(tree: Tree, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(source(tree), out, OPTIONS)
    times = {path: path.stat().st_mtime_ns for path in out.glob("*.npz")}
    prepare(source(tree), out, OPTIONS)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    (out / "F002-001.npz").unlink()
    prepare(source(tree), out, OPTIONS)
    assert contents(out) == contents(whole)
    again = {path.name for path, before in times.items() if path.stat().st_mtime_ns != before}
    assert again == {f"F002-{number:03d}.npz" for number in range(12)}


def test_what_is_copied_later_is_prepared_by_the_same_command(tmp_path: Path) -> None:
    tree = make_bp4d(tmp_path / "tree", ("F001", "F002"), frames=4, odd=False)
    prepare(source(tree), tmp_path / "whole", OPTIONS)
    (late,) = tree.root.rglob("F001_T2*.csv")
    late.rename(tmp_path / "kept.csv")
    partial = prepare(source(tree), tmp_path / "out", OPTIONS).prepared
    (tmp_path / "kept.csv").rename(late)
    report = prepare(source(tree), tmp_path / "out", OPTIONS)
    assert report.prepared > partial
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_broken_files_are_mended_in_several_processes(tmp_path: Path) -> None:
    small = make_bp4d(tmp_path / "tree", ("F001", "F002"), frames=2, odd=False)
    path = small.root / "2DFeatures" / "F002_T1.mat"
    good = path.read_bytes()
    path.write_bytes(good[:700])
    options = Options(size=88, workers=2)
    report = prepare(source(small), tmp_path / "out", options)
    assert list(report.failures) == ["F002"]
    assert "F002_T1.mat" in report.failures["F002"]
    with pytest.raises(ShardError, match="not finished"):
        PreparedSet.open(tmp_path / "out")
    path.write_bytes(good)
    assert prepare(source(small), tmp_path / "out", options).failures == {}
    assert PreparedSet.open(tmp_path / "out").subjects == ("F001", "F002")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_ends_with_a_message_and_no_half_file(tree: Tree, tmp_path: Path, workers: str) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    out = tmp_path / "out"
    result = subprocess.run(
        command(tree, out, "--workers", workers),
        preexec_fn=small_files,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        timeout=4 * WAIT_S,
    )
    assert result.returncode == 1, result.stderr
    assert "cannot write" in result.stderr
    assert "File too large; make room and run again" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(out.glob("*.npz"))
    assert not list(out.glob(".*.tmp"))
    assert not list(out.glob("records/*"))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_interrupt_stops_at_once_and_says_so(tmp_path: Path, workers: str) -> None:
    out = tmp_path / "out"
    long = make_bp4d(tmp_path / "tree", frames=100, tasks=("T1", "T2", "T3", "T4"), odd=False)
    run = command(long, out, "--workers", workers)
    pipe = subprocess.PIPE
    with subprocess.Popen(
        run, stdout=pipe, stderr=pipe, text=True, start_new_session=True, preexec_fn=_hear_interrupts
    ) as p:
        deadline = time.monotonic() + WAIT_S
        while not list(out.glob("*.npz")):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.killpg(p.pid, signal.SIGINT)  # as Ctrl-C in a terminal reaches every process
        _, errors = p.communicate(timeout=WAIT_S)
    assert p.returncode == 130, errors
    assert "the same command goes on" in errors
    assert "Traceback" not in errors


def _hear_interrupts() -> None:
    """A shell starts what it runs in the background deaf to Ctrl-C, and whoever starts tests that way passes it on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_shelf_lets_go_of_the_decoded_picture() -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    held = weakref.ref(picture)
    sample = Sample(
        1, "", np.zeros(1, np.int8), np.ones(1, np.float32), face_landmarks(100), "", partial(np.copy, picture)
    )
    face = Cutter(88, False).cut(sample)
    assert isinstance(face, StoredFace)
    shelf = Shelf("P1", ("AU1",), 88, 2)
    shelf.add(face)
    del picture, sample, face
    assert held() is None
    assert shelf.members()["frames"].tolist() == [1]
    assert not shelf.full


def test_a_stopped_subject_does_not_count(tree: Tree, tmp_path: Path) -> None:
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > 12

    with pytest.raises(StoppedError):
        prepare_subject(source(tree), "F002", tmp_path, Cutter(88, False), 5, stopped=stopped)
    assert len(list(tmp_path.glob("F002-*.npz"))) == 2
    assert read_record(tmp_path, "F002") is None
    prepare_subject(source(tree), "F002", tmp_path, Cutter(88, False), 100)
    assert [path.name for path in tmp_path.glob("*.npz")] == ["F002-000.npz"]


def test_missing_landmarks_are_detected_if_asked(tmp_path: Path, astronaut: np.ndarray) -> None:
    small = make_bp4d(tmp_path / "tree", ("F001",), frames=4)
    photo = small.root / "Sequences(2D+3D)" / "F001" / "T2" / "5.jpg"  # the frame with empty landmarks
    assert photo.exists()
    cv2.imwrite(str(photo), astronaut[..., ::-1])
    unseen = small.root / "2DFeatures" / "F001_T1.mat"
    unseen.unlink()
    for path in (small.root / "Sequences(2D+3D)" / "F001" / "T1").glob("*.jpg"):
        cv2.imwrite(str(path), np.full((80, 80, 3), 128, np.uint8))
    report = prepare(source(small), tmp_path / "out", Options(size=88, redetect=True))
    assert report.origins == {"dataset": 2, "detected": 1}
    assert report.skipped == {NO_FACE: 4, "no picture": 1}
    rows = rows_of(tmp_path / "out", "F001")
    assert rows["T2", 5]["landmark_sources"] == "detected"
    assert rows["T2", 5]["labels"].tolist() == [small.frames["F001", "T2", 5].codes[code] for code in AU_SETS["bp4d"]]
    check_face(rows["T2", 4], small, ("F001", "T2", 4), 1, "ibug49")
    with pytest.raises(PrepareError, match="another redetect"):
        prepare(source(small), tmp_path / "out", Options(size=88))


@pytest.mark.parametrize("there", ["notes.txt", "dataset.json"])
def test_foreign_folders_are_left_alone(tree: Tree, tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("[]")
    with pytest.raises(PrepareError, match="choose another"):
        prepare(source(tree), tmp_path, OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_the_report_is_written_as_json_too(whole: Path) -> None:
    values = json.loads((whole / "report.json").read_text())
    assert values["found"] == 180
    assert values["prepared"] + sum(values["skipped"].values()) == 180
    assert values["published_positive_percent"]["AU12"] == 56.2
    assert values["subjects"][0]["subject"] == "F001"
    assert values["subjects"][0]["prepared"] == sum(values["subjects"][0]["files"].values()) == 58
