"""A clip's events and faces as Label Studio results: regions of the timeline, and boxes that follow faces. Pure.

Label Studio's timeline has no faces: each region says in its note (`meta.text`) which face it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model.events import AuEvent, ClipSignals, EventOptions, Timeline
from model.values import Float32Array
from service.integrations.label_studio.config import Control, LabelConfig, Medium
from service.integrations.label_studio.player import first_frame, frame_count, last_frame
from service.integrations.label_studio.results import Result, percent
from worker.store.records import FaceRow

# Key frames are left out where the straight line between their neighbours, which the player draws, is so near.
_TOLERANCE_PERCENT = 0.2
_LONGEST_LINE = 60


@dataclass(frozen=True, slots=True)
class Sighting:
    """A face in a frame: which of the clip's analysed frames, and the box in pixels."""

    position: int
    box_xyxy: Float32Array


@dataclass(slots=True)
class Clip:
    """An analysed clip, collected frame by frame.

    Attributes:
        width: of the upright pictures, pixels; 0 when it is not known, and then there are no boxes.
        duration_ms: as the container says; None when it does not.
        au_codes: the order of all AU arrays.
        thresholds: decision thresholds on the probability by AU code.
    """

    width: int
    height: int
    duration_ms: float | None
    au_codes: Sequence[str]
    thresholds: Mapping[str, float]
    signals: ClipSignals = field(init=False)
    tracks: dict[int, list[Sighting]] = field(default_factory=dict)
    frames: int = 0
    _certainty: float = 0.0
    _read: int = 0

    def __post_init__(self) -> None:
        self.signals = ClipSignals(self.au_codes)

    def add(self, frame: int, pts_ms: float, faces: Sequence[FaceRow]) -> None:
        """The next frame."""
        self.signals.add(frame, pts_ms, [(face.track, face.au_probability, face.au_score) for face in faces])
        for face in faces:
            self.tracks.setdefault(face.track, []).append(Sighting(self.frames, face.box_xyxy))
            known = face.au_probability[np.isfinite(face.au_probability)]
            self._certainty += float(np.maximum(known, 1 - known).sum())
            self._read += len(known)
        self.frames += 1

    @property
    def certainty(self) -> float:
        """The prediction's score, 0.5 to 1, as that of a picture; 0 without a face."""
        return round(self._certainty / self._read, 4) if self._read else 0.0


def clip_results(
    config: LabelConfig, medium: Medium, clip: Clip, fps: float, prefix: str, events: EventOptions | None = None
) -> list[Result]:
    """The results of a clip.

    Args:
        config: the project's.
        medium: the `<Video>`.
        clip: what was found.
        fps: the frame rate that the player takes, see `Medium.fps`.
        prefix: of the regions' ids.
        events: when an AU counts as an event; a control's own threshold goes first.
    """
    if clip.frames == 0:
        return []
    timeline = clip.signals.timeline()
    duration_ms = max(clip.duration_ms or 0.0, float(timeline.end_ms[-1]))
    player = _Player(fps, frame_count(duration_ms, fps), duration_ms)
    results: list[Result] = []
    for control in config.on(medium, "timelinelabels", "choices"):
        if control.kind == "choices" and control.per_region:
            continue
        labels = control.au_labels()
        options = events or EventOptions()
        if control.threshold:
            options = EventOptions(on=min(control.threshold, 1.0), min_ms=options.min_ms, gap_ms=options.gap_ms)
        found = [event for event in clip.signals.events(options, clip.thresholds) if event.au in labels]
        if control.kind == "timelinelabels":
            regions = enumerate(found)
            results += [_region(control, event, player, f"{prefix}-{control.name}-{n}") for n, event in regions]
        elif found:
            results.append(_choices(control, found, f"{prefix}-{control.name}"))
    results += _boxes(config, medium, clip, timeline, player, prefix)
    return results


@dataclass(frozen=True, slots=True)
class _Player:
    fps: float
    count: int
    duration_ms: float

    def first(self, start_ms: float) -> int:
        return min(first_frame(start_ms, self.fps), self.count)

    def last(self, end_ms: float) -> int:
        return min(last_frame(end_ms, self.fps), self.count)


def _region(control: Control, event: AuEvent, player: _Player, region: str) -> Result:
    start = player.first(event.onset_ms)
    value = {
        "ranges": [{"start": start, "end": max(player.last(event.offset_ms), start)}],
        control.kind: [control.au_labels()[event.au].value],
    }
    return _result(control, region, value, event.mean_probability) | {"meta": {"text": [f"face {event.track}"]}}


def _choices(control: Control, events: Sequence[AuEvent], region: str) -> Result:
    """The Action Units that have an event on any face."""
    best: dict[str, float] = {}
    for event in events:
        best[event.au] = max(best.get(event.au, 0.0), event.mean_probability)
    chosen = sorted(best, key=lambda code: -best[code])[: None if control.multiple else 1]
    said = [label.value for code, label in control.au_labels().items() if code in chosen]
    return _result(control, region, {control.kind: said}, sum(best[code] for code in chosen) / len(chosen))


def _boxes(
    config: LabelConfig, medium: Medium, clip: Clip, timeline: Timeline, player: _Player, prefix: str
) -> Iterator[Result]:
    control = next(iter(config.on(medium, "videorectangle")), None)
    if control is None or not clip.width or not clip.height:
        return
    named = [labels.face_label for labels in config.on(medium, "labels")]
    label = next((label for label in named if label is not None), None)
    if label is None and config.on(medium, "labels"):
        return  # the project draws boxes for other things than faces
    for track, sightings in sorted(clip.tracks.items()):
        value: dict[str, Any] = {
            "framesCount": player.count,
            "duration": round(player.duration_ms / 1000, 6),
            "sequence": _sequence(clip, sightings, timeline, player),
        }
        if label is not None:
            value["labels"] = [label.value]
        yield _result(control, f"{prefix}-b{track}", value, 1.0) | {"meta": {"text": [f"face {track}"]}}


def _sequence(clip: Clip, sightings: Sequence[Sighting], timeline: Timeline, player: _Player) -> list[dict[str, Any]]:
    """Key frames: thinned where the face is seen without a pause, and switched off where it is lost."""
    found: dict[int, dict[str, Any]] = {}
    for stretch in _stretches(sightings):
        keys = [
            (player.first(float(timeline.start_ms[seen.position])), _percentages(clip, seen.box_xyxy))
            for seen in stretch
        ]
        end = player.last(float(timeline.end_ms[stretch[-1].position]))
        if end > keys[-1][0]:
            keys.append((end, keys[-1][1]))
        unique = list(dict(keys).items())
        for index in _thinned(unique):
            frame, box = unique[index]
            found[frame] = {
                "frame": frame,
                "time": round(frame / player.fps, 6),
                **dict(zip(("x", "y", "width", "height"), box, strict=True)),
                "rotation": 0,
                "enabled": index < len(unique) - 1,
            }
    return [found[frame] for frame in sorted(found)]


def _stretches(sightings: Sequence[Sighting]) -> Iterator[list[Sighting]]:
    stretch: list[Sighting] = []
    for seen in sightings:
        if stretch and seen.position != stretch[-1].position + 1:
            yield stretch
            stretch = []
        stretch.append(seen)
    if stretch:
        yield stretch


def _percentages(clip: Clip, box_xyxy: Float32Array) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(edge) for edge in box_xyxy)
    x, y = percent(left, clip.width), percent(top, clip.height)
    return x, y, round(percent(right, clip.width) - x, 4), round(percent(bottom, clip.height) - y, 4)


def _thinned(keys: Sequence[tuple[int, tuple[float, ...]]]) -> Iterator[int]:
    """Indices of the key frames that are needed: the ends, and where a straight line would stray."""
    frames = np.array([frame for frame, _ in keys], np.float64)
    boxes = np.array([box for _, box in keys], np.float64)
    here = 0
    yield here
    while here < len(keys) - 1:
        ahead = here + 1
        while ahead + 1 < len(keys) and ahead + 1 - here <= _LONGEST_LINE:
            between = slice(here + 1, ahead + 1)
            share = (frames[between] - frames[here]) / (frames[ahead + 1] - frames[here])
            line = boxes[here] + share[:, None] * (boxes[ahead + 1] - boxes[here])
            if np.abs(line - boxes[between]).max() > _TOLERANCE_PERCENT:
                break
            ahead += 1
        here = ahead
        yield here


def _result(control: Control, region: str, value: dict[str, Any], score: float) -> Result:
    return {
        "id": region,
        "from_name": control.name,
        "to_name": control.to_name,
        "type": control.kind,
        "value": value,
        "score": round(float(score), 4),
    }
