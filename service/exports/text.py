"""CSV and JSON in pieces of a useful size."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

Cell = str | int | float | bool | None
_PIECE_CHARACTERS = 1 << 16


def csv_pieces(
    header: Sequence[str], rows: Iterable[Sequence[Cell]], *, header_separator: str = ","
) -> Iterator[bytes]:
    """A CSV file in UTF-8: yes and no as 1 and 0, an unknown value as an empty cell, lines end in LF.

    Args:
        header: names of the columns.
        rows: cells in the order of the header.
        header_separator: what stands between the names of the header; the rows always have plain commas.
    """
    text = io.StringIO(newline="")
    text.write(header_separator.join(header) + "\n")
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([int(cell) if isinstance(cell, bool) else cell for cell in row])
        if text.tell() >= _PIECE_CHARACTERS:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


def pieces(parts: Iterable[str]) -> Iterator[bytes]:
    """Text in UTF-8, small parts put together."""
    waiting: list[str] = []
    size = 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= _PIECE_CHARACTERS:
            yield "".join(waiting).encode()
            waiting, size = [], 0
    if waiting:
        yield "".join(waiting).encode()
