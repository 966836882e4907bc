"""Photometric augmentation: what cameras, light, hair, beards, glasses and hands do to a face and no render shows.

Each effect is a small function of (picture (S, S, 3) float32 RGB about 0 to 1, landmarks (68, 2) in its pixels, rng)
that returns a new picture; those that stand before the face also return where they cover it. Lengths are in units of
`_unit`, the picture's side over 128, so that effects look alike at every resolution. `EFFECTS` lists them in the order
of the world: on the face, before the face, light, style, camera. `augment_photo` draws each with its probability. Only
the picture changes; geometry is drawn in `training.data.samples`.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from training.data.hand import paint_hand

Picture = npt.NDArray[np.float32]
Points = npt.NDArray[np.floating]
Effect = Callable[[Picture, Points, np.random.Generator], Picture | tuple[Picture, Picture]]

FIXED_POINT_BITS = 4  # cv2 draws at 1/16 pixel
STYLE_KERNELS = (1, 3, 5)
"""Sides in pixels; the source's 7 would wipe out brows and lids of a face at 128 pixels."""


def _unit(picture: Picture) -> float:
    return float(picture.shape[0]) / 128


def _fixed(points: Points) -> npt.NDArray[np.int32]:
    return np.round(points * (1 << FIXED_POINT_BITS)).astype(np.int32)


def _fixed_pair(point: Points) -> tuple[int, int]:
    x, y = _fixed(point).tolist()
    return int(x), int(y)


def _polygon_mask(size: int, *polygons: Points) -> Picture:
    mask = np.zeros((size, size), np.float32)
    for polygon in polygons:
        cv2.fillPoly(mask, [_fixed(polygon)], 1.0, cv2.LINE_AA, FIXED_POINT_BITS)
    return mask


def _blur(picture: Picture, sigma: float) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(sigma, 0.05)), np.float32)


def _smooth_noise(rng: np.random.Generator, size: int, cells_y: int, cells_x: int) -> Picture:
    coarse = rng.standard_normal((cells_y, cells_x), np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


def _blend(picture: Picture, mask: Picture, paint: Picture | npt.NDArray[np.floating]) -> Picture:
    opacity = np.clip(mask, 0, 1)[..., None]
    return np.asarray(picture * (1 - opacity) + opacity * paint, np.float32)


def _hair_paint(rng: np.random.Generator, size: int, cells_y: int) -> Picture:
    """Hair colour, black to blond, with strands along x of `cells_y` rows."""
    colour = rng.uniform(0.02, 0.6) * np.array([1.0, rng.uniform(0.7, 1.0), rng.uniform(0.4, 1.0)], np.float32)
    strands = np.clip(1 + 0.3 * _smooth_noise(rng, size, cells_y, 64), 0.2, 2)
    return np.asarray(colour * strands[..., None], np.float32)


def _eye_centres(landmarks: Points) -> tuple[Points, Points]:
    return landmarks[36:42].mean(0), landmarks[42:48].mean(0)


def _face_up(landmarks: Points) -> Points:
    up = landmarks[27] - landmarks[33]
    return np.asarray(up / (np.linalg.norm(up) + 1e-6))


# --- on the face ---------------------------------------------------------------------------------------------------


def beard(picture: Picture, landmarks: Points, rng: np.random.Generator) -> Picture:
    """A moustache, mostly with a beard, that leaves the lips free."""
    size, unit = picture.shape[0], _unit(picture)
    moustache = landmarks[[48, 31, 33, 35, 54, 52, 51, 50]]
    shapes = [moustache]
    if rng.random() < 0.7:
        shapes.append(np.concatenate([landmarks[3:14], landmarks[54:60], landmarks[48:49]]))
    mask = _polygon_mask(size, *shapes) * (1 - _polygon_mask(size, landmarks[48:60]))
    texture = np.clip(0.75 + 0.35 * _smooth_noise(rng, size, 64, 64), 0.1, 1.1)
    mask = _blur(mask, 1.5 * unit) * rng.uniform(0.3, 0.9) * texture
    return _blend(picture, mask, rng.uniform(0.03, 0.5) * (1 + rng.normal(0, 0.08, 3)))


def glasses(picture: Picture, landmarks: Points, rng: np.random.Generator) -> Picture:
    """Round to flat frames with a bridge and temples, now and then with dark lenses."""
    unit = _unit(picture)
    outer_distance = float(np.linalg.norm(landmarks[45] - landmarks[36]))
    dx, dy = landmarks[45] - landmarks[36]
    angle = float(np.degrees(np.arctan2(dy, dx)))
    colour = (rng.uniform(0, 0.25) * np.ones(3) if rng.random() < 0.7 else rng.uniform(0, 1, 3)).tolist()
    thickness = max(1, round(rng.uniform(0.8, 3.2) * unit))
    axes = _fixed_pair(outer_distance * np.array([0.25 * rng.uniform(0.8, 1.15), 0.19 * rng.uniform(0.75, 1.25)]))
    dark = rng.random() < 0.15
    worn = picture.copy()
    for eye, temple in zip(_eye_centres(landmarks), (0, 16), strict=True):
        centre = _fixed_pair(eye - 0.04 * outer_distance * _face_up(landmarks))
        if dark:
            cv2.ellipse(worn, centre, axes, angle, 0, 360, (0.05, 0.05, 0.06), -1, cv2.LINE_AA, FIXED_POINT_BITS)
        cv2.ellipse(worn, centre, axes, angle, 0, 360, colour, thickness, cv2.LINE_AA, FIXED_POINT_BITS)
        side = landmarks[temple] + 0.4 * (landmarks[36 if temple == 0 else 45] - landmarks[temple])
        cv2.line(
            worn, _fixed_pair(side), _fixed_pair(landmarks[temple]), colour, thickness, cv2.LINE_AA, FIXED_POINT_BITS
        )
    half = 0.08 * (landmarks[45] - landmarks[36])
    ends = _fixed_pair(landmarks[27] - half), _fixed_pair(landmarks[27] + half)
    cv2.line(worn, *ends, colour, thickness, cv2.LINE_AA, FIXED_POINT_BITS)
    opacity = rng.uniform(0.6, 1.0)
    return np.asarray(picture * (1 - opacity) + worn * opacity, np.float32)


# --- before the face -----------------------------------------------------------------------------------------------


def fringe(picture: Picture, landmarks: Points, rng: np.random.Generator) -> Picture:
    """Hair or a hat from above, down to just over the brows."""
    size, unit = picture.shape[0], _unit(picture)
    up = _face_up(landmarks)
    right = np.array([-up[1], up[0]])
    width = float(np.linalg.norm(landmarks[45] - landmarks[36]))
    brow_line, height = landmarks[17:27].mean(0), rng.uniform(0.05, 0.5)
    edge = [
        brow_line + up * (height + rng.normal(0, 0.06)) * width + right * t * width for t in np.linspace(-1.3, 1.3, 9)
    ]
    far = [brow_line + up * 3 * width + right * side * width for side in (1.3, -1.3)]
    mask = _blur(_polygon_mask(size, np.array(edge + far)), rng.uniform(0.6, 3) * unit)
    return _blend(picture, mask, _hair_paint(rng, size, 16))


def long_hair(picture: Picture, landmarks: Points, rng: np.random.Generator) -> Picture:
    """Hair around the face, cut off at some height."""
    size, unit = picture.shape[0], _unit(picture)
    centre = landmarks.mean(0)
    forehead = landmarks[[26, 25, 24, 19, 18, 17]] + (landmarks[27] - landmarks[33]) * rng.uniform(0.3, 0.9)
    outline = np.concatenate([landmarks[0:17], forehead]) - centre
    hair = _polygon_mask(size, outline * [rng.uniform(1.35, 2.2), 2.0] + centre)
    shift = np.array([rng.normal(0, 3 * unit), 0.0])
    face = _polygon_mask(size, outline * [rng.uniform(0.88, 1.05), 1.02] + centre + shift)
    mask = hair * (1 - face)
    mask[int(np.clip(landmarks[8, 1] + rng.normal(0, 20 * unit), 60 * unit, size)) :] = 0
    return _blend(picture, _blur(mask, rng.uniform(0.8, 2.5) * unit), _hair_paint(rng, size, 10))


def occluders(picture: Picture, _landmarks: Points, rng: np.random.Generator) -> tuple[Picture, Picture]:
    """One or two ellipses or boxes of any colour, anywhere: cups, microphones, captions."""
    size, unit = picture.shape[0], _unit(picture)
    covered = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(1, 3))):
        centre, sides = rng.uniform(0, size, 2), rng.uniform(12, 48, 2) * unit
        angle = float(rng.uniform(0, 180))
        rectangle = (tuple(centre.tolist()), tuple(sides.tolist()), angle)
        mask = np.zeros((size, size), np.float32)
        if rng.random() < 0.5:
            cv2.ellipse(mask, rectangle, 1.0, -1, cv2.LINE_AA)
        else:
            cv2.fillPoly(
                mask, [_fixed(np.asarray(cv2.boxPoints(rectangle), np.float64))], 1.0, cv2.LINE_AA, FIXED_POINT_BITS
            )
        texture = 0.2 * rng.random() * _smooth_noise(rng, size, 16, 16)
        picture = _blend(picture, mask, np.clip(rng.uniform(0, 1, 3) + texture[..., None], 0, 1))
        covered = np.maximum(covered, mask)
    return picture, covered


# --- light ---------------------------------------------------------------------------------------------------------


def shadow(picture: Picture, _landmarks: Points, rng: np.random.Generator) -> Picture:
    """A light gradient or a cast shadow with a soft to hard straight edge."""
    size, unit = picture.shape[0], _unit(picture)
    direction = rng.uniform(0, 2 * np.pi)
    x = np.arange(size, dtype=np.float32) - size / 2
    distance = x * np.cos(direction) + x[:, None] * np.sin(direction) + rng.normal(0, 25 * unit)
    lit = 1 / (1 + np.exp(np.clip(-distance / (rng.uniform(1.5, 40) * unit), -30, 30)))
    return np.asarray(picture * (1 - (1 - lit) * rng.uniform(0.1, 0.65))[..., None], np.float32)


def colour(picture: Picture, _landmarks: Points, rng: np.random.Generator) -> Picture:
    """Saturation, white balance, contrast, brightness and gamma; sometimes grey."""
    grey = picture.mean(-1, keepdims=True)
    picture = (grey + (picture - grey) * rng.uniform(0.25, 1.4)) * (1 + rng.normal(0, 0.09, 3))
    if rng.random() < 0.15:
        picture = np.repeat(picture.mean(-1, keepdims=True), 3, -1)
    mean = picture.mean()
    picture = (picture - mean) * rng.uniform(0.55, 1.5) + mean + rng.normal(0, 0.09)
    return np.asarray(np.clip(picture, 0, 1) ** rng.uniform(0.55, 1.7), np.float32)


def expose(picture: Picture, _landmarks: Points, rng: np.random.Generator) -> Picture:
    """Lifts a face that came out nearly black, as a camera's exposure would; leaves others alone."""
    size = picture.shape[0]
    brightness = float(picture[size // 4 : size * 7 // 8, size // 4 : size * 3 // 4].mean())
    if brightness >= 0.2:
        return picture
    return np.asarray(picture * (rng.uniform(0.2, 0.35) / max(brightness, 0.02)), np.float32)


# --- style ---------------------------------------------------------------------------------------------------------


def restyle(picture: Picture, _landmarks: Points, rng: np.random.Generator) -> Picture:
    """A random convolution, mixed with the picture: shapes stay, textures and colours become those of no material.

    Renders show one way of painting skin and hair; a network that may lean on it reads brows of renders and not of
    people. Xu, Liu, Yang, Raffel, Niethammer: Robust and generalizable visual representation learning via random
    convolutions, ICLR 2021 (weights from N(0, 1 / (3 k^2)), k drawn, mixed by a uniform share). The result has the
    mean and the contrast of the picture, as it must survive as 8 bits.
    """
    side = STYLE_KERNELS[int(rng.integers(len(STYLE_KERNELS)))]
    kernels = rng.normal(0, 1 / (side * 3**0.5), (3, 3, side, side)).astype(np.float32)
    channels = cv2.split(picture)
    mixed = np.stack(
        [
            sum(cv2.filter2D(channels[i], -1, row[i], borderType=cv2.BORDER_REFLECT_101) for i in range(3))
            for row in kernels
        ],
        axis=-1,
    )
    mixed = (mixed - mixed.mean()) * (picture.std() / (mixed.std() + 1e-6)) + picture.mean()
    share = np.float32(rng.random())
    return np.asarray(picture * (1 - share) + mixed * share, np.float32)


# --- camera --------------------------------------------------------------------------------------------------------


def sharpen(picture: Picture, _landmarks: Points, rng: np.random.Generator) -> Picture:
    """Local contrast, as phones add it."""
    soft = _blur(picture, rng.uniform(1, 4) * _unit(picture))
    return np.asarray(picture + (picture - soft) * rng.uniform(0.3, 1.2), np.float32)


def defocus(picture: Picture, _landmarks: Points, rng: np.random.Generator) -> Picture:
    """Out of focus, by a Gaussian."""
    return _blur(picture, rng.uniform(0.3, 1.8) * _unit(picture))


def low_resolution(picture: Picture, _landmarks: Points, rng: np.random.Generator) -> Picture:
    """A small face, enlarged."""
    size = picture.shape[0]
    small = max(8, int(rng.uniform(0.3, 0.86) * size))
    shrunk = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
    enlarge = cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(shrunk, (size, size), interpolation=enlarge), np.float32)


def motion_blur(picture: Picture, _landmarks: Points, rng: np.random.Generator) -> Picture:
    """A straight smear of 3 to 8 pixels at 128."""
    length = max(3, round(rng.uniform(3, 8) * _unit(picture)))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1 / length
    turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), float(rng.uniform(0, 180)), 1.0)
    kernel = np.asarray(cv2.warpAffine(kernel, turn, (length, length)), np.float32)
    return np.asarray(cv2.filter2D(picture, -1, kernel / (kernel.sum() + 1e-6)), np.float32)


def noise(picture: Picture, _landmarks: Points, rng: np.random.Generator) -> Picture:
    """Sensor noise, Gaussian, each channel for itself."""
    strength = np.float32(rng.uniform(0.005, 0.06))
    return np.asarray(picture + rng.standard_normal(picture.shape, np.float32) * strength, np.float32)


def compression(picture: Picture, _landmarks: Points, rng: np.random.Generator) -> Picture:
    """JPEG at quality 25 to 94."""
    quality = int(rng.integers(25, 95))
    bgr = np.ascontiguousarray((np.clip(picture, 0, 1) * 255).astype(np.uint8)[..., ::-1])
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.float32) * np.float32(1 / 255)


# In the order of the world. Probabilities are those of the first experiment's list, restyle's is that of its source;
# blur is one of three kinds or none.
EFFECTS: tuple[tuple[float, tuple[Effect, ...]], ...] = (
    (0.12, (beard,)),
    (0.18, (glasses,)),
    (0.18, (fringe,)),
    (0.30, (long_hair,)),
    (0.30, (shadow,)),
    (0.12, (paint_hand,)),
    (0.24, (occluders,)),
    (0.85, (colour,)),
    (1.00, (expose,)),
    (0.50, (restyle,)),
    (0.12, (sharpen,)),
    (0.58, (defocus, low_resolution, motion_blur)),
    (0.50, (noise,)),
    (0.50, (compression,)),
)


def augment_photo(
    rgb: npt.NDArray[np.uint8], landmarks: Points, rng: np.random.Generator, strength: float = 1.0
) -> tuple[npt.NDArray[np.uint8], Picture]:
    """Draw every effect with its probability times `strength`.

    Args:
        rgb: (S, S, 3) uint8.
        landmarks: (68, 2), pixels of `rgb`.
        rng: the only source of chance.
        strength: 0 leaves the picture as it is, 1 draws with the listed probabilities.

    Returns:
        (S, S, 3) uint8, and (S, S) float32, 1 where something opaque stands before the face.
    """
    covered = np.zeros(rgb.shape[:2], np.float32)
    if strength <= 0:
        return rgb, covered
    picture: Picture = rgb.astype(np.float32) / np.float32(255)
    points = np.asarray(landmarks, np.float64)
    for probability, kinds in EFFECTS:
        if rng.random() < probability * strength:
            effect = kinds[int(rng.integers(len(kinds)))] if len(kinds) > 1 else kinds[0]
            done = effect(picture, points, rng)
            picture, mask = done if isinstance(done, tuple) else (done, covered)
            covered = np.maximum(covered, mask)
    return np.asarray(np.clip(picture, 0, 1) * 255 + 0.5, np.uint8), covered
