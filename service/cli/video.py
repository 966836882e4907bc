"""`roigcn video`: Action Units of a clip, on this machine, without a server or a database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.detect import CheckpointName, DataDir, DeviceName, EngineName, open_analyzer
from service.cli.output import Exit, atomic_path, fail, out, progress_bar, say, warn

_SUFFIXES = {".csv": "csv", ".parquet": "parquet"}


def video(
    clip: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The clip to analyse.")],
    result: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write, .csv or .parquet; default CLIP.aus.csv.")
    ] = None,
    table_format: Annotated[
        str | None, typer.Option("--format", help="csv or parquet; default by the ending of --out.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    checkpoint: CheckpointName = None,
    engine: EngineName = "auto",
    device: DeviceName = "auto",
    data_dir: DataDir = None,
) -> None:
    """Detect Action Units in every frame of a clip.

    Writes a table with one row per face and frame: frame, time_ms, face, box, then score, probability and presence of
    each AU. A frame without a face has one row with an empty face. Memory stays flat whatever the length of the clip,
    and the file appears only when it is whole.

    Exit code: 0 done, 1 the clip cannot be read, 3 face nets or checkpoint missing.

        roigcn video interview.mp4

        roigcn video interview.mp4 -o interview.parquet
    """
    target = result or clip.with_suffix(".aus.csv")
    chosen = table_format or _SUFFIXES.get(target.suffix.lower()) or ""
    if chosen not in _SUFFIXES.values():
        fail(
            f"--format must be csv or parquet, or --out end in .csv or .parquet (got {chosen or target.name!r})",
            Exit.USAGE,
        )
    if target.exists() and not overwrite:
        fail(f"{target} exists; give --overwrite to replace it, or another --out", Exit.USAGE)

    from service.exports.table import OpenTable  # after the usage errors, which need no library
    from worker.errors import VideoError
    from worker.pipeline import VideoRun
    from worker.video import probe_video

    try:
        probe_video(clip)  # before the network is loaded
    except VideoError as error:
        fail(f"{clip}: {error}")
    analyzer = open_analyzer(checkpoint, engine, device, data_dir)
    metadata = {"checkpoint": analyzer.checkpoint.ref, "clip": clip.name}
    frames = faces = 0
    try:
        with (
            atomic_path(target) as partial,
            VideoRun(clip, analyzer) as run,
            OpenTable(partial, chosen, analyzer.au_codes, metadata) as table,
            progress_bar(clip.name, run.info.frames, "frames") as bar,
        ):
            for frame in run:
                table.write_frame(frame.index, frame.pts_ms, frame.faces)
                frames += 1
                faces += len(frame.faces)
                bar.advance(bar.task_ids[0])
    except VideoError as error:
        fail(f"{clip}: {error}")
    for warning in run.warnings:
        warn(f"{clip}: {warning}")
    say(f"{frames} frames, {faces} faces")
    if not faces:
        warn("no face was found in any frame")
    out.print(str(target), highlight=False, soft_wrap=True)
