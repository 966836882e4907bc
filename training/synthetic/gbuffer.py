"""What each pixel sees of the head: material, place on the chart, normal, depth, in one flat list of fragments."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.synthetic.head import Projection
from training.synthetic.raster import Rasteriser, barycentric


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles of one layer, on the renderer's device.

    Attributes:
        triangles: (T, 3) vertex indices.
        uvs: (T, 3, 2) chart coordinates of the corners.
        materials: (T,) values of `Material`.
    """

    triangles: Tensor
    uvs: Tensor
    materials: Tensor


@dataclass(frozen=True, eq=False)
class Fragments:
    """The M pixels of B pictures that see a mesh.

    Attributes:
        picture: (M,) which picture, 0 to B - 1.
        place: (M,) index into the B * H * W pixels.
        uv: (M, 2) on the chart of the material.
        material: (M,).
        normal: (M, 3) in camera space, not of unit length.
        depth: (M,) 0 (near) to 1.
        rest: (M, 3) the same point of the mean head: a coordinate that neither identity nor expression moves.
    """

    picture: Tensor
    place: Tensor
    uv: Tensor
    material: Tensor
    normal: Tensor
    depth: Tensor
    rest: Tensor


def see(
    raster: Rasteriser, mesh: Mesh, projection: Projection, rest: Tensor, size: int, two_sided: bool = False
) -> Fragments:
    """Rasterise a mesh and gather what the pixels see.

    Args:
        raster: finds triangles.
        mesh: what to draw.
        projection: B projected heads of V vertices.
        rest: (V, 3) the mean head.
        size: side of the pictures in pixels.
        two_sided: also draw triangles seen from behind.
    """
    ids = raster.triangle_ids(projection.points, mesh.triangles, size, size, two_sided).flatten()
    place = (ids >= 0).nonzero()[:, 0]
    triangle = ids[place]
    picture = place // (size * size)
    corners = mesh.triangles[triangle]
    rows = corners + (picture * projection.points.shape[1])[:, None]
    points = projection.points.flatten(0, 1)[rows]
    pixels = torch.stack([place % size, place // size % size], -1) + 0.5
    weights = barycentric(points, pixels)[..., None]
    return Fragments(
        picture=picture,
        place=place,
        uv=(mesh.uvs[triangle] * weights).sum(1),
        material=mesh.materials[triangle],
        normal=(projection.normals.flatten(0, 1)[rows] * weights).sum(1),
        depth=(points[..., 2] * weights[..., 0]).sum(1),
        rest=(rest[corners] * weights).sum(1),
    )


def blend_over(images: Tensor, cover: Tensor, place: Tensor, colour: Tensor, opacity: Tensor) -> None:
    """Lay (M, 3) colours of (M,) opacity over (B, H, W, 3) pictures that cover (B, H, W) of what is behind them."""
    flat, covered = images.view(-1, 3), cover.view(-1)
    before = covered[place]
    after = 1 - (1 - before) * (1 - opacity)
    share = (opacity / after.clamp(min=1e-6))[:, None]
    flat[place] = flat[place] * (1 - share) + colour * share
    covered[place] = after


def to_images(values: Tensor, place: Tensor, pictures: int, size: int, empty: float = 0.0) -> Tensor:
    """Scatter (M,) or (M, C) values of fragments into (B, size, size[, C]) pictures."""
    images = values.new_full((pictures * size * size, *values.shape[1:]), empty)
    images[place] = values
    return images.view(pictures, size, size, *values.shape[1:])
