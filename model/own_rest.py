"""How a person's brows and lids rest in a clip, and what a blink does to their measures (`model.brow_measures`).

Not part of the paper. FACS scores an Action Unit as a change of the neutral face; a clip shows that face for most of
the time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model.brow_measures import MEASURES
from model.values import Float32Array

REST_MS = 2000.0
"""For how long a face must have been seen to say what its rest is."""
REST_FACES = 10
"""And in how many pictures at least."""
CLOSED = 0.5
"""Eyes that are open by less than this share of their rest are closed, or on their way."""
BLINK_MS = 500.0
"""From the last open picture to the next: a blink (AU45) takes 0.1 to 0.4 seconds, longer closures are no blink."""
_MOVING = 0.85
_DOWN_MS, _UP_MS = 120.0, 200.0
"""Around a closure the lids may still be moving: so long before and after it, while open by less than the share."""
_OPEN = MEASURES.index("lids_open")
_LIDS = [_OPEN, MEASURES.index("lower_lid")]


def own_rest(pts_ms: npt.ArrayLike, measures: npt.ArrayLike) -> Float32Array | None:
    """What a person's measures are at rest: the median over a clip, as faces rest most of the time.

    Args:
        pts_ms: (F,) times at which the face was seen, milliseconds, in order.
        measures: (F, Q) of `brow_measures`, NaN where a face was not measured.

    Returns:
        (Q,); None where the face was measured for less than `REST_MS` or in fewer than `REST_FACES` pictures.
    """
    times, values = np.asarray(pts_ms, np.float64), np.asarray(measures, np.float64)
    known = np.isfinite(values).all(axis=1) if len(values) else np.zeros(0, bool)
    if known.sum() < REST_FACES or np.ptp(times[known]) < REST_MS:
        return None
    return np.asarray(np.median(values[known], axis=0), np.float32)


def without_blinks(pts_ms: npt.ArrayLike, measures: npt.ArrayLike, rest: npt.ArrayLike) -> Float32Array:
    """Measures whose lids go straight from before to after each blink: a blink is no AU7, and hides one.

    Args:
        pts_ms: (F,) times, milliseconds, in order.
        measures: (F, Q), NaN where a face was not measured.
        rest: (Q,) of `own_rest`.

    Returns:
        (F, Q). Where the face comes or goes with closed eyes the lids stay as they are on the other side. Brows and
        longer closures are left alone.
    """
    times, values = np.asarray(pts_ms, np.float64), np.array(measures, np.float32)
    opening = float(np.asarray(rest, np.float64)[_OPEN])
    seen = np.flatnonzero(np.isfinite(values).all(axis=1)) if len(values) else np.zeros(0, np.int64)
    if opening > 0:
        for part in np.split(seen, np.flatnonzero(np.diff(times[seen]) > BLINK_MS) + 1):
            share = values[part, _OPEN] / opening
            for before, after in _blinks(times[part], share):
                ends = [before if before >= 0 else after, after if after < len(part) else before]
                inside = part[before + 1 : after]
                for column in _LIDS:
                    values[inside, column] = np.interp(times[inside], times[part[ends]], values[part[ends], column])
    return values


def _blinks(when: npt.NDArray[np.float64], share: Float32Array) -> list[tuple[int, int]]:
    """The places before and after each blink of a face that is seen without a gap; -1 or its length beyond an end."""
    closed = np.concatenate([[False], share < CLOSED, [False]])
    edges = np.flatnonzero(np.diff(closed.astype(np.int8)))
    found = []
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        before, after = first - 1, end
        while before > 0 and share[before] < _MOVING and when[first] - when[before] < _DOWN_MS:
            before -= 1
        while after < len(when) - 1 and share[after] < _MOVING and when[after] - when[end - 1] < _UP_MS:
            after += 1
        known = [place for place in (before, after) if 0 <= place < len(when)]
        lasted = when[min(after, len(when) - 1)] - when[max(before, 0)]
        if known and lasted <= BLINK_MS:
            found.append((before, after))
    return found
