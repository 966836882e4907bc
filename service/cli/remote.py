"""`roigcn submit` and `roigcn watch`: clips through a server, followed to the end."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from service.cli.output import Exit, atomic_path, fail, out, progress_bar, say

TERMINAL = ("succeeded", "failed", "cancelled")
_POLL_SECONDS = 0.5
_RETRY_SECONDS = 30.0  # a server that restarts is waited for, one that is not there is told soon

Server = Annotated[str, typer.Option("--server", envvar="ROIGCN_SERVER", help="Address of the service.")]
ApiKey = Annotated[
    str | None, typer.Option("--api-key", envvar="ROIGCN_API_KEY", help="Needed unless the server is on this machine.")
]
Result = Annotated[
    Path | None,
    typer.Option("--out", help="Write all frames to this file as NDJSON, one line per frame, when the job is done."),
]


@contextmanager
def connect(server: str, api_key: str | None) -> Iterator[httpx.Client]:
    """A client whose failures end the command with advice."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = httpx.Timeout(10.0, read=60.0, write=60.0)
    try:
        with httpx.Client(base_url=server.rstrip("/"), headers=headers, timeout=timeout) as client:
            yield client
    except httpx.UnsupportedProtocol:
        fail(f"--server must look like http://127.0.0.1:8000, not {server!r}", Exit.USAGE)
    except httpx.TransportError as error:
        fail(f"{server} does not answer ({error}). Is it running? Start one with `roigcn serve`.", Exit.UNAVAILABLE)


def check(response: httpx.Response) -> httpx.Response:
    """End the command with the server's own words if it answered with a problem."""
    if response.is_error:
        response.read()
        try:
            detail = str(response.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = response.text[:300] or response.reason_phrase
        unavailable = response.status_code in (401, 403, 503)
        fail(f"{response.status_code}: {detail}", Exit.UNAVAILABLE if unavailable else Exit.FAILED)
    return response


class _Counted(io.BufferedReader):
    """A file that reports how much of it was read."""

    def __init__(self, path: Path, report: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path))
        self._report = report

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._report(len(data))
        return data


def submit(
    clip: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The clip to analyse.")],
    watch_it: Annotated[bool, typer.Option("--watch", help="Follow the job to its end.")] = False,
    result: Result = None,
    roi: Annotated[str, typer.Option(help="What to keep of the ROI maps: full, peaks or none.")] = "full",
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key and clip give the same job, however often it is sent.")
    ] = None,
    server: Server = "http://127.0.0.1:8000",
    api_key: ApiKey = None,
) -> None:
    """Send a clip to a server; prints the job's id, or its end with --watch or --out.

    Exit code: 0 sent (or succeeded), 1 refused or failed, 3 the server does not answer.
    """
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    with connect(server, api_key) as client:
        with (
            progress_bar("upload", clip.stat().st_size, "bytes") as bar,
            _Counted(clip, lambda count: bar.advance(bar.task_ids[0], count)) as body,
        ):
            response = check(
                client.post("/jobs", params={"roi": roi}, files={"video": (clip.name, body)}, headers=headers)
            )
        job = response.json()
        out.print(job["id"], highlight=False)
        if watch_it or result is not None:
            _follow(client, job["id"], result)


def watch(
    job: Annotated[str, typer.Argument(help="Id of the job, as `roigcn submit` printed it.")],
    result: Result = None,
    server: Server = "http://127.0.0.1:8000",
    api_key: ApiKey = None,
) -> None:
    """Follow a job with a progress bar until it ends.

    Exit code: 0 succeeded, 1 failed or cancelled, 3 the server does not answer.
    """
    with connect(server, api_key) as client:
        _follow(client, job, result)


def _follow(client: httpx.Client, job_id: str, result: Path | None) -> None:
    job = _wait(client, job_id)
    if job["state"] != "succeeded":
        reason = (job.get("error") or {}).get("detail", "")
        fail(f"job {job_id} {job['state']}{': ' if reason else ''}{reason}")
    say(f"{job['progress']['frames_done']} frames analysed")
    if result is not None:
        _download(client, job_id, result)


def _wait(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """The job in its last state; shows progress while it runs, rides out a restart of the server."""
    etag, silent_since = "", None
    with progress_bar(f"job {job_id[:8]}", None, "frames") as bar:
        while True:
            try:
                response = check(client.get(f"/jobs/{job_id}", headers={"If-None-Match": etag} if etag else {}))
                silent_since = None
            except httpx.TransportError:
                silent_since = silent_since or time.monotonic()
                if not etag or time.monotonic() - silent_since > _RETRY_SECONDS:
                    raise
                time.sleep(_POLL_SECONDS)
                continue
            if response.status_code != httpx.codes.NOT_MODIFIED:
                etag = response.headers.get("ETag", "")
                job: dict[str, Any] = response.json()
                progress = job["progress"]
                bar.update(
                    bar.task_ids[0],
                    completed=progress["frames_done"],
                    total=progress["frames_total"],
                    note=job["state"],
                )
                if job["state"] in TERMINAL:
                    return job
            time.sleep(_POLL_SECONDS)


def _download(client: httpx.Client, job_id: str, target: Path) -> None:
    headers = {"Accept": "application/x-ndjson"}
    frames = 0
    with (
        atomic_path(target) as partial,
        partial.open("w", encoding="utf-8") as file,
        client.stream("GET", f"/jobs/{job_id}/frames", headers=headers) as response,
    ):
        for line in check(response).iter_lines():
            json.loads(line)  # a cut stream must not pass as a complete file
            file.write(line + "\n")
            frames += 1
    say(f"{frames} frames written to {target}")
