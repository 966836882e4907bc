"""A clip through the network: decode thread, face thread, engine thread, and the caller who takes the results.

    for result in analyze_video(Path("clip.mp4"), Analyzer.open()):
        print(result.index, result.pts_ms, len(result.faces))

Batches are filled across frames and faces. The channels between the threads are bounded, so memory stays flat whatever
the length of the clip; a slow consumer slows everything before it. The pipeline knows nothing of databases: the worker
stores what it yields, and `roigcn video` writes it to a file.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from model.faces.finder import FaceFinder
from model.faces.tracker import FaceTracker, TrackerState
from model.values import Crop, Face, Frame
from worker.channel import Channel, GivenUp
from worker.store.records import FaceSelection, FrameResult
from worker.video import VideoInfo, VideoReader

if TYPE_CHECKING:
    from model.analyzer import Analyzer

T = TypeVar("T")

_DECODED_AHEAD = 4
_CROPPED_AHEAD = 24
_RESULTS_AHEAD = 48
_FRAMES_PER_BATCH = 64  # frames without faces fill no batch: results do not wait longer than this for one


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How to run a clip.

    Attributes:
        faces: all faces, or the largest of each frame.
        batch_size: faces in one run of the engine.
        max_seconds: longer clips are refused.
        max_pixels: larger pictures are refused.
        decode_threads: threads of the video decoder, 0 for one per core.
    """

    faces: FaceSelection = FaceSelection.ALL
    batch_size: int = 16
    max_seconds: float | None = None
    max_pixels: int | None = None
    decode_threads: int = 0


@dataclass(frozen=True, slots=True)
class Resume:
    """Where an earlier run stopped.

    Attributes:
        frame: number of the first frame that is still to do.
        last_pts_ms: time of the frame before it.
        tracker: state of the tracker after that frame, so that faces keep their numbers.
    """

    frame: int
    last_pts_ms: float | None = None
    tracker: TrackerState | None = None


@dataclass(frozen=True, slots=True)
class _Work:
    """A frame between the threads: its faces with their crops, and the tracker's state after it."""

    index: int
    pts_ms: float
    faces: tuple[Face, ...]
    crops: tuple[Crop, ...] = field(repr=False)
    tracker: TrackerState = field(repr=False)


def analyze_video(path: Path, analyzer: Analyzer, options: VideoOptions | None = None) -> Iterator[FrameResult]:
    """Faces and Action Units of every frame of a clip, in order; a frame without faces has none.

    Raises:
        VideoError: as `VideoReader`.
    """
    with VideoRun(path, analyzer, options) as run:
        yield from run


class VideoRun:
    """One pass over a clip; use it in a `with` block and iterate over it once.

    Attributes:
        info: what is known of the clip.
        tracker: after each yielded result, the tracker's state to go on from there.
        finished: whether the last frame has been yielded.
        warnings: after the last result, what was wrong with the file though it could be read.
    """

    def __init__(
        self,
        path: Path,
        analyzer: Analyzer,
        options: VideoOptions | None = None,
        resume: Resume | None = None,
        on_activity: Callable[[], None] = lambda: None,
    ) -> None:
        """Open the clip.

        Args:
            path: a local file.
            analyzer: finder, crops and engine.
            options: how to run it.
            resume: where to go on; by default at the first frame.
            on_activity: called from any thread whenever a stage has done something.

        Raises:
            VideoError: as `VideoReader`.
        """
        self._analyzer = analyzer
        self._options = options or VideoOptions()
        self._resume = resume or Resume(0)
        self._on_activity = on_activity
        self._reader = VideoReader(
            path,
            max_seconds=self._options.max_seconds,
            max_pixels=self._options.max_pixels,
            threads=self._options.decode_threads,
        )
        self.info: VideoInfo = self._reader.info
        self.tracker = self._resume.tracker
        self.finished = False
        self._decoded: Channel[Frame] = Channel(_DECODED_AHEAD)
        self._cropped: Channel[_Work] = Channel(_CROPPED_AHEAD)
        self._results: Channel[tuple[FrameResult, TrackerState]] = Channel(_RESULTS_AHEAD)
        self._threads = [
            _stage("decode", self._decode, self._decoded),
            _stage("faces", self._find, self._cropped, upstream=self._decoded),
            _stage("engine", self._run_engine, self._results, upstream=self._cropped),
        ]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was wrong with the file, complete after the last result."""
        return tuple(self._reader.warnings)

    def __enter__(self) -> VideoRun:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the threads, wherever they are, and close the file."""
        self._results.give_up()
        for thread in self._threads:
            thread.join()
        self._reader.close()

    def __iter__(self) -> Iterator[FrameResult]:
        for result, tracker in self._results:
            self.tracker = tracker
            yield result
        self.finished = True

    def _decode(self) -> Iterator[Frame]:
        return self._reader.frames(self._resume.frame, self._resume.last_pts_ms, self._on_activity)

    def _find(self) -> Iterator[_Work]:
        tracker = FaceTracker(cast(FaceFinder, self._analyzer.finder), state=self._resume.tracker)
        for frame in self._decoded:
            faces = tracker.update(frame)
            faces.sort(key=_area, reverse=True)
            if self._options.faces is FaceSelection.LARGEST:
                faces = faces[:1]
            crops = tuple(self._analyzer.crop(frame.rgb, face) for face in faces)
            self._on_activity()
            yield _Work(frame.index, frame.pts_ms, tuple(faces), crops, tracker.state())

    def _run_engine(self) -> Iterator[tuple[FrameResult, TrackerState]]:
        for batch in _batches(self._cropped, self._options.batch_size):
            predictions = iter(self._analyzer.predict([crop for work in batch for crop in work.crops]))
            self._on_activity()
            for work in batch:
                # The zip asks the shorter list first, so that no prediction of the next frame is lost.
                faces = tuple(zip(work.faces, predictions, strict=False))
                yield FrameResult(work.index, work.pts_ms, faces), work.tracker


def _batches(works: Iterable[_Work], batch_size: int) -> Iterator[list[_Work]]:
    """Frames in order, so many that their faces fill a batch; if `works` fails, first those that came before."""
    batch: list[_Work] = []
    count = 0
    try:
        for work in works:
            if batch and (count + len(work.crops) > batch_size or len(batch) >= _FRAMES_PER_BATCH):
                yield batch
                batch, count = [], 0
            batch.append(work)
            count += len(work.crops)
            if count == batch_size:
                yield batch
                batch, count = [], 0
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _stage(
    name: str, produce: Callable[[], Iterable[T]], output: Channel[T], upstream: Channel[Any] | None = None
) -> threading.Thread:
    """A thread that puts into `output` what `produce` yields, and hands on its end or its error."""

    def run() -> None:
        try:
            for item in produce():
                output.put(item)
            output.finish()
        except GivenUp:
            pass
        except BaseException as error:  # the consumer raises it in its own thread
            output.fail(error)
        finally:
            if upstream is not None:
                upstream.give_up()

    return threading.Thread(target=run, name=f"roigcn-{name}", daemon=True)


def _area(face: Face) -> float:
    width, height = np.maximum(face.box_xyxy[2:] - face.box_xyxy[:2], 0)
    return float(width * height)
