"""Faces as CVAT's label `face`: its attributes and their values. Pure, and without CVAT's own packages.

Each Action Unit has a checkbox, the decision, and a text, its probability: CVAT's numbers are integers. So the labels
are those of the export `cvat` too, and have two more: the text `aus` names the Action Units that occur, the number
`face_percent` is the detector's confidence. Nothing here is a FACS intensity.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

LABEL = "face"
_COLOUR = "#2ca02c"

Kind = Literal["checkbox", "number", "text"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of the label; `values` as CVAT takes them: none, or least, largest and step of a number."""

    name: str
    kind: Kind
    values: tuple[str, ...] = ()

    @property
    def default(self) -> str:
        """What a face has that nobody looked at."""
        return {"checkbox": "false", "number": "0", "text": ""}[self.kind]


def attributes_of(au_codes: Sequence[str]) -> tuple[Attribute, ...]:
    """The attributes of a face for these Action Units, in an order that does not change."""
    per_au = ((Attribute(code, "checkbox"), Attribute(f"{code}_probability", "text")) for code in au_codes)
    first = (Attribute("aus", "text"), Attribute("face_percent", "number", ("0", "100", "1")))
    return (*first, *(attribute for pair in per_au for attribute in pair))


def values_of(face: Mapping[str, Any], au_codes: Sequence[str]) -> dict[str, str]:
    """The values of a face as the service answers it, by attribute.

    An AU that could not be read, or that the checkpoint lacks, has no value: CVAT shows its default.
    """
    read = {au["au"]: au for au in face["aus"] if au["probability"] is not None}
    occurring = [code for code in au_codes if code in read and read[code]["active"]]
    named = ", ".join(f"{code} {read[code]['probability']:.2f}" for code in occurring)
    values = {"aus": named, "face_percent": str(round(100 * face["score"]))}
    for code in au_codes:
        if code in read:
            values[code] = "true" if read[code]["active"] else "false"
            values[f"{code}_probability"] = f"{read[code]['probability']:.4f}"
    return values


def box_of(face: Mapping[str, Any], width: int, height: int) -> list[float]:
    """Left, top, right and bottom of a face in pixels, on the picture."""
    box = face["box"]
    left, top = max(box["x"], 0.0), max(box["y"], 0.0)
    right, bottom = min(box["x"] + box["width"], float(width)), min(box["y"] + box["height"], float(height))
    return [round(number, 2) for number in (left, top, right, bottom)]


def confident(faces: Sequence[Mapping[str, Any]], threshold: float | None) -> list[Mapping[str, Any]]:
    """The faces that the detector is sure enough of; without a threshold all."""
    return [face for face in faces if threshold is None or face["score"] >= threshold]


def labels_json(au_codes: Sequence[str]) -> str:
    """The labels of a project or task, as CVAT's "Raw" editor takes them."""
    attributes = [
        {
            "name": attribute.name,
            "mutable": True,
            "input_type": attribute.kind,
            "default_value": attribute.default,
            "values": list(attribute.values) or [attribute.default],
        }
        for attribute in attributes_of(au_codes)
    ]
    label = {"name": LABEL, "color": _COLOUR, "type": "rectangle", "attributes": attributes}
    return json.dumps([label], indent=2) + "\n"
