"""Renders pictures of one person at a time: expressions and scenes in, pictures, landmarks and labels out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.synthetic import camera, hair, wrinkles
from training.synthetic.appearance import Looks, paint_looks
from training.synthetic.conventions import net_offsets, shifted
from training.synthetic.gbuffer import Fragments, Mesh, blend_over, see, to_images
from training.synthetic.glasses import LENS, Glasses, frame_mesh, frame_points
from training.synthetic.head import Head, Projection
from training.synthetic.identity import Identity
from training.synthetic.labels import Labels, visible
from training.synthetic.pack import FacePack, Material
from training.synthetic.raster import open_rasteriser
from training.synthetic.sampler import Expression
from training.synthetic.scene import Scene
from training.synthetic.seeds import stream
from training.synthetic.shading import PaintedPerson, light, surface

MOUTH_WINDOW = (10.0, 11.0)  # width and height in head units of the frontal view in which lips are judged
MOUTH_WINDOW_BOTTOM = -10.5
PIXELS_PER_UNIT = 8
LASH_TONE, GLARE_TONE, FRAME_OPACITY = 0.03, 0.85, 0.96
LASH_DEPTH = 0.002  # lashes this far behind a lid still show


@dataclass(frozen=True, eq=False)
class RenderedFace:
    """One picture.

    Attributes:
        pixels: (S, S, 3) uint8 RGB.
        landmarks: (68, 2) float32 iBUG points in pixels, the first pixel's centre at (0, 0).
        labels: what can be seen.
        opening: visible inside of the mouth, see `labels.visible`.
        identity: number of the person.
        expression: what the face was told to do.
        scene: where it stands.
    """

    pixels: npt.NDArray[np.uint8]
    landmarks: npt.NDArray[np.float32]
    labels: Labels
    opening: float
    identity: int
    expression: Expression
    scene: Scene


class Renderer:
    """Renders faces of a pack."""

    def __init__(self, pack: FacePack, size: int = 160, raster: str = "auto", device: str = "cpu") -> None:
        """Prepare meshes, wrinkles and the rasteriser.

        Args:
            pack: the head.
            size: side of the pictures in pixels; a network's crop is 1 / 1.25 of it.
            raster: "auto", "gl" or "torch", see `raster.open_rasteriser`.
            device: where the tensors live, such as "cpu" or "cuda".

        Raises:
            RasterError: when the rasteriser asked for cannot run here.
        """
        self.pack, self.size = pack, size
        self.head = Head(pack, device)
        self.raster = open_rasteriser(raster, device)
        self.device = self.head.device
        self.chart_size = 256 if size <= 200 else 512
        self._uvs = pack.landmark_uvs()
        self._offsets = net_offsets() if pack.follow_net else np.zeros((68, 2), np.float32)
        lashes = pack.materials == Material.LASHES
        self._skin_mesh, self._lash_mesh = self._mesh(~lashes), self._mesh(lashes)
        self._mouth_triangles, self._mouth_materials = self._mouth_mesh()
        self._frame_triangles, self._frame_parts = (torch.from_numpy(part).to(self.device) for part in frame_mesh())
        self._lines = [
            torch.from_numpy(wrinkles.paint_lines(self._uvs, self.chart_size, np.random.default_rng(variant)))[None]
            for variant in range(wrinkles.VARIANTS)
        ]
        self._strands = hair.paint_strands(np.random.default_rng(0)).to(self.device)

    def _mesh(self, chosen: npt.NDArray[np.bool_]) -> Mesh:
        pack = self.pack
        return Mesh(
            triangles=torch.from_numpy(pack.triangles[chosen]).to(self.device),
            uvs=torch.from_numpy(pack.uvs[pack.uv_triangles[chosen]]).to(self.device),
            materials=torch.from_numpy(pack.materials[chosen]).to(self.device),
        )

    def _mouth_mesh(self) -> tuple[Tensor, Tensor]:
        """Return the triangles around and inside the mouth, (T, 3), and their materials, (T,)."""
        pack = self.pack
        x, y, z = pack.vertices[pack.triangles].mean(1).T
        near = (np.abs(x) < 5.5) & (y > -9.0) & (y < 1.0) & (z > 2.0)
        chosen = near & (pack.materials != Material.LASHES)
        materials = torch.from_numpy(pack.materials[chosen])
        return torch.from_numpy(pack.triangles[chosen]).to(self.device), materials.to(self.device)

    def paint(self, identity: Identity) -> PaintedPerson:
        """Paint a person's looks; do it once for all their pictures."""
        return self.dress(paint_looks(self.pack, self._uvs, identity, self.chart_size))

    def dress(self, looks: Looks) -> PaintedPerson:
        """Bring looks to the renderer's device."""
        chart = np.concatenate([looks.texture.astype(np.float32) / 255, looks.height[..., None]], -1)
        return PaintedPerson(
            looks=looks,
            chart=torch.from_numpy(chart).permute(2, 0, 1)[None].contiguous().to(self.device),
            lines=self._lines[looks.line_variant].to(self.device),
            strands=self._strands,
        )

    @torch.inference_mode()
    def render(
        self,
        identity: Identity,
        person: PaintedPerson,
        expressions: Sequence[Expression],
        scenes: Sequence[Scene],
        plain: bool = False,
        framing: tuple[float, float, float] | None = None,
    ) -> list[RenderedFace]:
        """Render one person in B expressions and as many scenes.

        Args:
            identity: the person.
            person: `paint(identity)`.
            expressions: B expressions of that person.
            scenes: B scenes.
            plain: a clean picture before a plain background, without the camera's flaws.
            framing: a still camera: centre x, y (down) and side of the picture in head units; None follows the face.
        """
        if not expressions:
            return []
        neutral = self.head.neutral(identity.shape)
        heads = self.head.deform(neutral, np.stack([e.weights for e in expressions]))
        openings = self.mouth_openings(heads)
        still = None if framing is None else torch.tensor([framing] * len(scenes), device=self.device)
        projection = self.head.project(self._with_hair(heads, person.looks), scenes, self.size, still)
        units = [expression.units for expression in expressions]
        line_depths = torch.from_numpy(wrinkles.depths(units, identity.age, person.looks.line_gains)).to(self.device)
        images, seen = self._shade(projection, person, neutral, line_depths, scenes)
        landmarks, scales = projection.landmarks.cpu().numpy(), projection.scale.tolist()
        rendered = []
        for number, (expression, scene) in enumerate(zip(expressions, scenes, strict=True)):
            rng = stream(scene.seed, "sensor")
            background = camera.plain_background(self.size) if plain else camera.paint_background(rng, self.size)
            background = camera.hang_hair(background, landmarks[number], scales[number], person.looks.hair, rng)
            picture = images[number] * seen[number] + background * (1 - seen[number])
            pixels = camera.to_bytes(picture) if plain else camera.expose(picture, rng)
            marks = shifted(landmarks[number], self._offsets)
            labels = visible(self.pack, expression, openings[number])
            rendered.append(RenderedFace(pixels, marks, labels, openings[number], identity.number, expression, scene))
        return rendered

    def _with_hair(self, heads: Tensor, looks: Looks) -> Tensor:
        """Return the heads, swollen where hair grows."""
        cover = hair.opacity(self.head.vertices, looks.hair) * (self.head.vertices[:, 1] > -3)
        return heads + self.head.rest_normals * (cover * looks.hair.volume)[:, None]

    def _shade(
        self,
        projection: Projection,
        person: PaintedPerson,
        neutral: Tensor,
        line_depths: Tensor,
        scenes: Sequence[Scene],
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return (B, S, S, 3) pictures and (B, S, S, 1) shares of each pixel that the head covers."""
        count, size = len(scenes), self.size
        fragments = see(self.raster, self._skin_mesh, projection, self.head.vertices, size)
        made = surface(fragments, person, line_depths)
        colour = light(fragments, made, scenes, size, person.looks.gloss)
        images = to_images(colour, fragments.place, count, size)
        depth = to_images(fragments.depth, fragments.place, count, size, empty=1.0)
        seen = to_images(torch.ones_like(fragments.depth), fragments.place, count, size)
        self._draw_lashes(images, seen, depth, projection)
        if person.looks.glasses is not None:
            self._draw_glasses(images, seen, depth, projection, person.looks.glasses, neutral, scenes)
        return images.cpu().numpy(), seen[..., None].cpu().numpy()

    def _draw_lashes(self, images: Tensor, seen: Tensor, depth: Tensor, projection: Projection) -> None:
        if not len(self._lash_mesh.triangles):
            return
        lashes = see(self.raster, self._lash_mesh, projection, self.head.vertices, self.size, two_sided=True)
        opacity = _lash_opacity(lashes) * (lashes.depth < depth.flatten()[lashes.place] + LASH_DEPTH)
        blend_over(images, seen, lashes.place, torch.full_like(lashes.rest, LASH_TONE), opacity)

    def _draw_glasses(
        self,
        images: Tensor,
        seen: Tensor,
        depth: Tensor,
        projection: Projection,
        glasses: Glasses,
        neutral: Tensor,
        scenes: Sequence[Scene],
    ) -> None:
        landmarks = neutral[self.head.landmarks].cpu().numpy()
        points = projection.view.points(torch.from_numpy(frame_points(glasses, landmarks))[None].to(self.device))
        ids = self.raster.triangle_ids(points, self._frame_triangles, self.size, self.size, two_sided=True).flatten()
        place = (ids >= 0).nonzero()[:, 0]
        triangle, picture = ids[place], place // self.size**2
        corners = points[picture[:, None], self._frame_triangles[triangle]]
        before_head = corners[..., 2].mean(1) < depth.flatten()[place]
        lens = self._frame_parts[triangle] == LENS
        light = torch.tensor([float(s.ambient.mean() + 0.45 * s.light_colours.mean(1).sum()) for s in scenes])
        frame_colour = torch.tensor(glasses.colour).to(images) * light.to(images)[picture, None]
        colour = torch.where(lens[:, None], torch.full_like(frame_colour, GLARE_TONE), frame_colour.clamp(0, 1))
        opacity = torch.where(lens, glasses.lens_opacity, FRAME_OPACITY) * before_head
        blend_over(images, seen, place, colour, opacity)

    def mouth_openings(self, heads: Tensor) -> list[float]:
        """Return B openings of the lips of (B, V, 3) heads, seen from the front, see `labels.visible`."""
        width, height = (int(extent * PIXELS_PER_UNIT) for extent in MOUTH_WINDOW)
        points = torch.stack(
            [
                heads[..., 0] * PIXELS_PER_UNIT + width / 2,
                height - (heads[..., 1] - MOUTH_WINDOW_BOTTOM) * PIXELS_PER_UNIT,
                (0.5 - heads[..., 2] / 60.0).clamp(0, 1),
            ],
            -1,
        )
        ids = self.raster.triangle_ids(points, self._mouth_triangles, height, width)
        material = torch.where(ids >= 0, self._mouth_materials[ids.clamp(min=0)], -1)
        inside = (material == Material.GUMS) | (material == Material.TEETH) | (material == Material.MOUTH)
        corners = heads[:, self.head.landmarks[[48, 54]]]
        mouth_width = (corners[:, 1] - corners[:, 0]).norm(dim=-1)
        area = inside.flatten(1).sum(1) / PIXELS_PER_UNIT**2
        return [float(opening) for opening in area / mouth_width]


def _lash_opacity(lashes: Fragments) -> Tensor:
    """Return (M,): dense for upper lashes, faint for lower ones, broken up into hairs."""
    across, up, _ = lashes.rest.unbind(-1)
    upper = torch.sigmoid((up - (3.35 + 0.05 * (across.abs() - 3))) * 6)
    hairs = (0.5 + 0.5 * torch.sin(lashes.uv[:, 0] * 900 + 3 * torch.sin(lashes.uv[:, 1] * 40))) ** 1.5
    return 0.07 + 0.5 * upper * (0.35 + 0.65 * hairs)
