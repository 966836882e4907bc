"""One subject from the data set to its shards, and the record of what became of its frames.

The record is written last: a subject counts as prepared when its record is there and its files are.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.values import Float32Array
from training.data.shards import ShardError, write_shard
from training.prepare.crops import Cutter, StoredFace
from training.prepare.source import NO_LABEL, Sample, Source

RECORDS = "records"


class StoppedError(Exception):
    """The preparation was asked to stop."""


class Shelf:
    """The faces of the shard that is being filled; their pictures lie in one array from the start.

    Args:
        subject: whom they show.
        au_codes: K Action Units.
        size: side of the pictures, pixels.
        room: most faces.
    """

    def __init__(self, subject: str, au_codes: tuple[str, ...], size: int, room: int) -> None:
        self.subject, self.au_codes = subject, au_codes
        self._images = np.empty((room, size, size, 3), np.uint8)  # the system gives the memory as it is filled
        self._landmarks: list[Float32Array] = []
        self._faces: list[tuple[Sample, str]] = []

    def __len__(self) -> int:
        return len(self._faces)

    @property
    def full(self) -> bool:
        """Whether no face fits in any more."""
        return len(self) == len(self._images)

    def add(self, face: StoredFace) -> None:
        """Put a face in."""
        self._images[len(self)] = face.crop.pixels
        self._landmarks.append(face.crop.landmarks)
        # A decoded frame of a clip hangs on `read`; a shard's worth of those would be gigabytes.
        self._faces.append((replace(face.sample, read=None, landmarks=None), face.origin))

    def clear(self) -> None:
        """Begin the next shard."""
        self._landmarks.clear()
        self._faces.clear()

    def members(self) -> dict[str, npt.NDArray[np.generic]]:
        """The arrays of the shard, see `training.data.shards` and `training.data.prepared`."""
        samples = [sample for sample, _ in self._faces]
        return {
            "images": self._images[: len(self)],
            "landmarks": np.stack(self._landmarks).astype(np.float32),
            "labels": np.stack([sample.labels for sample in samples]).astype(np.int8),
            "weights": np.stack([sample.weights for sample in samples]).astype(np.float32),
            "au_codes": np.array(self.au_codes),
            "identities": np.zeros(len(self), np.int64),
            "subject": np.array([self.subject]),
            "frames": np.array([sample.frame for sample in samples], np.int64),
            "tasks": np.array([sample.task for sample in samples]),
            "landmark_sources": np.array([origin for _, origin in self._faces]),
        }


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
    shelf = Shelf(subject, source.au_codes, cutter.size, shard_faces)
    known = np.zeros((2, len(source.au_codes)), np.int64)

    def flush() -> None:
        if len(shelf):
            name = f"{subject}-{len(record.files):03d}.npz"
            write_shard(out / name, shelf.members())
            record.files[name] = len(shelf)
            shelf.clear()

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
        shelf.add(cut)
        if shelf.full:
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
