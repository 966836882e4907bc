"""A toy head made by code, for tests and for a first run without a face pack.

It has everything the renderer asks of a pack (eyes, a mouth that opens, 68 landmarks, all expression shapes) and the
same scale and axes, but it is an egg with a face: train on it to see that training runs, not to read real people.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.synthetic.noise import cloud
from training.synthetic.pack import FacePack, FloatArray, IntArray, Material
from training.synthetic.toy_shapes import EYE, Movable, expression_shapes, identity_modes

SKIN_TONES = ((232, 196, 172), (214, 170, 140), (196, 146, 112), (160, 112, 82), (112, 76, 56), (78, 54, 42))
HELD_OUT = (1, 4)
SKIN_SIZE = 512
STEP = 0.4  # of the grid of vertices; the slits of mouth and eyes lie on its rows
LEFT, RIGHT, BOTTOM, TOP = -8.0, 8.0, -9.4, 13.4
CENTRE_Y, HALF_WIDTH, HALF_HEIGHT, HALF_DEPTH = 2.0, 7.9, 11.4, 10.5
MOUTH_Y, MOUTH_HALF_WIDTH = -3.4, 2.3
EYE_HALF_WIDTH = 1.3
LANDMARKS_LEFT = {  # (x, y) of the picture's left half; the right half is mirrored
    **{i: (-7.3 * np.cos(a), 3.6 - 11.4 * np.sin(a)) for i, a in enumerate(np.linspace(0, np.pi / 2, 9))},
    **dict(zip(range(17, 22), ((-5.6, 5.3), (-4.8, 6.0), (-3.7, 6.3), (-2.4, 6.2), (-1.2, 5.9)), strict=True)),
    **dict(zip(range(27, 31), ((0, 3.7), (0, 2.6), (0, 1.6), (0, 0.6)), strict=True)),
    **dict(zip(range(31, 34), ((-1.2, -1.0), (-0.6, -1.1), (0, -1.2)), strict=True)),
    **dict(
        zip(
            range(36, 42), ((-4.45, 3.4), (-3.6, 3.4), (-2.7, 3.4), (-1.85, 3.4), (-2.7, 3.4), (-3.6, 3.4)), strict=True
        )
    ),
    **dict(zip(range(48, 52), ((-2.4, -3.4), (-1.6, -2.8), (-0.8, -2.4), (0, -2.5)), strict=True)),
    **{57: (0.0, -4.5), 58: (-0.8, -4.3), 59: (-1.6, -4.0)},
    **{60: (-2.0, -3.4), 61: (-0.8, -3.4), 62: (0.0, -3.4), 66: (0.0, -3.4), 67: (-0.8, -3.4)},
}
MIRRORED = {
    **{16 - i: i for i in range(8)},
    **{43 - i: i for i in range(17, 22)},
    **{66 - i: i for i in (31, 32)},
    **{42: 39, 43: 38, 44: 37, 45: 36, 46: 41, 47: 40},
    **{52: 50, 53: 49, 54: 48, 55: 59, 56: 58, 63: 61, 64: 60, 65: 67},
}
UPPER_LIP_AND_LID = (37, 38, 43, 44, 61, 62, 63)
LOWER_LIP_AND_LID = (40, 41, 46, 47, 65, 66, 67)


def toy_pack() -> FacePack:
    """Make the toy head."""
    rows, columns, points, above = _face_grid()
    face = _grid_triangles(rows, columns, points)
    opened = _open_eyes(points, above)
    parts: list[tuple[FloatArray, IntArray, Material, FloatArray]] = [
        (opened, face, Material.FACE, _chart(points)),
        *_inner_parts(),
        _back_of_head(),
    ]
    vertices, triangles, materials, uvs, sizes = _join(parts)
    eyes = np.zeros(len(vertices), np.float32)
    fixed = np.ones(len(vertices), bool)
    fixed[: sizes[0]] = False
    for part, side in ((1, -1.0), (2, 1.0)):
        eyes[sum(sizes[:part]) : sum(sizes[: part + 1])] = side
    everywhere = np.zeros(len(vertices), np.float32)
    everywhere[: sizes[0]] = above
    movable = Movable(vertices, everywhere, eyes, fixed)
    names, shapes = expression_shapes(movable)
    return FacePack(
        name="toy",
        vertices=vertices,
        identity_modes=identity_modes(movable),
        shapes=shapes,
        shape_names=names,
        triangles=triangles,
        uv_triangles=triangles,
        uvs=uvs,
        materials=materials,
        landmarks=_landmarks(points, above),
        skins=_skins(),
        held_out_skins=HELD_OUT,
    )


def _face_grid() -> tuple[int, int, FloatArray, FloatArray]:
    """Return rows, columns and the (V, 3) vertices: a grid bent onto an egg, then a second copy of the slits' rows.

    `above` (V,) is 1 for vertices above the slit that is nearest, 0 below; where a slit is cut, the first copy
    belongs to the part above and the second to the part below.
    """
    x = np.arange(LEFT, RIGHT + STEP / 2, STEP)
    y = np.arange(BOTTOM, TOP + STEP / 2, STEP)
    grid = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    from_centre = (grid - [0, CENTRE_Y]) / [HALF_WIDTH, HALF_HEIGHT]
    distance = np.linalg.norm(from_centre, axis=1, keepdims=True)
    pulled = from_centre / np.maximum(distance, 1e-9) * 0.995 * [HALF_WIDTH, HALF_HEIGHT] + [0, CENTRE_Y]
    flat = np.where(distance > 0.995, pulled, grid)
    points = np.concatenate([flat, _surface(flat)[:, None]], -1).astype(np.float32)
    slit = np.where(grid[:, 1] > 0, EYE[1], MOUTH_Y)
    above = (grid[:, 1] > slit - 1e-6).astype(np.float32)
    doubled = _on_slit(grid).nonzero()[0]
    return (
        len(y),
        len(x),
        np.concatenate([points, points[doubled]]),
        np.concatenate([above, np.zeros(len(doubled), np.float32)]),
    )


def _surface(flat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the depth z of the egg at (N, 2) points, with a nose, eye sockets and brow ridges."""
    x, y = flat.T
    egg = HALF_DEPTH * np.sqrt(np.maximum(0, 1 - (x / HALF_WIDTH) ** 2 - ((y - CENTRE_Y) / HALF_HEIGHT) ** 2))
    nose = 2.2 * np.exp(-((x / 0.9) ** 2) - np.where(y > 0.2, ((y - 0.2) / 2.4) ** 2, ((y - 0.2) / 0.9) ** 2))
    sockets = -0.7 * np.exp(-(((np.abs(x) - EYE[0]) / 1.6) ** 2) - ((y - EYE[1]) / 1.0) ** 2)
    ridges = 0.35 * np.exp(-(((np.abs(x) - 3.0) / 2.4) ** 2) - ((y - 5.9) / 0.7) ** 2)
    lips = 0.45 * np.exp(-((x / 1.9) ** 2) - ((np.abs(y - MOUTH_Y) - 0.5) / 0.45) ** 2)
    return np.asarray(egg + nose + sockets + ridges + lips)


def _on_slit(grid: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    x, y = grid.T
    mouth = (np.abs(y - MOUTH_Y) < 1e-6) & (np.abs(x) < MOUTH_HALF_WIDTH)
    eyes = (np.abs(y - EYE[1]) < 1e-6) & (np.abs(np.abs(x) - EYE[0]) < EYE_HALF_WIDTH)
    return np.asarray(mouth | eyes)


def _grid_triangles(rows: int, columns: int, points: FloatArray) -> IntArray:
    """Return the grid's triangles; those below a slit use its second copy of vertices."""
    numbers = np.arange(rows * columns).reshape(rows, columns)
    x = np.arange(LEFT, RIGHT + STEP / 2, STEP)
    y = np.arange(BOTTOM, TOP + STEP / 2, STEP)
    grid = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    doubled = _on_slit(grid).nonzero()[0]
    second = np.arange(len(points))
    second[doubled] = rows * columns + np.arange(len(doubled))
    low_left, low_right = numbers[:-1, :-1].ravel(), numbers[:-1, 1:].ravel()
    top_left, top_right = second[numbers[1:, :-1].ravel()], second[numbers[1:, 1:].ravel()]
    first = np.stack([low_left, low_right, top_right], -1)
    other = np.stack([low_left, top_right, top_left], -1)
    return np.concatenate([first, other]).astype(np.int64)


def _open_eyes(points: FloatArray, above: FloatArray) -> FloatArray:
    """Return the vertices with the lids apart, as at rest."""
    profile = np.clip(1 - ((np.abs(points[:, 0]) - EYE[0]) / EYE_HALF_WIDTH) ** 2, 0, 1)
    near = profile * np.exp(-(((points[:, 1] - EYE[1]) / 0.8) ** 2))
    opened = points.copy()
    opened[:, 1] += np.where(above > 0, 0.55, -0.40) * near * (points[:, 1] > 0)
    return opened


def _inner_parts() -> list[tuple[FloatArray, IntArray, Material, FloatArray]]:
    """Return two eyeballs, the mouth's back wall and the upper teeth."""
    parts = []
    for side, material in ((-1.0, Material.SCLERA_LEFT), (1.0, Material.SCLERA_RIGHT)):
        centre = np.array([EYE[0] * side, EYE[1]])
        flat, triangles = _patch(centre, (1.35, 1.0), 9)
        offset = flat - centre
        z = _surface(centre[None])[0] - 0.35 - 0.25 * (offset**2).sum(1)
        parts.append((_stack(flat, z), triangles, material, (0.5 + offset * 0.2).astype(np.float32)))
    for centre_y, half, drop, material in (
        (-4.9, (2.7, 2.6), 2.2, Material.MOUTH),
        (-3.1, (1.9, 0.5), 0.75, Material.TEETH),
    ):
        flat, triangles = _patch(np.array([0.0, centre_y]), half, 9)
        z = _surface(flat * [0.6, 0.6] + [0, -1.3]) - drop - 0.10 * flat[:, 0] ** 2
        parts.append((_stack(flat, z), triangles, material, np.zeros((len(flat), 2), np.float32)))
    return parts


def _patch(
    centre: npt.NDArray[np.float64], half: tuple[float, float], count: int
) -> tuple[npt.NDArray[np.float64], IntArray]:
    """Return (N, 2) points and (T, 3) triangles of a rectangle."""
    steps = np.linspace(-1, 1, count)
    flat = centre + np.stack(np.meshgrid(steps * half[0], steps * half[1]), -1).reshape(-1, 2)
    return flat, _grid_triangles_plain(count, count)


def _grid_triangles_plain(rows: int, columns: int) -> IntArray:
    numbers = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (n.ravel() for n in (numbers[:-1, :-1], numbers[:-1, 1:], numbers[1:, 1:], numbers[1:, :-1]))
    return np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).astype(np.int64)


def _back_of_head() -> tuple[FloatArray, IntArray, Material, FloatArray]:
    """Return the rear half of the egg and a neck: rings of points around a vertical line."""
    angles = np.linspace(0, 2 * np.pi, 33)
    rings = [(CENTRE_Y + HALF_HEIGHT * np.sin(e), np.cos(e), 1.0) for e in np.linspace(np.pi / 2, -1.0, 14)]
    rings += [(y, 0.62, 0.5) for y in (-8.0, -11.0, -14.0, -17.0)]
    points = [
        (
            HALF_WIDTH * 0.985 * width * np.sin(a),
            y,
            0.9 * HALF_WIDTH * width * depth * min(0.0, np.cos(a))
            if width * depth > 0.4 and y > -8
            else 4.5 * np.cos(a),
        )
        for y, width, depth in rings
        for a in angles
    ]
    vertices = np.array(points, np.float32)
    triangles = _grid_triangles_plain(len(rings), len(angles))[:, ::-1].copy()
    return vertices, triangles, Material.BACK, np.zeros((len(vertices), 2), np.float32)


def _stack(flat: npt.NDArray[np.float64], z: npt.NDArray[np.float64]) -> FloatArray:
    return np.concatenate([flat, z[:, None]], -1).astype(np.float32)


def _chart(points: FloatArray) -> FloatArray:
    """Return (V, 2) texture coordinates: the face seen from the front, on the scale of the real pack's chart."""
    return np.stack([0.5 + 0.044 * points[:, 0], 0.57 + 0.037 * points[:, 1]], -1).astype(np.float32)


def _join(
    parts: list[tuple[FloatArray, IntArray, Material, FloatArray]],
) -> tuple[FloatArray, IntArray, IntArray, FloatArray, list[int]]:
    """Return vertices, triangles, materials, texture coordinates of all parts and the parts' vertex counts."""
    sizes = [len(vertices) for vertices, *_ in parts]
    starts = np.cumsum([0, *sizes[:-1]])
    return (
        np.concatenate([vertices for vertices, *_ in parts]),
        np.concatenate([triangles + start for (_, triangles, _, _), start in zip(parts, starts, strict=True)]),
        np.concatenate([np.full(len(triangles), int(material), np.int64) for _, triangles, material, _ in parts]),
        np.concatenate([uvs for *_, uvs in parts]),
        sizes,
    )


def _landmarks(points: FloatArray, above: FloatArray) -> IntArray:
    """Return the (68,) vertices nearest to the landmarks' places, on the right side of slits."""
    places = {
        **LANDMARKS_LEFT,
        **{right: (-LANDMARKS_LEFT[left][0], LANDMARKS_LEFT[left][1]) for right, left in MIRRORED.items()},
    }
    chosen = np.empty(68, np.int64)
    for number, place in places.items():
        distance = ((points[:, :2] - np.array(place, np.float32)) ** 2).sum(1)
        if number in UPPER_LIP_AND_LID:
            distance = distance + 100 * (above == 0)
        if number in LOWER_LIP_AND_LID:
            distance = distance + 100 * (above == 1)
        chosen[number] = distance.argmin()
    return chosen


def _skins() -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    mottle = 1 + 0.03 * cloud(rng, SKIN_SIZE, (64, 32, 16, 8))[..., None]
    return np.stack([np.clip(np.array(tone) * mottle, 0, 255) for tone in SKIN_TONES]).astype(np.uint8)
