"""Labels of what can be seen, which is not always what was commanded.

Strong AU9, AU10, AU12 and AU26 part the lips, some faces rest with open lips, and one movement can hide another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.synthetic.pack import FacePack, FloatArray
from training.synthetic.recipes import (
    BANDS,
    JAW_OPEN_PER_AU26,
    LABELLED,
    LIP_SHAPES_LIKE_TIGHTENING,
    MASKINGS,
)
from training.synthetic.sampler import Expression

# Visible opening of the lips, see `visible`. Of 60 random people at rest 87 % measure below the first; AU25 at
# intensity 0.3 measures 0.16 in the middle, at 0.5 0.25.
CLOSED_BELOW = 0.07
OPEN_FROM = 0.13
BLINK_HIDES_LIDS = 0.6
PUCKER_HIDES_TIGHTENING = 0.25


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of one face, in the order of `recipes.LABELLED`.

    Attributes:
        occurrence: (15,) int8, 1 present, 0 absent.
        weight: (15,) float32, 1, or 0 where the picture does not decide it.
        intensity: (15,) float32, 0 to 1 and a little beyond; of AU26 from the jaw, else as commanded.
    """

    occurrence: npt.NDArray[np.int8]
    weight: FloatArray
    intensity: FloatArray


def visible(pack: FacePack, expression: Expression, opening: float) -> Labels:
    """Label an expression.

    Args:
        pack: names the shapes.
        expression: what the face was told to do.
        opening: visible inside of the mouth in a frontal view, its area over the mouth's width, in head units
            (about 1 cm).
    """
    intensities = {unit: expression.units.get(unit, 0.0) for unit in LABELLED}
    intensities[26] = max(0.0, float(expression.weights[pack.shape_index("jawOpen")])) / JAW_OPEN_PER_AU26
    if not expression.units.get(26):
        intensities[26] = _jaw_beyond_lips(intensities[26], intensities[25])
    present = {unit: intensities[unit] >= BANDS[unit].present_from for unit in LABELLED}
    decided = {unit: present[unit] or intensities[unit] < BANDS[unit].absent_below for unit in LABELLED}
    present[25] = present[26] or opening >= OPEN_FROM
    decided[25] = present[25] or opening < CLOSED_BELOW
    for unit in _hidden(expression):
        decided[unit] = decided[unit] and present[unit]
    if present[25]:
        decided[24] = decided[24] and not present[24]
    return Labels(
        occurrence=np.array([present[unit] for unit in LABELLED], np.int8),
        weight=np.array([decided[unit] for unit in LABELLED], np.float32),
        intensity=np.array([intensities[unit] for unit in LABELLED], np.float32),
    )


def _jaw_beyond_lips(jaw: float, lips: float) -> float:
    """Return the jaw's drop without the little of it that parting the lips (AU25) takes along."""
    return max(0.0, jaw - 0.2 * lips)


def _hidden(expression: Expression) -> set[int]:
    """Return the units whose absence this expression hides."""
    hidden = {
        masking.absent
        for masking in MASKINGS
        if expression.units.get(masking.while_present, 0.0) >= masking.from_intensity
    }
    if expression.nuisances.get("eyeBlink", 0.0) >= BLINK_HIDES_LIDS:
        hidden |= {6, 7}
    if any(expression.nuisances.get(shape, 0.0) >= PUCKER_HIDES_TIGHTENING for shape in LIP_SHAPES_LIKE_TIGHTENING):
        hidden |= {23, 24}
    return hidden
