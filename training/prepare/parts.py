"""Which subjects of a prepared folder are trained on, calibrated with and tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from training.data.prepared import PARTS_NAME, PreparedSet
from training.prepare.source import PrepareError
from training.prepare.subject import write_json

PARTS = ("train", "calibration", "test")


def choose_parts(folder: Path, chosen: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Put subjects into parts and write them down; who is in no other part is trained on, if train is not given.

    Args:
        folder: a finished folder of `roigcn prepare`.
        chosen: subjects by part; a part without subjects is left out.

    Raises:
        PrepareError: a subject is in two parts or nobody is left to train on.
        ShardError: the folder is not usable or does not hold a subject.
    """
    prepared = PreparedSet.open(folder)
    parts = {part: tuple(chosen[part]) for part in PARTS if chosen.get(part)}
    held = [subject for subjects in parts.values() for subject in subjects]
    doubled = sorted({subject for subject in held if held.count(subject) > 1})
    if doubled:
        raise PrepareError(f"named twice: {', '.join(doubled)}; a subject is in one part, once")
    if "train" not in parts:
        parts = {"train": tuple(subject for subject in prepared.subjects if subject not in held)} | parts
    if not parts["train"]:
        raise PrepareError(f"{folder}: nobody is left to train on")
    for subjects in parts.values():
        prepared.shards_of(subjects)
    write_json(folder / PARTS_NAME, {part: list(subjects) for part, subjects in parts.items()})
    return parts
