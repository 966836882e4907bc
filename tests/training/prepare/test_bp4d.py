from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from model.action_units import AU_SETS
from tests.training.conftest import face_landmarks
from tests.training.prepare.kit import check_face, rows_of
from tests.training.trees import Tree, make_bp4d, write_features
from training.data.prepared import PreparedSet
from training.prepare.bp4d import Bp4d, LandmarkFile, first_frame, read_codes
from training.prepare.report import Report
from training.prepare.run import Options, prepare
from training.prepare.source import NO_LANDMARK_FILE, NO_LANDMARKS, NO_PICTURE, USELESS_LANDMARKS, PrepareError

OPTIONS = Options(size=88, shard_faces=5)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return make_bp4d(tmp_path_factory.mktemp("bp4d") / "BP4D")


@pytest.fixture(scope="module")
def prepared(tree: Tree) -> tuple[Path, Report]:
    out = tree.root.parent / "out"
    return out, prepare(Bp4d.find(tree.root, AU_SETS["bp4d"]), out, OPTIONS)


def test_every_frame_is_stored_as_it_is_or_skipped(tree: Tree, prepared: tuple[Path, Report]) -> None:
    out, _ = prepared
    for subject in ("F001", "F002", "M001"):
        rows = rows_of(out, subject)
        wanted = {key[1:] for key in tree.of(subject) if tree.frames[key].odd in ("", "unknown")}
        assert rows.keys() == wanted
        for key, row in rows.items():
            check_face(row, tree, (subject, *key), 1, "ibug49")
            assert row["landmark_sources"] == "dataset"


def test_the_report_counts_what_became_of_the_frames(tree: Tree, prepared: tuple[Path, Report]) -> None:
    _, report = prepared
    assert (report.found, report.prepared) == (48, 38)
    assert report.skipped == {NO_LANDMARK_FILE: 8, NO_LANDMARKS: 1, NO_PICTURE: 1}
    f001, f002, m001 = report.records
    assert f001.skipped == {NO_LANDMARKS: 1, NO_PICTURE: 1}
    assert f002.skipped == {}
    assert m001.skipped == {NO_LANDMARK_FILE: 8}
    assert m001.notes == ["T2: no landmark file M001_T2.mat"]
    assert f001.known["AU1"] == 13
    stored = [frame for frame in tree.frames.values() if frame.odd in ("", "unknown")]
    for code, rate in report.rates().items():
        known = [frame.codes[code] for frame in stored if frame.codes[code] != 9]
        assert rate == pytest.approx(100 * np.mean(known))
    text = report.markdown()
    assert "38 of 41 subjects have no label files: F003," in text
    assert "| AU12 |" in text
    assert "56.2" in text


def test_the_folder_opens_as_a_prepared_set(prepared: tuple[Path, Report]) -> None:
    opened = PreparedSet.open(prepared[0])
    assert (opened.dataset, opened.size, opened.subjects) == ("bp4d", 88, ("F001", "F002", "M001"))
    faces = opened.faces(["F001", "M001"], ("AU12", "AU1"))
    assert [len(shard.labels) for shard in faces.shards] == [5, 5, 4, 5, 3]
    assert list(faces.identities) == [0] * 14 + [1] * 8
    assert faces.weights.sum(0).tolist() == [22, 21]
    assert isinstance(faces.shards[0].images, np.memmap)


def test_spare_columns_are_kept_if_asked(tree: Tree, tmp_path: Path) -> None:
    prepare(Bp4d.find(tree.root, ("AU5", "AU12")), tmp_path / "out", OPTIONS)
    row = rows_of(tmp_path / "out", "F002")["T1", 3]
    truth = tree.frames["F002", "T1", 3].codes
    assert row["labels"].tolist() == [truth["AU5"], truth["AU12"]]
    assert row["au_codes"].tolist() == ["AU5", "AU12"]


def test_landmarks_off_the_picture_are_skipped(tmp_path: Path) -> None:
    tree = make_bp4d(tmp_path / "tree", ("F001",), frames=2, tasks=("T1",), odd=False)
    entries = [None, None, None, face_landmarks(80) + 1000, tree.frames["F001", "T1", 4].points]
    write_features(tmp_path / "tree" / "2DFeatures" / "F001_T1.mat", entries)
    report = prepare(Bp4d.find(tree.root, ("AU1",)), tmp_path / "out", OPTIONS)
    assert report.skipped == {USELESS_LANDMARKS: 1}
    assert rows_of(tmp_path / "out", "F001").keys() == {("T1", 4)}


def test_landmarks_go_by_order_where_pictures_begin_later(tmp_path: Path) -> None:
    tree = make_bp4d(tmp_path / "tree", ("F001",), frames=4, tasks=("T1", "T2"), odd=False)
    points = [tree.frames["F001", "T2", frame].points for frame in range(3, 7)]
    write_features(tree.root / "2DFeatures" / "F001_T2.mat", points)
    (tree.root / "Sequences(2D+3D)" / "F001" / "T2" / "0.jpg").unlink()
    report = prepare(Bp4d.find(tree.root, AU_SETS["bp4d"]), tmp_path / "out", OPTIONS)
    assert report.records[0].notes == ["T2: the first landmarks are taken for picture 3, where the pictures begin"]
    rows = rows_of(tmp_path / "out", "F001")
    assert len(rows) == 8
    for key, row in rows.items():
        check_face(row, tree, ("F001", *key), 1, "ibug49")


@pytest.mark.parametrize(
    ("numbers", "landmarks", "first"),
    [([], 0, 0), ([0, 1, 2], 3, 0), ([1, 2, 3], 3, 1), ([1, 2, 3], 4, 0), ([1, 2, 4], 3, 0), ([700], 900, 0)],
)
def test_first_frame(numbers: list[int], landmarks: int, first: int) -> None:
    assert first_frame(dict.fromkeys(numbers, Path()), landmarks) == first


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "header must begin with 0"),
        ("1,2,4\n0,1,1\n", "header must begin with 0"),
        ("0,1,2\n7,1,0\n", "no column for AU4"),
        ("0,1,4\n7,1,2\n", r"line 2, column 4: '2'"),
        ("0,1,4\n7,1,9\n8,,1\n", r"line 3, column 1: ''"),
        ("0,1,4\n7,1\n", r"line 2, column 4: ''"),
        ("0,1,4\nx,1,0\n", r"line 2, column 0: 'x'"),
    ],
)
def test_broken_label_files_are_named_with_the_place(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "F001_T1.csv"
    path.write_text(text)
    with pytest.raises(PrepareError, match=says) as error:
        read_codes(path, ("AU1", "AU4"))
    assert "F001_T1.csv" in str(error.value)


def test_nine_is_unknown_and_a_header_alone_is_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "F001_T1.csv"
    path.write_text("\ufeff0,1,4\n7,9,1\n", encoding="utf-8")
    coded = read_codes(path, ("AU4", "AU1"))
    assert coded.frames.tolist() == [7]
    np.testing.assert_array_equal(coded.codes, [[1, np.nan]])
    path.write_text("0,1,4\n")
    assert len(read_codes(path, ("AU1",)).frames) == 0


def test_landmark_files_of_other_forms_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "F001_T1.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(PrepareError, match=r"v7\.3"):
        LandmarkFile(path)
    with h5py.File(path, "w") as file:
        file["other"] = 1
    with pytest.raises(PrepareError, match=r"fit\.pred"):
        LandmarkFile(path)
    with h5py.File(path, "w") as file:
        file["data"] = np.ones((2, 51))
        file.create_dataset("fit/pred", (1, 1), dtype=h5py.ref_dtype)[0, 0] = file["data"].ref
    with LandmarkFile(path) as landmarks, pytest.raises(PrepareError, match=r"\(51, 2\)"):
        landmarks.points(0)


def test_a_single_frame_is_stored_without_a_list(tmp_path: Path) -> None:
    path = tmp_path / "F001_T1.mat"
    with h5py.File(path, "w") as file:
        file["fit/pred"] = face_landmarks(80)[17:66].T
    with LandmarkFile(path) as landmarks:
        assert landmarks.points(1) is None
        points = landmarks.points(0)
    assert points is not None
    np.testing.assert_allclose(points[17], face_landmarks(80)[17] - 1)


def test_one_broken_subject_does_not_stop_the_others(tmp_path: Path) -> None:
    tree = make_bp4d(tmp_path / "tree", ("F001", "F002"), frames=3, odd=False)
    broken = tree.root / "AUCoding" / "AU_OCC" / "F001_T2.csv"
    whole = broken.read_text()
    broken.write_text(whole.replace("\n4,", "\n4,7,"))
    source = Bp4d.find(tree.root, ("AU1", "AU4"))
    report = prepare(source, tmp_path / "out", OPTIONS)
    assert list(report.failures) == ["F001"]
    assert "F001_T2.csv, line 3" in report.failures["F001"]
    assert [record.subject for record in report.records] == ["F002"]
    broken.write_text(whole)
    assert not prepare(source, tmp_path / "out", OPTIONS).failures
    assert PreparedSet.open(tmp_path / "out").subjects == ("F001", "F002")


def test_missing_folders_say_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match="unpacked into"):
        Bp4d.find(tmp_path / "nowhere", ("AU1",))
    (tmp_path / "AU_OCC").mkdir()
    with pytest.raises(PrepareError, match=r"Sequences\(2D\+3D\)/.*--pictures"):
        Bp4d.find(tmp_path, ("AU1",))
    for name in ("Sequences", "2DFeatures"):
        (tmp_path / name).mkdir()
    with pytest.raises(PrepareError, match="no label files"):
        Bp4d.find(tmp_path, ("AU1",))
    with pytest.raises(PrepareError, match="elsewhere: no such folder"):
        Bp4d.find(tmp_path, ("AU1",), landmarks=tmp_path / "elsewhere")
