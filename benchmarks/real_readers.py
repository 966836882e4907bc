"""The checkpoints that `real_faces.py` compares, opened under names that tell them apart."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from model.analyzer import Analyzer
from model.faces.finder import FaceFinder


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
    def numbers(self) -> list[int]:
        """The numbers of its AUs, in the order of its arrays."""
        return [int(code.removeprefix("AU")) for code in self.analyzer.au_codes]

    def column(self, au: int) -> int | None:
        """The place of an AU in its arrays, None if it does not read that AU."""
        return self.numbers.index(au) if au in self.numbers else None


def open_readers(
    stack: ExitStack, refs: Sequence[str | None], engine: str, finder: FaceFinder, threads: int | None = None
) -> list[Reader]:
    """Open checkpoints by name or folder; None is the active one.

    Raises:
        CheckpointError, EngineError: with what to do about it.
    """
    readers: list[Reader] = []
    for wanted in refs:
        folder = Path(wanted).expanduser() if wanted else None
        place = str(folder.resolve()) if folder is not None and folder.is_dir() else wanted
        analyzer = stack.enter_context(Analyzer.open(place, engine, threads=threads, finder=finder))
        ref = analyzer.checkpoint.ref
        same = sum(reader.analyzer.checkpoint.ref == ref for reader in readers)
        readers.append(Reader(f"{ref} #{same + 1}" if same else ref, analyzer))
    return readers
