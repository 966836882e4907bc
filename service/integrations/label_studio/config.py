"""A project's label configuration, read: which media it shows, which controls and labels there are, under which names.

Nothing is assumed: names of controls, names of labels, aliases, thresholds and the key of the task's media all come
from the XML that Label Studio sends with every request.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from xml.etree import ElementTree as ET

from service.integrations.label_studio.vocabulary import first_action_unit, is_face

_MEDIA = ("image", "video")
# What can be filled in, by the tag in lower case, which is also the `type` of its results.
_CONTROLS = (
    "rectanglelabels",
    "keypointlabels",
    "brushlabels",
    "polygonlabels",
    "choices",
    "taxonomy",
    "number",
    "timelinelabels",
    "videorectangle",
    "labels",
)
_LABEL_TAGS = ("label", "choice")
_MAX_CHARACTERS = 1_000_000
DEFAULT_FRAMERATE = 24.0
"""What Label Studio takes where a `<Video>` names no frame rate."""


class LabelConfigError(ValueError):
    """The configuration cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label, choice or node of a taxonomy.

    Attributes:
        path: what a result says, from the root; one name but for nodes of a taxonomy.
        au: the Action Unit that it stands for.
        face: whether it stands for a face.
    """

    path: tuple[str, ...]
    au: str | None
    face: bool

    @property
    def value(self) -> str:
        """The last name of the path."""
        return self.path[-1]


@dataclass(frozen=True, slots=True)
class Control:
    """A control that can be filled in.

    Attributes:
        kind: the tag in lower case, which is also the type of its results.
        to_name: the name of the medium that it works on.
        per_region: whether it belongs to each region, not to the task.
        multiple: whether several labels can be chosen at once.
        au: the Action Unit of a `<Number>`, which has no labels.
        threshold: `model_score_threshold`, the least score, 0 to 1, of what is shown; None: the checkpoint decides.
        low: least value of a `<Number>`, None when it is open.
        high: the largest.
    """

    kind: str
    name: str
    to_name: str
    labels: tuple[Label, ...]
    per_region: bool = False
    multiple: bool = False
    au: str | None = None
    threshold: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def face_label(self) -> Label | None:
        """The label of faces: the one that says so, else the only one, if it names no Action Unit."""
        named = next((label for label in self.labels if label.face), None)
        if named is None and len(self.labels) == 1 and self.labels[0].au is None:
            return self.labels[0]
        return named

    def au_labels(self) -> dict[str, Label]:
        """Labels by the Action Unit that they stand for, the first of each."""
        found: dict[str, Label] = {}
        for label in self.labels:
            if label.au is not None:
                found.setdefault(label.au, label)
        return found

    @property
    def number_scale(self) -> float | None:
        """What a probability of 1 is on this `<Number>`: 1, or 100 for per cent; None where it measures another thing.

        A control from 0 to 5 asks for a FACS intensity, which roigcn does not estimate: it is left to the annotator.
        """
        if self.low not in (None, 0.0):
            return None
        return {None: 1.0, 1.0: 1.0, 100.0: 100.0}.get(self.high)


@dataclass(frozen=True, slots=True)
class Medium:
    """An `<Image>` or `<Video>`.

    Attributes:
        kind: "image" or "video".
        key: where the task's data has the address of the file.
        framerate: as the tag says it, a number or `$key`; "" when it says nothing.
    """

    kind: str
    name: str
    key: str
    framerate: str = ""

    def fps(self, data: Mapping[str, Any]) -> float:
        """Frames per second as Label Studio's player computes it from the tag and a task's data."""
        text = self.framerate
        value = data.get(text[1:]) if text.startswith("$") else text
        try:
            number = float(value)  # type: ignore[arg-type]  # whatever the task's data holds
        except (TypeError, ValueError):
            return DEFAULT_FRAMERATE
        if not math.isfinite(number) or number <= 0:
            return DEFAULT_FRAMERATE
        return number if number >= 1 else 1 / number


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """The parts of a label configuration that matter here, in the order of the XML."""

    media: tuple[Medium, ...]
    controls: tuple[Control, ...]

    def on(self, medium: Medium, *kinds: str) -> tuple[Control, ...]:
        """The controls of a medium, of certain kinds if any are given."""
        return tuple(
            control
            for control in self.controls
            if control.to_name == medium.name and (not kinds or control.kind in kinds)
        )

    def medium_of(self, data: Mapping[str, Any]) -> Medium | None:
        """The medium that a task has data for."""
        return next((medium for medium in self.media if isinstance(data.get(medium.key), str)), None)

    def usable(self) -> bool:
        """Whether there is anything that can be filled in."""
        return any(_usable(control) for medium in self.media for control in self.on(medium))


def parse_config(xml: str) -> LabelConfig:
    """Read a label configuration.

    Raises:
        LabelConfigError: not XML, or with a document type, or unreasonably long.
    """
    if len(xml) > _MAX_CHARACTERS:
        raise LabelConfigError(f"the label configuration has more than {_MAX_CHARACTERS} characters")
    try:
        root = ET.fromstring(xml, ET.XMLParser(target=_NoDoctype()))
    except ET.ParseError as error:
        raise LabelConfigError(f"the label configuration is not XML ({error})") from error
    media, controls = [], []
    for element in root.iter():
        tag, attributes = element.tag.lower(), element.attrib
        name, value = attributes.get("name", ""), attributes.get("value", "")
        if tag in _MEDIA and name and value.startswith("$"):
            media.append(Medium(tag, name, value[1:], attributes.get("framerate") or attributes.get("frameRate") or ""))
        elif tag in _CONTROLS and name and attributes.get("toName"):
            controls.append(_control(tag, element))
    return LabelConfig(tuple(media), tuple(controls))


class _NoDoctype(ET.TreeBuilder):
    """Builds the tree but takes no document type: its entities can grow a few lines to gigabytes."""

    def doctype(self, *_: object) -> NoReturn:
        raise LabelConfigError("the label configuration has a document type, which is not read")


def _control(kind: str, element: ET.Element) -> Control:
    attributes = element.attrib
    labels = tuple(_nodes(element)) if kind == "taxonomy" else tuple(_labels(element))
    return Control(
        kind=kind,
        name=attributes["name"],
        to_name=attributes["toName"].split(",")[0].strip(),
        labels=labels,
        per_region=attributes.get("perRegion") == "true",
        multiple=kind == "taxonomy" or attributes.get("choice") == "multiple",
        au=first_action_unit(_names(element)) if kind == "number" else None,
        threshold=_number(attributes.get("model_score_threshold")),
        low=_number(attributes.get("min")),
        high=_number(attributes.get("max")),
    )


def _names(element: ET.Element) -> list[str]:
    """The words of an element, the most explicit first."""
    attributes = element.attrib
    predicted = [part.strip() for part in attributes.get("predicted_values", "").split(",")]
    return [text for text in (*predicted, *(attributes.get(key, "") for key in ("value", "alias", "name"))) if text]


def _label(element: ET.Element, parents: tuple[str, ...] = ()) -> Label | None:
    said = element.get("alias") or element.get("value")
    if not said:
        return None
    names = _names(element)
    au = first_action_unit(names)
    return Label((*parents, said), au, au is None and is_face(names))


def _labels(control: ET.Element) -> Iterator[Label]:
    for element in control.iter():
        if element.tag.lower() in _LABEL_TAGS and (label := _label(element)) is not None:
            yield label


def _nodes(element: ET.Element, parents: tuple[str, ...] = ()) -> Iterator[Label]:
    """The nodes of a taxonomy, each with the path that leads to it."""
    for child in element:
        if child.tag.lower() == "choice" and (label := _label(child, parents)) is not None:
            yield label
            yield from _nodes(child, label.path)
        else:
            yield from _nodes(child, parents)


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _usable(control: Control) -> bool:
    if control.kind == "number":
        return control.au is not None and control.number_scale is not None
    if control.kind in ("rectanglelabels", "labels"):
        return control.face_label is not None
    return control.kind == "videorectangle" or bool(control.au_labels())
