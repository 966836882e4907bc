"""Events and faces of a clip as regions of a timeline and boxes that follow, in the frames of Label Studio's player."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.integrations.label_studio.config import LabelConfig, parse_config
from service.integrations.label_studio.player import first_frame, frame_count, last_frame
from service.integrations.label_studio.template import label_config
from service.integrations.label_studio.validate import problems_of
from service.integrations.label_studio.video_results import Clip, clip_results
from tests.service.integrations.kit import CODES, face_row
from worker.store.records import FrameRow

FOREIGN = """
<View>
  <Video name="film" value="$datei" framerate="25"/>
  <TimelineLabels name="spur" toName="film" model_score_threshold="0.8"><Label value="Lächeln" predicted_values="AU12"/>
  </TimelineLabels>
  <TimelineLabels name="weit" toName="film"><Label value="AU6"/></TimelineLabels>
  <VideoRectangle name="rahmen" toName="film"/>
  <Labels name="wer" toName="film"><Label value="Kind"/></Labels>
  <Choices name="je" toName="film" choice="multiple"><Choice value="AU6"/><Choice value="AU12"/></Choices>
</View>
"""


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "fps", "frames"),
    [
        (0.0, 40.0, 25.0, (1, 1)),
        (80.0, 120.0, 25.0, (3, 3)),
        (0.0, 1000.0, 25.0, (1, 25)),
        (0.0, 1001 / 30, 29.97, (1, 1)),
        (100_000 * 1001 / 30, 100_001 * 1001 / 30, 29.97, (100_001, 100_001)),
        (67.0, 100.0, 30_000 / 1001, (3, 3)),  # whole milliseconds of Matroska
        (33.0, 67.0, 30_000 / 1001, (2, 2)),
        (40.0, 80.0, 50.0, (3, 4)),  # a rate of twice the clip's: each picture has two frames
        (40.0, 80.0, 12.5, (2, 1)),  # half the clip's: this picture is never stopped at
    ],
)
def test_frames_of_the_player(start_ms: float, end_ms: float, fps: float, frames: tuple[int, int]) -> None:
    assert (first_frame(start_ms, fps), last_frame(end_ms, fps)) == frames


@given(st.integers(0, 200_000), st.sampled_from([12.0, 23.976, 24.0, 25.0, 29.97, 30.0, 50.0, 59.94, 60.0]))
def test_at_the_clips_own_rate_frames_are_its_pictures(picture: int, fps: float) -> None:
    """And the player shows the picture when it is sent there: it seeks to (frame - 1) / rate and a millionth more."""
    start, end = picture * 1000 / fps, (picture + 1) * 1000 / fps
    frame = first_frame(start, fps)
    assert frame == last_frame(end, fps) == picture + 1
    assert start <= (frame - 1) / fps * 1000 + 1e-3 < end


def test_the_player_counts_whole_frames() -> None:
    assert [frame_count(ms, 25) for ms in (0.0, 40.0, 1000.0, 1019.0, 1021.0)] == [1, 1, 25, 25, 26]


def clip(rows: list[FrameRow], duration_ms: float | None = None) -> Clip:
    made = Clip(200, 120, duration_ms, CODES, {"AU12": 0.5})
    for row in rows:
        made.add(row.frame, row.pts_ms, row.faces)
    return made


def rows(count: int, smile: range, *, fps: float = 25.0, lost: range = range(0), move: float = 0.0) -> list[FrameRow]:
    """A face that smiles for a while, is lost for a while, and moves."""
    made = []
    for number in range(count):
        chance = 0.9 if number in smile else 0.1
        box = (20 + move * number, 20.0, 100 + move * number, 110.0)
        face = face_row(0, box, (0.1, 0.6, chance), frame=number, pts_ms=number * 1000 / fps)
        made.append(FrameRow(number, number * 1000 / fps, () if number in lost else (face,)))
    return made


def results_of(found: Clip, xml: str = FOREIGN, fps: float = 25.0) -> dict[str, list[dict[str, Any]]]:
    config: LabelConfig = parse_config(xml)
    results = clip_results(config, config.media[0], found, fps, "p")
    assert problems_of(config, results) == []
    by_control: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        by_control.setdefault(result["from_name"], []).append(result)
    ids = [result["id"] for result in results]
    assert len(set(ids)) == len(ids)
    return by_control


def test_an_event_is_a_range_of_frames_from_one_and_inclusive() -> None:
    found = results_of(clip(rows(50, range(10, 20))))
    (smile,) = found["spur"]
    assert smile["value"] == {"ranges": [{"start": 11, "end": 20}], "timelinelabels": ["Lächeln"]}
    assert smile["score"] == pytest.approx(0.9, abs=1e-3)
    assert smile["meta"] == {"text": ["face 0"]}
    (cheeks,) = found["weit"]
    assert cheeks["value"]["ranges"] == [{"start": 1, "end": 50}]
    assert found["je"][0]["value"] == {"choices": ["AU6", "AU12"]}


def test_a_threshold_of_the_timeline_counts() -> None:
    xml = FOREIGN.replace('model_score_threshold="0.8"', 'model_score_threshold="0.95"')
    assert "spur" not in results_of(clip(rows(50, range(10, 20))), xml)


def test_frames_follow_the_rate_of_the_project_not_of_the_clip() -> None:
    (smile,) = results_of(clip(rows(50, range(10, 20))), fps=50.0)["spur"]
    assert smile["value"]["ranges"] == [{"start": 21, "end": 40}]


def test_uneven_times_count_as_they_are() -> None:
    even = rows(50, range(10, 20))
    late = [replace(row, pts_ms=row.pts_ms + (400.0 if row.frame >= 10 else 0.0)) for row in even]
    (smile,) = results_of(clip(late))["spur"]
    assert smile["value"]["ranges"] == [{"start": 21, "end": 30}]


def test_a_box_follows_the_face_with_few_key_frames() -> None:
    (box,) = results_of(clip(rows(50, range(0), move=0.5), duration_ms=2000.0))["rahmen"]
    value = box["value"]
    assert (value["framesCount"], value["duration"], value["labels"]) == (50, 2.0, ["Kind"])
    sequence = value["sequence"]
    assert len(sequence) == 2, "a straight way needs its ends alone"
    assert [key["frame"] for key in sequence] == [1, 50]
    assert [key["time"] for key in sequence] == [0.04, 2.0]
    assert [key["enabled"] for key in sequence] == [True, False]
    assert sequence[0]["x"] == pytest.approx(10.25)
    assert sequence[1]["x"] == pytest.approx(10.25 + 49 * 0.25)


def test_the_line_between_key_frames_stays_near_the_face() -> None:
    generator = np.random.default_rng(1)
    way = np.cumsum(generator.normal(0, 1, 120))
    made = [
        FrameRow(n, n * 40.0, (face_row(0, (40 + x, 20.0, 100 + x, 110.0), frame=n, pts_ms=n * 40.0),))
        for n, x in enumerate(way)
    ]
    sequence = results_of(clip(made))["rahmen"][0]["value"]["sequence"]
    assert 2 < len(sequence) < 120
    drawn = np.interp(np.arange(1, 121), [key["frame"] for key in sequence], [key["x"] for key in sequence])
    assert drawn == pytest.approx((40 + way + 0.5) / 2, abs=0.21)


def test_a_lost_face_is_switched_off_until_it_is_back() -> None:
    (box,) = results_of(clip(rows(50, range(0), lost=range(20, 30))))["rahmen"]
    assert [(key["frame"], key["enabled"]) for key in box["value"]["sequence"]] == [
        (1, True),
        (20, False),
        (31, True),
        (50, False),
    ]


def test_boxes_need_no_label_but_are_not_drawn_for_other_things() -> None:
    plain = FOREIGN.replace('<Labels name="wer" toName="film"><Label value="Kind"/></Labels>', "")
    assert "labels" not in results_of(clip(rows(9, range(0))), plain)["rahmen"][0]["value"]
    things = FOREIGN.replace('<Label value="Kind"/>', '<Label value="ball"/><Label value="car"/>')
    assert "rahmen" not in results_of(clip(rows(9, range(0))), things)


def test_clips_without_frames_or_faces() -> None:
    assert results_of(clip([])) == {}
    empty = clip([FrameRow(n, n * 40.0, ()) for n in range(10)])
    assert results_of(empty) == {}
    assert empty.certainty == 0.0


def test_a_clip_of_one_picture() -> None:
    found = results_of(clip(rows(1, range(1))))
    assert [(key["frame"], key["enabled"]) for key in found["rahmen"][0]["value"]["sequence"]] == [(1, False)]


def test_our_own_configuration_holds_everything() -> None:
    found = results_of(clip(rows(50, range(10, 20))), label_config("video", CODES))
    assert set(found) == {"timeline", "box"}
    assert {region["value"]["timelinelabels"][0] for region in found["timeline"]} == {"AU6", "AU12"}
