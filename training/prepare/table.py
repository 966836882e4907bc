"""A table of one's own FACS-coded pictures, one row per face.

    image,subject,frame,AU1,AU4,AU12
    p1/0001.jpg,P1,1,0,1,
    p1/0002.jpg,P1,2,0,9,1

`image` is a path, relative to the table; `subject` the person, which names a file: letters, digits and _. Columns named
AU and a number hold 1 occurred, 0 absent, 9 or nothing unknown. Optional: `frame`, `task`, and landmarks as columns
x_0, y_0, x_1, y_1 ... of 49, 66 or 68 iBUG points in pixels. Where a row has no landmarks, the largest face is found.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.action_units import CATALOGUE
from model.image import read_image
from training.data.prepared import SUBJECT_PATTERN
from training.prepare.landmarks import to_ibug68
from training.prepare.source import NO_LANDMARKS, PrepareError, Sample, labels_of

MANY = 10
POINT_COUNTS = (49, 66, 68)


@dataclass(frozen=True)
class Columns:
    """Where the columns of a table are.

    Attributes:
        places: index of image, subject and, where there, frame and task.
        aus: index of each Action Unit.
        points: indices of x and y of each landmark; empty without landmarks.
        ignored: headings that say nothing to roigcn.
    """

    places: Mapping[str, int]
    aus: Mapping[str, int]
    points: tuple[tuple[int, int], ...]
    ignored: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One face: `codes` (K,) in {0, 1, NaN}, `points` (49, 66 or 68, 2) or None."""

    image: Path
    subject: str
    frame: int
    task: str
    codes: npt.NDArray[np.float32]
    points: npt.NDArray[np.float64] | None


def read_columns(header: list[str], path: Path) -> Columns:
    """Understand a header.

    Raises:
        PrepareError: image, subject or every Action Unit is missing, landmarks are incomplete, or a name is twice.
    """
    names = [cell.strip() for cell in header]
    lowered = [name.lower() for name in names]
    doubled = sorted({name for name in lowered if name and lowered.count(name) > 1})
    if doubled:
        raise PrepareError(f"{path}: columns twice in the header: {', '.join(doubled)}")
    places: dict[str, int] = {
        name: lowered.index(name) for name in ("image", "subject", "frame", "task") if name in lowered
    }
    absent = [name for name in ("image", "subject") if name not in places]
    if absent:
        raise PrepareError(f"{path}: no column {' and '.join(absent)}; the header is {', '.join(names) or 'empty'}")
    aus, ignored = {}, []
    axes: dict[str, dict[int, int]] = {"x": {}, "y": {}}
    for index, name in enumerate(lowered):
        if match := re.fullmatch(r"au0*([1-9]\d*)", name):
            code = f"AU{match[1]}"
            if code in aus:
                raise PrepareError(f"{path}: two columns for {code}")
            if code in CATALOGUE:
                aus[code] = index
            else:
                ignored.append(names[index])
        elif match := re.fullmatch(r"([xy])_?(\d+)", name):
            axes[match[1]][int(match[2])] = index
        elif name not in places:
            ignored.append(names[index])
    if not aus:
        raise PrepareError(f"{path}: no Action Unit; name its column AU and a number, such as AU12")
    numbers = sorted(axes["x"])
    if numbers != sorted(axes["y"]) or (numbers and len(numbers) not in POINT_COUNTS):
        raise PrepareError(
            f"{path}: {len(axes['x'])} columns x_0, x_1 ... and {len(axes['y'])} columns y_0, y_1 ...; landmarks are "
            "49, 66 or 68 of each with the same numbers, or none at all"
        )
    order = {code: aus[code] for code in CATALOGUE if code in aus}
    return Columns(places, order, tuple((axes["x"][n], axes["y"][n]) for n in numbers), tuple(ignored))


@dataclass(frozen=True)
class Table:
    """A table read and checked, a `training.prepare.source.Source`.

    Attributes:
        rows: the faces.
        au_codes: Action Units kept.
        digest: SHA-256 of the table, so that a folder begun with another table is told.
        first_pixel: what the table calls the centre of the first pixel, 0 or 1.
        ignored: headings that say nothing to roigcn.
    """

    rows: tuple[Row, ...]
    au_codes: tuple[str, ...]
    digest: str
    first_pixel: int
    ignored: tuple[str, ...]

    dataset = "csv"

    @classmethod
    def read(cls, path: Path, au_codes: tuple[str, ...] | None = None, first_pixel: int = 0) -> Table:
        """Read a table and check every row, with all pictures there.

        Args:
            path: the file; comma, semicolon or tab between cells.
            au_codes: Action Units to keep; None for all.
            first_pixel: 1 for landmarks that count pixels from 1, as MATLAB does.

        Raises:
            PrepareError: the header or rows cannot be used; names up to ten of them.
        """
        try:
            data = path.read_bytes()
            text = data.decode("utf-8-sig")
        except OSError as error:
            raise PrepareError(f"{path}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise PrepareError(f"{path}: not UTF-8; save the table as CSV UTF-8") from error
        first = text.partition("\n")[0]
        delimiter = max(",;\t", key=first.count)
        lines = [(n, cells) for n, cells in _lines(text, delimiter, path) if any(cell.strip() for cell in cells)]
        if len(lines) < 2:
            raise PrepareError(f"{path}: no rows; the first line names the columns, every other is a face")
        columns = read_columns(lines[0][1], path)
        wanted = au_codes or tuple(columns.aus)
        absent = [code for code in wanted if code not in columns.aus]
        if absent:
            raise PrepareError(f"{path}: no column for {', '.join(absent)}; it has {', '.join(columns.aus)}")
        rows, faults = [], []
        seen: dict[tuple[Path, str], int] = {}
        for count, (line, cells) in enumerate(lines[1:], start=1):
            try:
                row = _read_row(cells, columns, wanted, path.parent, count, len(lines[0][1]))
                before = seen.setdefault((row.image, row.subject), line)
                if before != line:
                    raise ValueError(f"the same picture and subject as line {before}")
                rows.append(row)
            except ValueError as error:
                faults.append(f"  line {line}: {error}")
        if faults:
            more = [f"  and {len(faults) - MANY} more"] if len(faults) > MANY else []
            raise PrepareError("\n".join([f"{path}: {len(faults)} rows cannot be used", *faults[:MANY], *more]))
        return cls(tuple(rows), wanted, hashlib.sha256(data).hexdigest(), first_pixel, columns.ignored)

    @property
    def settings(self) -> Mapping[str, object]:
        """The table itself and how its landmarks count."""
        return {"table_sha256": self.digest, "first_pixel": self.first_pixel}

    @property
    def notes(self) -> tuple[str, ...]:
        """Columns that were not used."""
        return (f"columns not used: {', '.join(self.ignored)}",) if self.ignored else ()

    def subjects(self) -> dict[str, int]:
        """People, and how many rows each has."""
        found: dict[str, int] = {}
        for row in self.rows:
            found[row.subject] = found.get(row.subject, 0) + 1
        return dict(sorted(found.items()))

    def samples(self, subject: str, note: Callable[[str], None]) -> Iterator[Sample]:  # noqa: ARG002  # see `Source`
        """The rows of a subject; see `Source.samples`."""
        for row in self.rows:
            if row.subject != subject:
                continue
            labels, weights = labels_of(row.codes)
            points = None if row.points is None else to_ibug68(row.points - self.first_pixel)
            yield Sample(row.frame, row.task, labels, weights, points, NO_LANDMARKS, partial(read_image, row.image))


def _lines(text: str, delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise PrepareError(f"{path}, line {reader.line_num}: {error}") from error


def _read_row(
    cells: list[str], columns: Columns, au_codes: tuple[str, ...], folder: Path, count: int, width: int
) -> Row:
    """One row.

    Raises:
        ValueError: with what is wrong in it.
    """
    if len(cells) > width:
        raise ValueError(f"{len(cells)} cells, the header has {width}")
    cells = [cell.strip() for cell in cells] + [""] * (width - len(cells))
    named = {name: cells[index] for name, index in columns.places.items()}
    if not named["image"]:
        raise ValueError("no image")
    image = folder / named["image"]
    if not image.is_file():
        raise ValueError(f"{image}: no such picture")
    if not SUBJECT_PATTERN.fullmatch(named["subject"]):
        raise ValueError(f"subject {named['subject']!r}: it names a file, so use 1 to 64 letters, digits and _")
    frame = named.get("frame", "") or str(count)
    if not frame.isdecimal():
        raise ValueError(f"frame {frame!r} is no number")
    codes = [_code(code, cells[columns.aus[code]]) for code in au_codes]
    return Row(
        image, named["subject"], int(frame), named.get("task", ""), np.array(codes, np.float32), _points(cells, columns)
    )


def _code(code: str, cell: str) -> float:
    try:
        value = float(cell) if cell else 9.0
    except ValueError:
        value = -1.0
    if value not in (0, 1, 9):
        raise ValueError(f"{code} is {cell!r}; wanted 1 (occurred), 0 (absent), 9 or nothing (unknown)")
    return float("nan") if value == 9 else value


def _points(cells: list[str], columns: Columns) -> npt.NDArray[np.float64] | None:
    texts = [(cells[x], cells[y]) for x, y in columns.points]
    if not any(text for pair in texts for text in pair):
        return None
    try:
        points = np.array(texts, dtype=object).astype(np.float64)
    except ValueError as error:
        raise ValueError(f"landmarks: {error}; give all of them or none") from error
    if not np.isfinite(points).all():
        raise ValueError("landmarks are not finite; leave all of them empty where they are missing")
    return points
