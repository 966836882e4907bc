"""BP4D: 41 people, eight tasks each, about 140,000 coded frames (METHOD 6.1).

    AUCoding/AU_OCC/F001_T1.csv          header of AU numbers, column 0 is the frame; 0, 1, 9 = unknown
    Sequences(2D+3D)/F001/T1/0732.jpg    pictures; zero padding varies
    2DFeatures/F001_T1.mat               MATLAB v7.3: fit.pred, 49 x 2 per frame from frame 0, pixels from 1, or empty

Should the pictures of a task not begin at 0 and be exactly as many as its landmarks, the first landmarks belong to the
first picture: some loaders go by order, not by number, which is the same where pictures begin at 0.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from model.image import read_image
from training.prepare.folders import find_folder, pictures_by_number
from training.prepare.landmarks import to_ibug68
from training.prepare.source import NO_LANDMARK_FILE, NO_LANDMARKS, NO_PICTURE, PrepareError, Sample, labels_of

SUBJECTS = (*(f"F{number:03d}" for number in range(1, 24)), *(f"M{number:03d}" for number in range(1, 19)))
TASKS = tuple(f"T{number}" for number in range(1, 9))
UNKNOWN = 9
POINTS = 49


@dataclass(frozen=True)
class CodedTask:
    """The coded frames of one recording.

    Attributes:
        frames: (N,) frame numbers.
        codes: (N, K) in {0, 1, NaN}.
    """

    frames: npt.NDArray[np.int64]
    codes: npt.NDArray[np.float32]


def read_codes(path: Path, au_codes: Sequence[str]) -> CodedTask:
    """A file of `AU_OCC`.

    Raises:
        PrepareError: no such table, an Action Unit without a column, or a value other than 0, 1 and 9.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PrepareError(f"{path}: cannot be read ({error})") from error
    header = [cell.strip() for cell in rows[0]] if rows else []
    if not header or header[0] != "0":
        raise PrepareError(
            f"{path}: the header must begin with 0, the column of frame numbers; is this an AU_OCC file?"
        )
    numbers = {int(cell): column for column, cell in enumerate(header) if cell.isdecimal()}
    absent = [code for code in au_codes if int(code.removeprefix("AU")) not in numbers]
    if absent:
        raise PrepareError(f"{path}: no column for {', '.join(absent)}")
    columns = [0, *(numbers[int(code.removeprefix("AU"))] for code in au_codes)]
    table = np.full((len(rows) - 1, len(columns)), np.nan)
    for row, cells in enumerate(rows[1:]):
        for place, column in enumerate(columns):
            cell = cells[column].strip() if column < len(cells) else ""
            if not cell.isdecimal() or (place and int(cell) not in (0, 1, UNKNOWN)):
                raise PrepareError(f"{path}, line {row + 2}, column {header[column]}: {cell!r} is not 0, 1 or 9")
            table[row, place] = int(cell)
    codes = np.where(table[:, 1:] == UNKNOWN, np.nan, table[:, 1:])
    return CodedTask(table[:, 0].astype(np.int64), codes.astype(np.float32))


def first_frame(pictures: Mapping[int, Path], landmarks: int) -> int:
    """The frame of the first landmarks: 0, or the first picture's where landmarks and pictures pair off."""
    if not pictures or len(pictures) != landmarks:
        return 0
    first, last = min(pictures), max(pictures)
    return first if last - first + 1 == landmarks else 0


class LandmarkFile:
    """An open file of `2DFeatures`; use it in a `with` block.

    Attributes:
        count: number of its entries.
        first: frame of its first entry.

    Raises:
        PrepareError: not such a file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file: Any = h5py.File(path, "r")
            self._frames: Any = self._file["fit/pred"]
        except (OSError, KeyError) as error:
            raise PrepareError(
                f"{path}: no MATLAB v7.3 file with fit.pred ({error}); copy it from the data set again"
            ) from error
        self._single = h5py.check_ref_dtype(self._frames.dtype) is None  # MATLAB keeps no list of one element
        self.count = 1 if self._single else int(self._frames.size)
        self.first = 0

    def __enter__(self) -> LandmarkFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def points(self, frame: int) -> npt.NDArray[np.float64] | None:
        """(68, 2) of a frame, pixels from 0; None where the file has none.

        Raises:
            PrepareError: the entry has another shape.
        """
        number = frame - self.first
        if not 0 <= number < self.count:
            return None
        try:
            entry = self._frames if self._single else self._file[self._frames[()].reshape(-1)[number]]
            # MATLAB writes an empty matrix as its two dimensions, 0 and 0, marked by this attribute.
            stored = np.empty(0) if entry.attrs.get("MATLAB_empty", 0) else np.asarray(entry[()], np.float64)
        except (OSError, KeyError, ValueError, AttributeError) as error:
            raise PrepareError(f"{self._path}, frame {frame}: cannot be read ({error})") from error
        if stored.size == 0 or not np.isfinite(stored).all() or not stored.any():
            return None
        if stored.shape != (2, POINTS):
            raise PrepareError(f"{self._path}, frame {frame}: {stored.T.shape} landmarks, wanted ({POINTS}, 2)")
        return to_ibug68(stored.T - 1)


@dataclass(frozen=True)
class Bp4d:
    """BP4D on disk, a `training.prepare.source.Source`.

    Attributes:
        labels: the folder `AU_OCC`.
        pictures: the folder with F001/T1/...
        landmarks: the folder `2DFeatures`.
        au_codes: Action Units to keep.
    """

    labels: Path
    pictures: Path
    landmarks: Path
    au_codes: tuple[str, ...]

    dataset = "bp4d"

    @classmethod
    def find(
        cls,
        root: Path,
        au_codes: tuple[str, ...],
        labels: Path | None = None,
        pictures: Path | None = None,
        landmarks: Path | None = None,
    ) -> Bp4d:
        """Find the three folders in the data set's own folder.

        Raises:
            PrepareError: one of them is not there, or there are no label files.
        """
        found = cls(
            labels=find_folder(root, ("AUCoding/AU_OCC", "AU_OCC", "AUCoding"), "labels", "--labels", labels),
            pictures=find_folder(
                root, ("Sequences(2D+3D)", "Sequences", "2D+3D", "BP4D"), "pictures", "--pictures", pictures
            ),
            landmarks=find_folder(root, ("2DFeatures", "2D Features"), "landmarks", "--landmarks", landmarks),
            au_codes=au_codes,
        )
        if not found._tables():
            raise PrepareError(f"{found.labels}: no label files such as F001_T1.csv in it")
        return found

    @property
    def settings(self) -> Mapping[str, object]:
        """Nothing besides the Action Units."""
        return {}

    @property
    def notes(self) -> tuple[str, ...]:
        """Which of the 41 people and their tasks have no label file."""
        tables = self._tables()
        people = [subject for subject in SUBJECTS if subject not in tables]
        tasks = [f"{s}_{t}" for s in SUBJECTS if s in tables for t in TASKS if t not in tables[s]]
        notes = [f"{len(people)} of 41 subjects have no label files: {', '.join(people)}"] if people else []
        return (*notes, *([f"tasks without a label file: {', '.join(tasks)}"] if tasks else []))

    def subjects(self) -> dict[str, int]:
        """People with label files, and how many frames are coded."""
        return {subject: sum(map(_rows, tables.values())) for subject, tables in self._tables().items()}

    def samples(self, subject: str, note: Callable[[str], None]) -> Iterator[Sample]:
        """The coded frames of a subject, task by task; see `Source.samples`."""
        for task, table in self._tables()[subject].items():
            coded = read_codes(table, self.au_codes)
            pictures = pictures_by_number(self.pictures / subject / task)
            if not pictures:
                note(f"{task}: no pictures in {subject}/{task}")
            path = self.landmarks / f"{subject}_{task}.mat"
            if not path.exists():
                note(f"{task}: no landmark file {path.name}")
                yield from self._of_task(task, coded, pictures, None)
                continue
            with LandmarkFile(path) as landmarks:
                landmarks.first = first_frame(pictures, landmarks.count)
                if landmarks.first:
                    note(
                        f"{task}: the first landmarks are taken for picture {landmarks.first}, where the pictures begin"
                    )
                yield from self._of_task(task, coded, pictures, landmarks)

    def _of_task(
        self, task: str, coded: CodedTask, pictures: dict[int, Path], landmarks: LandmarkFile | None
    ) -> Iterator[Sample]:
        labels, weights = labels_of(coded.codes)
        for row, frame in enumerate(coded.frames.tolist()):
            picture = pictures.get(frame)
            points = landmarks.points(frame) if landmarks and picture else None
            missing = NO_PICTURE if picture is None else NO_LANDMARK_FILE if landmarks is None else NO_LANDMARKS
            read = partial(read_image, picture) if picture else None
            yield Sample(frame, task, labels[row], weights[row], points, missing, read)

    def _tables(self) -> dict[str, dict[str, Path]]:
        """Label files by subject and task, both in order."""
        found: dict[str, dict[str, Path]] = {}
        for path in sorted(self.labels.glob("*.csv")):
            match = re.fullmatch(r"([FM]\d{3})_(T\d+)", path.stem)
            if match:
                found.setdefault(match[1], {})[match[2]] = path
        return found


def _rows(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return max(0, sum(1 for line in file if line.strip()) - 1)
    except OSError as error:
        raise PrepareError(f"{path}: cannot be read ({error.strerror})") from error
