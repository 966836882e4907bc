"""What a person looks like: skin, lips, brows, beard, hair, eyes, painted once and used for all their pictures."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from training.synthetic import wrinkles
from training.synthetic.brows import draw_style, paint_brows
from training.synthetic.glasses import Glasses, draw_glasses
from training.synthetic.identity import Identity
from training.synthetic.noise import as_float32, cloud, smooth_step
from training.synthetic.pack import FacePack, FloatArray
from training.synthetic.seeds import stream

CHART_SIZE = 512  # lengths in pixels below are of a chart of this side
HAIR_COLOURS = np.array(
    [
        [0.08, 0.06, 0.05],
        [0.16, 0.10, 0.07],
        [0.30, 0.20, 0.12],
        [0.48, 0.36, 0.22],
        [0.42, 0.40, 0.38],
        [0.36, 0.16, 0.08],
    ]
)
HAIR_SHARES = (0.38, 0.27, 0.15, 0.08, 0.08, 0.04)
DARK_HAIR = np.array([0.06, 0.05, 0.045])
IRIS_COLOURS = np.array(
    [[0.16, 0.09, 0.05], [0.10, 0.06, 0.04], [0.25, 0.17, 0.08], [0.22, 0.33, 0.42], [0.24, 0.32, 0.22]]
)
IRIS_SHARES = (0.35, 0.25, 0.15, 0.15, 0.10)
BEARDS = ("none", "stubble", "short", "full", "moustache", "goatee")
BEARD_SHARES = (0.66, 0.17, 0.06, 0.04, 0.03, 0.04)


@dataclass(frozen=True)
class HairStyle:
    """Hair on the head, lengths in head units (about 1 cm).

    Attributes:
        colour: linear steps of RGB, 0 to 1.
        hairline: height of the hairline over the origin; brows lie near 6, the crown near 14.
        fringe: how far hair hangs below the hairline at its lowest.
        parting: where the fringe is thickest, -1 (picture left) to 1.
        volume: thickness of the hair.
        back_length: how far hair behind the head reaches down, 0 for short hair.
        cover: opacity; 0 is a bald head.
    """

    colour: tuple[float, float, float]
    hairline: float
    fringe: float
    parting: float
    volume: float
    back_length: float
    cover: float


@dataclass(frozen=True, eq=False)
class Looks:
    """A painted person.

    Attributes:
        texture: (S, S, 3) uint8, skin with lips, brows and beard on the face chart.
        height: (S, S) float32, fine relief of the skin.
        hair: hair on the head.
        iris: (3,) float32 colour.
        pupil: radius of the pupil, in units of the eye chart.
        line_variant: which of the painted sets of wrinkles the person has.
        line_gains: (lines,) float32, see `wrinkles.draw_gains`.
        gloss: strength of highlights on the skin, about 1.
        glasses: the pair the person wears, or None.
    """

    texture: npt.NDArray[np.uint8]
    height: FloatArray
    hair: HairStyle
    iris: FloatArray
    pupil: float
    line_variant: int
    line_gains: FloatArray
    gloss: float
    glasses: Glasses | None


def paint_looks(pack: FacePack, uvs: FloatArray, identity: Identity, size: int = CHART_SIZE) -> Looks:
    """Paint a person.

    Args:
        pack: the head with its skins.
        uvs: (68, 2) `pack.landmark_uvs()`.
        identity: whose looks; the same identity is painted the same way every time.
        size: side of the textures in pixels, 512 or fewer; a fine choice is three times the face in the picture.
    """
    rng = stream(identity.seed, "appearance", identity.number)
    skin = _skin(pack, identity, size, rng)
    forehead = skin[size // 8 : size // 4, size * 2 // 5 : size * 3 // 5]
    tone = np.median(forehead.reshape(-1, 3), 0)
    hair = _hair_style(tone, identity.age, rng)
    lips = _polygon(uvs[48:60], size, 2.0)
    skin = _paint_mouth(skin, uvs, lips, tone, rng)
    skin = _paint_eyelids(skin, uvs, tone, rng)
    colour = np.array(hair.colour, np.float32)
    brows = paint_brows(draw_style(rng), uvs, size, rng)[..., None]
    skin = skin * (1 - brows) + np.clip(colour * rng.uniform(0.6, 1.15), 0, 1) * brows
    beard = _beard(uvs, size, rng)[..., None] * (1 - lips)
    skin = skin * (1 - beard) + colour * 0.9 * beard
    return Looks(
        texture=(np.clip(skin, 0, 1) * 255).astype(np.uint8),
        height=_relief(skin, brows[..., 0], rng),
        hair=hair,
        iris=(IRIS_COLOURS[rng.choice(5, p=IRIS_SHARES)] * rng.uniform(0.8, 1.2)).astype(np.float32),
        pupil=float(rng.uniform(0.035, 0.06)),
        line_variant=int(rng.integers(wrinkles.VARIANTS)),
        line_gains=wrinkles.draw_gains(rng),
        gloss=float(rng.uniform(0.4, 1.3)),
        glasses=draw_glasses(rng),
    )


def _skin(pack: FacePack, identity: Identity, size: int, rng: np.random.Generator) -> FloatArray:
    first, second = (_shrunk(pack.skins[index], size) for index in identity.skins)
    skin = first * (1 - identity.skin_mix) + second * identity.skin_mix
    dark = float(smooth_step(skin.mean(), 0.5, 0.3))
    gamma = rng.uniform(0.55, 1.0) if dark > 0.5 else rng.uniform(0.75, 1.25)
    skin = _less_red(np.clip(skin, 0, 1) ** np.float32(gamma), dark, rng)
    skin = skin * (1 + rng.normal(0, 0.025, 3))
    skin = skin * (1 + 0.02 * cloud(rng, size, _scaled(size, 64, 32, 16)))[..., None]
    skin = skin * (1 + 0.012 * cloud(rng, size, _scaled(size, 4, 2)))[..., None]
    return as_float32(np.clip(skin, 0, 1))


def _less_red(skin: FloatArray, dark: float, rng: np.random.Generator) -> FloatArray:
    """Pull dark skins to the hue of dark skin in photographs: the pack's are too red by a third."""
    mean = skin[len(skin) // 8 : len(skin) * 5 // 8].mean((0, 1))
    green, blue = rng.uniform(0.66, 0.76), rng.uniform(0.50, 0.62)
    wanted = mean.mean() * np.array([1.0, green, blue]) * 3 / (1 + green + blue)
    return as_float32(skin * (1 - 0.85 * dark + 0.85 * dark * wanted / mean))


def _polygon(points: FloatArray, size: int, blur: float) -> FloatArray:
    """Return (S, S, 1), a filled polygon on the chart with soft edges."""
    canvas = np.zeros((size, size), np.float32)
    pixels = np.stack([points[:, 0], 1 - points[:, 1]], -1) * size * 16
    cv2.fillPoly(canvas, [np.round(pixels).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(canvas, (0, 0), blur * size / CHART_SIZE)[..., None].astype(np.float32)


def _paint_mouth(
    skin: FloatArray, uvs: FloatArray, lips: FloatArray, tone: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Colour the lips and paint over what the skin photographs show of the inside of the mouth."""
    centre = uvs[60:68].mean(0)
    inside = _polygon((uvs[60:68] - centre) * np.array([1.02, 1.35], np.float32) + centre, len(skin), 2.0)
    colour = tone * np.array([0.86, 0.60, 0.60]) * rng.uniform(0.85, 1.05) * (1 + rng.normal(0, 0.05, 3))
    strength = rng.uniform(0.4, 0.85)
    if rng.random() < 0.12:  # lipstick
        colour = np.array([0.65, 0.12, 0.18]) * rng.uniform(0.5, 1.2) * min(1.0, 1.7 * float(tone.mean()))
        colour = colour + rng.uniform(0, 0.12, 3)
        strength = rng.uniform(0.7, 0.95)
    painted = np.clip(colour, 0, 1) * (1 + 0.03 * cloud(rng, len(skin), _scaled(len(skin), 8, 4)))[..., None]
    skin = skin * (1 - lips * strength) + painted * lips * strength
    return as_float32(skin * (1 - inside) + painted * 0.9 * inside)


def _paint_eyelids(skin: FloatArray, uvs: FloatArray, tone: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Paint plain lids over the irises that the skin photographs show."""
    shade = np.array([0.93, 0.87, 0.85]) * rng.uniform(0.78, 1.03)
    for first in (36, 42):
        eye = uvs[first : first + 6]
        centre = eye.mean(0)
        lids = 0.8 * _polygon((eye - centre) * np.array([1.0, 2.2], np.float32) + centre, len(skin), 4.0)
        skin = skin * (1 - lids) + tone * shade * lids
    return skin.astype(np.float32)


def _beard(uvs: FloatArray, size: int, rng: np.random.Generator) -> FloatArray:
    """Return (S, S) opacity of the beard."""
    kind = BEARDS[rng.choice(len(BEARDS), p=BEARD_SHARES)]
    if kind == "none":
        return np.zeros((size, size), np.float32)
    y = np.linspace(1, 0, size, dtype=np.float32)[:, None]
    away = np.abs(np.linspace(0, 1, size, dtype=np.float32) - 0.5)[None]
    ragged = 0.012 * cloud(rng, size, _scaled(size, 16, 8))
    nose, mouth = uvs[33, 1], uvs[54, 0] - 0.5
    cheek_line = nose - 0.045 + 0.75 * np.maximum(0, away - 0.10) + ragged
    jaw = smooth_step(cheek_line - y, -0.01, 0.02) * smooth_step(away, 0.33, 0.29) * smooth_step(y, 0.17, 0.25)
    moustache = smooth_step(nose - 0.007 - y + 0.4 * ragged, 0.0, 0.010) * smooth_step(away, mouth + 0.02, mouth)
    moustache = moustache * smooth_step(y, uvs[54, 1] - 0.02, uvs[54, 1])
    chin = smooth_step(uvs[57, 1] + 0.01 - y, 0.0, 0.02) * smooth_step(away, 0.085, 0.055) * smooth_step(y, 0.17, 0.25)
    place = {"moustache": moustache, "goatee": np.maximum(moustache, chin)}.get(kind, np.maximum(jaw, moustache))
    opacity = {"stubble": rng.uniform(0.08, 0.30), "short": rng.uniform(0.35, 0.6)}.get(kind, rng.uniform(0.6, 0.92))
    hairs = np.clip(0.85 + 0.15 * cloud(rng, size, _scaled(size, 4, 2)), 0.2, 1.1)
    return as_float32(np.clip(place * opacity * hairs, 0, 1))


def _hair_style(tone: FloatArray, age: float, rng: np.random.Generator) -> HairStyle:
    colour = HAIR_COLOURS[rng.choice(len(HAIR_COLOURS), p=HAIR_SHARES)] * rng.uniform(0.8, 1.2)
    if tone.mean() < 0.38:
        colour = DARK_HAIR * rng.uniform(0.8, 1.5)
    if age > 0.7 and rng.random() < 0.35:
        colour = np.full(3, rng.uniform(0.35, 0.7))
    fringe = rng.uniform(0.8, 3.6) if rng.random() < 0.4 else 0.0
    long_hair = rng.random() < 0.4
    red, green, blue = (float(channel) for channel in np.clip(colour, 0, 1))
    return HairStyle(
        colour=(red, green, blue),
        hairline=float(rng.uniform(9.0, 11.4)),
        fringe=float(fringe),
        parting=float(rng.uniform(-1, 1)),
        volume=float(rng.uniform(0.3, 1.6) if long_hair else rng.uniform(0.0, 1.0)),
        back_length=float(rng.uniform(4, 22)) if long_hair else 0.0,
        cover=0.0 if rng.random() < 0.04 else 1.0,
    )


def _relief(skin: FloatArray, brows: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return (S, S) fine height: pores, and what the skin's dark spots suggest."""
    tone = skin.mean(-1)
    detail = tone - cv2.GaussianBlur(tone, (0, 0), 3 * len(skin) / CHART_SIZE)
    return as_float32(0.022 * cloud(rng, len(skin), _scaled(len(skin), 4, 2)) + 0.7 * detail * (1 - brows))


def _shrunk(skin: npt.NDArray[np.uint8], size: int) -> FloatArray:
    """Return (size, size, 3) float32, 0 to 1."""
    smaller = skin if len(skin) == size else cv2.resize(skin, (size, size), interpolation=cv2.INTER_AREA)
    return as_float32(smaller) / np.float32(255)


def _scaled(size: int, *pixels: float) -> tuple[float, ...]:
    """Return lengths on a chart of 512 as lengths on one of `size`, at least one pixel."""
    return tuple(max(1.0, length * size / CHART_SIZE) for length in pixels)
