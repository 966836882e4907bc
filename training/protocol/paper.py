"""The tables of the paper as data, to stand beside what is measured here."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources

OURS = "ROI-GCN"
"""Column of the paper's own method."""


@dataclass(frozen=True)
class PublishedTable:
    """One table of the paper; every number is an F1 or a rate in percent.

    Attributes:
        title: "Table 1" ...
        au_codes: rows.
        columns: method to its F1 by row.
        printed_mean: method to the average that the paper prints.
        positive_rate: occurrence by row; empty where none is given.
        dataset: what it was measured on.
    """

    title: str
    au_codes: tuple[str, ...]
    columns: Mapping[str, tuple[float, ...]]
    printed_mean: Mapping[str, float]
    dataset: str
    positive_rate: tuple[float, ...] = field(default=())

    def f1(self, column: str, au_code: str) -> float:
        """F1 in percent; NaN for an AU that the table lacks."""
        return self._pick(self.columns[column], au_code)

    def floor(self, au_code: str) -> float:
        """F1 in percent of always saying yes at the published positive rate r: 2r / (1 + r); NaN without a rate."""
        rate = self._pick(self.positive_rate, au_code)
        return 100 * 2 * rate / (100 + rate)

    def _pick(self, values: tuple[float, ...], au_code: str) -> float:
        if au_code not in self.au_codes or not values:
            return float("nan")
        return values[self.au_codes.index(au_code)]


@lru_cache(maxsize=1)
def _tables() -> dict[str, PublishedTable]:
    text = (resources.files("training") / "protocol" / "paper.toml").read_text(encoding="utf-8")
    return {
        name: PublishedTable(
            title=values["title"],
            au_codes=tuple(f"AU{number}" for number in values["aus"]),
            columns={column: tuple(map(float, f1)) for column, f1 in values["columns"].items()},
            printed_mean=values["printed_mean"],
            dataset=values.get("dataset", name),
            positive_rate=tuple(map(float, values.get("positive_rate", ()))),
        )
        for name, values in tomllib.loads(text).items()
    }


def published(name: str) -> PublishedTable | None:
    """The table of a data set ("bp4d", "disfa") or of a study ("table3", "table4"); None where the paper has none."""
    return _tables().get(name)
