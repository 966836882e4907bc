"""Which triangle does each pixel see? On the graphics driver through EGL where there is one, in torch elsewhere."""

from __future__ import annotations

import logging
import os
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

log = logging.getLogger(__name__)

EMPTY = torch.iinfo(torch.int64).max
BUCKETS = (4, 8, 16, 32, 64, 128, 256, 512, 1024)  # pixels; triangles of like size are tested together
FRAGMENTS_AT_ONCE = 4_000_000
VERTEX_SHADER = """#version 330
in vec3 position; uniform vec2 size;
void main() { gl_Position = vec4(position.xy / size * 2.0 - 1.0, position.z * 2.0 - 1.0, 1.0); }"""
FRAGMENT_SHADER = """#version 330
layout(location = 0) out int triangle;
void main() { triangle = gl_PrimitiveID + 1; }"""


class RasterError(Exception):
    """The rasteriser that was asked for cannot run here."""


class Rasteriser(Protocol):
    """Finds the nearest triangle under each pixel centre."""

    name: str

    def triangle_ids(
        self, points: Tensor, triangles: Tensor, height: int, width: int, two_sided: bool = False
    ) -> Tensor:
        """Return (B, H, W) int64 triangle numbers, -1 where there is none.

        Args:
            points: (B, V, 3) x and y in pixels from the top left corner, depth 0 (near) to 1.
            triangles: (T, 3) int64.
            height: H, in pixels.
            width: W, in pixels.
            two_sided: also draw triangles whose corners run clockwise in the picture, those seen from behind.
        """


class TorchRasteriser:
    """A z-buffer in plain torch, on any device: slow on processors, needs no graphics driver."""

    name = "torch"

    @torch.no_grad()
    def triangle_ids(
        self, points: Tensor, triangles: Tensor, height: int, width: int, two_sided: bool = False
    ) -> Tensor:
        """See `Rasteriser`."""
        ids = [_nearest(picture[triangles], height, width, two_sided) for picture in points]
        return torch.stack(ids) if ids else torch.empty((0, height, width), dtype=torch.int64)


def _nearest(corners: Tensor, height: int, width: int, two_sided: bool) -> Tensor:
    """Rasterise one picture's (T, 3, 3) corners: scatter (depth, triangle) keys and keep the least."""
    buffer = torch.full((height * width,), EMPTY, dtype=torch.int64, device=corners.device)
    limit = torch.tensor([width, height], device=corners.device)
    first = torch.ceil(corners[..., :2].amin(1) - 0.5).clamp(min=0)
    last = torch.minimum(torch.floor(corners[..., :2].amax(1) - 0.5), limit - 1)
    extent = (last - first).amax(-1) + 1
    area = signed_area(corners)
    usable = (last >= first).all(-1) & ((area.abs() if two_sided else -area) > 1e-9)
    lower = 0
    for bucket in BUCKETS:
        chosen = (usable & (extent > lower) & (extent <= bucket)).nonzero()[:, 0]
        for part in torch.split(chosen, max(1, FRAGMENTS_AT_ONCE // bucket**2)):
            _scatter(buffer, corners[part], part, first[part], bucket, height, width)
        lower = bucket
    return torch.where(buffer == EMPTY, -1, buffer & 0xFFFFFFFF).view(height, width)


def _scatter(
    buffer: Tensor, corners: Tensor, numbers: Tensor, first: Tensor, extent: int, height: int, width: int
) -> None:
    steps = torch.arange(extent, device=corners.device)
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).view(1, -1, 2)
    pixels = first[:, None] + offsets
    weights = barycentric(corners[:, None], pixels + 0.5)
    inside = (weights >= -1e-5).all(-1) & (pixels[..., 0] < width) & (pixels[..., 1] < height)
    depth = (weights * corners[:, None, :, 2]).sum(-1).clamp(0, 1)
    keys = ((depth * 2**30).long() << 32) | numbers[:, None]
    places = (pixels[..., 1] * width + pixels[..., 0]).long()
    buffer.scatter_reduce_(0, places[inside], keys[inside], "amin")


def signed_area(corners: Tensor) -> Tensor:
    """Return twice the signed area of (..., 3, 2+) triangles, negative for anticlockwise ones as the eye sees them."""
    a, b, c = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (c[..., 0] - a[..., 0]) * (b[..., 1] - a[..., 1])


def barycentric(corners: Tensor, pixels: Tensor) -> Tensor:
    """Return (..., 3) weights of the corners (..., 3, 2+) at pixel positions (..., 2)."""
    away = corners[..., :2] - pixels[..., None, :]
    ax, ay, bx, by, cx, cy = away.flatten(-2).unbind(-1)
    area = signed_area(corners)
    area = torch.where(area.abs() < 1e-12, torch.full_like(area, 1e-12), area)
    first = (bx * cy - cx * by) / area
    second = (cx * ay - ax * cy) / area
    return torch.stack([first, second, 1 - first - second], -1)


class GlRasteriser:
    """The graphics driver, hardware or software, through an off-screen EGL context of its own."""

    name = "gl"

    def __init__(self) -> None:
        """Open the context.

        Raises:
            RasterError: when moderngl or EGL is missing or no context can be made.
        """
        os.environ.setdefault("LP_NUM_THREADS", "0")  # software drivers: draw in this thread, not in one per core
        try:
            import moderngl

            create: Any = moderngl.create_context  # its stub takes the name of the backend for a dictionary
            self._context: Any = create(standalone=True, backend="egl")
            self._program = self._context.program(vertex_shader=VERTEX_SHADER, fragment_shader=FRAGMENT_SHADER)
        except Exception as error:  # moderngl raises plain Exception when a library or a display is missing
            raise RasterError(
                f"no EGL graphics context ({error}); install libegl1 libegl-mesa0 libgl1-mesa-dri libgles2 libgl1, "
                "or choose the torch rasteriser"
            ) from error
        self._context.enable(moderngl.DEPTH_TEST)
        self._context.cull_face = "front"  # y runs down here, so the driver takes front faces for back faces
        self._culling = moderngl.CULL_FACE
        self._targets: dict[tuple[int, int], Any] = {}
        self._meshes: dict[tuple[int, int], tuple[Any, Any, Tensor]] = {}

    def triangle_ids(
        self, points: Tensor, triangles: Tensor, height: int, width: int, two_sided: bool = False
    ) -> Tensor:
        """See `Rasteriser`."""
        with self._context:  # makes it current: another renderer of this process may have its own
            return self._draw(points, triangles, height, width, two_sided)

    def _draw(self, points: Tensor, triangles: Tensor, height: int, width: int, two_sided: bool) -> Tensor:
        target = self._target(height, width)
        mesh, buffer = self._mesh(triangles, points.shape[1])
        self._program["size"] = (float(width), float(height))
        target.use()
        (self._context.disable if two_sided else self._context.enable)(self._culling)
        pictures = np.empty((len(points), height, width), np.int32)
        for picture, vertices in zip(pictures, np.ascontiguousarray(points.cpu().numpy(), np.float32), strict=True):
            buffer.write(vertices)
            target.clear()
            mesh.render()
            target.read_into(picture, components=1, dtype="i4")
        return torch.from_numpy(pictures).to(points.device).long() - 1

    def _target(self, height: int, width: int) -> Any:
        if (height, width) not in self._targets:
            colour = self._context.texture((width, height), 1, dtype="i4", alignment=4)
            depth = self._context.depth_renderbuffer((width, height))
            self._targets[height, width] = self._context.framebuffer([colour], depth)
        return self._targets[height, width]

    def _mesh(self, triangles: Tensor, vertices: int) -> tuple[Any, Any]:
        key = (triangles.data_ptr(), vertices)
        if key not in self._meshes:
            index = self._context.buffer(triangles.cpu().numpy().astype(np.int32).tobytes())
            buffer = self._context.buffer(reserve=vertices * 12)
            array = self._context.vertex_array(self._program, [(buffer, "3f", "position")], index)
            self._meshes[key] = (array, buffer, triangles)  # keeping the tensor keeps its address its own
        array, buffer, _ = self._meshes[key]
        return array, buffer


def open_rasteriser(kind: str = "auto", device: torch.device | str = "cpu") -> Rasteriser:
    """Open a rasteriser.

    Args:
        kind: "gl", "torch", or "auto": torch on an accelerator, else gl where EGL works, else torch.
        device: where the geometry lies.

    Raises:
        RasterError: for "gl" without EGL.
        ValueError: for an unknown kind.
    """
    if kind not in ("auto", "gl", "torch"):
        raise ValueError(f"unknown rasteriser {kind!r}; choose auto, gl or torch")
    if kind == "torch" or (kind == "auto" and torch.device(device).type != "cpu"):
        return TorchRasteriser()
    try:
        return GlRasteriser()
    except RasterError as error:
        if kind == "gl":
            raise
        log.warning("Rendering with the slow torch rasteriser: %s", error)
        return TorchRasteriser()
