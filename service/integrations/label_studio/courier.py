"""The courier: fetches clips of Label Studio tasks, waits for their jobs, and hands the predictions over.

What is on its way lives in the table `deliveries`; this process only works on it. It may end at any moment: another
one, or this one after a restart, goes on where it stopped, and a prediction that was handed over but not yet noted is
found in Label Studio and not given twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import random
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool

from model.manifest import decision_thresholds
from service.context import Context
from service.integrations.label_studio.client import LabelStudioError
from service.integrations.label_studio.config import LabelConfigError, parse_config
from service.integrations.label_studio.validate import problems_of
from service.integrations.label_studio.version import model_version
from service.integrations.label_studio.video_results import Clip, clip_results
from service.jobs import service as jobs
from service.problems import Problem
from worker.store.catalogue import MediaRepository
from worker.store.deliveries import Delivery, DeliveryRepository, DeliveryState
from worker.store.errors import StoreError
from worker.store.jobs import JobRepository
from worker.store.records import CheckpointRecord, Job, JobOptions, JobState, RoiStorage
from worker.store.results import ResultRepository

log = logging.getLogger(__name__)

KIND = "label-studio"

_LOOK_SECONDS = 1.0
_LEASE_SECONDS = 60.0
_RENEW_SECONDS = 20.0
_AT_ONCE = 2
_FIRST_DELAY_SECONDS = 2.0
_LONGEST_DELAY_SECONDS = 3600.0
_MOST_ATTEMPTS = 20  # about nine hours
_KEPT_SECONDS = 30 * 86400.0
_CLEAN_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Errand:
    """What a delivery needs to be done: `Delivery.target`.

    Attributes:
        task: the task's id.
        address: of the clip, as the task's data has it.
        medium: name of the `<Video>`.
        fps: frame rate that the player takes.
        label_config: the project's, when the prediction was asked for.
    """

    task: int
    project: str | None
    address: str
    medium: str
    fps: float
    label_config: str

    def to_json(self) -> dict[str, Any]:
        """The errand as a JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Errand:
        """The inverse of `to_json`."""
        return cls(**{name: data[name] for name in cls.__slots__})

    def identity(self, version: str) -> str:
        """Equal for two requests of the same prediction."""
        return hashlib.sha256(json.dumps([self.to_json(), version], sort_keys=True).encode()).hexdigest()


async def order(context: Context, tenant: str, errand: Errand, version: str) -> None:
    """Note that a clip's predictions are wanted; an equal order that is on its way is enough."""

    def write(connection: sa.Connection) -> bool:
        return DeliveryRepository(connection).add(tenant, KIND, errand.identity(version), errand.to_json())

    if await context.database.run(write):
        context.courier_bell.set()


@contextlib.asynccontextmanager
async def running(context: Context) -> AsyncIterator[None]:
    """Work in the background for as long as the context lasts, if a Label Studio is set up."""
    if context.label_studio.hosts is None:
        yield
        return
    task = asyncio.create_task(_Courier(context).run(), name="label studio courier")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class _Courier:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._busy: set[asyncio.Task[None]] = set()
        self._cleaned_at = -float("inf")

    async def run(self) -> None:
        try:
            while True:
                try:
                    await self._look()
                except (sa.exc.SQLAlchemyError, OSError) as error:
                    log.warning("the courier cannot look for deliveries (%s)", error)
                self._context.courier_bell.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._context.courier_bell.wait()
        finally:
            for task in self._busy:
                task.cancel()
            await asyncio.gather(*self._busy, return_exceptions=True)

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._cleaned_at > _CLEAN_SECONDS:
            self._cleaned_at = now
            await self._context.database.run(lambda c: DeliveryRepository(c).forget(_KEPT_SECONDS))
        free = _AT_ONCE - len(self._busy)
        if free <= 0:
            return
        found = await self._context.database.run(lambda c: DeliveryRepository(c).claim(KIND, free, _LEASE_SECONDS))
        for delivery in found:
            task = asyncio.create_task(self._go(delivery))
            self._busy.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._busy.discard(task)
        self._context.courier_bell.set()

    async def _go(self, delivery: Delivery) -> None:
        holding = asyncio.create_task(self._hold(delivery))
        try:
            await self._step(delivery)
        except (LabelStudioError, Problem, StoreError) as error:
            await self._failed(delivery, error)
        except (sa.exc.SQLAlchemyError, OSError) as error:
            log.warning("delivery %s: %s; its lease ends soon and it is tried again", delivery.id, error)
        except Exception:
            log.exception("delivery %s", delivery.id)
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                await self._failed(delivery, LabelStudioError("the service made a mistake; its log has the details"))
        finally:
            holding.cancel()

    async def _hold(self, delivery: Delivery) -> None:
        """Renew the lease of a step that takes long."""
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                await self._context.database.run(lambda c: DeliveryRepository(c).renew(delivery, _LEASE_SECONDS))

    async def _step(self, delivery: Delivery) -> None:
        errand = Errand.from_json(delivery.target)
        if delivery.state is DeliveryState.FETCHING:
            await self._fetch(delivery, errand)
        else:
            await self._deliver(delivery, errand)

    async def _fetch(self, delivery: Delivery, errand: Errand) -> None:
        context, settings = self._context, self._context.settings
        if await jobs.queued_clips(context, delivery.tenant) >= settings.max_queued_videos:
            raise LabelStudioError("too many clips wait for a worker already")
        with context.media.writer(settings.max_video_bytes) as writer:
            sink = jobs.ClipSink(writer)

            async def pour(piece: bytes) -> None:
                await run_in_threadpool(sink.write, piece)

            await context.label_studio.fetch(errand.address, errand.task, pour, limit_bytes=settings.max_video_bytes)
            stored = await run_in_threadpool(writer.finalise)
        context.metrics.upload_bytes.labels("video").inc(stored.bytes)
        job = await jobs.submit(
            context,
            delivery.tenant,
            stored,
            mime=sink.mime or "application/octet-stream",
            name=PurePosixPath(urlsplit(errand.address).path).name[-200:] or None,
            options=JobOptions(roi=RoiStorage.PEAKS),
            checkpoint_id=None,
            idempotency_key=f"{KIND}-{delivery.id}",
        )
        await context.database.run(lambda c: DeliveryRepository(c).analysing(delivery, job.id))

    async def _deliver(self, delivery: Delivery, errand: Errand) -> None:
        context = self._context
        job = None
        if delivery.job_id is not None:
            wanted = delivery.job_id
            job = await context.database.run(lambda c: JobRepository(c).get(delivery.tenant, wanted))
        if job is None:
            raise LabelStudioError("the clip's job was deleted before its predictions went out", lasting=True)
        if job.state is not JobState.SUCCEEDED:
            reason = job.error.detail if job.error else "it was cancelled"
            raise LabelStudioError(f"the clip was not analysed: {reason}", lasting=True)
        clip, checkpoint = await context.database.run(_read_clip, context, job)
        try:
            config = parse_config(errand.label_config)
        except LabelConfigError as error:
            raise LabelStudioError(str(error), lasting=True) from error
        medium = next(medium for medium in config.media if medium.name == errand.medium)
        results = await run_in_threadpool(clip_results, config, medium, clip, errand.fps, secrets.token_hex(3))
        if wrong := problems_of(config, results):
            raise LabelStudioError(f"the results do not fit the configuration ({wrong[0]})", lasting=True)
        version = model_version(checkpoint.manifest, config, context.reading_of(job))
        there = await context.label_studio.predictions(errand.task)
        if not any(prediction.get("model_version") == version for prediction in there):
            await context.label_studio.add_prediction(
                errand.task, model_version=version, score=clip.certainty, results=results
            )
        await context.database.run(lambda c: DeliveryRepository(c).finish(delivery, DeliveryState.DELIVERED))
        log.info("label studio task %s has its prediction: %s results of job %s", errand.task, len(results), job.id)

    async def _failed(self, delivery: Delivery, error: LabelStudioError | Problem | StoreError) -> None:
        task = delivery.target.get("task")
        lasting = error.lasting if isinstance(error, LabelStudioError) else error_is_lasting(error)
        detail = str(error)
        if lasting or delivery.attempts + 1 >= _MOST_ATTEMPTS:
            log.error("label studio task %s gets no prediction: %s", task, detail)
            await self._context.database.run(
                lambda c: DeliveryRepository(c).finish(delivery, DeliveryState.FAILED, detail)
            )
            return
        seconds = retry_delay(delivery.attempts) * random.uniform(0.8, 1.2)
        log.warning("label studio task %s: %s; again in %.0f s", task, detail, seconds)
        await self._context.database.run(lambda c: DeliveryRepository(c).retry(delivery, detail, seconds))


def retry_delay(attempts: int) -> float:
    """Seconds until the next attempt, after so many that failed before this one: doubling, at most an hour."""
    return min(_FIRST_DELAY_SECONDS * 2.0**attempts, _LONGEST_DELAY_SECONDS)


def error_is_lasting(error: Problem | StoreError) -> bool:
    """Whether a refusal of the service's own would be the same again: a file that is no clip, or too large."""
    return isinstance(error, Problem) and error.status < 500


def _read_clip(connection: sa.Connection, context: Context, job: Job) -> tuple[Clip, CheckpointRecord]:
    checkpoint = context.checkpoint_of(connection, job)
    if checkpoint is None:
        raise LabelStudioError("the checkpoint of the clip's job is no longer registered", lasting=True)
    media = MediaRepository(connection).get(job.tenant, job.media_id) if job.media_id else None
    clip = Clip(
        width=job.width or 0,
        height=job.height or 0,
        duration_ms=media.duration_ms if media else None,
        au_codes=checkpoint.au_codes,
        thresholds=decision_thresholds(checkpoint.manifest, context.reading_of(job)),
    )
    for row in ResultRepository(connection).stream_frames(job):
        clip.add(row.frame, row.pts_ms, row.faces)
    return clip, checkpoint
