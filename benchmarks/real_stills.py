"""Faces that a person has labelled: what checkpoints say of them, AUC, orders, neutral faces; for `real_faces.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from blendshapes import ALL, NAMES, Blendshapes, movement
from model.faces.finder import FaceFinder
from model.image import ImageError, read_image
from model.values import AuPrediction, Face, Float32Array, UInt8Array
from real_readers import Reader
from training.metrics import roc_auc
from worker.errors import VideoError
from worker.video import VideoReader

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
SKIMAGE = "skimage.data/"
"""A file name that begins so is a photo that scikit-image carries."""
BLENDSHAPES = "blendshapes"
"""Label of MediaPipe's blendshapes beside those of the checkpoints."""


@dataclass
class Subject:
    """One face of the labels file and what came out for it.

    Attributes:
        file: picture or clip.
        name: unique.
        shows: AUs seen.
        lacks: AUs seen to be absent.
        at: a point of the face, parts of width and height; without it the largest face is meant.
        seconds: moment of a clip.
        neutral: nothing is going on in this face: an active AU is a false alarm.
        posed: the expression was posed, and the file's name says which.
        read: per checkpoint.
        blendshapes: (52,).
        problem: why there is nothing, or "".
    """

    file: str
    name: str
    shows: list[int] = field(default_factory=list)
    lacks: list[int] = field(default_factory=list)
    at: tuple[float, float] | None = None
    seconds: float | None = None
    neutral: bool = False
    posed: bool = False
    read: dict[str, AuPrediction] = field(default_factory=dict)
    blendshapes: Float32Array | None = None
    problem: str = ""


@dataclass(frozen=True)
class AuAuc:
    """AUC of one AU over the labelled faces; NaN where nothing reads it."""

    au: int
    positives: int
    faces: int
    auc: dict[str, float]


@dataclass(frozen=True)
class OrderResult:
    """One order and one checkpoint: the pairs (higher, lower) kept and failed.

    Attributes:
        aus: the stronger of these is compared.
        kept: pairs.
        failed: pairs, also where a face was not found or the checkpoint lacks the AUs.
        posed: names of posed faces.
    """

    aus: tuple[int, ...]
    kept: list[tuple[str, str]]
    failed: list[tuple[str, str]]
    posed: frozenset[str]

    @property
    def posed_kept(self) -> int:
        """Pairs kept whose higher face is a posed portrait."""
        return sum(high in self.posed for high, _ in self.kept)

    @property
    def posed_pairs(self) -> int:
        """Pairs whose higher face is a posed portrait."""
        return sum(high in self.posed for high, _ in self.kept + self.failed)


def read_picture(folder: Path, file: str, seconds: float | None) -> UInt8Array:
    """A picture, or the frame of a clip that is shown at a moment.

    Raises:
        ImageError, VideoError, OSError: it cannot be read.
    """
    if file.startswith(SKIMAGE):
        import skimage.data

        return np.asarray(getattr(skimage.data, file.removeprefix(SKIMAGE))())
    if seconds is None:
        return read_image(folder / file)
    last: UInt8Array | None = None
    with VideoReader(folder / file) as video:
        for frame in video.frames():
            if last is not None and frame.pts_ms > seconds * 1000:
                return last
            last = frame.rgb
    if last is None:
        raise OSError(f"no frame at {seconds} s")
    return last


def choose(faces: list[Face], at: tuple[float, float] | None, rgb: UInt8Array) -> Face | None:
    """The face that a point lies in, or the largest one."""
    if at is None:
        return faces[0] if faces else None
    x, y = at[0] * rgb.shape[1], at[1] * rgb.shape[0]
    for face in faces:
        left, top, right, bottom = face.box_xyxy
        if left <= x <= right and top <= y <= bottom:
            return face
    return None


def read_faces(
    rgb: UInt8Array, faces: Sequence[Face], readers: Sequence[Reader], finder: FaceFinder, blendshapes: Blendshapes
) -> list[tuple[dict[str, AuPrediction], Float32Array]]:
    """Predictions by checkpoint, and blendshapes (52,), of each face."""
    read: list[dict[str, AuPrediction]] = [{} for _ in faces]
    for reader in readers:
        crops = [reader.analyzer.crop(rgb, face) for face in faces]
        for into, prediction in zip(read, reader.analyzer.predict(crops), strict=True):
            into[reader.label] = prediction
    return list(zip(read, blendshapes.run(finder.meshes(rgb, faces)), strict=True))


def measure(
    folder: Path, subjects: list[Subject], readers: Sequence[Reader], finder: FaceFinder, blendshapes: Blendshapes
) -> None:
    """Fill in what was read, or the problem that kept it away."""
    for subject in subjects:
        try:
            rgb = read_picture(folder, subject.file, subject.seconds)
        except (ImageError, VideoError, OSError) as error:
            subject.problem = f"not read: {error}"
            continue
        face = choose(finder.find(rgb), subject.at, rgb)
        if face is None:
            subject.problem = "no face found there"
        else:
            ((subject.read, subject.blendshapes),) = read_faces(rgb, [face], readers, finder, blendshapes)


def list_folder(folder: Path, readers: Sequence[Reader], finder: FaceFinder, blendshapes: Blendshapes) -> list[Subject]:
    """Every face of every picture of a folder, without labels."""
    subjects = []
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES):
        try:
            rgb = read_image(path)
        except (ImageError, OSError) as error:
            subjects.append(Subject(path.name, path.name, problem=f"not read: {error}"))
            continue
        faces = finder.find(rgb)
        if not faces:
            subjects.append(Subject(path.name, path.name, problem="no face found"))
        for number, (read, row) in enumerate(read_faces(rgb, faces, readers, finder, blendshapes)):
            subjects.append(Subject(path.name, f"{path.name} face {number}", read=read, blendshapes=row))
    return subjects


def aucs(subjects: Sequence[Subject], readers: Sequence[Reader]) -> list[AuAuc]:
    """AUC per AU of every checkpoint and of the nearest blendshape; AUs without both classes are left out."""
    rows = []
    for au in sorted({au for reader in readers for au in reader.numbers}):
        seen = [s for s in subjects if s.blendshapes is not None and au in s.shows + s.lacks]
        truth = np.array([au in s.shows for s in seen], bool)
        if truth.all() or not truth.any():
            continue
        values = {reader.label: roc_auc_of(seen, truth, _score_of(reader, au)) for reader in readers}
        values[BLENDSHAPES] = roc_auc_of(seen, truth, _movement_of(au))
        rows.append(AuAuc(au, int(truth.sum()), len(truth), values))
    return rows


def roc_auc_of(seen: Sequence[Subject], truth: np.ndarray, score: Callable[[Subject], float]) -> float:
    """AUC of a score over faces; NaN if the score is unknown for one of them."""
    values = np.array([score(subject) for subject in seen], np.float64)
    return roc_auc(truth, values) if np.isfinite(values).all() else float("nan")


def mean_auc(rows: Sequence[AuAuc], label: str) -> tuple[float, int]:
    """The mean over AUs whose AUC is known, and how many they are."""
    known = [row.auc[label] for row in rows if np.isfinite(row.auc[label])]
    return (float(np.mean(known)) if known else float("nan")), len(known)


def check_orders(subjects: Sequence[Subject], orders: Sequence[dict[str, Any]], reader: Reader) -> list[OrderResult]:
    """Which of the labels file's orders a checkpoint's scores keep."""
    by_name = {subject.name: subject for subject in subjects}
    posed = frozenset(subject.name for subject in subjects if subject.posed)
    results = []
    for order in orders:
        aus = tuple(order["au"]) if isinstance(order["au"], list) else (order["au"],)
        kept: list[tuple[str, str]] = []
        failed: list[tuple[str, str]] = []
        for high in order["higher"]:
            for low in order["lower"]:
                above, below = (max(_score_of(reader, au)(by_name[name]) for au in aus) for name in (high, low))
                (kept if above > below else failed).append((high, low))
        results.append(OrderResult(aus, kept, failed, posed))
    return results


def active_on_neutral(subjects: Sequence[Subject], reader: Reader) -> dict[str, list[int]]:
    """The AUs that a checkpoint says are active, for each neutral face that was found."""
    return {
        s.name: [au for au, active in zip(reader.numbers, s.read[reader.label].active, strict=True) if active]
        for s in subjects
        if s.neutral and s.read
    }


def as_json(subject: Subject) -> dict[str, object]:
    """Every number of a face."""
    return {
        "file": subject.file,
        "name": subject.name,
        "shows": subject.shows,
        "lacks": subject.lacks,
        "problem": subject.problem,
        "scores": {label: read.score.tolist() for label, read in subject.read.items()},
        "probabilities": {label: read.probability.tolist() for label, read in subject.read.items()},
        "active": {label: read.active.tolist() for label, read in subject.read.items()},
        "blendshapes": None
        if subject.blendshapes is None
        else dict(zip(NAMES, subject.blendshapes.tolist(), strict=True)),
    }


def _score_of(reader: Reader, au: int) -> Callable[[Subject], float]:
    """What a face is ranked by on an AU, NaN where there is none; NaN is neither above nor below anything."""
    column = reader.column(au)

    def score(subject: Subject) -> float:
        read = subject.read.get(reader.label)
        return float("nan") if read is None or column is None else float(reader.value(read)[column])

    return score


def _movement_of(au: int) -> Callable[[Subject], float]:
    name = ALL.get(au)

    def moved(subject: Subject) -> float:
        if name is None or subject.blendshapes is None:
            return float("nan")
        return float(movement(subject.blendshapes, name))

    return moved
