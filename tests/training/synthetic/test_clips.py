from __future__ import annotations

import csv
from pathlib import Path

import av
import pytest

from training.synthetic.clips import Actor, Clip, Episode, render_clip
from training.synthetic.identity import draw_identity
from training.synthetic.pack import FacePack
from training.synthetic.renderer import Renderer

SMILE = Episode({6: 0.8, 12: 1.0}, 0.2, 0.4, 0.6, 0.8)


@pytest.mark.parametrize(
    ("seconds", "level"), [(0.0, 0.0), (0.2, 0.0), (0.3, 0.5), (0.4, 1.0), (0.6, 1.0), (0.7, 0.5), (0.9, 0.0)]
)
def test_an_episode_rises_and_falls(seconds: float, level: float) -> None:
    assert SMILE.level(seconds) == pytest.approx(level, abs=1e-5)


@pytest.fixture(scope="module")
def clip(toy: FacePack) -> Clip:
    actors = (
        Actor(draw_identity(toy, 0, "train", 0), (SMILE,), blinks=(0.5,)),
        Actor(draw_identity(toy, 0, "train", 1), ()),
    )
    return Clip(actors, seconds=1.4, frame_rate=10, gap=(0.9, 1.2))


@pytest.fixture(scope="module")
def written(clip: Clip, toy: FacePack, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]]]:
    folder = tmp_path_factory.mktemp("clip")
    render_clip(Renderer(toy, 64), clip, folder / "clip.mp4", folder / "clip.csv")
    with (folder / "clip.csv").open(newline="") as file:
        return folder / "clip.mp4", list(csv.DictReader(file))


def test_the_clip_plays(written: tuple[Path, list[dict[str, str]]]) -> None:
    with av.open(str(written[0])) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        times = container.streams.video[0]
        assert float(times.average_rate or 0) == 10
    assert len(frames) == 14
    assert frames[0].shape == (64, 128, 3)
    assert frames[10].std() < 15 < frames[0].std()  # nobody is there in the gap


def test_labels_of_each_frame(written: tuple[Path, list[dict[str, str]]]) -> None:
    rows = written[1]
    assert [(row["frame"], row["face"]) for row in rows[:4]] == [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")]
    assert {int(row["frame"]) for row in rows} == {*range(9), 12, 13}
    smiling = {int(row["frame"]): row["AU12"] for row in rows if row["face"] == "0"}
    assert smiling[0] == "0"
    assert smiling[5] == "1"
    assert smiling[8] == "0"
    assert {row["AU12"] for row in rows if row["face"] == "1"} == {"0"}
    assert float(rows[10]["AU12_intensity"]) == pytest.approx(1.0)
    assert rows[2]["pts_ms"] == "100.000"


def test_boxes_lie_in_their_part_of_the_picture(written: tuple[Path, list[dict[str, str]]]) -> None:
    for row in written[1]:
        part = int(row["face"]) * 64
        assert part <= float(row["left"]) < float(row["right"]) <= part + 64
        assert 0 <= float(row["top"]) < float(row["bottom"]) <= 64


def test_overlapping_episodes_do_not_add_up(toy: FacePack) -> None:
    actor = Actor(draw_identity(toy, 0, "train", 0), (SMILE, SMILE))
    assert actor.units(0.5) == {6: 0.8, 12: 1.0}
    assert actor.blink(0.5) == 0.05
