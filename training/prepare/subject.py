"""One subject from the data set to its shards, and the record of what became of its frames.

The record is written last: a subject counts as prepared when its record is there and its files are.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.data.shards import ShardError, write_shard
from training.prepare.crops import Cutter, StoredFace
from training.prepare.source import NO_LABEL, Source

RECORDS = "records"


class StoppedError(Exception):
    """The preparation was asked to stop."""


@dataclass(frozen=True)
class Record:
    """What became of a subject.

    Attributes:
        subject: its name.
        found: labelled frames in the data set.
        files: shard names with their number of faces.
        skipped: frames skipped, by reason.
        origins: faces by where their landmarks come from.
        positives: faces on which each Action Unit occurred.
        known: faces on which each Action Unit's label is known.
        notes: remarks.
    """

    subject: str
    found: int = 0
    files: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    origins: dict[str, int] = field(default_factory=dict)
    positives: dict[str, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def prepared(self) -> int:
        """Faces in the shards."""
        return sum(self.files.values())


def read_record(out: Path, subject: str) -> Record | None:
    """The record of a subject that was prepared whole, else None."""
    try:
        record = Record(**json.loads((out / RECORDS / f"{subject}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return record if all((out / name).is_file() for name in record.files) else None


def prepare_subject(
    source: Source,
    subject: str,
    out: Path,
    cutter: Cutter,
    shard_faces: int,
    advance: Callable[[], None] = lambda: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Record:
    """Cut all faces of a subject and write its files.

    Args:
        source: the data set.
        subject: one of its people.
        out: folder to write to; what an interrupted run left of this subject is removed.
        cutter: makes the stored pictures.
        shard_faces: most faces in one file.
        advance: called for every frame.
        stopped: asked before every frame.

    Raises:
        PrepareError: the subject's files are broken.
        ShardError: nothing can be written.
        StoppedError: `stopped` said so; nothing of the subject counts.
    """
    for left in (*out.glob(f"{subject}-*.npz"), *out.glob(f".{subject}-*.tmp")):
        left.unlink()
    record = Record(subject)
    skipped: Counter[str] = Counter()
    origins: Counter[str] = Counter()
    faces: list[StoredFace] = []
    known = np.zeros((2, len(source.au_codes)), np.int64)

    def flush() -> None:
        if faces:
            name = f"{subject}-{len(record.files):03d}.npz"
            write_shard(out / name, pack(faces, source.au_codes, subject))
            record.files[name] = len(faces)
            faces.clear()

    found = 0
    for sample in source.samples(subject, record.notes.append):
        if stopped():
            raise StoppedError
        advance()
        found += 1
        cut = cutter.cut(sample) if sample.weights.any() else NO_LABEL
        if isinstance(cut, str):
            skipped[cut] += 1
            continue
        origins[cut.origin] += 1
        known += [(sample.labels * sample.weights).astype(int), sample.weights.astype(int)]
        faces.append(cut)
        if len(faces) >= shard_faces:
            flush()
    flush()
    done = Record(
        subject,
        found=found,
        files=record.files,
        skipped=dict(skipped.most_common()),
        origins=dict(origins.most_common()),
        positives=dict(zip(source.au_codes, known[0].tolist(), strict=True)),
        known=dict(zip(source.au_codes, known[1].tolist(), strict=True)),
        notes=record.notes,
    )
    write_json(out / RECORDS / f"{subject}.json", asdict(done))
    return done


def pack(faces: list[StoredFace], au_codes: tuple[str, ...], subject: str) -> dict[str, npt.NDArray[np.generic]]:
    """The members of a shard, see `training.data.shards` and `training.data.prepared`."""
    return {
        "images": np.stack([face.crop.pixels for face in faces]),
        "landmarks": np.stack([face.crop.landmarks for face in faces]).astype(np.float32),
        "labels": np.stack([face.sample.labels for face in faces]).astype(np.int8),
        "weights": np.stack([face.sample.weights for face in faces]).astype(np.float32),
        "au_codes": np.array(au_codes),
        "identities": np.zeros(len(faces), np.int64),
        "subject": np.array([subject]),
        "frames": np.array([face.sample.frame for face in faces], np.int64),
        "tasks": np.array([face.sample.task for face in faces]),
        "landmark_sources": np.array([face.origin for face in faces]),
    }


def write_json(path: Path, values: object) -> None:
    """Write a file of JSON whole or not at all.

    Raises:
        ShardError: it cannot be written.
    """
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text whole or not at all.

    Raises:
        ShardError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ShardError(f"cannot write {path}: {error.strerror or error}; make room and run again") from error
