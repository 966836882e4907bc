"""`roigcn video`: Action Units of a clip, on this machine, without a server or a database."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from model.events import Baseline
from service.cli.detect import CheckpointName, DataDir, DeviceName, EngineName, open_analyzer
from service.cli.export import (
    BaselineName,
    FormatName,
    GapMs,
    MinMs,
    Off,
    On,
    Overwrite,
    check_target,
    choose_format,
    event_options,
    recording_of,
    write_file,
)
from service.cli.output import fail, out, progress_bar, say, warn


def video(
    clip: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The clip to analyse.")],
    result: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write; default beside the clip, CLIP.aus.csv for the native table."),
    ] = None,
    format_name: FormatName = None,
    overwrite: Overwrite = False,
    checkpoint: CheckpointName = None,
    engine: EngineName = "auto",
    device: DeviceName = "auto",
    data_dir: DataDir = None,
    on: On = None,
    off: Off = None,
    min_ms: MinMs = 100.0,
    gap_ms: GapMs = 100.0,
    baseline: BaselineName = Baseline.NONE,
) -> None:
    """Detect Action Units in every frame of a clip.

    Writes by default a table with one row per face and frame: frame, time_ms, face, box, then score, probability and
    presence of each AU. A frame without a face has one row with an empty face. --format writes for other tools: ELAN,
    BORIS, CVAT, OpenFace's and py-feat's readers and others; `roigcn formats` lists them. The file appears only when
    it is whole.

    Exit code: 0 done, 1 the clip cannot be read, 3 face nets or checkpoint missing.

        roigcn video interview.mp4

        roigcn video interview.mp4 --format elan

        roigcn video interview.mp4 -o interview.parquet
    """
    from service.exports.recording import ExportFrame, face_rows
    from worker.errors import VideoError
    from worker.store.records import JobKind
    from worker.video import probe_video

    events = event_options(on, off, min_ms, gap_ms, baseline)
    chosen = choose_format(format_name, result, JobKind.VIDEO)
    target = result or clip.with_suffix(chosen.suffix)
    check_target(target, overwrite)
    try:
        info = probe_video(clip)  # before the network is loaded
    except VideoError as error:
        fail(f"{clip}: {error}")
    analyzer = open_analyzer(checkpoint, engine, device, data_dir)
    from worker.pipeline import VideoRun

    recording = replace(
        recording_of(analyzer, JobKind.VIDEO, clip.name, events),
        width=info.width,
        height=info.height,
        fps=info.fps,
        duration_ms=info.duration_ms,
        mime=mimetypes.guess_type(clip.name)[0],
    )
    frames = faces = 0
    try:
        with VideoRun(clip, analyzer) as run, progress_bar(clip.name, run.info.frames, "frames") as bar:

            def counted() -> Iterator[ExportFrame]:
                nonlocal frames, faces
                for frame in run:
                    rows = face_rows(frame.index, frame.pts_ms, frame.faces)
                    yield ExportFrame(frame.index, frame.pts_ms, rows, clip.name, info.width, info.height)
                    frames += 1
                    faces += len(rows)
                    bar.advance(bar.task_ids[0])

            write_file(target, chosen, counted(), recording)
    except VideoError as error:
        fail(f"{clip}: {error}")
    for warning in run.warnings:
        warn(f"{clip}: {warning}")
    say(f"{frames} frames, {faces} faces")
    if not faces:
        warn("no face was found in any frame")
    out.print(str(target), highlight=False, soft_wrap=True)
