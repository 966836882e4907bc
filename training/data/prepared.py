"""A data set that `roigcn prepare` made: a folder of shards by subject, with what it holds in `dataset.json`.

    OUT/dataset.json         what this module reads
    OUT/SUBJECT-NNN.npz      shards as in `training.data.shards`, of one person each, with besides
                             frames (N,) int, tasks (N,) str, landmark_sources (N,) str
    OUT/parts.json           which subjects are trained on and tested (optional, `roigcn prepare parts`)
    OUT/report.md, .json     what was found, prepared and skipped, and why

Protocols hold out subjects, never frames (METHOD 6.3), so faces are asked for by subject.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.data.shards import FaceShards, ShardError

MANIFEST_NAME = "dataset.json"
PARTS_NAME = "parts.json"
FORMAT_VERSION = 1
SUBJECT_PATTERN = re.compile(r"[A-Za-z0-9_]{1,64}")


@dataclass(frozen=True)
class PreparedSet:
    """What a folder of prepared faces holds.

    Attributes:
        folder: where it lies.
        dataset: "bp4d", "disfa" or "csv".
        au_codes: the Action Units that the labels have, "AU1" ...
        size: side of the stored pictures in pixels.
        subjects: names of the people, each with at least one face.
        parts: subjects of "train", "calibration" and "test", where they were chosen.
    """

    folder: Path
    dataset: str
    au_codes: tuple[str, ...]
    size: int
    subjects: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path) -> PreparedSet:
        """Read a folder's `dataset.json`.

        Raises:
            ShardError: no such folder, not one of `roigcn prepare`, of another version, or not finished.
        """
        folder = Path(folder)
        values = _read_json(folder / MANIFEST_NAME, folder)
        try:
            if values["format_version"] != FORMAT_VERSION:
                raise ShardError(
                    f"{folder}: prepared in format {values['format_version']}, this roigcn reads {FORMAT_VERSION}; "
                    "prepare it again"
                )
            if not values.get("finished", True):
                raise ShardError(f"{folder}: not finished; run the same `roigcn prepare` again, it goes on")
            prepared = cls(
                folder=folder,
                dataset=str(values["dataset"]),
                au_codes=tuple(map(str, values["au_codes"])),
                size=int(values["size"]),
                subjects=tuple(map(str, values["subjects"])),
                parts=_read_parts(folder),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ShardError(f"{folder / MANIFEST_NAME}: not of `roigcn prepare` ({error!r})") from error
        if not prepared.subjects:
            raise ShardError(f"{folder}: no face could be prepared; its report.md says why")
        return prepared

    def shards_of(self, subjects: Sequence[str]) -> list[Path]:
        """The files of some subjects, in the order asked for.

        Raises:
            ShardError: an unknown subject, or one whose files are gone.
        """
        unknown = [subject for subject in subjects if subject not in self.subjects]
        if unknown:
            raise ShardError(
                f"{self.folder}: no faces of {', '.join(unknown)}; it holds {', '.join(self.subjects)} "
                "(report.md says what was skipped)"
            )
        paths: list[Path] = []
        for subject in subjects:
            own = sorted(self.folder.glob(f"{subject}-*.npz"))
            if not own:
                raise ShardError(f"{self.folder}: the files {subject}-*.npz are gone; prepare it again")
            paths.extend(own)
        return paths

    def faces(self, subjects: Sequence[str], au_codes: Sequence[str]) -> FaceShards:
        """The faces of some subjects, label columns in the order of `au_codes`.

        Raises:
            ShardError: as `shards_of`, or an Action Unit that was not prepared.
        """
        absent = [code for code in au_codes if code not in self.au_codes]
        if absent:
            raise ShardError(
                f"{self.folder}: no labels for {', '.join(absent)}; it holds {', '.join(self.au_codes)}. "
                "Prepare it again with --aus into another folder, or train on these"
            )
        return FaceShards(self.shards_of(subjects), au_codes)

    def part(self, name: str) -> list[Path]:
        """The files of a part: the subjects that `roigcn prepare parts` put there.

        Raises:
            ShardError: no parts were chosen, or none of this name.
        """
        if name not in self.parts:
            raise ShardError(
                f"{self.folder}: no part {name!r}; choose its subjects with `roigcn prepare parts {self.folder} "
                f"--{name} SUBJECT,SUBJECT...`"
            )
        return self.shards_of(self.parts[name])


def is_prepared(folder: Path) -> bool:
    """Whether `roigcn prepare` made (or began) this folder; `roigcn render` writes another `dataset.json`."""
    try:
        return "dataset" in json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _read_json(path: Path, folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise ShardError(f"{folder}: no such folder; make it with `roigcn prepare`")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ShardError(f"{folder}: no {path.name} inside; make the folder with `roigcn prepare`") from error
    except (OSError, ValueError) as error:
        raise ShardError(f"{path}: cannot be read ({error}); prepare it again") from error
    if not isinstance(values, dict) or "dataset" not in values:
        raise ShardError(f"{path}: not of `roigcn prepare`; rendered faces are used by their part instead")
    return values


def _read_parts(folder: Path) -> dict[str, tuple[str, ...]]:
    path = folder / PARTS_NAME
    if not path.exists():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {str(part): tuple(map(str, subjects)) for part, subjects in values.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ShardError(f"{path}: cannot be read ({error}); choose the parts again") from error
