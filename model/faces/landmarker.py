"""The 478 points of MediaPipe's face mesh on square, roll-aligned regions of a picture, and how sure the net is.

Points have a depth too: the net's own guess, in the same pixels and away from the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.faces.detector import Detections
from model.faces.nets import PictureNet
from model.geometry import apply_affine, invert_affine, warp
from model.values import Float32Array, Float64Array, UInt8Array

SIZE = 256
MARGIN = 1.5
"""Side of a region in units of the face's longer side, as in MediaPipe's own graph."""
POINTS = 478


@dataclass(frozen=True, slots=True)
class Regions:
    """N squares in a picture, turned with the face.

    Attributes:
        centres: (N, 2) pixels.
        sides: (N,) pixels.
        angles: (N,) radians by which the face is turned clockwise in the picture.
    """

    centres: Float64Array
    sides: Float64Array
    angles: Float64Array

    def to_region(self) -> Float64Array:
        """(N, 2, 3) affines from picture pixels to the pixels of the 256 x 256 region."""
        scale = SIZE / self.sides
        cos, sin = np.cos(self.angles) * scale, np.sin(self.angles) * scale
        linear = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
        shift = (SIZE - 1) / 2 - np.einsum("nij,nj->ni", linear, self.centres)
        return np.concatenate([linear, shift[..., None]], axis=-1)


def regions_of_detections(found: Detections) -> Regions:
    """Regions around detected boxes, upright by the line between the two eyes."""
    boxes = found.boxes.reshape(-1, 2, 2)
    eyes = found.keypoints[:, 1] - found.keypoints[:, 0]
    return Regions(
        boxes.mean(axis=1),
        MARGIN * np.maximum((boxes[:, 1] - boxes[:, 0]).max(axis=1), 1.0),
        np.arctan2(eyes[:, 1], eyes[:, 0]),
    )


def regions_of_landmarks(landmarks: npt.ArrayLike) -> Regions:
    """Regions around faces whose points are known, to find the same faces in the next frame.

    Args:
        landmarks: (N, 68, 2) iBUG points in picture pixels.
    """
    points = np.asarray(landmarks, np.float64).reshape(-1, 68, 2)
    eyes = points[:, 42:48].mean(axis=1) - points[:, 36:42].mean(axis=1)
    angles = np.arctan2(eyes[:, 1], eyes[:, 0])
    axes = np.stack(
        [np.stack([np.cos(angles), np.sin(angles)], -1), np.stack([-np.sin(angles), np.cos(angles)], -1)], -2
    )
    turned = np.einsum("nij,npj->npi", axes, points)
    low, high = turned.min(axis=1), turned.max(axis=1)
    # The mesh reaches up to the forehead's top, which the 68 points lack.
    low[:, 1] -= FOREHEAD * (high[:, 1] - low[:, 1])
    centres = np.einsum("nji,nj->ni", axes, (low + high) / 2)
    return Regions(centres, MARGIN * np.maximum((high - low).max(axis=1), 1.0), angles)


FOREHEAD = 0.2
"""Height of the forehead above the brows over the height from brows to chin."""


class Landmarker:
    """Finds the points of faces in given regions of a picture."""

    def __init__(self, net_file: Path, *, threads: int | None = None, cache_dir: Path | None = None) -> None:
        """`net_file` is `face_landmarks_detector.tflite`; for the others see `PictureNet`."""
        self._net = PictureNet(
            net_file, mean=0.0, scale=255.0, outputs=(POINTS * 3, 1, 1), threads=threads, cache_dir=cache_dir
        )

    def run(self, rgb: UInt8Array, regions: Regions) -> tuple[Float32Array, Float32Array]:
        """Points and presence of the face in each region.

        Returns:
            points: (N, 478, 3) float32: x and y in picture pixels, then the depth in the same pixels, away
                from the camera, from an origin within the head.
            presence: (N,) float32, 0 to 1: how sure the net is that there was a face.
        """
        affines = regions.to_region()
        crops = np.empty((len(affines), SIZE, SIZE, 3), np.uint8)
        for crop, affine in zip(crops, affines, strict=True):
            crop[:] = warp(rgb, affine, SIZE, border=(0, 0, 0))
        mesh, logits, _ = self._net.run(crops)
        # The net's coordinates have pixel edges at whole numbers, ours pixel centres.
        mesh = mesh.reshape(-1, POINTS, 3).astype(np.float64)
        inside = mesh[..., :2] - 0.5
        flat = apply_affine(invert_affine(affines), inside) if len(affines) else inside
        depth = mesh[..., 2:] * (regions.sides / SIZE)[:, None, None]
        points = np.concatenate([flat, depth], axis=-1)
        presence = 1.0 / (1.0 + np.exp(-np.clip(logits[:, 0].astype(np.float64), -100, 100)))
        return points.astype(np.float32), presence.astype(np.float32)
