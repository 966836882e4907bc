"""`Client`: the operations of a service to call. It runs the flows of `roigcn.flows`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

from roigcn import exports, flows
from roigcn.bars import JobReport, UploadReport, job_bar, upload_bar
from roigcn.base import LIMITS, Baseline, ClientBase, Faces, Kind, Roi, State, user_agent
from roigcn.drivers import Driver
from roigcn.exports import AuEvents, EventRule, ExportFormat, StrPath
from roigcn.flows import JobLike, job_id
from roigcn.pictures import ImageLike, Picture, VideoLike, video_name
from roigcn.records import CheckpointInfo, Detection, Frame, Job
from roigcn.tables import Table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa


class Client(ClientBase):
    """Talks to a service. Safe to use from several threads; close it, or use it with `with`.

    A method that takes a job takes the job, its id, or a detection. Methods raise `roigcn.ProblemError` with the
    server's reason, or `roigcn.UnreachableError`.

    Args:
        server: address of the service; default the variable `ROIGCN_SERVER`, or this machine's port 8000. A path is
            kept, for a service behind a proxy.
        api_key: needed unless the server is on this machine; default the variable `ROIGCN_API_KEY`.
        timeout: longest silence of the server within one answer, in seconds.
        retry_seconds: how long a call goes on when a server that has answered before is away, or answers 503 with a
            `Retry-After`. 0 tries once.
        http: an httpx client of your own, for proxies and certificates; it stays open when this client is closed.
    """

    def __init__(
        self,
        server: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        retry_seconds: float = 60.0,
        http: httpx.Client | None = None,
    ) -> None:
        super().__init__(server, api_key, timeout, retry_seconds)
        self._http = http or httpx.Client(headers=user_agent(), limits=LIMITS)
        self._own = http is None
        self._driver = Driver(self._address, self._http)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._own:
            self._http.close()

    def detect(
        self,
        image: ImageLike,
        *,
        roi: Roi = "full",
        faces: Faces = "all",
        store: bool = True,
        checkpoint: str | None = None,
        neutral: JobLike | None = None,
    ) -> Detection:
        """Read the Action Units of a picture.

        Args:
            image: a path, the bytes of a file, an array (H, W, 3) of uint8 in RGB order, or a Pillow image.
            roi: what to keep of the ROI maps: `full`, `peaks` (amplitudes and centres only) or `none`.
            faces: all of them, or the largest one.
            store: keep picture and result on the server, for overlays and maps; False leaves nothing behind.
            checkpoint: `name` or `name:version`; default the active one.
            neutral: a stored picture of the same person at rest; the brows and lids of the largest face are compared.
        """
        options = flows.analysis(roi, faces, checkpoint, neutral)
        return self._showing(self._driver.run(flows.detect(self._contact, image, options, store)))

    def submit(
        self,
        video: VideoLike,
        *,
        roi: Roi = "full",
        faces: Faces = "all",
        checkpoint: str | None = None,
        neutral: JobLike | None = None,
        name: str | None = None,
        idempotency_key: str | None = None,
        progress: bool | UploadReport = True,
    ) -> Job:
        """Send a clip to be analysed; the upload is streamed, whatever its size.

        Args:
            video: a path, or the bytes of a file.
            roi: what to keep of the ROI maps: `full`, `peaks` or `none`.
            faces: all of each frame, or the largest one.
            checkpoint: `name` or `name:version`; default the active one.
            neutral: a stored picture at rest of the person who is seen most; brows and lids are held against it.
            name: shown for the job; default the file's own.
            idempotency_key: the same key and clip give the same job, however often they are sent, also by another
                program; default one for this call, so that a broken upload that is repeated makes one job.
            progress: a bar on the terminal, or a function that takes bytes sent and bytes in all.
        """
        options = flows.analysis(roi, faces, checkpoint, neutral)
        with upload_bar(progress, name or video_name(video)) as report:
            return self._driver.run(flows.submit(self._contact, video, options, idempotency_key, name, report))

    def wait(self, job: JobLike, *, progress: bool | JobReport = True, check: bool = True) -> Job:
        """Follow a job to its end, through broken connections and a restart of the server.

        Args:
            job: the job.
            progress: a bar on the terminal, a line in a notebook; or a function that takes each state of the job.
            check: raise `JobFailedError` or `JobCancelledError` when it ends so; False gives the job.
        """
        with job_bar(progress) as report:
            for state in self.follow(job):
                report(last := state)
        return flows.ended_well(last) if check else last

    def follow(self, job: JobLike) -> Iterator[Job]:
        """The job at each change, to its end."""
        return self._driver.stream(flows.follow(self._contact, job_id(job)))

    def job(self, job: JobLike) -> Job:
        """The job as it stands now."""
        return self._driver.run(flows.get_job(self._contact, job_id(job)))

    def jobs(self, *, state: State | None = None, kind: Kind | None = None, limit: int | None = None) -> Iterator[Job]:
        """Your jobs, newest first, fetched in pages as they are asked for."""
        return self._driver.stream(flows.list_jobs(self._contact, state, kind, limit))

    def cancel(self, job: JobLike) -> Job:
        """Stop a job; frames stored so far stay."""
        return self._driver.run(flows.cancel(self._contact, job_id(job)))

    def delete(self, job: JobLike) -> None:
        """Remove a job with its file, its rows and its maps."""
        return self._driver.run(flows.delete(self._contact, job_id(job)))

    def frames(self, job: JobLike, *, after: int | None = None) -> Iterator[Frame]:
        """Frames in order, streamed; of a running job those stored so far, `after` the number of the last you have."""
        return self._driver.stream(flows.frames(self._contact, job_id(job), after))

    def frame_lines(self, job: JobLike, *, after: int | None = None) -> Iterator[bytes]:
        """The same as lines of JSON, as the server sends them, without their ends."""
        return self._driver.stream(flows.frames(self._contact, job_id(job), after, as_lines=True))

    def to_pandas(self, job: JobLike) -> pd.DataFrame:
        """A job's table, one row per face and frame (see `roigcn.tables`)."""
        return self._table(job).to_pandas()

    def to_arrow(self, job: JobLike) -> pa.Table:
        """A job's table, one row per face and frame (see `roigcn.tables`)."""
        return self._table(job).to_arrow()

    def _table(self, job: JobLike) -> Table:
        notes = flows.table_notes(self.job(job))
        table = Table.of(self.frames(job), notes=notes)
        if not table.au_codes:
            table.expect(flows.au_codes(self.checkpoints(), notes))
        return table

    def overlay(
        self, job: JobLike, *, frame: int = 0, au: str | None = None, face: int = 0, crop: bool = False
    ) -> Picture:
        """A frame with boxes, ROI maps and bars; with `au` the map of one Action Unit on the frame, or on the face."""
        return self._driver.run(flows.overlay(self._contact, job_id(job), frame, face, au, crop))

    def roi_map(self, job: JobLike, au: str, *, frame: int = 0, face: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The network's own map of an Action Unit: (H, W) float32, about -1 absent to 1 occurred."""
        return self._driver.run(flows.roi_map(self._contact, job_id(job), frame, face, au))

    def export(
        self,
        job: JobLike,
        format: str = "native",
        to: StrPath | None = None,
        *,
        on: float | None = None,
        off: float | None = None,
        min_ms: float = 100.0,
        gap_ms: float = 100.0,
        baseline: Baseline = "none",
        partial: bool = False,
        overwrite: bool = False,
    ) -> Path:
        """Write a job's results to a file for another tool: a table, ELAN, BORIS, COCO, CVAT and others.

        Args:
            job: a job that succeeded.
            format: a name of `formats()`.
            to: a file, or a folder for the server's name of it; default the working directory.
            on, off, min_ms, gap_ms, baseline: when an AU counts as an event, for formats that hold events.
            partial: also of a job that runs, failed or was cancelled: the frames so far.
            overwrite: replace an existing file.
        """
        rule = EventRule(on, off, min_ms, gap_ms, baseline)
        return self._driver.run(exports.export(self._contact, job_id(job), format, to, rule, partial, overwrite))

    def formats(self) -> tuple[ExportFormat, ...]:
        """The formats of `export`, and what each holds."""
        return self._driver.run(exports.formats(self._contact))

    def au_events(
        self,
        job: JobLike,
        *,
        on: float | None = None,
        off: float | None = None,
        min_ms: float = 100.0,
        gap_ms: float = 100.0,
        baseline: Baseline = "none",
    ) -> AuEvents:
        """Where each Action Unit begins, is clearest and ends on each face of a clip (`docs/numbers.md`).

        Args:
            job: a clip.
            on: an event begins at this probability; default the checkpoint's own threshold of each AU.
            off: it lasts while at least this; default 0.7 times `on`.
            min_ms: shorter events are dropped.
            gap_ms: gaps up to this are closed.
            baseline: `median` takes the probability's rise above the face's own median instead of the probability.
        """
        rule = EventRule(on, off, min_ms, gap_ms, baseline)
        return self._driver.run(exports.au_events(self._contact, job_id(job), rule))

    def checkpoints(self) -> tuple[CheckpointInfo, ...]:
        """Installed checkpoints with what they were trained on and how they were measured."""
        return self._driver.run(flows.checkpoints(self._contact))
