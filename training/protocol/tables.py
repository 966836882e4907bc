"""Small pieces of Markdown: numbers, intervals, tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

UNDEFINED = "–"


def percent(value: float, places: int = 1) -> str:
    """A share of 1 in percent; a dash where it is undefined."""
    return UNDEFINED if math.isnan(value) else f"{100 * value:.{places}f}"


def number(value: float, places: int = 3) -> str:
    """A number; a dash where it is undefined."""
    return UNDEFINED if math.isnan(value) else f"{value:.{places}f}"


def percent_range(low: float, high: float) -> str:
    """An interval of shares in percent; a dash where it is undefined."""
    return UNDEFINED if math.isnan(low) or math.isnan(high) else f"{100 * low:.1f} to {100 * high:.1f}"


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose first column is left-aligned and the others right-aligned.

    Example:
        >>> markdown_table(("AU", "F1"), [("AU1", "52.6")])
        ['| AU | F1 |', '| --- | --: |', '| AU1 | 52.6 |']
    """
    return [
        "| " + " | ".join(headings) + " |",
        "| --- |" + " --: |" * (len(headings) - 1),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
