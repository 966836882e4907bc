"""AU events of a clip: where an Action Unit begins (onset), is clearest (apex) and ends (offset) on one face.

An event is found on a signal per frame by two thresholds (hysteresis): it begins where the signal reaches `on` and
lasts while it stays at or above `off`, so that a value that trembles about one threshold does not make many events.
Events that a short gap parts are then joined, and what is too short is dropped, in this order.

The signal is the calibrated probability of the AU. With `Baseline.MEDIAN` it is the rise of that probability above the
median of the same face in the same clip, for people whose resting face looks like an AU.

An event says when an AU was seen. Its peak is the frame at which the network is surest, not the strongest contraction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from model.values import BoolArray, Float32Array, Float64Array

DEFAULT_ON = 0.5
OFF_RATIO = 0.7
LEAST_ROOM = 0.2
"""A face whose median probability leaves less room than this above it is measured as if it left so much: otherwise
trembling at the upper end would pass for events."""


class Baseline(StrEnum):
    """What a face's signal is measured from."""

    NONE = "none"
    MEDIAN = "median"


@dataclass(frozen=True, slots=True)
class EventOptions:
    """When an AU counts as an event.

    Attributes:
        on: an event begins where the signal is at least this. None: with `Baseline.NONE` the checkpoint's own decision
            threshold of each AU (0.5 for an AU that has none), with `Baseline.MEDIAN` 0.5.
        off: an event lasts while the signal is at least this; never above `on`. None: 0.7 times `on`.
        min_ms: shorter events are dropped, milliseconds.
        gap_ms: events of one AU that are at most so far apart become one; a face that is lost, or an AU that cannot be
            read, for at most so long does not end an event. Milliseconds.
        baseline: `NONE` thresholds the probability, 0 to 1. `MEDIAN` thresholds its rise above the face's median
            probability of this AU in this clip, as a share of the room above that median (`rise`), 0 to 1: an AU that
            is there most of the time is then not found.

    Raises:
        ValueError: a value is out of its range, or `off` is above `on`.
    """

    on: float | None = None
    off: float | None = None
    min_ms: float = 100.0
    gap_ms: float = 100.0
    baseline: Baseline = Baseline.NONE

    def __post_init__(self) -> None:
        for name, value in (("on", self.on), ("off", self.off)):
            if value is not None and not 0.0 < value <= 1.0:
                raise ValueError(f"{name} must be above 0 and at most 1")
        if self.on is not None and self.off is not None and self.off > self.on:
            raise ValueError(f"off ({self.off:g}) must not be above on ({self.on:g})")
        for name, value in (("min_ms", self.min_ms), ("gap_ms", self.gap_ms)):
            if not (np.isfinite(value) and value >= 0.0):
                raise ValueError(f"{name} must be 0 or more milliseconds")

    def thresholds(self, decision: float | None = None) -> tuple[float, float]:
        """(on, off) for an AU whose decision threshold on the probability is `decision`; None where it has none."""
        default = decision if decision is not None and self.baseline is Baseline.NONE else DEFAULT_ON
        on = default if self.on is None else self.on
        off = OFF_RATIO * on if self.off is None else min(self.off, on)
        return on, off


@dataclass(frozen=True, slots=True)
class AuEvent:
    """One event of one AU on one face.

    Attributes:
        au: code, "AU12".
        track: number of the face in its clip.
        onset_ms: presentation time of the first frame.
        apex_ms: presentation time of the frame with the largest signal; the first such frame.
        offset_ms: when the last frame stops being shown: the time of the clip's next frame. An event of one frame is
            therefore as long as that frame.
        onset_frame, apex_frame, offset_frame: numbers of the first, the clearest and the last frame (which is still
            part of the event).
        peak_probability: the largest, 0 to 1.
        mean_probability: over the event's frames in which the AU could be read.
        peak_score: the largest, about -1 to 1.
        mean_score: over the same frames as `mean_probability`.
        frames: how many these are.
    """

    au: str
    track: int
    onset_ms: float
    apex_ms: float
    offset_ms: float
    onset_frame: int
    apex_frame: int
    offset_frame: int
    peak_probability: float
    mean_probability: float
    peak_score: float
    mean_score: float
    frames: int

    @property
    def duration_ms(self) -> float:
        """Milliseconds from onset to offset."""
        return self.offset_ms - self.onset_ms


@dataclass(frozen=True, slots=True)
class Timeline:
    """The frames of a clip, those without a face too.

    Attributes:
        frame: (N,) int64, numbers in decoding order.
        start_ms: (N,) float64, presentation times. Where a damaged clip's time runs back it is held.
        end_ms: (N,) float64, when the frame stops being shown: the start of the next one. The last frame is given the
            median length of the others, none if it is the only one.
    """

    frame: npt.NDArray[np.int64]
    start_ms: Float64Array
    end_ms: Float64Array

    @classmethod
    def of(cls, frame: npt.ArrayLike, pts_ms: npt.ArrayLike) -> Timeline:
        """The timeline of frames in order.

        Raises:
            ValueError: frame numbers that do not increase, times that are not finite, or lengths that differ.
        """
        numbers = np.asarray(frame, np.int64).reshape(-1)
        times = np.asarray(pts_ms, np.float64).reshape(-1)
        if len(numbers) != len(times):
            raise ValueError(f"{len(numbers)} frame numbers but {len(times)} times")
        if not np.isfinite(times).all():
            raise ValueError("a presentation time is not a number")
        if (np.diff(numbers) <= 0).any():
            raise ValueError("frame numbers must increase")
        starts = np.maximum.accumulate(times) if len(times) else times
        lengths = np.diff(starts)
        last = starts[-1:] + (np.median(lengths) if len(lengths) else 0.0)
        return cls(numbers, starts, np.concatenate([starts[1:], last]))


def au_events(
    au: str,
    track: int,
    timeline: Timeline,
    probability: npt.ArrayLike,
    score: npt.ArrayLike,
    options: EventOptions | None = None,
    decision: float | None = None,
) -> list[AuEvent]:
    """The events of one AU on one face, in order, without overlap.

    Args:
        au: code.
        track: number of the face.
        timeline: all N frames of the clip.
        probability: (N,) calibrated probability; NaN in frames without this face and where the AU could not be read.
        score: (N,) the AU's score; NaN in the same frames.
        options: thresholds and times.
        decision: the checkpoint's threshold on the AU's probability, None where it has none.

    Raises:
        ValueError: lengths that differ.

    Example:
        >>> timeline = Timeline.of(range(5), [0.0, 40.0, 80.0, 120.0, 160.0])
        >>> (event,) = au_events("AU12", 0, timeline, [0.1, 0.6, 0.9, 0.4, 0.1], [-0.8, 0.1, 0.7, -0.1, -0.8])
        >>> event.onset_ms, event.apex_ms, event.offset_ms
        (40.0, 80.0, 160.0)
    """
    options = options or EventOptions()
    chance, height = np.asarray(probability, np.float64), np.asarray(score, np.float64)
    if chance.shape != timeline.frame.shape or height.shape != timeline.frame.shape:
        raise ValueError(f"{timeline.frame.shape} frames, but values of shape {chance.shape} and {height.shape}")
    known = np.isfinite(chance) & np.isfinite(height)
    if not known.any():
        return []
    signal = rise(chance, float(np.median(chance[known]))) if options.baseline is Baseline.MEDIAN else chance
    on, off = options.thresholds(decision)
    runs = _join(_runs(signal, known, timeline, on, off, options.gap_ms), timeline, options.gap_ms)
    return [
        _event(au, track, timeline, chance, height, signal, known, first, last)
        for first, last in runs
        if timeline.end_ms[last] - timeline.start_ms[first] >= options.min_ms
    ]


def rise(probability: npt.ArrayLike, rest: float) -> Float64Array:
    """How far a probability has risen above what it is at rest, as a share of the room there is above: 1 is certainty.

    A resting face that looks like an AU at 0.6 has risen halfway at 0.8, one at 0.02 at 0.51.
    """
    return np.asarray((np.asarray(probability, np.float64) - rest) / max(1.0 - rest, LEAST_ROOM))


def _runs(
    signal: Float64Array, known: BoolArray, timeline: Timeline, on: float, off: float, gap_ms: float
) -> list[tuple[int, int]]:
    """(first, last) positions of what hysteresis holds together; a face lost for longer than `gap_ms` ends a run."""
    runs: list[tuple[int, int]] = []
    first = last = -1
    for here in np.flatnonzero(known).tolist():
        lost = first >= 0 and timeline.start_ms[here] - timeline.end_ms[last] > gap_ms
        if first >= 0 and (lost or signal[here] < off):
            runs.append((first, last))
            first = -1
        if first < 0 and signal[here] >= on:
            first = here
        last = here
    if first >= 0:
        runs.append((first, last))
    return runs


def _join(runs: Iterable[tuple[int, int]], timeline: Timeline, gap_ms: float) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, last in runs:
        if joined and timeline.start_ms[first] - timeline.end_ms[joined[-1][1]] <= gap_ms:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def _event(
    au: str,
    track: int,
    timeline: Timeline,
    probability: Float64Array,
    score: Float64Array,
    signal: Float64Array,
    known: BoolArray,
    first: int,
    last: int,
) -> AuEvent:
    inside = first + np.flatnonzero(known[first : last + 1])
    apex = int(inside[np.argmax(signal[inside])])
    return AuEvent(
        au=au,
        track=track,
        onset_ms=float(timeline.start_ms[first]),
        apex_ms=float(timeline.start_ms[apex]),
        offset_ms=float(timeline.end_ms[last]),
        onset_frame=int(timeline.frame[first]),
        apex_frame=int(timeline.frame[apex]),
        offset_frame=int(timeline.frame[last]),
        peak_probability=float(probability[inside].max()),
        mean_probability=float(probability[inside].mean()),
        peak_score=float(score[inside].max()),
        mean_score=float(score[inside].mean()),
        frames=len(inside),
    )


@dataclass(slots=True)
class ClipSignals:
    """Collects the scores of a clip frame by frame, then gives the events of all its faces.

    Holds two float32 per face, frame and AU: about 13 MB for one face, 15 AUs and an hour at 30 frames per second.
    """

    au_codes: Sequence[str]
    _frame: list[int] = field(default_factory=list)
    _pts_ms: list[float] = field(default_factory=list)
    _tracks: dict[int, _Track] = field(default_factory=dict)

    def add(self, frame: int, pts_ms: float, faces: Iterable[tuple[int, Float32Array, Float32Array]]) -> None:
        """The next frame: (track, (K,) probability, (K,) score) of each face; none for a frame without faces."""
        position = len(self._frame)
        self._frame.append(frame)
        self._pts_ms.append(pts_ms)
        for track, probability, score in faces:
            seen = self._tracks.setdefault(track, _Track())
            seen.position.append(position)
            seen.values.append(np.stack([probability, score]).astype(np.float32))

    @property
    def tracks(self) -> list[int]:
        """Numbers of the faces, ascending."""
        return sorted(self._tracks)

    def positions(self, track: int) -> npt.NDArray[np.int64]:
        """Places in the timeline, ascending, of the frames that show a face."""
        return np.array(self._tracks[track].position, np.int64)

    def timeline(self) -> Timeline:
        """The frames so far."""
        return Timeline.of(self._frame, self._pts_ms)

    def events(
        self, options: EventOptions | None = None, thresholds: Mapping[str, float] | None = None
    ) -> list[AuEvent]:
        """All events, by face, then AU in the order of `au_codes`, then time.

        Args:
            options: when an AU counts as an event.
            thresholds: the checkpoint's decision thresholds by AU code; an AU without one is left out.
        """
        timeline, thresholds = self.timeline(), thresholds or {}
        found: list[AuEvent] = []
        for track in self.tracks:
            position, values = self._tracks[track].arrays()
            for k, code in enumerate(self.au_codes):
                probability, score = np.full((2, len(timeline.frame)), np.nan)
                probability[position], score[position] = values[:, 0, k], values[:, 1, k]
                found += au_events(code, track, timeline, probability, score, options, thresholds.get(code))
        return found


@dataclass(slots=True)
class _Track:
    """Where a face was seen, with (2, K) probability and score each time."""

    position: list[int] = field(default_factory=list)
    values: list[Float32Array] = field(default_factory=list)

    def arrays(self) -> tuple[npt.NDArray[Any], Float32Array]:
        return np.array(self.position, np.int64), np.stack(self.values)
