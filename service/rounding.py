"""Numbers as they leave the service: few digits, the same in JSON and in every export."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

SCORE_DIGITS = 5
PIXEL_DIGITS = 2
MS_DIGITS = 3


def rounded(values: npt.ArrayLike, decimals: int) -> Any:
    """Nested lists of Python floats with few digits; what is not a number becomes None."""
    array = np.round(np.asarray(values, np.float64), decimals) + 0.0  # -0.0 reads as 0.0
    if np.isfinite(array).all():
        return array.tolist()
    objects = array.astype(object)
    objects[~np.isfinite(array)] = None
    return objects.tolist()
