"""The faces of a picture: detection, landmarks and the checks that decide whether a region holds a face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.faces.assets import asset_paths
from model.faces.detector import FaceDetector, box_iou
from model.faces.landmarker import Landmarker, Regions, regions_of_detections, regions_of_landmarks
from model.landmarks import convert
from model.values import Face, Float32Array, Float64Array, UInt8Array

MIN_SIZE = 40.0
"""Side in pixels of the smallest face looked for: below it, the crop of a face holds too little to read AUs from."""
MIN_SHARE = 1 / 40
"""The same as a share of the picture's shorter side; bounds the number of tiles whatever the picture's size."""
MIN_SCORE = 0.5
MIN_PRESENCE = 0.5
"""MediaPipe's own defaults. Measured presence: above 0.998 on frontal to half turned faces, 0.001 on a full profile."""
SURE_PRESENCE = 0.998
CONFIRMED_PRESENCE = 0.98
STEADY = 0.05
"""Lettering and textures reach presences up to 0.99, but a second look from the first look's points strays there: by
0.066 box sides or more, or no face at all, for each of 16 false findings (a title sequence, textures), while 106 of 109
hard faces (rolled, blurred, noisy, dark, half hidden) needed no second look or stayed within 0.036."""
ASKEW = 0.14
LOOKS = 3
"""Largest angle in radians between a region and the eyes found in it, and how often to look again to get below it: a
face rolled by 45 degrees, seen 30 degrees askew, came out with points wrong by a tenth of its size."""
SAME_FACE = 0.6
"""Share of the smaller of two boxes that the other covers, from which on they hold one face: faces are opaque."""
AGREEMENT_IOU = 0.25
KNOWN_IOU = 0.3


class FaceFinder:
    """Finds faces with their 68 landmarks, largest first; runs on the processor through OpenVINO, never torch.

    Boxes bound the face mesh, forehead to chin, clipped to the picture. Faces turned by more than about 60 degrees in
    the picture plane, and full profiles, are not found.
    """

    def __init__(
        self,
        assets_dir: Path | str | None = None,
        *,
        min_size: float = MIN_SIZE,
        min_score: float = MIN_SCORE,
        min_presence: float = MIN_PRESENCE,
        threads: int | None = None,
        cache_dir: Path | str | None = None,
    ) -> None:
        """Open the nets.

        Args:
            assets_dir: folder of the face nets, see `model.faces.assets`.
            min_size: side of the smallest face to look for, pixels.
            min_score: least detector score.
            min_presence: least presence that the landmark net must report for a face to count.
            threads: processor threads, None for all.
            cache_dir: where OpenVINO keeps compiled nets between starts, None for no such cache.

        Raises:
            AssetError: if the nets are missing or damaged.
        """
        paths = asset_paths(assets_dir)
        cache = Path(cache_dir) if cache_dir is not None else None
        self._detector = FaceDetector(paths.detector, threads=threads, cache_dir=cache)
        self._landmarker = Landmarker(paths.landmarks, threads=threads, cache_dir=cache)
        self.min_size, self.min_score, self.min_presence = min_size, min_score, min_presence

    def find(self, rgb: UInt8Array, *, tiles: bool = True, known: Sequence[Face] = ()) -> list[Face]:
        """All faces of a picture, largest first, numbered 0, 1, 2 ... in `track`.

        Args:
            rgb: (H, W, 3) uint8, upright.
            tiles: also search enlarged tiles for small faces; without, faces below about 1/16 of the longer side
                are missed.
            known: faces already located in this picture, which are then not looked at again nor returned.

        Raises:
            ValueError: if `rgb` is not such a picture.
        """
        _check(rgb)
        found = self._detector.detect(rgb, min_size=self._smallest(rgb) if tiles else None, threshold=self.min_score)
        boxes = clip_boxes(found.boxes, rgb)
        new = [i for i, box in enumerate(boxes) if all(box_iou(box, _box(face)) < KNOWN_IOU for face in known)]
        found = found.take(np.array(new, np.intp))
        regions = regions_of_detections(found)
        faces = self._faces(rgb, regions, found.scores)
        # A mesh that lies elsewhere than the box it was looked for in is no finding of its own.
        agreeing = [
            (face, angle)
            for face, box, angle in zip(faces, boxes[new], regions.angles, strict=True)
            if face is not None and box_iou(_box(face), box) >= AGREEMENT_IOU
        ]
        return number_by_size(merge_same(self._settle(rgb, agreeing), known))

    def follow(self, rgb: UInt8Array, previous: Sequence[Face]) -> list[Face | None]:
        """The same faces a frame later, looked for where they were, without detection.

        Returns:
            For each of `previous` the face with its new landmarks and the same `track` and detector score, or None
            where no face is left.
        """
        _check(rgb)
        regions = regions_of_landmarks(np.array([face.landmarks for face in previous]).reshape(-1, 68, 2))
        faces = self._faces(rgb, regions, np.array([face.score for face in previous], np.float64))
        return [face and replace(face, track=old.track) for face, old in zip(faces, previous, strict=True)]

    def meshes(self, rgb: UInt8Array, faces: Sequence[Face]) -> Float32Array:
        """The whole mesh of faces already found, looked at once more where their landmarks are.

        The product keeps 68 of these points; comparisons with nets that read the mesh need all of them.

        Returns:
            (N, 478, 2) float32 in picture pixels, in the order of `faces`.
        """
        _check(rgb)
        regions = regions_of_landmarks(np.array([face.landmarks for face in faces]).reshape(-1, 68, 2))
        return self._landmarker.run(rgb, regions)[0][..., :2]

    def _settle(self, rgb: UInt8Array, faces: Sequence[tuple[Face, float]]) -> list[Face]:
        """Look again, each time from the last look's points, where the first look was askew or doubtful.

        The detector's keypoints understate a roll, and the landmark net is at its best on an upright face. A face that
        was doubtful must also be found at the same place twice running.

        Args:
            rgb: the picture.
            faces: each with the angle of the region in which it was found, radians.
        """
        settled: list[Face] = []
        for face, angle in faces:
            doubtful = face.presence < SURE_PRESENCE
            steady, upright = not doubtful, abs(_turned(face, angle)) <= ASKEW
            for _ in range(LOOKS):
                if steady and upright:
                    break
                (again,) = self.follow(rgb, [face])
                steady = again is not None and (not doubtful or _stray(face, again) <= STEADY)
                if again is None or (upright and not steady):  # an upright look that strays won't get better
                    break
                face, upright = again, abs(_turned(again, _roll(face))) <= ASKEW
            if steady and face.presence >= (CONFIRMED_PRESENCE if doubtful else self.min_presence):
                settled.append(face)
        return settled

    def _smallest(self, rgb: UInt8Array) -> float:
        return max(self.min_size, MIN_SHARE * float(min(rgb.shape[:2])))

    def _faces(self, rgb: UInt8Array, regions: Regions, scores: Float64Array) -> list[Face | None]:
        mesh, presence = self._landmarker.run(rgb, regions)
        flat = mesh[..., :2]
        landmarks = convert(flat, "mediapipe478").astype(np.float32)
        # convert() knows places in the picture alone: the depth travels as their x and y.
        depths = convert(mesh[..., [2, 2]], "mediapipe478")[..., 0].astype(np.float32)
        boxes = clip_boxes(np.concatenate([flat.min(axis=1), flat.max(axis=1)], axis=1), rgb).astype(np.float32)
        return [
            Face(box, float(score), points, float(sure), depth=depth)
            if sure >= self.min_presence and _has_area(box)
            else None
            for box, score, points, sure, depth in zip(boxes, scores, landmarks, presence, depths, strict=True)
        ]


def clip_boxes(boxes: npt.ArrayLike, rgb: UInt8Array) -> Float64Array:
    """(..., 4) boxes cut to the picture, whose edges lie half a pixel outside the outer pixel centres."""
    height, width = rgb.shape[:2]
    return np.clip(np.asarray(boxes, np.float64), -0.5, np.array([width, height, width, height]) - 0.5)


def merge_same(faces: Sequence[Face], known: Sequence[Face] = ()) -> list[Face]:
    """Leave one of several findings of the same face, the one with the highest score, and none of the known ones."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(cover(_box(face), _box(other)) < SAME_FACE for other in (*known, *kept)):
            kept.append(face)
    return kept


def cover(box: Float64Array, other: Float64Array) -> float:
    """Share of the smaller of two boxes that lies in the other."""
    shared = np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None)
    return float(np.prod(shared)) / max(min(box_area(box), box_area(other)), 1e-12)


def number_by_size(faces: Sequence[Face]) -> list[Face]:
    """Faces by falling box area, with `track` 0, 1, 2 ..."""
    ordered = sorted(faces, key=lambda face: -box_area(face.box_xyxy))
    return [replace(face, track=number) for number, face in enumerate(ordered)]


def box_area(box_xyxy: npt.ArrayLike) -> float:
    """Area of a box in square pixels."""
    box = np.asarray(box_xyxy, np.float64)
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _box(face: Face) -> Float64Array:
    return face.box_xyxy.astype(np.float64)


def _roll(face: Face) -> float:
    """Angle of the line between the eyes, radians clockwise."""
    return float(regions_of_landmarks(face.landmarks).angles[0])


def _turned(face: Face, angle: float) -> float:
    """Roll of a face against an angle, -pi to pi."""
    return (_roll(face) - angle + np.pi) % (2 * np.pi) - np.pi


def _stray(face: Face, again: Face) -> float:
    """Mean distance between two findings' points, in sides of the box."""
    box = face.box_xyxy
    side = max(float(box[2] - box[0]), float(box[3] - box[1]), 1.0)
    return float(np.linalg.norm(face.landmarks - again.landmarks, axis=1).mean()) / side


def _has_area(box: Float32Array) -> bool:
    return bool(box[2] - box[0] >= 1 and box[3] - box[1] >= 1)


def _check(rgb: UInt8Array) -> None:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape or rgb.dtype != np.uint8:
        raise ValueError(f"expected an (H, W, 3) uint8 picture with pixels, got {rgb.shape} {rgb.dtype}")
