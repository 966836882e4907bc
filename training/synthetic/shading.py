"""From fragments to colour: what things are made of, creases, ambient occlusion and light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.synthetic import hair
from training.synthetic.appearance import Looks
from training.synthetic.gbuffer import Fragments, to_images
from training.synthetic.pack import Material
from training.synthetic.scene import Scene

MOUTH_COLOUR = (0.20, 0.05, 0.05)
GUM_COLOUR = (0.55, 0.22, 0.22)
TOOTH_COLOUR = (0.80, 0.76, 0.66)
SCLERA_COLOUR = (0.80, 0.76, 0.74)
GROOVE_DARKENING = (0.17, 0.23, 0.24)
IRIS_RADIUS = 0.125  # on the eye's chart
SCATTER = (0.30, 0.14, 0.10)  # how far red, green and blue light reaches round into the shade of skin
OCCLUSION = ((1.5, 90.0), (4.5, 38.0), (10.0, 14.0))  # (radius in pixels of a picture of 160, strength)
BUMP = 1.6 / 512


@dataclass(frozen=True, eq=False)
class Surface:
    """Fragments with their material resolved.

    Attributes:
        colour: (M, 3) diffuse colour, 0 to 1.
        height: (M,) relief of the skin.
        hair: (M,) share of hair, 0 to 1.
        depth_shade: (M,) darkening towards the throat, 1 outside the mouth.
    """

    colour: Tensor
    height: Tensor
    hair: Tensor
    depth_shade: Tensor


@dataclass(frozen=True, eq=False)
class PaintedPerson:
    """A person's looks as tensors on the renderer's device.

    Attributes:
        looks: the values they come from.
        chart: (1, 4, S, S) skin colour 0 to 1 and fine height.
        lines: (1, lines, S, S) the person's set of wrinkles.
        strands: (1, 1, S, S) strand noise, shared by all.
    """

    looks: Looks
    chart: Tensor
    lines: Tensor
    strands: Tensor


def surface(fragments: Fragments, person: PaintedPerson, line_depths: Tensor) -> Surface:
    """Resolve colours and relief.

    Args:
        fragments: M pixels of B pictures of this person.
        person: the person.
        line_depths: (B, lines) depth of each wrinkle in each picture.
    """
    skin = fragments.material == Material.FACE
    sampled = _sample(person.chart, fragments.uv)
    colour, height = sampled[:, :3], sampled[:, 3]
    grooves = (_sample(person.lines, fragments.uv) * line_depths[fragments.picture]).sum(1) * skin
    darkening = torch.tensor(GROOVE_DARKENING, device=colour.device)
    colour = colour * (1 - grooves.clamp(0, 1.4)[:, None] * darkening)
    colour = _other_materials(colour, fragments, person)
    shade = _depth_shade(fragments)
    cover, colour = _add_hair(colour, fragments, person)
    return Surface(colour, height * skin - grooves, cover, shade)


def _sample(chart: Tensor, uv: Tensor) -> Tensor:
    """Return (M, C) of a (1, C, S, S) chart at (M, 2) coordinates, v up."""
    grid = torch.stack([uv[:, 0] * 2 - 1, 1 - uv[:, 1] * 2], -1)[None, None]
    return functional.grid_sample(chart, grid, align_corners=False, padding_mode="border")[0, :, 0].T


def _other_materials(colour: Tensor, fragments: Fragments, person: PaintedPerson) -> Tensor:
    chart = person.chart
    rows, columns = chart.shape[2], chart.shape[3]
    neck = chart[0, :3, int(rows * 0.86) : int(rows * 0.97), int(columns * 0.35) : int(columns * 0.65)].mean((1, 2))
    plain = {
        Material.BACK: neck,
        Material.MOUTH: torch.tensor(MOUTH_COLOUR),
        Material.GUMS: torch.tensor(GUM_COLOUR),
        Material.TEETH: torch.tensor(TOOTH_COLOUR),
    }
    for material, flat in plain.items():
        colour = torch.where((fragments.material == material)[:, None], flat.to(colour.device), colour)
    eyes = is_eye(fragments).nonzero()[:, 0]
    return colour.index_copy(0, eyes, _eye_colour(fragments.uv[eyes], person.looks))


def is_eye(fragments: Fragments) -> Tensor:
    """Return (M,) bool: fragments of the eyeballs."""
    return (fragments.material == Material.SCLERA_LEFT) | (fragments.material == Material.SCLERA_RIGHT)


def is_inside_mouth(fragments: Fragments) -> Tensor:
    """Return (M,) bool: fragments of gums, tongue, teeth and the mouth's walls."""
    inside = (Material.GUMS, Material.TEETH, Material.MOUTH)
    return torch.stack([fragments.material == material for material in inside]).any(0)


def _eye_colour(uv: Tensor, looks: Looks) -> Tensor:
    from_centre = uv - 0.5
    radius = from_centre.norm(dim=1, keepdim=True)
    angle = torch.atan2(from_centre[:, 1:], from_centre[:, :1])
    iris = torch.from_numpy(looks.iris).to(uv) * (
        0.75 + 0.5 * radius / IRIS_RADIUS * (0.8 + 0.2 * torch.sin(angle * 40))
    )
    bloodshot = torch.tensor([0.0, 0.12, 0.12]).to(uv) * ((radius - 0.2) / 0.25).clamp(0, 1)
    white = torch.tensor(SCLERA_COLOUR).to(uv) - bloodshot
    in_iris = torch.sigmoid((IRIS_RADIUS - radius) * 160)
    rim = torch.exp(-(((radius - IRIS_RADIUS + 0.003) / 0.012) ** 2))
    in_pupil = torch.sigmoid((looks.pupil - radius) * 220)
    colour: Tensor = white * (1 - in_iris) + iris * in_iris
    return colour * (1 - 0.55 * rim) * (1 - 0.93 * in_pupil)


def _depth_shade(fragments: Fragments) -> Tensor:
    """Darken what lies deep in the mouth: no light of ours casts the shadow that the lips would."""
    depth = (9.9 - fragments.rest[:, 2]).clamp(min=0)
    return torch.where(is_inside_mouth(fragments), 0.9 * torch.exp(-0.9 * depth), torch.ones_like(depth))


def _add_hair(colour: Tensor, fragments: Fragments, person: PaintedPerson) -> tuple[Tensor, Tensor]:
    style = person.looks.hair
    grows = (fragments.material == Material.FACE) | (fragments.material == Material.BACK)
    tone = hair.strand_tone(person.strands, fragments.rest)
    cover = hair.opacity(fragments.rest, style, tone) * grows
    strands = torch.tensor(style.colour).to(colour) * (1 + 0.35 * tone[:, None]).clamp(0.3, 2)
    return cover, colour * (1 - cover[:, None]) + strands * cover[:, None]


def light(fragments: Fragments, made: Surface, scenes: Sequence[Scene], size: int, gloss: float) -> Tensor:
    """Return (M, 3) display colours, 0 to 1, of M fragments in B lit scenes."""
    pictures = len(scenes)
    normal = _bumped_normal(fragments, made, pictures, size)
    open_sky = (ambient_occlusion(fragments, pictures, size) * made.depth_shade)[:, None]
    device = normal.device
    lights, colours, ambient = (
        torch.from_numpy(np.stack(values)).to(device)[fragments.picture]
        for values in zip(*((s.lights, s.light_colours, s.ambient) for s in scenes), strict=True)
    )
    linear = made.colour.clamp(1e-3, 1) ** 2.0
    shaded = linear * ambient * (0.65 + 0.25 * (normal[:, 1:2] + 1)) * open_sky
    grazing = (1 - normal[:, 2:].clamp(0, 1)) ** 4
    view = torch.tensor([0.0, 0.0, 1.0], device=device)
    scatter = torch.tensor(SCATTER, device=device)
    for number in range(lights.shape[1]):
        direction, strength = lights[:, number], colours[:, number]
        facing = (normal * direction).sum(1, keepdim=True)
        diffuse = ((facing + scatter) / (1 + scatter)).clamp(min=0) ** 1.3
        half = functional.normalize(direction + view, dim=-1)
        mirror = (normal * half).sum(1).clamp(0, 1)
        shine = _highlight(mirror, facing[:, 0], fragments, made.hair, gloss)[:, None]
        shaded = shaded + linear * strength * diffuse * (0.35 + 0.65 * open_sky)
        shaded = shaded + strength * shine * open_sky * (0.5 + grazing)
    shaded = (shaded * made.depth_shade[:, None] ** 0.7).clamp(min=0)
    return (shaded / (1 + 0.18 * shaded)).clamp(0, 1).sqrt()


def _highlight(mirror: Tensor, facing: Tensor, fragments: Fragments, cover: Tensor, gloss: float) -> Tensor:
    skin = gloss * (0.10 * mirror**14 + 0.12 * mirror**50) * (facing > 0)
    shine = torch.where(is_eye(fragments), 1.6 * mirror**250, skin)
    shine = torch.where(is_inside_mouth(fragments), 0.25 * mirror**40, shine)
    return shine * (1 - 0.6 * cover)


def _bumped_normal(fragments: Fragments, made: Surface, pictures: int, size: int) -> Tensor:
    """Tilt the normals by the slope of the skin's relief as the picture sees it."""
    relief = to_images(made.height, fragments.place, pictures, size)
    slope_x = functional.pad(relief[:, :, 2:] - relief[:, :, :-2], (1, 1))
    slope_y = functional.pad(relief[:, 2:] - relief[:, :-2], (0, 0, 1, 1))
    strength = BUMP * size
    tilt_x = -(slope_x * strength).clamp(-0.5, 0.5).flatten()[fragments.place]
    tilt_y = (slope_y * strength).clamp(-0.5, 0.5).flatten()[fragments.place]
    skin = (fragments.material == Material.FACE) * (1 - made.hair)
    tilt = torch.stack([tilt_x, tilt_y, torch.zeros_like(tilt_x)], -1) * skin[:, None]
    normal = functional.normalize(functional.normalize(fragments.normal, dim=-1) + tilt, dim=-1)
    away = (normal[:, 2:] < -0.2) & (fragments.material != Material.FACE)[:, None]
    return torch.where(away, -normal, normal)


def ambient_occlusion(fragments: Fragments, pictures: int, size: int) -> Tensor:
    """Return (M,), 0.12 to 1: how much of the sky is open, from depth compared with blurred depth at three radii."""
    seen = to_images(torch.ones_like(fragments.depth), fragments.place, pictures, size)
    depth = to_images(fragments.depth, fragments.place, pictures, size)
    open_sky = torch.ones_like(depth)
    for radius, strength in OCCLUSION:
        sigma = radius * size / 160
        around = gaussian_blur(depth, sigma) / gaussian_blur(seen, sigma).clamp(min=1e-3)
        open_sky = open_sky * torch.exp(-(depth - around).clamp(0, 0.05) * strength)
    return gaussian_blur(open_sky, 0.4 * size / 160).clamp(0.12, 1).flatten()[fragments.place]


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur (B, H, W) images, edges repeated; wide blurs are made at a lower resolution."""
    if sigma >= 3.0:
        factor = int(sigma / 1.5)
        padding = [-length % factor for length in images.shape[1:]]
        padded = functional.pad(images[:, None], (0, padding[1], 0, padding[0]), mode="replicate")
        coarse = gaussian_blur(functional.avg_pool2d(padded, factor)[:, 0], sigma / factor)
        fine = functional.interpolate(coarse[:, None], scale_factor=float(factor), mode="bilinear")[:, 0]
        return fine[:, : images.shape[1], : images.shape[2]]
    taps = 2 * max(1, round(2.5 * sigma)) + 1
    offsets = torch.arange(taps, device=images.device) - taps // 2
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = functional.pad(images[:, None], (taps // 2,) * 4, mode="replicate")
    rows = functional.conv2d(padded, kernel.view(1, 1, 1, -1))
    return functional.conv2d(rows, kernel.view(1, 1, -1, 1))[:, 0]
