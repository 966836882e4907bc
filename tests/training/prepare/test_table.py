from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.faces.finder import FaceFinder
from model.geometry import apply_affine, crop_affine
from tests.training.prepare.kit import rows_of
from tests.training.trees import make_table
from training.data.prepared import PreparedSet
from training.prepare.crops import MARGIN
from training.prepare.run import Options, prepare
from training.prepare.source import BROKEN_PICTURE, NO_FACE, NO_LABEL, PrepareError
from training.prepare.table import Table

OPTIONS = Options(size=88, redetect=True)


def write(folder: Path, text: str, *pictures: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in pictures or ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), np.full((60, 60, 3), 90, np.uint8))
    path = folder / "coded.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("points", [49, 66, 68])
def test_a_table_with_landmarks(tmp_path: Path, points: int) -> None:
    table = Table.read(make_table(tmp_path / "in", landmarks=points))
    report = prepare(table, tmp_path / "out", OPTIONS)
    assert (report.prepared, report.origins) == (8, {"dataset": 8})
    opened = PreparedSet.open(tmp_path / "out")
    assert (opened.dataset, opened.au_codes, opened.subjects) == ("csv", ("AU4", "AU12", "AU25"), ("P1", "P2"))
    rows = rows_of(tmp_path / "out", "P2")
    assert sorted(rows) == [("", 5), ("", 6), ("", 7), ("", 8)]  # rows of the table, where it has no frame column
    assert rows["", 6]["labels"].tolist() == [0, 1, 0]
    ground = rows["", 6]["images"][2, 2]
    np.testing.assert_array_equal(ground, [30 + (101 * 67) % 150] * 3)


def test_landmarks_that_count_from_one(tmp_path: Path) -> None:
    path = make_table(tmp_path / "in")
    zero, one = Table.read(path), Table.read(path, first_pixel=1)
    first = [next(iter(table.samples("P1", print))).landmarks for table in (zero, one)]
    np.testing.assert_allclose(first[0] - first[1], 1)


def test_without_landmarks_the_largest_face_is_found(tmp_path: Path, astronaut: np.ndarray) -> None:
    path = write(
        tmp_path / "in", "image;subject;AU12;AU4;frame;task\nface.png;P1;1;9;30;pose\nb.png;P1;0;0;31;pose\n", "b.png"
    )
    cv2.imwrite(str(path.parent / "face.png"), astronaut[..., ::-1])
    report = prepare(Table.read(path), tmp_path / "out", OPTIONS)
    assert report.origins == {"detected": 1}
    assert report.skipped == {NO_FACE: 1}
    rows = rows_of(tmp_path / "out", "P1")
    row = rows["pose", 30]
    assert (row["labels"].tolist(), row["weights"].tolist()) == ([0, 1], [0, 1])  # AU4 unknown, AU12 occurred
    found = FaceFinder(threads=1).find(astronaut)[0].landmarks
    wanted = apply_affine(crop_affine(found, 88, 2.6 * MARGIN), found)
    np.testing.assert_allclose(row["landmarks"], wanted, atol=0.05)


def test_empty_cells_and_nines_are_unknown(tmp_path: Path) -> None:
    path = write(tmp_path / "in", "\ufeffImage,Subject,AU01,AU2,note\na.png,P1,9,,x\nb.png,P1,1.0,0,y\n")
    table = Table.read(path)
    assert table.au_codes == ("AU1", "AU2")
    assert table.notes == ("columns not used: note",)
    first, second = table.samples("P1", print)
    assert first.weights.tolist() == [0, 0]
    assert (second.labels.tolist(), second.weights.tolist()) == ([1, 0], [1, 1])
    assert prepare(table, tmp_path / "out", OPTIONS).skipped == {NO_LABEL: 1, NO_FACE: 1}


def test_broken_pictures_are_counted(tmp_path: Path) -> None:
    path = make_table(tmp_path / "in", people=("P1",), frames=3)
    picture = path.parent / "P1_1.png"
    picture.write_bytes(picture.read_bytes()[:200])
    report = prepare(Table.read(path), tmp_path / "out", OPTIONS)
    assert (report.prepared, report.skipped) == (2, {BROKEN_PICTURE: 1})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no rows"),
        ("image,subject,AU1\n", "no rows"),
        ("picture,subject,AU1\na.png,P1,1\n", "no column image; the header is picture, subject, AU1"),
        ("image,AU1\na.png,1\n", "no column subject"),
        ("image,subject\na.png,P1\n", "no Action Unit; name its column AU"),
        ("image,subject,AU1,AU1\na.png,P1,1,1\n", "columns twice in the header: au1"),
        ("image,subject,AU1,AU01\na.png,P1,1,1\n", "two columns for AU1"),
        ("image,subject,AU1,x_0,y_0\na.png,P1,1,2,3\n", "49, 66 or 68"),
        ("image,subject,AU1\na.png,P1,2\n", "line 2: AU1 is '2'; wanted 1 (occurred)"),
        ("image,subject,AU1\na.png,P1,B\n", "line 2: AU1 is 'B'"),
        ("image,subject,AU1\na.png,P1,nan\n", "line 2: AU1 is 'nan'"),
        ("image,subject,AU1\na.png,P1,1\nnone.png,P1,0\n", "line 3"),
        ("image,subject,AU1\n,P1,1\n", "line 2: no image"),
        ("image,subject,AU1\na.png,P-1,1\n", "subject 'P-1': it names a file"),
        ("image,subject,AU1\na.png,,1\n", "subject ''"),
        ("image,subject,AU1\na.png,P1,1,0\n", "4 cells, the header has 3"),
        ("image,subject,frame,AU1\na.png,P1,x,0\n", "frame 'x' is no number"),
        ("image,subject,AU1\na.png,P1,1\na.png,P1,0\n", "line 3: the same picture and subject as line 2"),
        ('image,subject,AU1\n"a.png,P1,1\n', "unexpected end of data"),
    ],
)
def test_faults_name_the_row(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(PrepareError, match=re.escape(says)) as error:
        Table.read(write(tmp_path / "in", text))
    assert "coded.csv" in str(error.value)


def test_landmarks_are_whole_or_absent(tmp_path: Path) -> None:
    path = make_table(tmp_path / "in", people=("P1",), frames=2)
    header, first, second = path.read_text().splitlines()
    cells = second.split(",")
    path.write_text("\n".join([header, first, ",".join([*cells[:5], *[""] * 136])]))
    assert [sample.landmarks is None for sample in Table.read(path).samples("P1", print)] == [False, True]
    for cell, says in (("", "give all of them or none"), ("inf", "not finite")):
        path.write_text("\n".join([header, first, ",".join([*cells[:9], cell, *cells[10:]])]))
        with pytest.raises(PrepareError, match=f"line 3: landmarks.*{says}"):
            Table.read(path)


def test_only_some_faults_are_listed(tmp_path: Path) -> None:
    rows = "".join(f"{n}.png,P1,1\n" for n in range(14))
    with pytest.raises(PrepareError, match=r"14 rows cannot be used[\s\S]*line 11: [^\n]*\n  and 4 more"):
        Table.read(write(tmp_path / "in", "image,subject,AU1\n" + rows))


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match="cannot be read"):
        Table.read(tmp_path / "none.csv")
    path = tmp_path / "coded.csv"
    path.write_bytes("image,subject,AU1\nä.png,P1,1\n".encode("utf-16"))
    with pytest.raises(PrepareError, match="CSV UTF-8"):
        Table.read(path)


def test_chosen_action_units(tmp_path: Path) -> None:
    path = make_table(tmp_path / "in")
    assert Table.read(path, ("AU25", "AU4")).au_codes == ("AU25", "AU4")
    with pytest.raises(PrepareError, match="no column for AU9; it has AU4, AU12, AU25"):
        Table.read(path, ("AU9",))


def test_another_table_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    path = make_table(tmp_path / "in")
    prepare(Table.read(path), tmp_path / "out", OPTIONS)
    path.write_text(path.read_text().replace("P1_0.png,P1,0", "P1_0.png,P1,1"))
    with pytest.raises(PrepareError, match="begun with another table_sha256"):
        prepare(Table.read(path), tmp_path / "out", OPTIONS)
