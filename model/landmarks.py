"""Landmark layouts and the way between them: 68, 66 and 49 points of the iBUG scheme, and MediaPipe's 478.

All indices count from 0. iBUG-68: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, outer lip 48-59, inner lip 60-67
(METHOD 1.1). Every ROI rule needs only points that the 49-point layout has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
IndexArray = npt.NDArray[np.intp]

# FACE_NETS table: the vertex of MediaPipe's face mesh that stands for each iBUG point.
_MEDIAPIPE = (
    *(127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356),  # jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 5, 4, 98, 97, 2, 326, 327),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91),  # outer lip
    *(78, 81, 13, 311, 308, 402, 14, 178),  # inner lip
)

# Pairs that change places in a mirror; the others lie on the midline (METHOD 1.1).
_MIRROR_PAIRS = (
    *((i, 16 - i) for i in range(8)),
    *((17 + i, 26 - i) for i in range(5)),
    *((31, 35), (32, 34)),
    *((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),
    *((48, 54), (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63), (65, 67)),
)


def _frozen(values: npt.ArrayLike) -> IndexArray:
    array = np.asarray(values, dtype=np.intp)
    array.setflags(write=False)
    return array


def _flip_permutation() -> IndexArray:
    permutation = np.arange(68)
    for a, b in _MIRROR_PAIRS:
        permutation[[a, b]] = b, a
    return _frozen(permutation)


FLIP_68: IndexArray = _flip_permutation()
"""(68,) permutation: after mirroring a picture, new point i is the old point FLIP_68[i]."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A landmark scheme.

    Attributes:
        name: its name in settings and interfaces.
        points: number of points, P.
        from_layout: (68,) index into the layout's own points for each iBUG point, -1 where it has none.
        to_layout: (P,) iBUG index of each of its points, or None if it has points that iBUG-68 doesn't know.
    """

    name: str
    points: int
    from_layout: IndexArray
    to_layout: IndexArray | None


def _subset(name: str, kept: list[int]) -> Layout:
    from_layout = np.full(68, -1)
    from_layout[kept] = np.arange(len(kept))
    return Layout(name, len(kept), _frozen(from_layout), _frozen(kept))


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        layout.name: layout
        for layout in (
            _subset("ibug68", list(range(68))),
            _subset("ibug66", [i for i in range(68) if i not in (60, 64)]),
            _subset("ibug49", [*range(17, 60), *range(61, 64), *range(65, 68)]),
            Layout("mediapipe478", 478, _frozen(_MEDIAPIPE), None),
        )
    }
)
"""Known layouts by name: DISFA ships ibug66, BP4D ibug49, the landmark net gives mediapipe478."""


def layout_named(name: str) -> Layout:
    """The layout of that name.

    Raises:
        ValueError: if there's none.
    """
    if name not in LAYOUTS:
        raise ValueError(f"unknown landmark layout {name!r}; known are {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


def layout_for(points: int) -> Layout:
    """The layout with that many points.

    Raises:
        ValueError: if there's none.
    """
    for layout in LAYOUTS.values():
        if layout.points == points:
            return layout
    known = ", ".join(str(layout.points) for layout in LAYOUTS.values())
    raise ValueError(f"no landmark layout has {points} points; known are {known}")


def convert(points: npt.ArrayLike, source: str, target: str = "ibug68") -> FloatArray:
    """Landmarks of one layout in the order of another.

    Args:
        points: (..., P, 2) or (..., P, 3) in the source layout; a third coordinate is dropped.
        source: layout name.
        target: layout name; MediaPipe's can't be a target, since other layouts know too few of its points.

    Returns:
        (..., Q, 2) floating, a copy. Points that the source lacks are NaN.

    Raises:
        ValueError: for an unknown layout, a wrong number of points or an impossible target.

    Example:
        >>> convert(np.zeros((49, 2)), "ibug49").shape
        (68, 2)
    """
    origin, goal = layout_named(source), layout_named(target)
    array = np.asarray(points)
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float64)
    if array.ndim < 2 or array.shape[-2] != origin.points or array.shape[-1] not in (2, 3):
        raise ValueError(f"{source} landmarks have shape (..., {origin.points}, 2), not {array.shape}")
    if origin is goal:
        return array[..., :2].copy()
    if goal.to_layout is None:
        raise ValueError(f"cannot make {target} landmarks from {source}: it has points that {source} does not know")
    wanted = origin.from_layout[goal.to_layout]
    converted = array[..., wanted, :2]
    converted[..., wanted < 0, :] = np.nan
    return converted


def flip(points: npt.ArrayLike, width: float, layout: str = "ibug68") -> FloatArray:
    """Landmarks of the mirrored picture, each again under its own name.

    Args:
        points: (..., P, 2) landmarks in pixels (pixel centres are whole numbers).
        width: width of the picture in pixels.
        layout: an iBUG layout.

    Returns:
        (..., P, 2) floating: x becomes width - 1 - x and mirror twins change places. Applied twice it's the identity.

    Raises:
        ValueError: for an unknown layout, a wrong number of points, or a layout without a known mirror permutation.
    """
    scheme = layout_named(layout)
    if scheme.to_layout is None:
        raise ValueError(f"{layout} has no mirror permutation here; convert to ibug68 first")
    mirrored = convert(points, layout, layout)[..., scheme.from_layout[FLIP_68[scheme.to_layout]], :]
    mirrored[..., 0] = width - 1 - mirrored[..., 0]
    return mirrored
