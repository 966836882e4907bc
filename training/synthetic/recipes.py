"""Which shapes make an Action Unit, which units come together, which exclude each other, how strong they are.

Everything the sampler draws is stated here. Intensity 1 is a full movement (FACS E); it is linear in shape weight
and not calibrated against human coders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LABELLED: tuple[int, ...] = (1, 2, 4, 6, 7, 9, 10, 12, 14, 15, 17, 23, 24, 25, 26)
UNLABELLED: tuple[int, ...] = (5, 20)

# Action Unit -> {shape: weight at intensity 1}, both sides; from measured landmark motion on the mean head.
SHAPES_OF_AU: Mapping[int, Mapping[str, float]] = {
    1: {"browInnerUp": 1.35},
    2: {"browOuterUp": 1.3, "browInnerUp": -0.5},
    4: {"browDown": 1.55},
    5: {"eyeWide": 1.0},
    6: {"cheekRaiser": 0.7, "cheekSquint": 0.6, "eyeSquint": 0.15},
    7: {"eyeSquint": 1.1},
    9: {"noseSneer": 1.1, "mouthUpperUp": -0.65, "browDown": 0.25},
    10: {"mouthUpperUp": 0.8, "noseSneer": 0.1},
    12: {"mouthSmile": 1.0},
    14: {"mouthDimple": 1.1},
    15: {"mouthFrown": 1.1},
    17: {"mouthShrugLower": 0.8, "mouthShrugUpper": 0.15},
    20: {"mouthStretch": 1.0},
    23: {"mouthPress": 0.5, "mouthRollLower": 0.3, "mouthRollUpper": 0.3, "mouthPucker": 0.2},
    24: {"mouthPress": 1.0, "mouthRollLower": 0.2, "mouthRollUpper": 0.2},
    25: {"mouthLowerDown": 0.55, "mouthUpperUp": 0.18, "jawOpen": 0.07},
    26: {"jawOpen": 0.45},
}
JAW_OPEN_PER_AU26 = SHAPES_OF_AU[26]["jawOpen"]

# Facial configurations that occur, with relative frequency; the sampler drops and adds units at random.
CONFIGURATIONS: tuple[tuple[tuple[int, ...], float], ...] = (
    ((6, 12, 25), 4.0),
    ((12,), 1.5),
    ((6, 12), 2.0),
    ((12, 25), 1.5),
    ((6, 12, 25, 26), 1.0),
    ((1, 2, 25, 26), 3.0),
    ((1, 2), 2.5),
    ((1, 2, 12, 25), 1.0),
    ((4, 7), 1.5),
    ((4, 7, 23), 2.0),
    ((4, 7, 24), 2.0),
    ((4, 9, 10), 2.0),
    ((9, 10, 17), 1.5),
    ((9, 10, 25), 1.0),
    ((4, 15, 17), 1.5),
    ((1, 4, 15), 2.0),
    ((1, 4, 15, 17), 1.5),
    ((1, 4), 1.5),
    ((14,), 2.0),
    ((12, 14), 1.5),
    ((6, 10, 12, 25), 1.5),
    ((1, 2, 4, 25), 2.0),
    ((17, 24), 1.5),
    ((15, 17), 2.0),
    ((23,), 1.5),
    ((24,), 1.5),
    ((25, 26), 1.0),
    ((25,), 1.0),
    ((7,), 1.0),
    ((4,), 2.0),
    ((2,), 1.2),
    ((1,), 1.2),
    ((10, 25), 1.0),
    ((10,), 1.0),
    ((9,), 1.0),
    ((4, 7, 9), 1.5),
    ((14, 24), 1.0),
    ((14, 17), 1.0),
    ((17, 23), 1.0),
    ((4, 7, 10, 25, 26), 1.0),
)
CONTRADICTIONS: tuple[tuple[int, int], ...] = (
    (24, 25),
    (24, 26),
    (12, 15),
    (23, 26),
    (23, 25),
    (10, 24),
    (9, 24),
    (17, 26),
    (23, 24),
)
NEUTRAL_SHARE = 0.15  # faces without a commanded unit
CONFIGURATION_SHARE = 0.52  # faces drawn from the table; the rest draws every unit alone
KEEP_PROBABILITY = 0.9
ADD_PROBABILITY = 0.07
UPPER_FACE: tuple[int, ...] = (1, 2, 4, 7)
# Of a configuration whose upper and lower half come from two rows: brows must be read from brows. Without it the mouth
# alone tells AU1 from its absence at an AUC of .74, by the company it keeps here, which real faces do not keep.
MIXED_PROBABILITY = 0.6
INNER_WITH_OUTER = 0.3  # of AU1 added where AU2 is drawn: few raise the outer brow alone, yet each must be told apart
STRETCH_PROBABILITY = 0.12  # of AU20, which widens a mouth that does not smile
STRETCH_IN_DISTRESS = 0.35  # of AU20 beside AU1 with AU4 or AU15, as in crying and fear
ALONE_PROBABILITY = 0.25
TRACE_PROBABILITY = 0.25  # of a unit that is absent but stirs
AMBIGUOUS_PROBABILITY = 0.06


@dataclass(frozen=True)
class Band:
    """Intensities: below `absent_below` a unit is labelled absent, from `present_from` on present, between unsure."""

    absent_below: float
    present_from: float


DEFAULT_BAND = Band(0.12, 0.30)
BANDS: Mapping[int, Band] = {
    **dict.fromkeys(LABELLED, DEFAULT_BAND),
    6: Band(0.12, 0.35),
    7: Band(0.12, 0.35),
    14: Band(0.15, 0.38),
    23: Band(0.15, 0.38),
    24: Band(0.12, 0.35),
}


@dataclass(frozen=True)
class Coupling:
    """A movement without a label that comes along with units: each shape moves by U(0, most) times their strength."""

    units: tuple[int, ...]
    shape: str
    most: float
    probability: float = 1.0


COUPLINGS: tuple[Coupling, ...] = (
    Coupling((1, 2), "eyeWide", 0.6, 0.75),  # raised brows take the upper lids along
    Coupling((1,), "eyeWide", 0.2, 0.5),
    Coupling((2,), "eyeWide", 0.2, 0.5),
    Coupling((12, 25), "mouthUpperUp", 0.35, 0.8),  # a toothy smile lifts the upper lip without AU10
    Coupling((6, 12), "noseSneer", 0.22, 0.6),  # and a broad one widens and lifts the nose without AU9
    Coupling((12,), "cheekSquint", 0.25),
    Coupling((4,), "eyeBlink", 0.12),
    Coupling((4,), "eyeSquint", 0.15),
    Coupling((9,), "eyeSquint", 0.25),
    Coupling((26,), "mouthFunnel", 0.15, 0.4),
)


@dataclass(frozen=True)
class Masking:
    """A unit whose absence cannot be judged while another is strong: its label weighs nothing there."""

    absent: int
    while_present: int
    from_intensity: float


MASKINGS: tuple[Masking, ...] = (
    Masking(7, 6, 0.7),
    Masking(4, 9, 0.6),
    Masking(10, 9, 0.6),
    Masking(6, 9, 0.7),
    Masking(14, 12, 0.8),
    Masking(17, 24, 0.7),
    Masking(23, 24, 0.5),
    Masking(24, 23, 0.5),
)

# Unlabelled movements: shape -> (probability, least, most weight).
NUISANCES: Mapping[str, tuple[float, float, float]] = {
    "jawLeft": (0.04, 0.1, 0.6),
    "jawRight": (0.04, 0.1, 0.6),
    "mouthLeft": (0.04, 0.1, 0.6),
    "mouthRight": (0.04, 0.1, 0.6),
    "mouthPucker": (0.05, 0.1, 0.5),
    "mouthFunnel": (0.05, 0.1, 0.5),
    "jawForward": (0.04, 0.1, 0.6),
    "cheekPuff": (0.04, 0.2, 0.8),
}
LIP_SHAPES_LIKE_TIGHTENING = ("mouthPucker", "mouthFunnel")
# How a face at rest differs from the mean one: shape -> standard deviation over people.
RESTING_SHAPES: Mapping[str, float] = {
    "mouthSmile": 0.09,
    "mouthFrown": 0.10,
    "mouthStretch": 0.08,
    "mouthPucker": 0.06,
    "browDown": 0.12,
    "browInnerUp": 0.12,
    "browOuterUp": 0.14,
    "cheekSquint": 0.06,
    "eyeSquint": 0.10,
    "eyeWide": 0.10,
    "mouthDimple": 0.07,
    "mouthPress": 0.07,
    "eyeBlink": 0.08,
}
