"""What the words of a label configuration mean: an Action Unit, a face, or nothing that is known here.

Projects name their labels as they like: `AU12`, `au 12`, `AU06 cheek raiser`, `Lip Corner Puller`, or any word with
`predicted_values="AU12"` beside it, the attribute by which Label Studio maps a model's words to a project's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from model.action_units import CATALOGUE

_CODE = re.compile(r"(?<![a-z])au[\s_.-]*0*([1-9]\d?)(?![0-9a-z])")
_WORD = re.compile(r"[a-z]+")


def _words(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold()))


_NAMES: Mapping[str, str] = MappingProxyType({_words(unit.name): unit.code for unit in CATALOGUE.values()})


def action_unit(text: str) -> str | None:
    """The code of the one Action Unit that a text names, by number or by FACS name.

    A text that names several (`AU12+AU25`) or one side of one (`AU12L`) names none.

    Example:
        >>> action_unit("AU06 - cheek raiser"), action_unit("lip corner puller"), action_unit("AU12L")
        ('AU6', 'AU12', None)
    """
    codes = {f"AU{number}" for number in _CODE.findall(text.casefold())}
    if codes:
        return codes.pop() if len(codes) == 1 and codes <= CATALOGUE.keys() else None
    return _NAMES.get(_words(text))


def first_action_unit(texts: Iterable[str]) -> str | None:
    """The Action Unit of the first text that names one."""
    return next((code for text in texts if (code := action_unit(text)) is not None), None)


def is_face(texts: Iterable[str]) -> bool:
    """Whether one of the texts has the word face in it."""
    return any({"face", "faces"} & set(_WORD.findall(text.casefold())) for text in texts)
