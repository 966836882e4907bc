"""What was found, prepared and skipped, and why; positive rates beside published ones (METHOD 6.1, 6.2, 6.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType

from training.prepare.subject import Record

PUBLISHED_RATES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "bp4d": {
            **{"AU1": 21.1, "AU2": 17.0, "AU4": 20.3, "AU6": 46.1, "AU7": 54.9, "AU10": 59.4},
            **{"AU12": 56.2, "AU14": 46.6, "AU15": 16.9, "AU17": 34.4, "AU23": 16.5, "AU24": 15.2},
        },
        "disfa": {
            **{"AU1": 5.0, "AU2": 4.0, "AU4": 15.0, "AU6": 7.9},
            **{"AU9": 4.2, "AU12": 12.9, "AU25": 27.8, "AU26": 8.9},
        },
    }
)
"""Percent of frames with the Action Unit over all subjects, measured on a public re-use of each set (METHOD 6.5)."""

PUBLISHED_FRAMES: Mapping[str, str] = MappingProxyType(
    {
        "bp4d": "146,423 to 146,847 in three public re-uses",
        "disfa": "126,144 to 130,814 in three public re-uses",
    }
)


@dataclass(frozen=True)
class Report:
    """The outcome of `roigcn prepare`.

    Attributes:
        dataset: "bp4d", "disfa" or "csv".
        au_codes: K Action Units.
        records: one per subject that was gone through.
        failures: subjects whose files are broken, with what is wrong.
        notes: remarks on the data set as a whole.
    """

    dataset: str
    au_codes: tuple[str, ...]
    records: Sequence[Record]
    failures: Mapping[str, str]
    notes: Sequence[str]

    @property
    def found(self) -> int:
        """Labelled frames."""
        return sum(record.found for record in self.records)

    @property
    def prepared(self) -> int:
        """Faces in the shards."""
        return sum(record.prepared for record in self.records)

    @property
    def skipped(self) -> dict[str, int]:
        """Skipped frames by reason, most frequent first."""
        return _total(record.skipped for record in self.records)

    @property
    def origins(self) -> dict[str, int]:
        """Faces by the source of their landmarks."""
        return _total(record.origins for record in self.records)

    def rates(self) -> dict[str, float | None]:
        """Percent of the known labels of each Action Unit that are positive; None where none is known."""
        positives = _total(record.positives for record in self.records)
        known = _total(record.known for record in self.records)
        return {code: 100 * positives.get(code, 0) / known[code] if known.get(code) else None for code in self.au_codes}

    def values(self) -> dict[str, object]:
        """Everything for `report.json`."""
        return {
            "dataset": self.dataset,
            "found": self.found,
            "prepared": self.prepared,
            "skipped": self.skipped,
            "landmarks": self.origins,
            "positive_percent": {code: rate if rate is None else round(rate, 3) for code, rate in self.rates().items()},
            "published_positive_percent": dict(PUBLISHED_RATES.get(self.dataset, {})),
            "unknown_labels": self._unknown(),
            "failures": dict(self.failures),
            "notes": list(self.notes),
            "subjects": [asdict(record) | {"prepared": record.prepared} for record in self.records],
        }

    def markdown(self) -> str:
        """The report to read."""
        lines = [f"# {self.dataset}: what was prepared", ""]
        published = PUBLISHED_FRAMES.get(self.dataset)
        lines += [
            f"{self.found} labelled frames found, {self.prepared} faces prepared, {sum(self.skipped.values())} "
            f"skipped, {len(self.records)} subjects." + (f" Frames used elsewhere: {published}." if published else ""),
            "",
        ]
        if self.failures:
            lines += ["## Not prepared: files to mend", ""]
            lines += [f"* {subject}: {message}" for subject, message in self.failures.items()] + [""]
        lines += _table(("skipped because", "frames"), self.skipped.items())
        lines += _table(("landmarks from", "faces"), self.origins.items())
        lines += self._rate_table()
        reasons = list(self.skipped)
        lines += _table(
            ("subject", "found", "prepared", *reasons),
            ((r.subject, r.found, r.prepared, *(r.skipped.get(reason, 0) for reason in reasons)) for r in self.records),
        )
        notes = [*self.notes, *(f"{record.subject}: {note}" for record in self.records for note in record.notes)]
        if notes:
            lines += ["## Notes", "", *(f"* {note}" for note in notes), ""]
        return "\n".join(lines)

    def _rate_table(self) -> list[str]:
        published = PUBLISHED_RATES.get(self.dataset, {})
        unknown = self._unknown()
        rows = [
            (code, _percent(rate), *([_percent(published.get(code))] if published else []), unknown[code])
            for code, rate in self.rates().items()
        ]
        heading = ("AU", "positive %", *(["published %"] if published else []), "unknown labels")
        return _table(heading, rows)

    def _unknown(self) -> dict[str, int]:
        known = _total(record.known for record in self.records)
        return {code: self.prepared - known.get(code, 0) for code in self.au_codes}


def _total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total.most_common())


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{rate:.1f}"


def _table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    body = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    if not body:
        return []
    return ["| " + " | ".join(heading) + " |", "| " + " | ".join("---" for _ in heading) + " |", *body, ""]
