from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.analyzer import Analyzer
from model.values import UInt8Array
from worker.errors import VideoError
from worker.pipeline import Resume, VideoOptions, VideoRun, analyze_video
from worker.store.records import FaceSelection, FrameResult
from worker.tracker_codec import decode_tracker, encode_tracker
from worker.video import VideoReader

WriteClip = Callable[..., Path]
Scene = Callable[[int], Iterator[UInt8Array]]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, write_clip: WriteClip, scene: Scene) -> Path:
    times = [40 * number + (7 if number % 3 else 0) for number in range(36)]
    return write_clip(tmp_path_factory.mktemp("clip") / "two.mp4", scene(36), pts_ms=times)


@pytest.fixture(scope="module")
def whole(clip: Path, tiny_analyzer: Analyzer) -> list[FrameResult]:
    return list(analyze_video(clip, tiny_analyzer))


def _same(first: list[FrameResult], second: list[FrameResult]) -> None:
    assert [(frame.index, frame.pts_ms) for frame in first] == [(frame.index, frame.pts_ms) for frame in second]
    for one, other in zip(first, second, strict=True):
        assert [face.track for face, _ in one.faces] == [face.track for face, _ in other.faces]
        for (face, au), (face2, au2) in zip(one.faces, other.faces, strict=True):
            np.testing.assert_array_equal(face.landmarks, face2.landmarks)
            np.testing.assert_allclose(au.roi_maps, au2.roi_maps, atol=1e-5)


def test_every_frame_with_its_faces(clip: Path, whole: list[FrameResult]) -> None:
    with VideoReader(clip) as reader:
        assert [(frame.index, frame.pts_ms) for frame in whole] == [(f.index, f.pts_ms) for f in reader.frames()]
    counts = [len(frame.faces) for frame in whole]
    assert counts[:5] == [1] * 5
    assert counts[12:16] == [0] * 4
    assert counts[11] == counts[30] == 2
    tracks = [[face.track for face, _ in frame.faces] for frame in whole]
    assert tracks[0] == [0]
    assert tracks[11] == tracks[35] == [0, 1]  # the larger face first, with its number from before the gap
    _, au = whole[20].faces[0]
    assert au.score.shape == (3,)
    assert au.roi_maps.shape == (3, 16, 16)


def test_batches_do_not_change_results(clip: Path, tiny_analyzer: Analyzer, whole: list[FrameResult]) -> None:
    for batch_size in (1, 3):
        _same(list(analyze_video(clip, tiny_analyzer, VideoOptions(batch_size=batch_size))), whole)


def test_the_largest_face_alone(clip: Path, tiny_analyzer: Analyzer, whole: list[FrameResult]) -> None:
    largest = list(analyze_video(clip, tiny_analyzer, VideoOptions(faces=FaceSelection.LARGEST)))
    _same(largest, [replace(frame, faces=frame.faces[:1]) for frame in whole])


@pytest.mark.parametrize("stop", [1, 8, 14, 20])
def test_going_on_gives_what_one_run_gives(
    clip: Path, tiny_analyzer: Analyzer, whole: list[FrameResult], stop: int
) -> None:
    with VideoRun(clip, tiny_analyzer) as run:
        results = iter(run)
        first = [next(results) for _ in range(stop)]
        state = run.tracker
    assert state is not None
    state = decode_tracker(encode_tracker(state))
    with VideoRun(clip, tiny_analyzer, resume=Resume(stop, first[-1].pts_ms, state)) as run:
        rest = list(run)
        assert run.warnings == ()
    _same(first + rest, whole)


def test_leaving_early_stops_every_thread(clip: Path, tiny_analyzer: Analyzer) -> None:
    results = analyze_video(clip, tiny_analyzer)
    next(results)
    assert any(thread.name.startswith("roigcn-") for thread in threading.enumerate())
    results.close()
    assert not any(thread.name.startswith("roigcn-") for thread in threading.enumerate())


def test_an_error_in_a_thread_ends_the_run(clip: Path, tiny_analyzer: Analyzer) -> None:
    class Broken(Analyzer):
        def predict(self, crops: object) -> list[object]:  # type: ignore[override]
            raise MemoryError("no room")

    broken = Broken(tiny_analyzer.checkpoint, tiny_analyzer.engine, tiny_analyzer.finder)
    with pytest.raises(MemoryError, match="no room"):
        list(analyze_video(clip, broken))
    assert not any(thread.name.startswith("roigcn-") for thread in threading.enumerate())


def test_a_clip_that_turns_out_too_long_gives_its_beginning(
    tmp_path: Path, write_clip: WriteClip, tiny_analyzer: Analyzer
) -> None:
    path = write_clip(tmp_path / "a.h264", [np.zeros((64, 64, 3), np.uint8)] * 50)
    results = analyze_video(path, tiny_analyzer, VideoOptions(max_seconds=1))
    assert [next(results).index for _ in range(26)] == list(range(26))
    with pytest.raises(VideoError, match="longer than the 1 s"):
        next(results)


def test_no_clip_at_all(tmp_path: Path, tiny_analyzer: Analyzer) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(VideoError):
        next(analyze_video(tmp_path / "empty.mp4", tiny_analyzer))


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xfe", b'{"version": 2}', b"[]", b'{"version":1,"tracks":[{}]}'])
def test_a_foreign_tracker_state_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"state of a tracker|tracker.s state"):
        decode_tracker(data)
