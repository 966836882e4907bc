"""AU events: tables of what counts as one, and what holds for every clip."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.events import AuEvent, Baseline, ClipSignals, EventOptions, Timeline, au_events, rise

NAN = math.nan
EXACT = EventOptions(on=0.5, off=0.3, min_ms=0.0, gap_ms=0.0)
STEP = 40.0


def timeline(count: int) -> Timeline:
    return Timeline.of(range(count), [index * STEP for index in range(count)])


def spans(values: list[float], options: EventOptions = EXACT, score: list[float] | None = None) -> list[Any]:
    scores = [2 * value - 1 for value in values] if score is None else score
    found = au_events("AU12", 0, timeline(len(values)), values, scores, options)
    return [(event.onset_frame, event.apex_frame, event.offset_frame) for event in found]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([NAN, NAN], []),
        ([0.1, 0.49, 0.1], []),
        ([0.9], [(0, 0, 0)]),
        ([0.9, 0.9, 0.9], [(0, 0, 2)]),
        ([0.1, 0.5, 0.7, 0.3, 0.29, 0.4], [(1, 2, 3)]),
        ([0.4, 0.5, 0.4, 0.5, 0.4], [(1, 1, 4)]),
        ([0.6, 0.2, 0.6], [(0, 0, 0), (2, 2, 2)]),
        ([0.6, NAN, 0.6], [(0, 0, 0), (2, 2, 2)]),
        ([0.6, NAN, 0.4], [(0, 0, 0)]),
        ([NAN, 0.6, 0.8, NAN], [(1, 2, 2)]),
        ([0.2, 0.9, 0.9], [(1, 1, 2)]),
    ],
    ids=lambda value: str(value),
)
def test_hysteresis(values: list[float], expected: list[tuple[int, int, int]]) -> None:
    assert spans(values) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, [(0, 1, 1), (3, 3, 3), (6, 6, 7)]),
        ({"gap_ms": 39.9}, [(0, 1, 1), (3, 3, 3), (6, 6, 7)]),
        ({"gap_ms": 40.0}, [(0, 1, 3), (6, 6, 7)]),
        ({"gap_ms": 80.0}, [(0, 1, 7)]),
        ({"min_ms": 80.0}, [(0, 1, 1), (6, 6, 7)]),
        ({"min_ms": 80.1}, []),
        ({"min_ms": 160.0, "gap_ms": 40.0}, [(0, 1, 3)]),
        ({"on": 0.85, "off": 0.85}, [(1, 1, 1)]),
    ],
    ids=str,
)
def test_gaps_are_joined_before_short_events_are_dropped(
    change: dict[str, float], expected: list[tuple[int, int, int]]
) -> None:
    values = [0.6, 0.9, 0.1, 0.6, NAN, NAN, 0.8, 0.7, 0.0]
    assert spans(values, replace(EXACT, **change)) == expected  # type: ignore[arg-type]


def test_a_face_lost_for_a_moment_keeps_its_event_though_it_comes_back_between_the_thresholds() -> None:
    assert spans([0.6, NAN, 0.4, 0.1], replace(EXACT, gap_ms=40.0)) == [(0, 0, 2)]


def test_an_event_carries_its_numbers() -> None:
    times = Timeline.of([0, 1, 2, 4, 5], [0.0, 33.4, 66.7, 500.0, 533.4])
    (event,) = au_events(
        "AU4", 7, times, [0.0, 0.6, NAN, 0.8, 0.1], [-1, 0.2, NAN, 0.5, -1], replace(EXACT, gap_ms=500)
    )
    assert event == AuEvent(
        au="AU4",
        track=7,
        onset_ms=33.4,
        apex_ms=500.0,
        offset_ms=533.4,
        onset_frame=1,
        apex_frame=4,
        offset_frame=4,
        peak_probability=0.8,
        mean_probability=pytest.approx(0.7),
        peak_score=0.5,
        mean_score=pytest.approx(0.35),
        frames=2,
    )
    assert event.duration_ms == pytest.approx(500.0)


def test_the_last_frame_is_as_long_as_its_like() -> None:
    times = Timeline.of([0, 1, 2, 3], [0.0, 40.0, 80.0, 140.0])
    assert times.end_ms.tolist() == [40.0, 80.0, 140.0, 180.0]
    assert Timeline.of([5], [12.0]).end_ms.tolist() == [12.0]
    assert Timeline.of([], []).end_ms.tolist() == []


def test_time_that_runs_back_in_a_damaged_clip_is_held() -> None:
    times = Timeline.of([0, 1, 2, 3], [0.0, 80.0, 40.0, 120.0])
    assert times.start_ms.tolist() == [0.0, 80.0, 80.0, 120.0]


@pytest.mark.parametrize(
    ("frame", "pts_ms", "words"),
    [
        ([0, 0], [0.0, 40.0], "increase"),
        ([0, 1], [0.0, NAN], "not a number"),
        ([0, 1], [0.0], "2 frame numbers but 1 times"),
    ],
)
def test_a_broken_timeline_is_refused(frame: list[int], pts_ms: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Timeline.of(frame, pts_ms)


def test_values_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        au_events("AU1", 0, timeline(3), [0.1], [0.1])


@pytest.mark.parametrize(
    ("options", "decision", "expected"),
    [
        (EventOptions(), None, (0.5, 0.35)),
        (EventOptions(), 0.3, (0.3, 0.21)),
        (EventOptions(on=0.8), 0.3, (0.8, 0.56)),
        (EventOptions(on=0.8, off=0.2), 0.3, (0.8, 0.2)),
        (EventOptions(off=0.6), 0.3, (0.3, 0.3)),
        (EventOptions(baseline=Baseline.MEDIAN), 0.3, (0.5, 0.35)),
        (EventOptions(on=0.9, baseline=Baseline.MEDIAN), 0.3, (0.9, 0.63)),
    ],
)
def test_thresholds_follow_the_checkpoint_where_nothing_is_said(
    options: EventOptions, decision: float | None, expected: tuple[float, float]
) -> None:
    assert options.thresholds(decision) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"on": 0.0}, "on must be above 0 and at most 1"),
        ({"on": 1.1}, "at most 1"),
        ({"on": NAN}, "on must be"),
        ({"off": -0.1}, "off must be"),
        ({"on": 0.4, "off": 0.5}, "off .0.5. must not be above on"),
        ({"on": 1.1, "baseline": Baseline.MEDIAN}, "at most 1"),
        ({"min_ms": -1.0}, "min_ms"),
        ({"gap_ms": math.inf}, "gap_ms"),
    ],
)
def test_impossible_options_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EventOptions(**values)


def test_the_median_of_a_face_is_taken_as_its_rest() -> None:
    """A face whose lowered resting brow reads as AU4 throughout shows one event: where it goes beyond its own rest."""
    probability = [0.6] * 10 + [0.85] * 3 + [0.6] * 10
    plain = EventOptions(on=0.5, off=0.3, min_ms=0, gap_ms=0)
    assert spans(probability, plain) == [(0, 10, 22)]
    assert spans(probability, replace(plain, baseline=Baseline.MEDIAN)) == [(10, 10, 12)]


@pytest.mark.parametrize(
    ("probability", "rest", "risen"),
    [(0.02, 0.02, 0), (0.51, 0.02, 0.5), (0.8, 0.6, 0.5), (1, 0.6, 1), (0.3, 0.6, -0.75), (1, 0.98, 0.1), (1, 1, 0)],
)
def test_a_rise_is_a_share_of_the_room_above_the_rest(probability: float, rest: float, risen: float) -> None:
    assert rise(probability, rest) == pytest.approx(risen)


def test_a_clip_is_collected_frame_by_frame() -> None:
    signals = ClipSignals(("AU4", "AU12"))
    smile, calm = np.array([0.1, 0.9], np.float32), np.array([0.1, 0.1], np.float32)
    for index in range(10):
        faces = [(3, smile if index < 5 else calm, smile * 2 - 1)] if index != 7 else []
        if index in (8, 9):
            faces.append((1, np.array([0.95, NAN], np.float32), np.array([0.5, NAN], np.float32)))
        signals.add(index, index * STEP, faces)
    found = signals.events(EventOptions(min_ms=0, gap_ms=0), {"AU4": 0.96})
    assert signals.tracks == [1, 3]
    assert [(event.track, event.au, event.onset_frame, event.offset_frame) for event in found] == [(3, "AU12", 0, 4)]
    lower = signals.events(EventOptions(min_ms=0, gap_ms=0), {"AU4": 0.94})
    assert [(event.track, event.au, event.onset_ms, event.offset_ms) for event in lower] == [
        (1, "AU4", 320.0, 400.0),
        (3, "AU12", 0.0, 200.0),
    ]
    assert ClipSignals(("AU1",)).events() == []


chances = st.floats(0, 1) | st.just(NAN)
clips = st.lists(st.tuples(chances, st.floats(0, 200), st.integers(1, 3)), max_size=40)
choices = st.builds(
    lambda on, ratio, min_ms, gap_ms, baseline: EventOptions(on, on * ratio, min_ms, gap_ms, baseline),
    st.floats(0.05, 1),
    st.floats(0.1, 1),
    st.sampled_from([0.0, 40.0, 100.0, 1000.0]),
    st.sampled_from([0.0, 40.0, 100.0, 1000.0]),
    st.sampled_from(Baseline),
)


@settings(deadline=None, max_examples=200)
@given(clip=clips, options=choices)
def test_events_are_ordered_apart_and_inside_the_clip(
    clip: list[tuple[float, float, int]], options: EventOptions
) -> None:
    frames = np.cumsum([skip for _, _, skip in clip]).tolist()
    pts_ms = np.cumsum([length for _, length, _ in clip]).tolist()
    chance = np.array([value for value, _, _ in clip])
    times = Timeline.of(frames, pts_ms)
    found = au_events("AU1", 2, times, chance, 2 * chance - 1, options)
    on, off = options.thresholds()
    median = options.baseline is Baseline.MEDIAN and found
    signal = rise(chance, float(np.nanmedian(chance))) if median else chance
    for event in found:
        assert event.onset_frame <= event.apex_frame <= event.offset_frame
        assert times.start_ms[0] <= event.onset_ms <= event.apex_ms <= event.offset_ms <= times.end_ms[-1]
        assert event.duration_ms >= options.min_ms
        at = {name: frames.index(getattr(event, name)) for name in ("onset_frame", "apex_frame", "offset_frame")}
        assert signal[at["onset_frame"]] >= on
        assert signal[at["offset_frame"]] >= off
        inside = signal[at["onset_frame"] : at["offset_frame"] + 1]
        assert signal[at["apex_frame"]] == np.nanmax(inside)
        assert event.frames == np.isfinite(inside).sum()
        assert 0 <= event.mean_probability <= event.peak_probability + 1e-9 <= 1 + 1e-9
    for earlier, later in pairwise(found):
        assert earlier.offset_frame < later.onset_frame
        assert earlier.offset_ms <= later.onset_ms
        assert later.onset_ms - earlier.offset_ms > options.gap_ms


@settings(deadline=None, max_examples=100)
@given(clip=clips)
def test_every_frame_above_on_belongs_to_an_event_when_nothing_is_dropped(clip: list[tuple[float, float, int]]) -> None:
    frames = np.cumsum([skip for _, _, skip in clip]).tolist()
    chance = [value for value, _, _ in clip]
    times = Timeline.of(frames, np.cumsum([length for _, length, _ in clip]).tolist())
    found = au_events("AU1", 0, times, chance, chance, EXACT)
    for number, value in zip(frames, chance, strict=True):
        inside = any(event.onset_frame <= number <= event.offset_frame for event in found)
        assert inside >= (value >= EXACT.on)  # type: ignore[operator]
