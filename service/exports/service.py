"""A job's stored frames as the exporters take them, read page by page while the answer is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import quote
from uuid import UUID

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool

from model.events import EventOptions
from model.manifest import decision_thresholds
from service.context import Context
from service.exports import registry
from service.exports.formats import Format
from service.exports.recording import ExportFrame, Recording, collect
from service.exports.schemas import EventAnswer, EventsAnswer, FormatAnswer, FormatsAnswer, Thresholds
from service.problems import FormatMismatch, JobNotFinished, Validation
from service.results.answers import checkpoint_block
from worker.store.catalogue import MediaRepository
from worker.store.jobs import JobRepository
from worker.store.records import CheckpointRecord, Job, JobKind, JobState
from worker.store.results import ResultRepository

_PAGE_FRAMES = 200


class JobGoneError(Exception):
    """The job was deleted while it was exported; the answer is cut off, so that no half file passes for a whole one."""


@dataclass(frozen=True, slots=True)
class Export:
    """What is about to be sent."""

    format: Format
    recording: Recording
    job: Job

    @property
    def disposition(self) -> str:
        """`Content-Disposition` with the file's name, in plain letters for old clients and in full (RFC 6266)."""
        name = self.format.file_name(self.recording)
        plain = "".join(char if char.isascii() and char.isprintable() and char not in '"\\%' else "_" for char in name)
        return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def formats() -> FormatsAnswer:
    """Every format."""
    return FormatsAnswer(
        formats=[
            FormatAnswer(
                name=known.name,
                title=known.title,
                summary=known.summary,
                media_type=known.media_type,
                suffix=known.suffix,
                kinds=sorted(known.kinds),
                events="events" in known.needs,
            )
            for known in registry.FORMATS.values()
        ]
    )


async def prepare(
    context: Context, tenant: str, job_id: UUID, format_name: str, events: EventOptions, *, partial: bool
) -> Export:
    """Everything that can be refused is refused here, before the first byte.

    Raises:
        worker.store.errors.NotFoundError: the tenant has no such job.
        Validation: no such format.
        JobNotFinished: the job has not succeeded, and `partial` was not asked for.
        FormatMismatch: the format does not hold pictures, or clips.
    """
    try:
        chosen = registry.find(format_name)
    except ValueError as error:
        where = [{"where": "query.format", "message": str(error)}]
        raise Validation(f"There is no such format: {error}. GET /exports describes them.", errors=where) from error
    recording, job = await context.database.run(_recording, context, tenant, job_id)
    if job.state is not JobState.SUCCEEDED and not (partial and job.checkpoint_id):
        raise JobNotFinished(_not_finished(job))
    why = chosen.misfit(recording)
    if why is not None:
        fitting = ", ".join(known.name for known in registry.FORMATS.values() if job.kind in known.kinds)
        raise FormatMismatch(f"{why} Formats that do fit: {fitting}.")
    return Export(chosen, replace(recording, events=events), job)


def pieces(context: Context, export: Export) -> Iterator[bytes]:
    """The file, piece by piece; to be iterated in a thread."""
    return export.format.write(_frames(context, export.job, export.recording), export.recording)


async def au_events(context: Context, tenant: str, job_id: UUID, options: EventOptions) -> EventsAnswer:
    """The events in the frames that are stored.

    Raises:
        worker.store.errors.NotFoundError: the tenant has no such job.
        FormatMismatch: the job is a picture.
    """
    recording, job = await context.database.run(_recording, context, tenant, job_id)
    if job.kind is not JobKind.VIDEO:
        raise FormatMismatch("AU events are of clips, and this is an image. Its AUs are under /jobs/{id}/frames.")
    signals = await run_in_threadpool(lambda: collect(_frames(context, job, recording), recording.au_codes))
    found = await run_in_threadpool(signals.events, options, recording.thresholds)
    record = await context.database.run(lambda connection: context.checkpoint_of(connection, job))
    both = {code: options.thresholds(recording.thresholds.get(code)) for code in recording.au_codes}
    return EventsAnswer(
        job=job.id,
        state=job.state,
        checkpoint=checkpoint_block(record) if record else None,
        baseline=options.baseline,
        min_ms=options.min_ms,
        gap_ms=options.gap_ms,
        thresholds={code: Thresholds(on=round(on, 5), off=round(off, 5)) for code, (on, off) in both.items()},
        frames=len(signals.timeline().frame),
        tracks=signals.tracks,
        events=[EventAnswer.of(event) for event in found],
    )


def _recording(connection: sa.Connection, context: Context, tenant: str, job_id: UUID) -> tuple[Recording, Job]:
    job = JobRepository(connection).get_or_raise(tenant, job_id)
    media = MediaRepository(connection).get(tenant, job.media_id) if job.media_id else None
    record = context.checkpoint_of(connection, job)
    described = _describe(job, record, context.reading_of(job))
    if media is None:
        return described, job
    return replace(
        described,
        name=media.name or described.name,
        fps=media.fps,
        duration_ms=media.duration_ms,
        mime=media.mime,
    ), job


def _describe(job: Job, record: CheckpointRecord | None, reading: str) -> Recording:
    training = record.manifest.get("training") if record else None
    return Recording(
        kind=job.kind,
        name=f"{job.kind.value}-{job.id}",
        au_codes=record.au_codes if record else (),
        checkpoint=f"{record.name}:{record.version}" if record else "",
        made_at=job.created_at,
        synthetic_only=bool(training.get("synthetic_only")) if isinstance(training, dict) else False,
        thresholds=decision_thresholds(record.manifest, reading) if record else {},
        width=job.width,
        height=job.height,
        frames=job.frames_done,
        job=str(job.id),
    )


def _frames(context: Context, job: Job, recording: Recording) -> Iterator[ExportFrame]:
    """All stored frames, a page at a time, each page in a transaction of its own: a slow reader holds no connection."""
    after: int | None = None
    while True:
        with context.database.engine.begin() as connection:
            if JobRepository(connection).get(job.tenant, job.id) is None:
                raise JobGoneError(f"job {job.id} was deleted while it was exported")
            rows = ResultRepository(connection).frames_page(job, after, _PAGE_FRAMES)
        if not rows:
            return
        for row in rows:
            yield ExportFrame(row.frame, row.pts_ms, row.faces, recording.name, recording.width, recording.height)
        after = rows[-1].frame


def _not_finished(job: Job) -> str:
    if not job.state.final:
        return (
            f"The job is {job.state}. Follow /jobs/{job.id}/events and export it when it has succeeded, "
            "or add partial=true for the frames so far."
        )
    ended = "was cancelled" if job.state is JobState.CANCELLED else "failed"
    return f"The job {ended}. Add partial=true to export the frames that were stored before that."
