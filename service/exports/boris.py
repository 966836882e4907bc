"""BORIS aggregated events as CSV: one row per AU event, with the columns of BORIS 8's own export of that name.

A face is a subject, an AU a behaviour of the type STATE. Times are seconds with three digits, as BORIS writes them.
Image indices are numbers of frames, from 0. BORIS itself opens projects, not this table: it is for what is done with
such tables afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from model.action_units import CATALOGUE
from model.events import AuEvent
from service.exports.formats import VIDEO, Format, Need
from service.exports.recording import ExportFrame, Recording, events_of
from service.exports.text import Cell, csv_pieces

HEADER = (
    "Observation id",
    "Observation date",
    "Description",
    "Observation type",
    "Source",
    "Time offset (s)",
    "Coding duration",
    "Media duration (s)",
    "FPS (frame/s)",
    "Subject",
    "Observation duration by subject by observation",
    "Behavior",
    "Behavioral category",
    "Behavior type",
    "Start (s)",
    "Stop (s)",
    "Duration (s)",
    "Media file name",
    "Image index start",
    "Image index stop",
    "Image file path start",
    "Image file path stop",
    "Comment start",
    "Comment stop",
)


def write(frames: Iterable[ExportFrame], recording: Recording) -> Iterator[bytes]:
    """All events, by face, then AU, then time."""
    events, _, timeline = events_of(frames, recording)
    length_ms = float(timeline.end_ms[-1] - timeline.start_ms[0]) if len(timeline.frame) else 0.0
    coded: dict[int, float] = {}
    for event in events:
        coded[event.track] = coded.get(event.track, 0.0) + event.duration_ms
    yield from csv_pieces(HEADER, (_row(event, recording, length_ms, coded[event.track]) for event in events))


def _row(event: AuEvent, recording: Recording, length_ms: float, coded_ms: float) -> list[Cell]:
    unit = CATALOGUE.get(event.au)
    duration_ms = recording.duration_ms if recording.duration_ms is not None else length_ms
    return [
        recording.stem,
        recording.made_at.strftime("%Y-%m-%d %H:%M:%S"),
        f"roigcn, checkpoint {recording.checkpoint}",
        "Media file",
        f"player #1:{recording.name}",
        "0",
        seconds(length_ms),
        seconds(duration_ms),
        "NA" if recording.fps is None else f"{recording.fps:.3f}",
        f"face{event.track}",
        seconds(coded_ms),
        event.au,
        f"{unit.half} face" if unit else "Not defined",
        "STATE",
        seconds(event.onset_ms),
        seconds(event.offset_ms),
        seconds(event.duration_ms),
        recording.name,
        event.onset_frame,
        event.offset_frame,
        None,
        None,
        f"apex {seconds(event.apex_ms)} s; peak probability {event.peak_probability:.3f}",
        f"mean probability {event.mean_probability:.3f}",
    ]


def seconds(ms: float) -> str:
    """Milliseconds as seconds with three digits."""
    return f"{ms / 1000:.3f}"


FORMAT = Format(
    name="boris",
    title="BORIS events",
    summary="AU events as CSV in the columns of BORIS' aggregated events: subject is the face, behaviour the AU",
    media_type="text/csv",
    suffix=".boris.csv",
    kinds=VIDEO,
    write=write,
    needs=frozenset({Need.EVENTS}),
    whole=VIDEO,
)
