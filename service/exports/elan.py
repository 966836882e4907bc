"""ELAN annotation file (.eaf, EAF 3.0): a tier per face and AU, an annotation per event with its mean probability.

Each face also has a tier of its own that says when it was seen: an AU that is not annotated there was looked for and
not found. Times are whole milliseconds of the container's time stamps. Annotations of a tier never overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePath
from xml.etree import ElementTree as ET

import numpy as np

from model.events import AuEvent, Timeline
from service.exports.formats import VIDEO, Format, Need
from service.exports.recording import ExportFrame, Recording, events_of

_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_TYPE = "au"
_SEEN = "seen"

Span = tuple[int, int, str]


def write(frames: Iterable[ExportFrame], recording: Recording) -> Iterator[bytes]:
    """The whole document; it is small, since it holds events and not frames."""
    events, signals, timeline = events_of(frames, recording)
    tiers: dict[str, list[Span]] = {}
    for track in signals.tracks:
        tiers[f"face{track}"] = _apart(_seen(signals.positions(track), timeline))
        for code in recording.au_codes:
            mine = [event for event in events if event.track == track and event.au == code]
            tiers[f"face{track}:{code}"] = _apart(map(_span, mine))
    document = _document(tiers, recording)
    ET.indent(document, "    ")
    yield b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(document, encoding="utf-8") + b"\n"


def _span(event: AuEvent) -> Span:
    return round(event.onset_ms), round(event.offset_ms), f"{event.mean_probability:.2f}"


def _seen(positions: np.ndarray[tuple[int], np.dtype[np.int64]], timeline: Timeline) -> Iterator[Span]:
    """Runs of frames that show a face."""
    for run in np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1):
        yield round(timeline.start_ms[run[0]]), round(timeline.end_ms[run[-1]]), "seen"


def _apart(spans: Iterable[Span]) -> list[Span]:
    """At least a millisecond long each and without overlap, as ELAN demands; whole milliseconds alone give neither."""
    kept: list[Span] = []
    for start, end, value in spans:
        start = max(start, kept[-1][1] if kept else 0)
        kept.append((start, max(end, start + 1), value))
    return kept


def _document(tiers: dict[str, list[Span]], recording: Recording) -> ET.Element:
    root = ET.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "roigcn",
            "DATE": recording.made_at.isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    annotations = sum(len(spans) for spans in tiers.values())
    _header(root, recording, annotations)
    spots = sorted({spot for spans in tiers.values() for start, end, _ in spans for spot in (start, end)})
    slots = {spot: f"ts{number}" for number, spot in enumerate(spots, 1)}
    order = ET.SubElement(root, "TIME_ORDER")
    for spot, slot in slots.items():
        ET.SubElement(order, "TIME_SLOT", {"TIME_SLOT_ID": slot, "TIME_VALUE": str(spot)})
    number = 0
    for name, spans in tiers.items():
        kind = _TYPE if ":" in name else _SEEN
        tier = ET.SubElement(root, "TIER", {"ANNOTATOR": "roigcn", "LINGUISTIC_TYPE_REF": kind, "TIER_ID": name})
        for start, end, value in spans:
            number += 1
            place = {"ANNOTATION_ID": f"a{number}", "TIME_SLOT_REF1": slots[start], "TIME_SLOT_REF2": slots[end]}
            annotation = ET.SubElement(ET.SubElement(tier, "ANNOTATION"), "ALIGNABLE_ANNOTATION", place)
            ET.SubElement(annotation, "ANNOTATION_VALUE").text = value
    for kind in (_SEEN, _TYPE):
        what = {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": kind, "TIME_ALIGNABLE": "true"}
        ET.SubElement(root, "LINGUISTIC_TYPE", what)
    return root


def _header(root: ET.Element, recording: Recording, annotations: int) -> None:
    header = ET.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    name = PurePath(recording.name).name
    media = {"MEDIA_URL": f"./{name}", "RELATIVE_MEDIA_URL": f"./{name}"}
    ET.SubElement(header, "MEDIA_DESCRIPTOR", {**media, "MIME_TYPE": recording.mime or "unknown"})
    known = {
        "roigcn.checkpoint": recording.checkpoint,
        "roigcn.synthetic_only": str(recording.synthetic_only).lower(),
        "roigcn.value": "mean probability of the event, 0 to 1; not an intensity",
        "lastUsedAnnotationId": str(annotations),
    }
    for key, value in known.items():
        ET.SubElement(header, "PROPERTY", {"NAME": key}).text = value


FORMAT = Format(
    name="elan",
    title="ELAN",
    summary="ELAN annotation file: a tier per face and AU with its events",
    media_type="text/x-eaf+xml",
    suffix=".eaf",
    kinds=VIDEO,
    write=write,
    needs=frozenset({Need.EVENTS}),
    whole=VIDEO,
)
