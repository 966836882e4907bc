"""The faces of a figure: chosen from labelled shards, or found in pictures, with what the network did with each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from model.explain import explain
from model.explanation import Explanation
from model.geometry import crop_to_map
from model.roi import roi_centres, windows
from training.data.samples import evaluation_crop, normalise
from training.data.shards import FaceShards
from training.evaluate import Reading
from training.state import TrainingError
from training.subjects import Subject

BATCH = 8


@dataclass(frozen=True)
class FigureFace:
    """One face with its explanation.

    Attributes:
        title: what to call it: its number in the shards, or its file.
        pixels: (S, S, 3) uint8, the crop.
        landmarks: (68, 2) in the crop's pixels.
        present: codes of the AUs that its labels say occur; None where there are no labels.
        explanation: what the network did.
    """

    title: str
    pixels: npt.NDArray[np.uint8]
    landmarks: npt.NDArray[np.float32]
    present: tuple[str, ...] | None
    explanation: Explanation

    @property
    def landmarks_map(self) -> npt.NDArray[np.float64]:
        """(68, 2) in map pixels."""
        return crop_to_map(self.landmarks)


def telling_faces(faces: FaceShards, count: int) -> list[int]:
    """Numbers of faces that together show as many AUs as possible, each of another person.

    One after the other, the face that adds most AUs not yet shown; among equals the one with more AUs, then the first.
    """
    present = (faces.labels > 0.5) & (faces.weights > 0)
    shown = np.zeros(present.shape[1], bool)
    chosen: list[int] = []
    free = np.ones(len(present), bool)
    while len(chosen) < count and free.any():
        worth = np.where(free, (present & ~shown).sum(axis=1) * 100 + present.sum(axis=1), -1)
        best = int(worth.argmax())
        chosen.append(best)
        shown |= present[best]
        free &= faces.identities != faces.identities[best]
    return chosen


def faces_of_shards(subject: Subject, faces: FaceShards, chosen: Sequence[int]) -> list[FigureFace]:
    """Chosen faces of shards with their labels.

    Raises:
        TrainingError: a number beyond the last face.
    """
    if any(not 0 <= number < len(faces) for number in chosen):
        raise TrainingError(f"the part has {len(faces)} faces, numbered from 0; choose among them")
    codes = subject.reading.au_codes
    titles = [f"face {number}" for number in chosen]
    labels = [
        tuple(code for code, on, weight in zip(codes, faces.labels[i], faces.weights[i], strict=True) if on and weight)
        for i in chosen
    ]
    return _explained(subject, titles, [faces.face(i) for i in chosen], labels)


def faces_of_pictures(subject: Subject, paths: Sequence[Path]) -> list[FigureFace]:
    """The largest face of each picture, found as `roigcn detect` does.

    Raises:
        TrainingError: a picture cannot be read or has no face.
    """
    from model.faces.finder import FaceFinder  # loads OpenVINO, which shards need not
    from model.image import ImageError, read_image

    finder = FaceFinder(threads=1)
    found = []
    for path in paths:
        try:
            rgb = read_image(path)
        except ImageError as error:
            raise TrainingError(f"{path}: {error}") from error
        faces = finder.find(rgb)
        if not faces:
            raise TrainingError(f"{path}: no face was found in it")
        found.append((rgb, faces[0].landmarks))
    return _explained(subject, [path.name for path in paths], found, [None] * len(found))


@dataclass(frozen=True)
class Measures:
    """What the figures show, in numbers: means over faces.

    Attributes:
        faces: how many.
        active: share of values above 0 in X0 and in X1: of all pixels, inside the face, at ROIs, at the border.
        height: mean value in X0 and in X1 at the same places.
        eigenvalue: (M,) mean lambda.
        share: (M,) mean share of each eigenvector in the similarity matrix.
        inside: (M,) share of each eigenvector map's sum that lies inside the face; NaN for maps that are always blank.
        blank: (M,) share of faces whose map is 0 everywhere.
    """

    faces: int
    active: dict[str, tuple[float, float]]
    height: dict[str, tuple[float, float]]
    eigenvalue: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]
    inside: npt.NDArray[np.float64]
    blank: npt.NDArray[np.float64]


PLACES = ("everywhere", "inside the face", "at the ROIs", "at the border")
BORDER = 2


def measure(
    subject: Subject, faces: FaceShards, chosen: Sequence[int], advance: Callable[[int], None] = lambda _: None
) -> Measures:
    """Measure many faces of shards; `advance` is told how many were done."""
    active: list[list[tuple[float, float]]] = []
    height: list[list[tuple[float, float]]] = []
    rows: dict[str, list[npt.NDArray[np.float64]]] = {"eigenvalue": [], "share": [], "inside": [], "blank": []}
    for start in range(0, len(chosen), BATCH):
        part = faces_of_shards(subject, faces, chosen[start : start + BATCH])
        for face in part:
            found = face.explanation
            places = places_of(face, subject.reading)
            both = (found.x0, found.x1)
            active.append([_pair((x[:, mask] > 0).mean() if mask.any() else np.nan for x in both) for mask in places])
            height.append([_pair(x[:, mask].mean() if mask.any() else np.nan for x in both) for mask in places])
            total = found.phi.sum(axis=(1, 2), dtype=np.float64)
            within = found.phi[:, places[1]].sum(axis=1, dtype=np.float64)
            rows["eigenvalue"].append(found.eigenvalues.astype(np.float64))
            rows["share"].append(found.shares().astype(np.float64))
            rows["inside"].append(np.divide(within, total, out=np.full_like(total, np.nan), where=total > 0))
            rows["blank"].append((total == 0).astype(np.float64))
        advance(len(part))
    mean_active, mean_height = np.nanmean(np.array(active), axis=0), np.nanmean(np.array(height), axis=0)
    inside = np.array(rows["inside"])
    seen = ~np.isnan(inside).all(axis=0)
    return Measures(
        faces=len(chosen),
        active={place: _pair(mean_active[i]) for i, place in enumerate(PLACES)},
        height={place: _pair(mean_height[i]) for i, place in enumerate(PLACES)},
        eigenvalue=np.mean(rows["eigenvalue"], axis=0),
        share=np.mean(rows["share"], axis=0),
        inside=np.where(seen, np.nanmean(np.where(seen, inside, 0), axis=0), np.nan),
        blank=np.mean(rows["blank"], axis=0),
    )


def places_of(face: FigureFace, reading: Reading) -> list[npt.NDArray[np.bool_]]:
    """(H, H) masks of `PLACES`; the face is the convex hull of its landmarks."""
    import cv2

    size = face.explanation.roi_maps.shape[-1]
    hull = np.zeros((size, size), np.uint8)
    points = face.landmarks_map
    cv2.fillConvexPoly(hull, cv2.convexHull(np.rint(points[np.isfinite(points).all(axis=1)]).astype(np.int32)), 1)
    centres = crop_to_map(roi_centres(face.landmarks, reading.au_codes, reading.roi.rule))
    rois = windows(centres, size, reading.roi.half_width).any(axis=(0, 1))
    border = np.ones((size, size), bool)
    border[BORDER:-BORDER, BORDER:-BORDER] = False
    return [np.ones((size, size), bool), hull.astype(bool), np.asarray(rois, bool), border]


def _pair(values: Iterator[float] | npt.NDArray[np.float64]) -> tuple[float, float]:
    before, after = (float(value) for value in values)
    return before, after


def _explained(
    subject: Subject,
    titles: Sequence[str],
    pictures: Sequence[tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]],
    labels: Sequence[tuple[str, ...] | None],
) -> list[FigureFace]:
    reading = subject.reading
    crops = [evaluation_crop(rgb, landmarks, reading.input_size) for rgb, landmarks in pictures]
    found: list[Explanation] = []
    for start in range(0, len(crops), BATCH):
        batch = normalise(np.stack([pixels for pixels, _ in crops[start : start + BATCH]]))
        found += explain(subject.network, torch.from_numpy(batch), reading.au_codes)
    return [
        FigureFace(title, pixels, landmarks, present, explanation)
        for title, (pixels, landmarks), present, explanation in zip(titles, crops, labels, found, strict=True)
    ]
