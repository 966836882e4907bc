"""Lines and furrows that Action Units draw into a face: where they run and how deep they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from training.synthetic.noise import as_float32, cloud
from training.synthetic.pack import FloatArray

Point = tuple[float, float]

# Line -> {Action Unit or 0 for what is always there at age 1: depth at intensity 1}.
DEPTHS: Mapping[str, Mapping[int, float]] = {
    "forehead_middle": {0: 0.35, 1: 1.5},
    "forehead_sides": {0: 0.35, 2: 1.5},
    "glabella": {0: 0.30, 4: 1.8, 9: 0.4},
    "nose_root": {9: 1.9, 4: 0.3},
    "crows_feet": {0: 0.15, 6: 1.5, 7: 0.4, 12: 0.3},
    "under_eye": {0: 0.20, 6: 0.9, 7: 0.8, 9: 0.3},
    "nasolabial": {0: 0.25, 12: 0.6, 10: 0.8, 9: 0.5, 6: 0.3, 20: 0.2},
    "dimple": {14: 1.3, 12: 0.25},
    "marionette": {0: 0.12, 15: 0.8, 24: 0.2, 17: 0.2},
    "chin_dimples": {17: 1.7},
    "chin_crease": {0: 0.15, 17: 0.8, 24: 0.3, 15: 0.2},
}
NAMES = tuple(DEPTHS)
VARIANTS = 8
# Young foreheads rise without a line: a network that waits for lines misses AU1 and AU2 on them.
SMOOTH_SHARE, SMOOTH_MOST = 0.3, 0.35


def draw_gains(rng: np.random.Generator) -> FloatArray:
    """Return (lines,) float32: how deep one person's lines get; some people hardly wrinkle, some deeply."""
    person = rng.lognormal(-0.1, 0.4)
    if rng.random() < SMOOTH_SHARE:
        person *= rng.uniform(0.0, SMOOTH_MOST)
    return np.clip(person * rng.lognormal(0.0, 0.45, len(NAMES)), 0.0, 1.9).astype(np.float32)


def depths(units: Sequence[Mapping[int, float]], age: float, gains: FloatArray) -> FloatArray:
    """Return (B, lines) float32: how deep each line is in each of B expressions of one person."""
    table = np.array(
        [[_depth(DEPTHS[name], intensities, age) for name in NAMES] for intensities in units], np.float32
    ).reshape(len(units), len(NAMES))
    return table * gains


def _depth(weights: Mapping[int, float], units: Mapping[int, float], age: float) -> float:
    moved = sum(weight * units.get(unit, 0.0) for unit, weight in weights.items() if unit)
    return weights.get(0, 0.0) * age + moved * (0.35 + 0.65 * age)


def paint_lines(uvs: FloatArray, size: int, rng: np.random.Generator) -> FloatArray:
    """Return (lines, size, size) float32, one variant of every line on the face chart, 0 to about 1.

    Args:
        uvs: (68, 2) landmarks on the chart, v up.
        size: side of the chart in pixels.
        rng: draws how the lines run.
    """
    middle, sides = _forehead(uvs, size, rng)
    painted = {
        "forehead_middle": middle,
        "forehead_sides": sides,
        "glabella": _glabella(uvs, size, rng),
        "nose_root": _nose_root(uvs, size, rng),
        "crows_feet": _crows_feet(uvs, size, rng),
        "under_eye": _under_eye(uvs, size, rng),
        "nasolabial": _nasolabial(uvs, size, rng),
        "dimple": _dimple(uvs, size),
        "marionette": _marionette(uvs, size, rng),
        "chin_dimples": _chin_dimples(uvs, size, rng),
        "chin_crease": _lines(
            [[(0.45, uvs[57, 1] - 0.032), (0.5, uvs[57, 1] - 0.026), (0.55, uvs[57, 1] - 0.032)]], size, 3
        ),
    }
    return np.stack([painted[name] for name in NAMES])


def _lines(paths: Sequence[Sequence[Point]], size: int, width: float, blur: float | None = None) -> FloatArray:
    """Draw soft lines; `width` and `blur` are in pixels of a chart of 512."""
    scale = size / 512
    canvas = np.zeros((size, size), np.float32)
    for path in paths:
        pixels = np.array([(x * size, (1 - y) * size) for x, y in path])
        thickness = max(1, round(width * scale))
        cv2.polylines(canvas, [np.round(pixels * 16).astype(np.int32)], False, 1.0, thickness, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(canvas, (0, 0), max(0.6, (blur or width) * scale)).astype(np.float32)


def _forehead(uvs: FloatArray, size: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    left, right, brow = uvs[17, 0], uvs[26, 0], uvs[17:27, 1].mean()
    x = np.linspace(left, right, 28)
    across = (x - 0.5) / (right - 0.5)
    paths = []
    spacing = rng.uniform(0.026, 0.042)
    for row in range(int(rng.integers(3, 6))):
        height = brow + 0.06 + row * spacing + rng.uniform(-0.004, 0.004)
        waves = 0.006 * np.sin(9 * x + rng.uniform(0, 6)) + 0.004 * np.sin(31 * x + rng.uniform(0, 6))
        y = height + rng.uniform(0.0, 0.018) * (1 - across**2) + waves
        start, end = sorted(rng.integers(0, 28, 2)) if rng.random() < 0.35 else (0, 27)
        if end - start > 4:
            paths.append(list(zip(x[start : end + 1], y[start : end + 1], strict=True)))
    drawn = _lines(paths, size, 2.5, 2.2) * 1.3
    columns = np.linspace(0, 1, size, dtype=np.float32)[None]
    inner = np.exp(-(((columns - 0.5) / (0.45 * (right - left) / 2)) ** 2))
    return drawn * inner, drawn * (1 - inner)


def _glabella(uvs: FloatArray, size: int, rng: np.random.Generator) -> FloatArray:
    gap, y = abs(uvs[21, 0] - 0.5), uvs[21, 1]
    sides: tuple[float, ...] = ((-1, 1), (-1, 1), (-1, 0.1, 1), (rng.choice([-1.0, 1.0]),))[
        rng.choice(4, p=[0.4, 0.3, 0.15, 0.15])
    ]
    paths = []
    for side in sides:
        reach = gap * rng.uniform(0.5, 0.8)
        top, bottom = y + rng.uniform(0.03, 0.06), y - rng.uniform(0.025, 0.05)
        paths.append([(0.5 + side * reach * 0.9, bottom), (0.5 + side * reach * 1.15, y), (0.5 + side * reach, top)])
    return _lines(paths, size, 3, 2.8) * 1.3


def _nose_root(uvs: FloatArray, size: int, rng: np.random.Generator) -> FloatArray:
    y, paths = uvs[27, 1], []
    for shift in np.linspace(-0.032, 0.016, int(rng.integers(2, 5))):
        width, sag = rng.uniform(0.022, 0.034), rng.uniform(0.006, 0.014)
        paths.append([(0.5 - width, y + shift - sag), (0.5, y + shift + 0.004), (0.5 + width, y + shift - sag)])
    paths += [
        [(0.5 + side * 0.028, y - 0.028 - drop), (0.5 + side * 0.052, y - 0.055 - drop)]
        for side in (-1, 1)
        for drop in (0.0, 0.018)
    ]
    return _lines(paths, size, 2.5, 2.3) * 1.3


def _crows_feet(uvs: FloatArray, size: int, rng: np.random.Generator) -> FloatArray:
    paths = []
    for corner, side in ((36, -1), (45, 1)):
        x, y = uvs[corner]
        for slope in np.linspace(-0.6, 0.6, int(rng.integers(3, 6))) + rng.uniform(-0.1, 0.1):
            reach = rng.uniform(0.7, 1.15)
            paths.append(
                [(x + side * 0.02, y + slope * 0.03)]
                + [(x + side * step * reach, y + slope * 1.65 * step * reach) for step in (0.05, 0.078)]
            )
    return _lines(paths, size, 2, 1.6) * 1.2


def _under_eye(uvs: FloatArray, size: int, rng: np.random.Generator) -> FloatArray:
    paths = [
        [(x + side * 0.004, y - drop) for x, y in lids]
        for lids, side in ((uvs[[39, 40, 41, 36]], -1), (uvs[[42, 47, 46, 45]], 1))
        for drop in (rng.uniform(0.016, 0.022), rng.uniform(0.028, 0.042))
    ]
    return _lines(paths, size, 2.5, 2.5)


def _nasolabial(uvs: FloatArray, size: int, rng: np.random.Generator) -> FloatArray:
    out, paths = rng.uniform(-0.006, 0.010), []
    for wing, corner, side in ((uvs[31], uvs[48], -1), (uvs[35], uvs[54], 1)):
        paths.append(
            [
                (wing[0] + side * 0.028, wing[1] + 0.02),
                (wing[0] + side * (0.055 + out), wing[1] - 0.02),
                (corner[0] + side * (0.035 + out), corner[1] + 0.03),
                (corner[0] + side * (0.045 + out), corner[1] - 0.015),
            ]
        )
    return _lines(paths, size, 4, 4)


def _dimple(uvs: FloatArray, size: int) -> FloatArray:
    corners = ((uvs[48], -1), (uvs[54], 1))
    paths = [[(c[0] + s * 0.02, c[1] + 0.014), (c[0] + s * 0.028, c[1] - 0.014)] for c, s in corners]
    return _lines(paths, size, 5, 3)


def _marionette(uvs: FloatArray, size: int, rng: np.random.Generator) -> FloatArray:
    length = rng.uniform(0.03, 0.055)
    corners = ((uvs[48], -1), (uvs[54], 1))
    paths = [[(c[0] + s * 0.010, c[1] - 0.008), (c[0] + s * 0.020, c[1] - length)] for c, s in corners]
    return _lines(paths, size, 3, 3)


def _chin_dimples(uvs: FloatArray, size: int, rng: np.random.Generator) -> FloatArray:
    bumps = cv2.GaussianBlur(cloud(rng, size, (1,)), (0, 0), 3 * size / 512)
    y, x = np.linspace(1, 0, size)[:, None], np.linspace(0, 1, size)[None]
    place = np.exp(-(((x - 0.5) / 0.05) ** 2) - ((y - (uvs[57, 1] - 0.055)) / 0.035) ** 2)
    return as_float32(bumps / bumps.std() * 0.35 * place)
