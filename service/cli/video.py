"""`roigcn video`: Action Units of clips, on this machine, without a server or a database."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model.events import Baseline, EventOptions
from service.cli.clips import Existing, Task, find_clips, plan
from service.cli.detect import CheckpointName, DataDir, DeviceName, EngineName, open_analyzer
from service.cli.export import (
    BaselineName,
    FormatName,
    GapMs,
    MinMs,
    Off,
    On,
    Overwrite,
    choose_format,
    event_options,
    recording_of,
    write_file,
)
from service.cli.neutral import NeutralPicture, rest_of
from service.cli.output import fail, out, progress_bar, say, warn
from service.cli.spool import Spool

if TYPE_CHECKING:
    from model.analyzer import Analyzer
    from service.exports.formats import Format
    from service.exports.recording import ExportFrame
    from worker.rest import RestingTrack

_FRAMES_AT_ONCE = 500


def video(
    clips: Annotated[
        list[Path], typer.Argument(exists=True, readable=True, help="Clips to analyse, and folders of clips.")
    ],
    result: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File to write, for several clips a folder; default beside each clip, CLIP.aus.csv for the native "
            "table.",
        ),
    ] = None,
    format_name: FormatName = None,
    overwrite: Overwrite = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Pass over clips whose result is there: goes on after a break.")
    ] = False,
    checkpoint: CheckpointName = None,
    engine: EngineName = "auto",
    device: DeviceName = "auto",
    data_dir: DataDir = None,
    on: On = None,
    off: Off = None,
    min_ms: MinMs = 100.0,
    gap_ms: GapMs = 100.0,
    baseline: BaselineName = Baseline.NONE,
    neutral: NeutralPicture = None,
) -> None:
    """Detect Action Units in every frame of clips.

    Writes by default a table with one row per face and frame: frame, time_ms, face, box, then score, probability and
    presence of each AU. A frame without a face has one row with an empty face. --format writes for other tools: ELAN,
    BORIS, CVAT, OpenFace's and py-feat's readers and others; `roigcn formats` lists them. A file appears only when
    it is whole: brows and lids are held against how each person rests in the clip, which its end tells. Of several
    clips, one that cannot be read does not stop the others.

    Exit code: 0 done, 1 a clip cannot be read, 3 face nets or checkpoint missing.

        roigcn video interview.mp4

        roigcn video interview.mp4 --format elan

        roigcn video interview.mp4 -o interview.parquet

        roigcn video study/clips --out study/tables --skip-existing

        roigcn video anna.mp4 --neutral anna.jpg
    """
    from worker.store.records import JobKind

    events = event_options(on, off, min_ms, gap_ms, baseline)
    one = len(clips) == 1 and not clips[0].is_dir()
    as_file = None if result is None or result.is_dir() else result
    chosen = choose_format(format_name, as_file if one else None, JobKind.VIDEO)
    found = find_clips(clips)
    tasks = plan(found, result, chosen.suffix, one=one, existing=Existing(overwrite, skip_existing))
    if len(tasks) < len(found):
        say(f"{len(found) - len(tasks)} of {len(found)} clips have a result and are passed over")
    run = _Run(chosen, events, lambda: open_analyzer(checkpoint, engine, device, data_dir), neutral)
    failures = 0
    for task in tasks:
        if (failure := run.analyse(task)) is None:
            continue
        if one:
            fail(failure)
        warn(failure)
        failures += 1
    if failures:
        fail(f"{failures} of {len(tasks)} clips could not be read")


class _Run:
    """Clips one after the other, with a network that is loaded when the first one is known to be readable."""

    def __init__(
        self, chosen: Format, events: EventOptions, load: Callable[[], Analyzer], neutral: Path | None
    ) -> None:
        self._chosen = chosen
        self._events = events
        self._analyzer = cache(load)
        self._rest = cache(lambda: None if neutral is None else rest_of(neutral, self._analyzer()))

    def analyse(self, task: Task) -> str | None:
        """Write a clip's result; why not, if it cannot be read."""
        from service.exports.recording import ExportFrame, face_rows
        from worker.errors import VideoError
        from worker.store.records import JobKind
        from worker.video import probe_video

        clip = task.clip
        try:
            info = probe_video(clip)
            analyzer, rest = self._analyzer(), self._rest()
            from worker.pipeline import VideoRun
            from worker.rest import RestGatherer

            recording = replace(
                recording_of(analyzer, JobKind.VIDEO, clip.name, self._events),
                width=info.width,
                height=info.height,
                fps=info.fps,
                duration_ms=info.duration_ms,
                mime=mimetypes.guess_type(clip.name)[0],
            )
            faces, gatherer = 0, RestGatherer()
            with Spool[ExportFrame]() as spool:
                with VideoRun(clip, analyzer) as run, progress_bar(clip.name, run.info.frames, "frames") as bar:
                    for frame in run:
                        rows = face_rows(frame.index, frame.pts_ms, frame.faces)
                        gatherer.add(rows)
                        spool.add(ExportFrame(frame.index, frame.pts_ms, rows, clip.name, info.width, info.height))
                        faces += len(rows)
                        bar.advance(bar.task_ids[0])
                held = _against_rest(spool, analyzer, gatherer.tracks(rest))
                write_file(task.target, self._chosen, held, recording)
                frames = len(spool)
        except VideoError as error:
            return f"{clip}: {error}"
        for warning in run.warnings:
            warn(f"{clip}: {warning}")
        say(f"{clip.name}: {frames} frames, {faces} faces")
        if not faces:
            warn(f"{clip.name}: no face was found in any frame")
        out.print(str(task.target), highlight=False, soft_wrap=True)
        return None


def _against_rest(
    frames: Iterable[ExportFrame], analyzer: Analyzer, tracks: Mapping[int, RestingTrack]
) -> Iterator[ExportFrame]:
    """The frames of a clip, now that it is known how each person rests in it."""
    from worker.rest import against_rest

    waiting = iter(frames)
    while chunk := list(islice(waiting, _FRAMES_AT_ONCE)):
        faces = iter(against_rest(analyzer, tracks, [face for frame in chunk for face in frame.faces]))
        for frame in chunk:
            yield replace(frame, faces=tuple(islice(faces, len(frame.faces))))
