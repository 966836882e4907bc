"""The checkpoints of an installation: those that came with the package, and those published into the data folder.

Layout: `<root>/<name>/<version>/`. Roots are asked in order, so that a later root may add names and versions but never
replace one of an earlier root. The choice of the checkpoint to use is a pointer file `active` in the last root, holding
one line `name:version`; without it the one that such a file in the first root names is active, and without that the
newest built-in one. Needs neither torch nor OpenVINO.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.checkpoint import MANIFEST_NAME, Checkpoint, CheckpointError, load_checkpoint
from model.manifest import NAME_PATTERN, VERSION_PATTERN

BUILTIN_ROOT = Path(__file__).parent / "checkpoints"
_POINTER = "active"


@dataclass(frozen=True, slots=True)
class BrokenCheckpoint:
    """A folder that looks like a checkpoint and cannot be used, with the reason."""

    path: Path
    problem: str


class Registry:
    """Finds checkpoints in a list of roots.

    Example:
        >>> registry = Registry.open(data_dir)
        >>> registry.active().ref
        'roigcn-small:1'
    """

    def __init__(self, roots: Sequence[str | os.PathLike[str]]) -> None:
        """Args:
        roots: folders, the built-in one first; ones that do not exist yet hold nothing. The last one is written to.
        """
        if not roots:
            raise ValueError("a registry needs at least one root")
        self.roots = tuple(Path(root) for root in roots)

    @classmethod
    def open(cls, data_dir: str | os.PathLike[str] | None = None) -> Registry:
        """The built-in checkpoints, and those of a data folder if one is given."""
        return cls([BUILTIN_ROOT] if data_dir is None else [BUILTIN_ROOT, Path(data_dir) / "checkpoints"])

    def list(self) -> tuple[Checkpoint, ...]:
        """All usable checkpoints, by name, newest version of each name first. Weights are not hashed here."""
        found = [entry for entry in self._scan() if isinstance(entry, Checkpoint)]
        found.sort(key=lambda entry: _version_key(entry.manifest.version), reverse=True)
        return tuple(sorted(found, key=lambda entry: entry.manifest.name))

    def broken(self) -> tuple[BrokenCheckpoint, ...]:
        """Folders that hold a checkpoint that cannot be used."""
        return tuple(entry for entry in self._scan() if isinstance(entry, BrokenCheckpoint))

    def get(self, ref: str) -> Checkpoint:
        """The checkpoint `name:version`, or the newest version of `name`, checked to the last byte.

        Raises:
            CheckpointError: unknown or broken.
        """
        name, colon, version = ref.strip().partition(":")
        if not re.match(NAME_PATTERN, name) or (colon and not re.match(VERSION_PATTERN, version)):
            raise CheckpointError(f"{ref!r} is not a checkpoint's name; write NAME or NAME:VERSION.")
        if colon:
            for root in self.roots:
                if (root / name / version).is_dir():
                    return load_checkpoint(root / name / version)
        else:
            versions = [entry for entry in self.list() if entry.manifest.name == name]
            if versions:
                return load_checkpoint(versions[0].path)
        known = ", ".join(entry.ref for entry in self.list()) or "none at all"
        searched = ", ".join(map(str, self.roots))
        raise CheckpointError(f"No checkpoint {ref!r}. Installed: {known} (looked in {searched}).")

    def active(self) -> Checkpoint:
        """The checkpoint in use: the one pointed to, else the one that the built-in root points to, else the newest.

        Raises:
            CheckpointError: there is none, or the one pointed to is gone or broken.
        """
        if (ref := self.pointer()) is not None:
            try:
                return self.get(ref)
            except CheckpointError as error:
                raise CheckpointError(
                    f"The active checkpoint is set to {ref!r} in {self._pointer_path}, which cannot be used: {error} "
                    "Activate another one with `roigcn checkpoints activate NAME:VERSION`."
                ) from error
        if (builtin_ref := self._read_pointer(self.roots[0] / _POINTER)) is not None:
            return self.get(builtin_ref)
        usable = self.list()
        builtin = [entry for entry in usable if self.roots[0] in entry.path.parents]
        candidates = builtin or usable
        if not candidates:
            problems = "".join(f" {entry.problem}" for entry in self.broken())
            searched = ", ".join(map(str, self.roots))
            raise CheckpointError(f"No checkpoint is installed (looked in {searched}).{problems}")
        newest = max(candidates, key=lambda entry: (entry.manifest.training.date or "", _version_key(entry.ref)))
        return load_checkpoint(newest.path)

    def pointer(self) -> str | None:
        """The `name:version` that was activated, None if none was."""
        return self._read_pointer(self._pointer_path)

    def _read_pointer(self, path: Path) -> str | None:
        try:
            return path.read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{path}: cannot be read ({error}). Delete it or activate anew.") from error

    def activate(self, name: str, version: str) -> Checkpoint:
        """Points to a checkpoint, after checking it. Readers see the old or the new pointer, never half of one.

        Raises:
            CheckpointError: unknown or broken, or there is no data folder to keep the pointer in.
        """
        checkpoint = self.get(f"{name}:{version}")
        if len(self.roots) < 2:
            raise CheckpointError("Only the built-in checkpoints are open: give a data folder to keep the choice in.")
        self.roots[-1].mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=".active-", dir=self.roots[-1])
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{checkpoint.ref}\n")
        Path(draft).chmod(0o644)
        Path(draft).replace(self._pointer_path)
        return checkpoint

    @property
    def _pointer_path(self) -> Path:
        return self.roots[-1] / _POINTER

    def _scan(self) -> Iterator[Checkpoint | BrokenCheckpoint]:
        seen: set[tuple[str, str]] = set()
        for root in self.roots:
            # Unfinished drafts begin with a dot, which neither pattern allows.
            for folder in sorted(root.glob("*/*/")):
                place = (folder.parent.name, folder.name)
                if place in seen or not re.match(NAME_PATTERN, place[0]) or not re.match(VERSION_PATTERN, place[1]):
                    continue
                seen.add(place)
                try:
                    entry = load_checkpoint(folder, verify=False)
                    if (entry.manifest.name, entry.manifest.version) != place:
                        raise CheckpointError(f"{folder / MANIFEST_NAME}: says {entry.ref}; rename the folder.")
                    yield entry
                except CheckpointError as error:
                    yield BrokenCheckpoint(folder, str(error))


def _version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts 2 before 10 and 1.0rc1 beside 1.0: runs of digits compare as numbers."""
    parts = re.findall(r"\d+|[^\d]+", version)
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)
