"""Which clips a command works on, and which file each result goes to: several clips and folders of clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.cli.output import Exit, fail

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".vob"}
    | {".ts", ".mts", ".m2ts", ".wmv", ".asf", ".flv", ".ogv", ".mxf", ".3gp"}
)
"""Endings by which clips are found in a folder; a clip that is named itself may have any."""

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Task:
    """A clip and the file for its result."""

    clip: Path
    target: Path


def find_clips(paths: Sequence[Path]) -> list[Path]:
    """The clips that are named, and those in the folders that are named (not in folders within), each once.

    Ends the command when a folder has none.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            found[path] = None
            continue
        inside = sorted(
            entry
            for entry in path.iterdir()
            if entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and entry.is_file()
        )
        if not inside:
            fail(f"{path} has no clip; looked for {' '.join(sorted(SUFFIXES))}", Exit.USAGE)
        found |= dict.fromkeys(inside)
    return list(found)


def plan(clips: Sequence[Path], out: Path | None, suffix: str, *, one: bool, existing: Existing) -> list[Task]:
    """Where each clip's result goes; ends the command when two would share a file, or one would be replaced unasked.

    Args:
        clips: as `find_clips` gives them.
        out: a folder, or the file for the result of one clip; None for a file beside each clip.
        suffix: that replaces the clip's own.
        one: whether one clip was named, so that `out` may be a file.
        existing: what to do about results that are there.

    Returns:
        The clips that are to be analysed.
    """
    tasks = [Task(clip, _target(clip, out, suffix, one)) for clip in clips]
    takers: dict[Path, Path] = {}
    for task in tasks:
        if (other := takers.setdefault(task.target, task.clip)) is not task.clip:
            fail(f"{other} and {task.clip} would both be written to {task.target}; rename one of them", Exit.USAGE)
    for folder in {task.target.parent for task in tasks}:
        if not folder.is_dir():
            fail(f"the folder {folder} does not exist; make it first", Exit.USAGE)
    there = [task for task in tasks if task.target.exists()]
    if there and not (existing.overwrite or existing.skip):
        names = ", ".join(str(task.target) for task in there[:_NAMED])
        more = f" and {len(there) - _NAMED} more" if len(there) > _NAMED else ""
        verb = "exists" if len(there) == 1 else "exist"
        advice = ", or another --out" if one else ", or --skip-existing to leave what is there"
        fail(f"{names}{more} {verb}; give --overwrite to replace{' it' if one else ''}{advice}", Exit.USAGE)
    return [task for task in tasks if task not in there] if existing.skip else tasks


@dataclass(frozen=True, slots=True)
class Existing:
    """What to do about results that are there: replace them, or pass over their clips; else the command ends."""

    overwrite: bool = False
    skip: bool = False


def _target(clip: Path, out: Path | None, suffix: str, one: bool) -> Path:
    if out is None:
        return clip.with_suffix(suffix)
    if out.is_dir():
        return out / clip.with_suffix(suffix).name
    if not one:
        fail(f"--out must be an existing folder when there are several clips; make {out}", Exit.USAGE)
    return out
