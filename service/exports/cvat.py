"""CVAT XML 1.1: "CVAT for images" of pictures, "CVAT for video" of clips.

A face is a box of the label `face`. Each AU is a checkbox attribute under its code (the decision) and a text attribute
`AU.._probability`; of an AU that could not be read the probability is empty. In a clip each face is a track with a key
frame wherever it was seen; where it is lost before the clip ends its last box is repeated one frame later with
`outside="1"`.
Frames count from 0, coordinates are pixels of the upright image. `<meta>` describes the labels.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

import numpy as np

from service.exports.formats import BOTH, VIDEO, Format, Need
from service.exports.recording import ExportFrame, Recording, box_xyxy, decisions
from service.exports.text import pieces
from service.rounding import PIXEL_DIGITS, SCORE_DIGITS, rounded
from worker.store.records import FaceRow, JobKind

LABEL = "face"


def write(frames: Iterable[ExportFrame], recording: Recording) -> Iterator[bytes]:
    """The document; pictures as they come, a clip's tracks one after the other once all frames are known."""
    return pieces(_video(frames, recording) if recording.kind is JobKind.VIDEO else _images(frames, recording))


def _open(recording: Recording, mode: str, size: int | None) -> str:
    meta = ET.Element("meta")
    task = ET.SubElement(meta, "task")
    for name, value in (("name", recording.name), ("size", size), ("mode", mode), ("overlap", 0)):
        if value is not None:
            ET.SubElement(task, name).text = str(value)
    if size:
        ET.SubElement(task, "start_frame").text = "0"
        ET.SubElement(task, "stop_frame").text = str(size - 1)
    ET.SubElement(task, "created").text = recording.made_at.isoformat(sep=" ")
    label = ET.SubElement(ET.SubElement(task, "labels"), "label")
    ET.SubElement(label, "name").text = LABEL
    ET.SubElement(label, "type").text = "rectangle"
    attributes = ET.SubElement(label, "attributes")
    for code in recording.au_codes:
        _describe(attributes, code, "checkbox", "false")
        _describe(attributes, f"{code}_probability", "text", "")
    if recording.width is not None and recording.height is not None:
        original = ET.SubElement(task, "original_size")
        ET.SubElement(original, "width").text = str(recording.width)
        ET.SubElement(original, "height").text = str(recording.height)
    ET.SubElement(meta, "dumped").text = recording.made_at.isoformat(sep=" ")
    ET.SubElement(meta, "source").text = recording.name
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n{_text(meta)}'


def _describe(attributes: ET.Element, name: str, kind: str, default: str) -> None:
    attribute = ET.SubElement(attributes, "attribute")
    parts = (("name", name), ("mutable", "True"), ("input_type", kind), ("default_value", default), ("values", default))
    for tag, value in parts:
        ET.SubElement(attribute, tag).text = value


def _images(frames: Iterable[ExportFrame], recording: Recording) -> Iterator[str]:
    yield _open(recording, "annotation", recording.frames)
    for frame in frames:
        size = {"width": str(frame.width), "height": str(frame.height)} if frame.width and frame.height else {}
        image = ET.Element("image", {"id": str(frame.frame), "name": frame.name, **size})
        for face in frame.faces:
            place = {"label": LABEL, "source": "auto", "occluded": "0", **_corners(box_xyxy(face)), "z_order": "0"}
            probability = rounded(face.au_probability, SCORE_DIGITS)
            _attach(ET.SubElement(image, "box", place), _attributes(recording.au_codes, decisions(face), probability))
        yield _text(image)
    yield "</annotations>\n"


@dataclass(slots=True)
class _Track:
    """Frames in which a face was seen, and 4 + 2K numbers of each: box, decisions (NaN for none), probabilities."""

    frames: list[int] = field(default_factory=list)
    numbers: array[float] = field(default_factory=lambda: array("f"))

    def add(self, frame: int, face: FaceRow) -> None:
        self.frames.append(frame)
        decided = [math.nan if active is None else float(active) for active in decisions(face)]
        for part in (face.box_xyxy, decided, face.au_probability):
            self.numbers.extend(map(float, part))


def _video(frames: Iterable[ExportFrame], recording: Recording) -> Iterator[str]:
    tracks: dict[int, _Track] = {}
    size = 0
    for frame in frames:
        size = frame.frame + 1
        for face in frame.faces:
            tracks.setdefault(face.track, _Track()).add(frame.frame, face)
    yield _open(recording, "interpolation", size)
    for number in sorted(tracks):
        yield f'  <track id="{number}" label="{LABEL}" source="auto">\n'
        yield from _boxes(tracks[number], size, recording.au_codes)
        yield "  </track>\n"
    yield "</annotations>\n"


def _boxes(track: _Track, size: int, au_codes: Sequence[str]) -> Iterator[str]:
    followers: list[int | None] = [*track.frames[1:], None]
    numbers = np.array(track.numbers, np.float32).reshape(len(track.frames), 4 + 2 * len(au_codes))
    for frame, row, follower in zip(track.frames, numbers, followers, strict=True):
        corners, active, probability = np.split(row, [4, 4 + len(au_codes)])
        values = _attributes(au_codes, rounded(active, 0), rounded(probability, SCORE_DIGITS))
        edges = _corners(rounded(corners, PIXEL_DIGITS))
        yield _box(frame, edges, values, outside=False)
        if follower != frame + 1 and frame + 1 < size:  # nothing stands after a clip's last frame, as in CVAT's files
            yield _box(frame + 1, edges, values, outside=True)


def _box(frame: int, corners: dict[str, str], values: list[tuple[str, str]], *, outside: bool) -> str:
    state = {"outside": str(int(outside)), "occluded": "0", "keyframe": "1"}
    element = ET.Element("box", {"frame": str(frame), **state, **corners, "z_order": "0"})
    _attach(element, values)
    return _text(element, level=2)


def _corners(box: Sequence[float]) -> dict[str, str]:
    return {name: f"{edge:.2f}" for name, edge in zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)}


def _attributes(
    au_codes: Sequence[str], active: Sequence[float | None], probability: Sequence[float | None]
) -> list[tuple[str, str]]:
    values = []
    for code, decided, chance in zip(au_codes, active, probability, strict=True):
        values.append((code, "true" if decided else "false"))
        values.append((f"{code}_probability", "" if decided is None else str(chance)))
    return values


def _attach(element: ET.Element, values: Iterable[tuple[str, str]]) -> None:
    for name, value in values:
        ET.SubElement(element, "attribute", {"name": name}).text = value


def _text(element: ET.Element, level: int = 1) -> str:
    ET.indent(element, "  ", level)
    return "  " * level + ET.tostring(element, encoding="unicode") + "\n"


FORMAT = Format(
    name="cvat",
    title="CVAT",
    summary="CVAT XML 1.1, for images or for video (a track per face), AUs as attributes of the box",
    media_type="application/xml",
    suffix=".cvat.xml",
    kinds=BOTH,
    write=write,
    needs=frozenset({Need.SIZE}),
    whole=VIDEO,
)
