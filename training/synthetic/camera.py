"""What surrounds the head in the picture and what the camera does to it: background, long hair, blur, grain, JPEG."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from training.synthetic.appearance import HairStyle
from training.synthetic.noise import as_float32, blurred, cloud
from training.synthetic.pack import FloatArray

UInt8Array = npt.NDArray[np.uint8]
PLAIN_BACKGROUND = (0.62, 0.64, 0.66)


def paint_background(rng: np.random.Generator, size: int) -> FloatArray:
    """Return (size, size, 3) float32, 0 to 1: clouds of one tone, in half of the pictures with blurred boxes."""
    tone = rng.uniform(0.05, 0.9) + rng.normal(0, 0.06, 3)
    grey = cloud(rng, size, (size / 2, size / 4, size / 8))[..., None] * (0.12 * rng.uniform(0.2, 1.6))
    tint = cloud(rng, size, (size / 3,))[..., None] * rng.normal(0, 0.03, 3)
    picture = (tone + grey + tint).astype(np.float32)
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(2, 10))):
            (x0, y0), (x1, y1) = rng.integers(-size // 4, size * 5 // 4, (2, 2)).tolist()
            colour = np.clip(rng.uniform(0, 1) + rng.normal(0, 0.15, 3), 0, 1).tolist()
            cv2.rectangle(picture, (x0, y0), (x1, y1), colour, -1 if rng.random() < 0.8 else 2)
        picture = blurred(picture, rng.uniform(0.8, 12) * size / 256)
    return np.clip(picture, 0, 1).astype(np.float32)


def plain_background(size: int) -> FloatArray:
    """Return (size, size, 3) float32 of one light grey, a little darker at the bottom."""
    fade = np.linspace(1.06, 0.88, size, dtype=np.float32)[:, None, None]
    return np.broadcast_to(np.array(PLAIN_BACKGROUND, np.float32) * fade, (size, size, 3)).copy()


def hang_hair(
    background: FloatArray, landmarks: FloatArray, scale: float, style: HairStyle, rng: np.random.Generator
) -> FloatArray:
    """Paint long hair behind the head.

    Args:
        background: (S, S, 3) float32.
        landmarks: (68, 2) in pixels.
        scale: pixels per head unit.
        style: the hair; nothing is painted for short hair.
        rng: draws the outline and the strands.
    """
    if style.back_length <= 0 or style.cover == 0:
        return background
    size = len(background)
    along_eyes = landmarks[45] - landmarks[36]
    across = along_eyes / np.linalg.norm(along_eyes)
    down = np.array([-across[1], across[0]])
    centre = (landmarks[0] + landmarks[16]) / 2
    outline = centre + scale * _hair_outline(style, rng) @ np.stack([across, down])
    canvas = np.zeros((size, size), np.float32)
    cv2.fillPoly(canvas, [np.round(outline * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    cover = blurred(canvas, 0.15 * scale + 0.5)[..., None]
    strands = cv2.resize(rng.standard_normal((max(2, size // 20), max(2, size // 2)), np.float32), (size, size))
    colour = np.array(style.colour, np.float32) * rng.uniform(0.45, 0.8)
    tones = np.clip(colour * (1 + 0.3 * strands[..., None]), 0, 1)
    return (background * (1 - cover) + tones * cover).astype(np.float32)


def _hair_outline(style: HairStyle, rng: np.random.Generator) -> FloatArray:
    """Return (N, 2) outline in head units around the point between the ears: across and down."""
    wide = 8.3 + style.volume + rng.uniform(0.0, 1.2)
    flare = rng.uniform(-0.5, 3.0) * min(1.0, style.back_length / 12)
    angles = np.linspace(np.pi, 2 * np.pi, 24)
    dome = np.stack([wide * np.cos(angles), 9.5 * np.sin(angles)], -1)
    reach = style.back_length
    side = np.array([[wide + flare, reach * 0.7], [wide + flare * 0.6, reach]])
    mirrored = side[::-1] * np.array([-1.0, 1.0])
    outline = np.concatenate([dome, side, mirrored])
    return (outline + rng.normal(0, 0.15, outline.shape)).astype(np.float32)


def expose(picture: FloatArray, rng: np.random.Generator) -> UInt8Array:
    """Return (S, S, 3) uint8: the picture as a camera would hand it over.

    Args:
        picture: (S, S, 3) float32, 0 to 1.
        rng: draws blur, motion, resolution, exposure, colour cast, grain and compression.
    """
    size = len(picture)
    if rng.random() < 0.12:
        picture = _smear(picture, rng)
    if rng.random() < 0.15:
        smaller = round(size * rng.uniform(0.45, 0.85))
        coarse = cv2.resize(picture, (smaller, smaller), interpolation=cv2.INTER_AREA)
        picture = as_float32(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR))
    blur = rng.uniform(0.0, 0.8) * size / 160
    if blur > 0.3:
        picture = blurred(picture, blur)
    picture = picture * (rng.uniform(0.8, 1.2) * (1 + rng.normal(0, 0.02, 3))).astype(np.float32)
    picture = picture + np.float32(rng.normal(0, 0.03))
    picture += rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(0.002, 0.02))
    pixels = to_bytes(picture)
    return _compress(pixels, int(rng.integers(35, 96))) if rng.random() < 0.5 else pixels


def to_bytes(picture: FloatArray) -> UInt8Array:
    """Return a picture of 0 to 1 as uint8, clipped."""
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def _smear(picture: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Blur along a straight motion of up to 4 % of the picture."""
    length = max(2, round(len(picture) * rng.uniform(0.01, 0.04)))
    kernel = np.zeros((length, length), np.float32)
    angle, reach = rng.uniform(0, np.pi), (length - 1) / 2
    step = np.array([np.cos(angle), np.sin(angle)]) * reach
    ends = [tuple(int(v) for v in np.round(reach + sign * step)) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.float32)


def _compress(pixels: UInt8Array, quality: int) -> UInt8Array:
    _, stream = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(stream, cv2.IMREAD_COLOR), np.uint8)
