"""`AsyncClient`: the operations of `roigcn.client.Client` to await. It runs the same flows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

from roigcn import exports, flows
from roigcn.bars import JobReport, UploadReport, job_bar, upload_bar
from roigcn.base import LIMITS, Baseline, ClientBase, Faces, Kind, Roi, State, user_agent
from roigcn.drivers import AsyncDriver
from roigcn.exports import AuEvents, EventRule, ExportFormat, StrPath
from roigcn.flows import JobLike, job_id
from roigcn.pictures import ImageLike, Picture, VideoLike, video_name
from roigcn.records import CheckpointInfo, Detection, Frame, Job
from roigcn.tables import Table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa


class AsyncClient(ClientBase):
    """`Client` for an event loop: the same methods, to await; `follow`, `jobs` and `frames` with `async for`."""

    def __init__(
        self,
        server: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        retry_seconds: float = 60.0,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(server, api_key, timeout, retry_seconds)
        self._http = http or httpx.AsyncClient(headers=user_agent(), limits=LIMITS)
        self._own = http is None
        self._driver = AsyncDriver(self._address, self._http)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._own:
            await self._http.aclose()

    async def detect(
        self,
        image: ImageLike,
        *,
        roi: Roi = "full",
        faces: Faces = "all",
        store: bool = True,
        checkpoint: str | None = None,
        neutral: JobLike | None = None,
    ) -> Detection:
        """`Client.detect`."""
        options = flows.analysis(roi, faces, checkpoint, neutral)
        return self._showing(await self._driver.run(flows.detect(self._contact, image, options, store)))

    async def submit(
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
        """`Client.submit`. The clip's file is read on the event loop, 64 kB at a time."""
        options = flows.analysis(roi, faces, checkpoint, neutral)
        with upload_bar(progress, name or video_name(video)) as report:
            return await self._driver.run(flows.submit(self._contact, video, options, idempotency_key, name, report))

    async def wait(self, job: JobLike, *, progress: bool | JobReport = True, check: bool = True) -> Job:
        """`Client.wait`."""
        with job_bar(progress) as report:
            async for state in self.follow(job):
                report(last := state)
        return flows.ended_well(last) if check else last

    def follow(self, job: JobLike) -> AsyncIterator[Job]:
        """`Client.follow`."""
        return self._driver.stream(flows.follow(self._contact, job_id(job)))

    async def job(self, job: JobLike) -> Job:
        """`Client.job`."""
        return await self._driver.run(flows.get_job(self._contact, job_id(job)))

    def jobs(
        self, *, state: State | None = None, kind: Kind | None = None, limit: int | None = None
    ) -> AsyncIterator[Job]:
        """`Client.jobs`."""
        return self._driver.stream(flows.list_jobs(self._contact, state, kind, limit))

    async def cancel(self, job: JobLike) -> Job:
        """`Client.cancel`."""
        return await self._driver.run(flows.cancel(self._contact, job_id(job)))

    async def delete(self, job: JobLike) -> None:
        """`Client.delete`."""
        return await self._driver.run(flows.delete(self._contact, job_id(job)))

    def frames(self, job: JobLike, *, after: int | None = None) -> AsyncIterator[Frame]:
        """`Client.frames`."""
        return self._driver.stream(flows.frames(self._contact, job_id(job), after))

    def frame_lines(self, job: JobLike, *, after: int | None = None) -> AsyncIterator[bytes]:
        """`Client.frame_lines`."""
        return self._driver.stream(flows.frames(self._contact, job_id(job), after, as_lines=True))

    async def to_pandas(self, job: JobLike) -> pd.DataFrame:
        """`Client.to_pandas`."""
        return (await self._table(job)).to_pandas()

    async def to_arrow(self, job: JobLike) -> pa.Table:
        """`Client.to_arrow`."""
        return (await self._table(job)).to_arrow()

    async def _table(self, job: JobLike) -> Table:
        notes = flows.table_notes(await self.job(job))
        table = Table(notes=notes)
        async for frame in self.frames(job):
            table.add(frame)
        if not table.au_codes:
            table.expect(flows.au_codes(await self.checkpoints(), notes))
        return table

    async def overlay(
        self, job: JobLike, *, frame: int = 0, au: str | None = None, face: int = 0, crop: bool = False
    ) -> Picture:
        """`Client.overlay`."""
        return await self._driver.run(flows.overlay(self._contact, job_id(job), frame, face, au, crop))

    async def roi_map(
        self, job: JobLike, au: str, *, frame: int = 0, face: int = 0
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """`Client.roi_map`."""
        return await self._driver.run(flows.roi_map(self._contact, job_id(job), frame, face, au))

    async def export(
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
        """`Client.export`."""
        rule = EventRule(on, off, min_ms, gap_ms, baseline)
        return await self._driver.run(exports.export(self._contact, job_id(job), format, to, rule, partial, overwrite))

    async def formats(self) -> tuple[ExportFormat, ...]:
        """`Client.formats`."""
        return await self._driver.run(exports.formats(self._contact))

    async def au_events(
        self,
        job: JobLike,
        *,
        on: float | None = None,
        off: float | None = None,
        min_ms: float = 100.0,
        gap_ms: float = 100.0,
        baseline: Baseline = "none",
    ) -> AuEvents:
        """`Client.au_events`."""
        rule = EventRule(on, off, min_ms, gap_ms, baseline)
        return await self._driver.run(exports.au_events(self._contact, job_id(job), rule))

    async def checkpoints(self) -> tuple[CheckpointInfo, ...]:
        """`Client.checkpoints`."""
        return await self._driver.run(flows.checkpoints(self._contact))
