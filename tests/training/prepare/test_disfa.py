from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from model.action_units import AU_SETS
from tests.training.prepare.kit import check_face, rows_of
from tests.training.trees import Tree, make_disfa, write_avi
from training.data.prepared import PreparedSet
from training.prepare.disfa import DOUBTFUL, SUBJECTS, WRONG, Disfa, landmark_files, read_points
from training.prepare.report import Report
from training.prepare.run import Options, prepare
from training.prepare.source import (
    DOUBTFUL_LANDMARKS,
    NO_LANDMARK_FILE,
    NO_LANDMARKS,
    NO_PICTURE,
    WRONG_LANDMARKS,
    PrepareError,
)

OPTIONS = Options(size=88)
CODES = AU_SETS["disfa"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return make_disfa(tmp_path_factory.mktemp("disfa") / "DISFA")


@pytest.fixture(scope="module")
def prepared(tree: Tree) -> tuple[Path, Report]:
    out = tree.root.parent / "out"
    return out, prepare(Disfa.find(tree.root, CODES), out, OPTIONS)


def test_every_frame_is_stored_as_it_is_or_skipped(tree: Tree, prepared: tuple[Path, Report]) -> None:
    out, report = prepared
    for subject in ("SN001", "SN002", "SN031"):
        rows = rows_of(out, subject)
        assert rows.keys() == {key[1:] for key in tree.of(subject, "")}
        for key, row in rows.items():
            check_face(row, tree, (subject, *key), 2, "ibug66")
    assert (report.found, report.prepared) == (24, 23)
    assert report.skipped == {NO_LANDMARK_FILE: 1}
    assert {record.subject: record.notes for record in report.records} == {
        "SN001": ["landmarks: SN001_0000_lm.mat is frame 1"],
        "SN002": ["landmarks: SN002_0000_lm.mat is frame 1"],
        "SN031": ["landmarks: l00001_lm.mat is frame 1"],
    }
    assert "24 of 27 subjects have no labels" in report.markdown()


def test_the_folder_opens_as_a_prepared_set(prepared: tuple[Path, Report]) -> None:
    opened = PreparedSet.open(prepared[0])
    assert (opened.dataset, opened.au_codes) == ("disfa", CODES)
    assert len(opened.faces(["SN002"], CODES)) == 7


def test_late_frames_with_missing_and_wrong_landmarks(tmp_path: Path) -> None:
    """SN031 lacks the file of frame 3631, and SN029's landmarks are wrong from frame 4330 to 4536."""
    tree = make_disfa(tmp_path / "a", ("SN031",), frames=3632, first=3629)
    report = prepare(Disfa.find(tree.root, CODES), tmp_path / "out-a", OPTIONS)
    assert report.origins == {"dataset": 3, "frame before": 1}
    assert report.skipped == {NO_LANDMARK_FILE: 3628}
    rows = rows_of(tmp_path / "out-a", "SN031")
    for frame in (3629, 3630, 3632):
        check_face(rows["", frame], tree, ("SN031", "", frame), 2, "ibug66")
    tree.frames["SN031", "", 3631].points = tree.frames["SN031", "", 3630].points
    check_face(rows["", 3631], tree, ("SN031", "", 3631), 2, "ibug66")

    tree = make_disfa(tmp_path / "b", ("SN029",), frames=4538, first=4328)
    report = prepare(Disfa.find(tree.root, CODES), tmp_path / "out-b", OPTIONS)
    assert report.skipped == {NO_LANDMARK_FILE: 4327, WRONG_LANDMARKS: 207}
    assert {frame for _, frame in rows_of(tmp_path / "out-b", "SN029")} == {4328, 4329, 4537, 4538}


def test_clips_shorter_and_longer_than_their_labels(tmp_path: Path) -> None:
    tree = make_disfa(tmp_path / "tree", ("SN001", "SN002"), frames=6, odd=False)
    clips = tree.root / "Videos_LeftCamera"
    pictures = [tree.frames["SN001", "", frame].rgb for frame in range(1, 7)]
    write_avi(clips / "LeftVideoSN001_comp.avi", pictures[:4])
    write_avi(clips / "LeftVideoSN002_comp.avi", [*pictures, *pictures])
    report = prepare(Disfa.find(tree.root, CODES), tmp_path / "out", OPTIONS)
    short, long = report.records
    assert (short.prepared, short.skipped) == (4, {NO_PICTURE: 2})
    assert (long.prepared, long.found) == (6, 6)
    assert "the clip has 4 pictures, the labels 6 lines" in short.notes
    assert "the clip has 12 pictures, the labels 6 lines" in long.notes


def test_numbering_from_zero_is_recognised(tmp_path: Path) -> None:
    folder = tmp_path / "SN030" / "frames"
    folder.mkdir(parents=True)
    for number in (0, 1, 2):
        (folder / f"l{number:05d}_lm.mat").touch()
    files, words = landmark_files(tmp_path, "SN030", frames=3)
    assert {frame: path.name for frame, path in files.items()} == {n + 1: f"l0000{n}_lm.mat" for n in range(3)}
    assert words == "l00000_lm.mat is frame 1"
    (folder / "l00003_lm.mat").touch()
    files, words = landmark_files(tmp_path, "SN030", frames=3)
    assert files[3].name == "l00003_lm.mat"
    assert landmark_files(tmp_path, "SN099", frames=3) == ({}, "")


def test_there_are_27_subjects_and_4670_doubtful_frames() -> None:
    assert len(set(SUBJECTS)) == 27
    assert set(DOUBTFUL) <= set(SUBJECTS)
    listed = {
        (name, frame) for name, pairs in DOUBTFUL.items() for low, high in pairs for frame in range(low, high + 1)
    }
    assert len(listed) == 4670
    assert all(("SN029", frame) in listed for frame in WRONG["SN029"])


def test_doubtful_landmarks_are_dropped_if_asked(tmp_path: Path) -> None:
    tree = make_disfa(tmp_path / "tree", ("SN001", "SN002"), frames=400, first=396, odd=False)
    source = Disfa.find(tree.root, CODES, drop_doubtful=True)
    report = prepare(source, tmp_path / "out", OPTIONS)
    assert report.skipped == {NO_LANDMARK_FILE: 790, DOUBTFUL_LANDMARKS: 3}
    assert {frame for _, frame in rows_of(tmp_path / "out", "SN001")} == {396, 397}
    assert {frame for _, frame in rows_of(tmp_path / "out", "SN002")} == {396, 397, 398, 399, 400}
    with pytest.raises(PrepareError, match="another drop_doubtful"):
        prepare(Disfa.find(tree.root, CODES), tmp_path / "out", OPTIONS)


def test_landmark_files_empty_and_broken(tmp_path: Path) -> None:
    path = tmp_path / "SN001_0000_lm.mat"
    for points in (np.zeros((0, 0)), np.zeros((66, 2)), np.full((66, 2), np.nan)):
        scipy.io.savemat(path, {"pts": points})
        assert read_points(path) is None
    scipy.io.savemat(path, {"pts": np.ones((49, 2))})
    with pytest.raises(PrepareError, match=r"\(49, 2\) landmarks, wanted \(66, 2\)"):
        read_points(path)
    scipy.io.savemat(path, {"points": np.ones((66, 2))})
    with pytest.raises(PrepareError, match="pts"):
        read_points(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(PrepareError, match="copy it"):
        read_points(path)


def test_an_empty_landmark_file_skips_its_frame(tmp_path: Path) -> None:
    tree = make_disfa(tmp_path / "tree", ("SN001",), frames=3, odd=False)
    scipy.io.savemat(tree.root / "Landmark_Points/SN001/tmp_frame_lm/SN001_0001_lm.mat", {"pts": np.zeros((0, 0))})
    report = prepare(Disfa.find(tree.root, CODES), tmp_path / "out", OPTIONS)
    assert report.skipped == {NO_LANDMARKS: 1}
    assert rows_of(tmp_path / "out", "SN001").keys() == {("", 1), ("", 3)}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda root: (root / "ActionUnit_Labels/SN001/SN001_au4.txt").unlink(), "au4.txt: no such file"),
        (
            lambda root: (root / "ActionUnit_Labels/SN001/SN001_au4.txt").write_text("1,0\n2,6\n"),
            "au4.txt, line 2: '2,6'",
        ),
        (
            lambda root: (root / "ActionUnit_Labels/SN001/SN001_au4.txt").write_text("0,0\n1,0\n"),
            "au4.txt, line 1: '0,0'",
        ),
        (lambda root: (root / "ActionUnit_Labels/SN001/SN001_au4.txt").write_text("1,0\n"), "1 lines, but AU1 has 3"),
        (lambda root: (root / "Videos_LeftCamera/LeftVideoSN001_comp.avi").unlink(), "avi: no such file"),
        (
            lambda root: (root / "Videos_LeftCamera/LeftVideoSN001_comp.avi").write_bytes(b"RIFF"),
            "avi: cannot be decoded",
        ),
    ],
)
def test_broken_subjects_are_reported_with_the_file(tmp_path: Path, change: object, says: str) -> None:
    tree = make_disfa(tmp_path / "tree", ("SN001", "SN002"), frames=3, odd=False)
    change(tree.root)
    report = prepare(Disfa.find(tree.root, CODES), tmp_path / "out", OPTIONS)
    assert says in report.failures["SN001"]
    assert [record.subject for record in report.records] == ["SN002"]
    assert says in (tmp_path / "out" / "report.md").read_text()


def test_aus_that_disfa_does_not_code_are_refused(tree: Tree) -> None:
    with pytest.raises(PrepareError, match="does not code AU7, AU10; it codes AU1"):
        Disfa.find(tree.root, ("AU1", "AU7", "AU10"))
