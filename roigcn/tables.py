"""Frames as a table: one row per face and frame, under the names of `roigcn video`'s CSV.

A frame without a face keeps its place with one row whose `face` is missing.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from roigcn.records import ActionUnit, Face, Frame

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FIXED = ("frame", "time_ms", "face", "face_score", "box_x", "box_y", "box_width", "box_height")
_MISSING = float("nan")


def columns(au_codes: Sequence[str]) -> tuple[str, ...]:
    """The names of the columns for these Action Units."""
    return FIXED + tuple(f"{code}_{what}" for code in au_codes for what in ("score", "probability", "active"))


class Table:
    """Rows as columns of plain doubles, 8 bytes a cell, so that an hour of video fits."""

    def __init__(self, au_codes: Sequence[str] = (), notes: Mapping[str, str] | None = None) -> None:
        self._codes = tuple(au_codes)
        self._notes = dict(notes or {})
        self._cells = [array("d") for _ in columns(self._codes)]
        self._rows = 0

    @classmethod
    def of(cls, frames: Iterable[Frame], au_codes: Sequence[str] = (), notes: Mapping[str, str] | None = None) -> Self:
        """The table of these frames."""
        table = cls(au_codes, notes)
        for frame in frames:
            table.add(frame)
        return table

    @property
    def au_codes(self) -> tuple[str, ...]:
        """The Action Units that have columns: those that were given, or those of the first face."""
        return self._codes

    def add(self, frame: Frame) -> None:
        """Append the rows of a frame.

        Raises:
            ValueError: a face has other Action Units than the ones before.
        """
        for face in frame.faces or (None,):
            self._append(frame, face)

    def expect(self, au_codes: Sequence[str]) -> None:
        """Name the Action Units of a table that has seen no face yet."""
        if not self._codes:
            self._codes = tuple(au_codes)
            blank = array("d", [_MISSING]) * self._rows
            self._cells += [array("d", blank) for _ in range(3 * len(self._codes))]

    def _append(self, frame: Frame, face: Face | None) -> None:
        head = (float(frame.frame), frame.pts_ms)
        if face is None:
            row: list[float] = [*head, *(_MISSING,) * (len(self._cells) - len(head))]
        else:
            self.expect(face.au_codes)
            if face.au_codes != self._codes:
                raise ValueError(f"faces with other Action Units ({face.au_codes}) than those before ({self._codes})")
            box = face.box
            row = [*head, float(face.track), face.score, box.x, box.y, box.width, box.height]
            row += [number for unit in face.aus for number in _numbers(unit)]
        for cells, value in zip(self._cells, row, strict=True):
            cells.append(value)
        self._rows += 1

    def to_arrow(self) -> pa.Table:
        """As an Arrow table; what is missing is null. Its metadata name the checkpoint.

        Raises:
            ImportError: pyarrow is not installed.
        """
        try:
            import pyarrow as pa
        except ImportError as error:
            raise ImportError("Arrow tables need pyarrow: pip install pyarrow") from error
        import numpy as np

        names = columns(self._codes)
        arrays = []
        for name, cells in zip(names, self._cells, strict=True):
            values = np.frombuffer(cells, np.float64) if cells else np.empty(0)
            nulls = np.isnan(values)
            # Arrow would take NaN for a number where a whole number or a truth value is wanted.
            plain = np.where(nulls, 0, values) if _kind(name) != "float" else values
            kind = {"int": pa.int32(), "bool": pa.bool_(), "float": pa.float64()}[_kind(name)]
            arrays.append(pa.array(plain.astype(kind.to_pandas_dtype()), type=kind, mask=nulls))
        metadata = {f"roigcn.{key}": value for key, value in self._notes.items()}
        return pa.Table.from_arrays(arrays, names=list(names)).replace_schema_metadata(metadata or None)

    def to_pandas(self) -> pd.DataFrame:
        """As a data frame; `attrs` name the checkpoint.

        `face` and the `…_active` columns are pandas' nullable integers and truth values (`Int32`, `boolean`), so that a
        frame without a face does not turn them into floats.

        Raises:
            ImportError: pandas is not installed.
        """
        import numpy as np

        pd = pandas()
        series: dict[str, Any] = {}
        for name, cells in zip(columns(self._codes), self._cells, strict=True):
            values = np.array(cells, np.float64)
            if name == "frame":
                series[name] = values.astype(np.int64)
            elif _kind(name) == "float":
                series[name] = values
            else:
                nulls = np.isnan(values)
                whole = np.where(nulls, 0, values)
                series[name] = (
                    pd.arrays.BooleanArray(whole.astype(bool), nulls)
                    if _kind(name) == "bool"
                    else pd.arrays.IntegerArray(whole.astype(np.int32), nulls)
                )
        table = pd.DataFrame(series)
        table.attrs.update(self._notes)
        return table


def pandas() -> Any:
    """The module, imported when it is asked for.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("data frames need pandas: pip install pandas") from error
    return pd


def _kind(name: str) -> str:
    if name in ("frame", "face"):
        return "int"
    return "bool" if name.endswith("_active") else "float"


def _numbers(unit: ActionUnit) -> tuple[float, float, float]:
    """Score, probability and presence; an Action Unit that could not be read is neither there nor absent."""
    score = _MISSING if unit.score is None else unit.score
    probability = _MISSING if unit.probability is None else unit.probability
    return score, probability, _MISSING if None in (unit.score, unit.probability) else float(unit.active)
