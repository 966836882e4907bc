"""The checkpoints that `real_faces.py` compares, opened under names that tell them apart."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from model.analyzer import Analyzer
from model.faces.finder import FaceFinder
from model.values import AuPrediction, Float32Array


@dataclass(frozen=True)
class Reader:
    """An opened checkpoint.

    Attributes:
        label: its reference, numbered where several have the same one.
        analyzer: its network with everything around it.
    """

    label: str
    analyzer: Analyzer

    @property
    def joint(self) -> bool:
        """Whether a reading of the landmarks joins the network's score."""
        return self.analyzer.decides_by == "both"

    def value(self, prediction: AuPrediction) -> Float32Array:
        """What faces are ranked by, (K,): the network's score, or the probability where the landmarks join it."""
        return prediction.probability if self.joint else prediction.score

    @property
    def numbers(self) -> list[int]:
        """The numbers of its AUs, in the order of its arrays."""
        return [int(code.removeprefix("AU")) for code in self.analyzer.au_codes]

    def column(self, au: int) -> int | None:
        """The place of an AU in its arrays, None if it does not read that AU."""
        return self.numbers.index(au) if au in self.numbers else None


def open_readers(
    stack: ExitStack, refs: Sequence[str | None], engine: str, finder: FaceFinder, threads: int | None = None
) -> list[Reader]:
    """Open checkpoints by name or folder; None is the active one. One with a reading of landmarks is opened twice.

    The second time as the paper's network alone, its label then ends in "network".

    Raises:
        CheckpointError, EngineError: with what to do about it.
    """
    readers: list[Reader] = []
    for wanted in refs:
        folder = Path(wanted).expanduser() if wanted else None
        place = str(folder.resolve()) if folder is not None and folder.is_dir() else wanted
        for reading in ("auto", "network"):
            analyzer = stack.enter_context(
                Analyzer.open(place, engine, threads=threads, finder=finder, reading=reading)
            )
            if reading == "network" and analyzer.checkpoint.manifest.landmark_opinion is None:
                break
            label = analyzer.checkpoint.ref + (" network" if reading == "network" else "")
            same = sum(reader.label.split(" #")[0] == label for reader in readers)
            readers.append(Reader(f"{label} #{same + 1}" if same else label, analyzer))
    return readers
