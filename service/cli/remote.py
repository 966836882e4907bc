"""`roigcn submit`, `roigcn watch` and `roigcn export`: clips through a server, followed to the end and fetched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

import roigcn
from model.events import Baseline
from service.cli.export import BaselineName, GapMs, MinMs, Off, On, Overwrite, event_options
from service.cli.output import Exit, atomic_path, fail, out, progress_bar, say

_RETRY_SECONDS = 30.0  # a server that restarts is waited for, one that is not there is told at once
_UNAVAILABLE = (401, 403, 503)

Server = Annotated[str, typer.Option("--server", envvar="ROIGCN_SERVER", help="Address of the service.")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key", envvar="ROIGCN_API_KEY", help="A key of `roigcn keys create`; needed where the server has any."
    ),
]
Result = Annotated[
    Path | None,
    typer.Option("--out", help="Write all frames to this file as NDJSON, one line per frame, when the job is done."),
]


@contextmanager
def connect(server: str, api_key: str | None) -> Iterator[roigcn.Client]:
    """A client whose failures end the command with advice."""
    try:
        with roigcn.Client(server, api_key, retry_seconds=_RETRY_SECONDS) as client:
            yield client
    except ValueError as error:
        fail(str(error), Exit.USAGE)
    except roigcn.UnreachableError as error:
        fail(f"{error} Start one with `roigcn serve`.", Exit.UNAVAILABLE)
    except roigcn.ProblemError as error:
        fail(str(error), Exit.UNAVAILABLE if error.status in _UNAVAILABLE else Exit.FAILED)
    except roigcn.JobEndedError as error:
        fail(str(error))


def submit(
    clip: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The clip to analyse.")],
    watch_it: Annotated[bool, typer.Option("--watch", help="Follow the job to its end.")] = False,
    result: Result = None,
    roi: Annotated[str, typer.Option(help="What to keep of the ROI maps: full, peaks or none.")] = "full",
    faces: Annotated[str, typer.Option(help="Which faces of each frame: all, or the largest.")] = "all",
    checkpoint: Annotated[
        str | None, typer.Option(help="NAME or NAME:VERSION of one that the server has; default: its active one.")
    ] = None,
    neutral: Annotated[
        Path | None,
        typer.Option(
            "--neutral",
            help="A picture at rest of the person who is seen most in the clip: brows and lids (AU1, 2, 4, 7) are "
            "held against it. It stays on the server as a job of its own.",
            exists=True,
            dir_okay=False,
            readable=True,
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key and clip give the same job, however often it is sent.")
    ] = None,
    server: Server = "http://127.0.0.1:8000",
    api_key: ApiKey = None,
) -> None:
    """Send a clip to a server; prints the job's id, or its end with --watch or --out.

    Exit code: 0 sent (or succeeded), 1 refused or failed, 3 the server does not answer, is busy or wants a key.
    """
    with connect(server, api_key) as client:
        rest = None
        if neutral is not None:
            rest = client.detect(neutral, roi="none", faces="largest", checkpoint=checkpoint)
        with progress_bar("upload", clip.stat().st_size, "bytes") as bar:
            job = client.submit(
                clip,
                roi=cast(Literal["full", "peaks", "none"], roi),  # the server names what it takes
                faces=cast(Literal["all", "largest"], faces),
                checkpoint=checkpoint,
                neutral=rest,
                idempotency_key=idempotency_key,
                progress=lambda sent, _: bar.update(bar.task_ids[0], completed=sent),
            )
        out.print(job.id, highlight=False)
        if watch_it or result is not None:
            _follow(client, job.id, result)


def watch(
    job: Annotated[str, typer.Argument(help="Id of the job, as `roigcn submit` printed it.")],
    result: Result = None,
    server: Server = "http://127.0.0.1:8000",
    api_key: ApiKey = None,
) -> None:
    """Follow a job with a progress bar until it ends.

    Exit code: 0 succeeded, 1 failed or cancelled, 3 the server does not answer, is busy or wants a key.
    """
    with connect(server, api_key) as client:
        _follow(client, job, result)


def export(
    job: Annotated[str, typer.Argument(help="Id of the job, as `roigcn submit` printed it.")],
    format_name: Annotated[
        str, typer.Option("--format", "-f", help="Format to write; `roigcn formats` lists all.")
    ] = "native",
    result: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; default after the clip's name, in this folder.")
    ] = None,
    overwrite: Overwrite = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also of a job that runs, failed or was cancelled: the frames so far.")
    ] = False,
    on: On = None,
    off: Off = None,
    min_ms: MinMs = 100.0,
    gap_ms: GapMs = 100.0,
    baseline: BaselineName = Baseline.NONE,
    server: Server = "http://127.0.0.1:8000",
    api_key: ApiKey = None,
) -> None:
    """Fetch a job's results as a file for another tool. The file appears only when it is whole.

    Exit code: 0 written, 1 refused, 3 the server does not answer.

        roigcn export 019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10 --format elan
    """
    event_options(on, off, min_ms, gap_ms, baseline)
    with connect(server, api_key) as client:
        try:
            target = client.export(
                job,
                format_name,
                result,
                on=on,
                off=off,
                min_ms=min_ms,
                gap_ms=gap_ms,
                baseline=baseline.value,
                partial=partial,
                overwrite=overwrite,
            )
        except FileExistsError as error:
            fail(str(error).replace("overwrite=True", "--overwrite"), Exit.USAGE)
        except OSError as error:
            fail(f"the file cannot be written: {error}", Exit.USAGE)
    out.print(str(target), highlight=False, soft_wrap=True)


def _follow(client: roigcn.Client, job_id: str, result: Path | None) -> None:
    with progress_bar(f"job {job_id[:8]}", None, "frames") as bar:

        def report(job: roigcn.Job) -> None:
            done, total = job.progress.frames_done, job.progress.frames_total
            bar.update(bar.task_ids[0], completed=done, total=total, note=job.state)

        job = client.wait(job_id, progress=report)
    say(f"{job.progress.frames_done} frames analysed")
    if result is not None:
        _download(client, job_id, result)


def _download(client: roigcn.Client, job_id: str, target: Path) -> None:
    frames = 0
    with atomic_path(target) as partial, partial.open("wb") as file:
        for line in client.frame_lines(job_id):
            file.write(line + b"\n")
            frames += 1
    say(f"{frames} frames written to {target}")
