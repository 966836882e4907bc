"""The catalogue of facial Action Units: FACS names, face halves and the rules that place their two ROIs on a face.

A rule takes two base points from the 68 iBUG landmarks (each the mean of one or more of them) and moves them by an
offset in units of the inner-ocular distance `s`, along the face's own axes (METHOD 1.2 and 1.3). The two points are
named in image order: the first is the image-left one (the subject's right in a picture that is not mirrored) or, for
AUs whose ROIs sit on the midline, the upper one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

FaceHalf = Literal["upper", "lower"]
Side = Literal["left", "right", "both"]
RuleName = Literal["paper", "fgnet"]

RULE_NAMES: tuple[str, ...] = ("paper", "fgnet")


@dataclass(frozen=True, slots=True)
class RoiRule:
    """Where the two ROI centres of an AU lie.

    Attributes:
        first: iBUG-68 indices (from 0) whose mean is the image-left (or upper) base point.
        second: the same for the image-right (or lower) base point.
        down: offset of both points along the face-down axis v, in inner-ocular distances.
        outward: offset away from the midline, in inner-ocular distances: -u for the first, +u for the second.
    """

    first: tuple[int, ...]
    second: tuple[int, ...]
    down: float = 0.0
    outward: float = 0.0


@dataclass(frozen=True, slots=True)
class ActionUnit:
    """One Action Unit of the Facial Action Coding System.

    Attributes:
        number: its FACS number.
        code: "AU" and the number, the name used in every interface.
        name: FACS name.
        half: "upper" (brows, lids, cheeks) or "lower" (nose, mouth, chin), as the FACS manual groups them.
        dominant_side: the SUBJECT's side of the face on which the action tends to be stronger over a population.
            Convention, after Borod, Haywood and Koff (1997) and the innervation of the face: paired lower-face
            actions "left", upper-face and midline actions "both". Descriptive only: nothing is computed from it.
        rules: ROI rule by rule set name, "paper" and "fgnet".
        extension: True for AUs that the paper doesn't train (METHOD 1.4).
        sided: True if the two ROIs lie left and right on parts that move independently, so that their two amplitudes
            say something about asymmetry; False for upper/lower pairs and for the jaw.
    """

    number: int
    code: str
    name: str
    half: FaceHalf
    dominant_side: Side
    rules: Mapping[str, RoiRule]
    extension: bool = False
    sided: bool = True


_BROW_LEFT, _BROW_RIGHT = tuple(range(17, 22)), tuple(range(22, 27))
_EYE_LEFT, _EYE_RIGHT = tuple(range(36, 42)), tuple(range(42, 48))
_LIP_CORNERS = RoiRule((48,), (54,))
_LIP_MIDDLES = RoiRule((51,), (57,))
_CHIN = RoiRule((58,), (56,), down=1 / 2)


def _unit(
    number: int,
    name: str,
    half: FaceHalf,
    paper: RoiRule,
    fgnet: RoiRule | None = None,
    *,
    sided: bool = True,
    extension: bool = False,
) -> ActionUnit:
    side: Side = "left" if sided and half == "lower" else "both"
    rules = MappingProxyType({"paper": paper, "fgnet": fgnet or paper})
    return ActionUnit(number, f"AU{number}", name, half, side, rules, extension=extension, sided=sided)


# METHOD 1.3 (rows of the paper, JAA-Net base points) and 1.4 (extension rows), ascending AU number.
_UNITS = (
    _unit(1, "Inner Brow Raiser", "upper", RoiRule((21,), (22,))),
    _unit(2, "Outer Brow Raiser", "upper", RoiRule((18,), (25,)), RoiRule((17,), (26,))),
    _unit(4, "Brow Lowerer", "upper", RoiRule((19,), (24,), down=1 / 3), RoiRule(_BROW_LEFT, _BROW_RIGHT)),
    _unit(5, "Upper Lid Raiser", "upper", RoiRule((37, 38), (43, 44)), extension=True),
    _unit(6, "Cheek Raiser", "upper", RoiRule((41,), (46,), down=1.0), RoiRule(_EYE_LEFT, _EYE_RIGHT, down=1.0)),
    _unit(7, "Lid Tightener", "upper", RoiRule((38,), (43,))),
    _unit(9, "Nose Wrinkler", "lower", RoiRule((32,), (34,), down=-1 / 2), RoiRule((39,), (42,))),
    _unit(10, "Upper Lip Raiser", "lower", RoiRule((61,), (63,)), RoiRule((50,), (52,))),
    _unit(11, "Nasolabial Deepener", "lower", RoiRule((31, 48), (35, 54)), extension=True),
    _unit(12, "Lip Corner Puller", "lower", _LIP_CORNERS),
    _unit(14, "Dimpler", "lower", _LIP_CORNERS),
    _unit(15, "Lip Corner Depressor", "lower", _LIP_CORNERS),
    _unit(16, "Lower Lip Depressor", "lower", RoiRule((58,), (56,)), extension=True),
    _unit(17, "Chin Raiser", "lower", _CHIN),
    _unit(18, "Lip Pucker", "lower", _LIP_MIDDLES, sided=False, extension=True),
    _unit(20, "Lip Stretcher", "lower", RoiRule((48,), (54,), outward=1 / 4), extension=True),
    _unit(22, "Lip Funneler", "lower", _LIP_MIDDLES, sided=False, extension=True),
    _unit(23, "Lip Tightener", "lower", _LIP_MIDDLES, sided=False),
    _unit(24, "Lip Pressor", "lower", _LIP_MIDDLES, sided=False),
    _unit(25, "Lips Part", "lower", _LIP_MIDDLES, sided=False),
    _unit(26, "Jaw Drop", "lower", _CHIN, RoiRule((58,), (56,)), sided=False),
    _unit(27, "Mouth Stretch", "lower", RoiRule((58,), (56,), down=3 / 4), sided=False, extension=True),
    _unit(28, "Lip Suck", "lower", _LIP_MIDDLES, sided=False, extension=True),
    _unit(38, "Nostril Dilator", "lower", RoiRule((31,), (35,)), extension=True),
    _unit(39, "Nostril Compressor", "lower", RoiRule((31,), (35,)), extension=True),
    _unit(43, "Eyes Closed", "upper", RoiRule(_EYE_LEFT, _EYE_RIGHT), extension=True),
    _unit(45, "Blink", "upper", RoiRule(_EYE_LEFT, _EYE_RIGHT), extension=True),
)

CATALOGUE: Mapping[str, ActionUnit] = MappingProxyType({unit.code: unit for unit in _UNITS})
"""Every known Action Unit by its code, in ascending order of number."""

AU_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        name: tuple(f"AU{number}" for number in numbers)
        for name, numbers in {
            "bp4d": (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24),
            "disfa": (1, 2, 4, 6, 9, 12, 25, 26),
            "faces15": (1, 2, 4, 6, 7, 9, 10, 12, 14, 15, 17, 23, 24, 25, 26),
        }.items()
    }
)
"""Named sets: the paper's two data sets and the fifteen AUs that the committed checkpoint covers."""


def resolve(aus: str | Sequence[str | int] | Iterable[str | int]) -> tuple[str, ...]:
    """AU codes of a set name, one code, a comma-separated list or a sequence of codes or numbers.

    The order is kept as given, since it's the order of the network's channels.

    Args:
        aus: e.g. "bp4d", "AU12", "1, 2, AU4", [1, 2, 4] or ("AU1", "12").

    Raises:
        ValueError: for an unknown set or AU, one named twice, or an empty list.

    Example:
        >>> resolve("disfa")
        ('AU1', 'AU2', 'AU4', 'AU6', 'AU9', 'AU12', 'AU25', 'AU26')
        >>> resolve([12, "au6"])
        ('AU12', 'AU6')
    """
    if isinstance(aus, str):
        if aus.strip().lower() in AU_SETS:
            return AU_SETS[aus.strip().lower()]
        items: list[str | int] = [part for part in aus.replace(",", " ").split() if part]
    else:
        items = list(aus)
    if not items:
        raise ValueError(f"no Action Unit given; name a set ({', '.join(AU_SETS)}) or list AU codes such as AU12")
    codes = tuple(_code(item) for item in items)
    doubled = sorted({code for code in codes if codes.count(code) > 1})
    if doubled:
        raise ValueError(f"Action Unit named twice: {', '.join(doubled)}")
    return codes


def _code(item: str | int) -> str:
    text = str(item).strip().upper()
    code = f"AU{text.removeprefix('AU').lstrip('0')}"
    if isinstance(item, bool) or code not in CATALOGUE:
        raise ValueError(
            f"unknown Action Unit or set {item!r}; sets are {', '.join(AU_SETS)}, "
            f"Action Units are {', '.join(CATALOGUE)}"
        )
    return code
