"""A label configuration to begin with, for pictures or for clips. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from xml.sax.saxutils import quoteattr

from model.action_units import CATALOGUE

Task = Literal["image", "video"]

# One colour for each half of the face: the labels of one half look alike and differ by their words.
_COLOURS = {"upper": "#1f64c8", "lower": "#d62728"}
_FACE_COLOUR = "#2ca02c"


def label_config(task: Task, au_codes: Sequence[str], *, maps: bool = False, probabilities: bool = False) -> str:
    """The XML of a label configuration.

    Args:
        task: "image": boxes of faces, choices of Action Units and key points; "video": a timeline of Action Units
            and boxes that follow faces. The player of a clip takes its frame rate from `fps` in the task's data.
        au_codes: the Action Units to annotate.
        maps: with polygons of the network's ROI maps (pictures only).
        probabilities: with a number per Action Unit, the probability from 0 to 1 (pictures only).
    """
    lines = _video(au_codes) if task == "video" else _image(au_codes, maps, probabilities)
    return "\n".join(["<View>", *(f"  {line}" for line in lines), "</View>", ""])


def _image(au_codes: Sequence[str], maps: bool, probabilities: bool) -> list[str]:
    lines = [
        '<Image name="image" value="$image" zoom="true" zoomControl="true"/>',
        '<RectangleLabels name="face" toName="image" smart="true">',
        f'  <Label value="face" background="{_FACE_COLOUR}"/>',
        "</RectangleLabels>",
        '<KeyPointLabels name="click" toName="image" smart="true" smartOnly="true">',
        f'  <Label value="face" background="{_FACE_COLOUR}"/>',
        "</KeyPointLabels>",
        '<Choices name="aus" toName="image" perRegion="true" choice="multiple" showInline="true">',
        *(f"  <Choice {_named(code)}/>" for code in au_codes),
        "</Choices>",
    ]
    if probabilities:
        lines += [
            f'<Number name="{code}_probability" toName="image" perRegion="true" min="0" max="1" step="0.01" '
            f'predicted_values="{code}"/>'
            for code in au_codes
        ]
    lines += ['<KeyPointLabels name="places" toName="image">', *_labels(au_codes), "</KeyPointLabels>"]
    if maps:
        lines += ['<PolygonLabels name="maps" toName="image" opacity="0.3">', *_labels(au_codes), "</PolygonLabels>"]
    return lines


def _video(au_codes: Sequence[str]) -> list[str]:
    return [
        '<Video name="video" value="$video" framerate="$fps"/>',
        '<TimelineLabels name="timeline" toName="video">',
        *_labels(au_codes),
        "</TimelineLabels>",
        '<VideoRectangle name="box" toName="video"/>',
        '<Labels name="faces" toName="video">',
        f'  <Label value="face" background="{_FACE_COLOUR}"/>',
        "</Labels>",
    ]


def _labels(au_codes: Sequence[str]) -> list[str]:
    return [f'  <Label {_named(code)} background="{_COLOURS[CATALOGUE[code].half]}"/>' for code in au_codes]


def _named(code: str) -> str:
    return f'value="{code}" hint={quoteattr(CATALOGUE[code].name)}'
