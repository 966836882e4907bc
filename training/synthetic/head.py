"""The head as tensors: blending of shapes, normals, pose and projection to the picture."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.synthetic.pack import FacePack, FloatArray
from training.synthetic.scene import Scene, rotation

CROP_SCALE = 2.6  # side of the training crop over the side of the box around five points (METHOD 6.4)
MARGIN = 1.25  # a rendered picture is this much wider than the crop, so that augmentation finds pixels
PIVOT = (0.0, 0.0, 2.0)  # the point the head turns about
DEPTH_RANGE = 80.0


@dataclass(frozen=True, eq=False)
class View:
    """The cameras of B pictures.

    Attributes:
        turn: (B, 3, 3) rotations of the head.
        distance: (B, 1) from the camera to the head's centre.
        square: (B, 3) centre and side of what the picture shows, on the plane through the head.
        size: side of the pictures in pixels.
    """

    turn: Tensor
    distance: Tensor
    square: Tensor
    size: int

    def points(self, vertices: Tensor) -> Tensor:
        """Return (B, V, 3), x and y in pixels and depth 0 to 1, of (B, V, 3) or (1, V, 3) points of the head."""
        flat, depth = _flatten(pose(vertices, self.turn), self.distance)
        pixels = (flat - self.square[:, None, :2]) / self.square[:, None, 2:] * self.size + self.size / 2
        near_to_far = ((depth - self.distance + DEPTH_RANGE / 2) / DEPTH_RANGE).clamp(0, 1)
        return torch.cat([pixels, near_to_far[..., None]], -1)


@dataclass(frozen=True, eq=False)
class Projection:
    """Vertices in the picture.

    Attributes:
        points: (B, V, 3) x and y in pixels from the picture's top left corner (not its first pixel's centre), depth
            0 (near) to 1.
        normals: (B, V, 3) unit normals in camera space, y up, z to the camera.
        landmarks: (B, 68, 2) in pixels, the first pixel's centre at (0, 0).
        scale: (B,) pixels per head unit at the head's centre.
        view: the cameras, for what else stands in the picture.
    """

    points: Tensor
    normals: Tensor
    landmarks: Tensor
    scale: Tensor
    view: View


class Head:
    """A face pack on a device."""

    def __init__(self, pack: FacePack, device: torch.device | str = "cpu") -> None:
        """Copy the pack's geometry to `device`."""
        self.device = torch.device(device)
        self.vertices = torch.from_numpy(pack.vertices).to(self.device)
        self.identity_modes = torch.from_numpy(pack.identity_modes).to(self.device)
        self.shapes = torch.from_numpy(pack.shapes).to(self.device)
        self.triangles = torch.from_numpy(pack.triangles).to(self.device)
        self.landmarks = torch.from_numpy(pack.landmarks).to(self.device)
        self.incidence = incidence_matrix(self.triangles, len(self.vertices))
        self.rest_normals = vertex_normals(self.vertices[None], self.triangles, self.incidence)[0]

    def neutral(self, shape: FloatArray) -> Tensor:
        """Return (V, 3), the neutral head of a person with (M,) identity weights."""
        weights = torch.from_numpy(shape).to(self.device)
        return self.vertices + (weights @ self.identity_modes.flatten(1)).view(-1, 3)

    def deform(self, neutral: Tensor, weights: FloatArray) -> Tensor:
        """Return (B, V, 3), a (V, 3) neutral head with (B, E) shape weights."""
        moves = torch.from_numpy(weights).to(self.device) @ self.shapes.flatten(1)
        return neutral + moves.view(len(weights), -1, 3)

    def project(
        self, vertices: Tensor, scenes: Sequence[Scene], size: int, framing: Tensor | None = None
    ) -> Projection:
        """Turn (B, V, 3) heads, see them through each scene's camera and frame each face in a square picture.

        Args:
            vertices: B heads.
            scenes: B scenes.
            size: side of the pictures in pixels.
            framing: (B, 3) centre and side of each picture on the plane through the head, as `face_square` gives; None
                frames each face by its landmarks, so that it fills the picture.
        """
        turn = torch.from_numpy(np.stack([rotation(scene) for scene in scenes])).to(self.device)
        distance = torch.tensor([[scene.distance] for scene in scenes], device=self.device)
        posed = pose(vertices, turn)
        square = framing
        if square is None:
            flat, _ = _flatten(posed[:, self.landmarks], distance)
            square = face_square(flat) * torch.tensor([1.0, 1.0, MARGIN], device=self.device)
        view = View(turn, distance, square, size)
        points = view.points(vertices)
        return Projection(
            points=points,
            normals=vertex_normals(posed, self.triangles, self.incidence),
            landmarks=points[:, self.landmarks, :2] - 0.5,
            scale=size / square[:, 2],
            view=view,
        )


def pose(vertices: Tensor, turn: Tensor) -> Tensor:
    """Return (B, V, 3), vertices turned about the pivot by (B, 3, 3) rotations."""
    pivot = torch.tensor(PIVOT, device=vertices.device)
    return (vertices - pivot) @ turn.transpose(1, 2) + pivot


def _flatten(posed: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Return (B, V, 2) places on the plane through the head, y down, and (B, V) distances from the camera."""
    depth = distance - posed[..., 2]
    return torch.stack([posed[..., 0], -posed[..., 1]], -1) * ((distance - 8.0) / depth)[..., None], depth


def face_square(landmarks: Tensor) -> Tensor:
    """Return (B, 3), centre x, centre y and side of the training crop around (B, 68, 2) landmarks.

    The box of five points (eye centres, nose tip, mouth corners) in the frame of the eyes, as in METHOD 6.4; the
    square itself is not turned.
    """
    eye_left, eye_right = landmarks[:, 36:42].mean(1), landmarks[:, 42:48].mean(1)
    along = torch.nn.functional.normalize(eye_right - eye_left, dim=-1)
    down = torch.stack([-along[:, 1], along[:, 0]], -1)
    five = torch.stack([eye_left, eye_right, landmarks[:, 30], landmarks[:, 48], landmarks[:, 54]], 1)
    a, b = (five * along[:, None]).sum(-1), (five * down[:, None]).sum(-1)
    low = torch.stack([a.amin(1), b.amin(1)], -1)
    high = torch.stack([a.amax(1), b.amax(1)], -1)
    middle = (low + high) / 2
    centre = middle[:, :1] * along + middle[:, 1:] * down
    side = CROP_SCALE * (high - low).amax(1, keepdim=True)
    return torch.cat([centre, side], -1)


def vertex_normals(vertices: Tensor, triangles: Tensor, incidence: Tensor) -> Tensor:
    """Return (B, V, 3) unit normals: the sum of each vertex's triangle normals, weighted by area.

    Args:
        vertices: (B, V, 3).
        triangles: (T, 3) vertex indices.
        incidence: (V, T) sparse, see `incidence_matrix`; a product with it is several times faster than index_add.
    """
    rows = vertices.transpose(0, 1).flatten(1)  # (V, 3B): whole rows are gathered at once
    first = rows[triangles[:, 0]]
    one, two = ((rows[triangles[:, corner]] - first).view(len(first), -1, 3) for corner in (1, 2))
    faces = torch.linalg.cross(one, two)
    normals = (incidence @ faces.flatten(1)).view(len(rows), -1, 3)
    return torch.nn.functional.normalize(normals, dim=-1).transpose(0, 1).contiguous()


def incidence_matrix(triangles: Tensor, vertices: int) -> Tensor:
    """Return (V, T) sparse float32, 1 where a triangle has a vertex."""
    numbers = torch.arange(len(triangles), device=triangles.device).repeat_interleave(3)
    places = torch.stack([triangles.flatten(), numbers])
    ones = torch.ones(places.shape[1], device=triangles.device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls compressed rows beta; the product is exact
        size = (vertices, len(triangles))
        return torch.sparse_coo_tensor(places, ones, size, check_invariants=False).coalesce().to_sparse_csr()
