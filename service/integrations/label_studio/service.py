"""From Label Studio's requests to predictions: media fetched, pictures analysed at once, clips queued."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool

from model.checkpoint import CheckpointError
from model.manifest import CropRule
from service.checkpoints.service import in_use
from service.context import Context
from service.detect import service as detect
from service.integrations.label_studio import courier
from service.integrations.label_studio.client import LabelStudioError
from service.integrations.label_studio.config import LabelConfig, LabelConfigError, Medium, parse_config
from service.integrations.label_studio.interactive import picked_face
from service.integrations.label_studio.results import Picture, certainty, needs_maps, picture_results
from service.integrations.label_studio.schemas import (
    PredictAnswer,
    Prediction,
    PredictRequest,
    PushBlock,
    PushesAnswer,
    TaskBlock,
)
from service.integrations.label_studio.validate import problems_of
from service.integrations.label_studio.version import model_version
from service.problems import CheckpointUnavailable, NotConfigured, Problem, Validation
from worker.store.deliveries import Delivery, DeliveryRepository
from worker.store.jobs import JobRepository
from worker.store.records import Job, JobOptions, RoiStorage
from worker.store.results import ResultRepository

log = logging.getLogger(__name__)

# Label Studio waits 100 seconds for all tasks of a request together. What is not begun by then it asks for again.
_REQUEST_SECONDS = 85.0
# Pictures of one request that are fetched and analysed at once.
_AT_ONCE = 8

Gone = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class _Analysed:
    """What the rows of a picture's job say."""

    picture: Picture
    manifest: Mapping[str, Any]
    reading: str


async def present_version(context: Context, xml: str) -> str:
    """The version of the predictions that a project gets now.

    Raises:
        Validation: the configuration has nothing that can be filled in, or cannot be read.
        CheckpointUnavailable: there is no checkpoint.
    """
    config = read_config(xml)

    def read() -> str:
        checkpoint = in_use(context.registry, context.settings.checkpoint)
        return model_version(checkpoint.manifest.model_dump(mode="json"), config, context.settings.reading)

    try:
        return await run_in_threadpool(read)
    except CheckpointError as error:
        raise CheckpointUnavailable(str(error)) from error


def read_config(xml: str) -> LabelConfig:
    """A project's configuration, if there is anything in it to fill in.

    Raises:
        Validation: saying what is missing.
    """
    try:
        config = parse_config(xml)
    except LabelConfigError as error:
        raise Validation(f"{str(error)[:1].upper()}{str(error)[1:]}. Correct it in the project's settings.") from error
    if not config.usable():
        log.warning("a label configuration has no control that roigcn can fill in")
        raise Validation(
            "The label configuration has no control that can be filled in: no label of faces and none that names an "
            "Action Unit. `roigcn label-config` prints one that works; other names are mapped with predicted_values."
        )
    return config


async def predict(context: Context, tenant: str, request: PredictRequest, gone: Gone) -> PredictAnswer:
    """Predictions for tasks: one of each picture, later ones of clips; or of the face that the annotator means.

    Raises:
        Validation: the label configuration is of no use.
        NotConfigured: no task could be done, because of the service's own settings.
    """
    config = read_config(request.label_config)
    if request.params.context is not None and len(request.tasks) == 1:
        return await _interactive(context, tenant, config, request.tasks[0], request.params.context, gone)
    slots = asyncio.Semaphore(_AT_ONCE)
    deadline = asyncio.get_running_loop().time() + _REQUEST_SECONDS

    async def one(task: TaskBlock) -> list[Prediction]:
        async with slots:
            if asyncio.get_running_loop().time() > deadline:
                raise LabelStudioError("the time of the request was over before this task; ask again")
            medium = _medium(config, task)
            if medium.kind == "video":
                await _order(context, tenant, request, medium, task)
                return []
            analysed = await _analyse(context, tenant, config, medium, task, gone)
            return [_prediction(config, medium, analysed, range(len(analysed.picture.faces)), whole=True)]

    outcomes = await asyncio.gather(*(one(task) for task in request.tasks), return_exceptions=True)
    errors: list[str] = []
    results: list[list[Prediction] | Prediction] = []
    for task, outcome in zip(request.tasks, outcomes, strict=True):
        if isinstance(outcome, list):
            results.append(outcome)
            continue
        if not isinstance(outcome, LabelStudioError | Problem):
            raise outcome
        results.append([])
        errors.append(f"task {task.id}: {outcome}")
        log.warning("label studio project %s, task %s: %s", request.project, task.id, outcome)
    setup = [outcome for outcome in outcomes if isinstance(outcome, LabelStudioError) and outcome.setup]
    if setup and len(setup) == len(outcomes):
        raise NotConfigured(f"{setup[0]}.")
    return PredictAnswer(results=results, errors=errors)


async def pushes(context: Context, tenant: str) -> PushesAnswer:
    """The tenant's newest pushes and how they stand."""

    def read(connection: sa.Connection) -> list[Delivery]:
        return DeliveryRepository(connection).list(tenant, courier.KIND)

    return PushesAnswer(
        pushes=[
            PushBlock(
                id=delivery.id,
                task=delivery.target["task"],
                project=delivery.target["project"],
                state=delivery.state,
                job=delivery.job_id,
                attempts=delivery.attempts,
                detail=delivery.detail,
                created_at=delivery.created_at,
            )
            for delivery in await context.database.run(read)
        ]
    )


async def _order(context: Context, tenant: str, request: PredictRequest, medium: Medium, task: TaskBlock) -> None:
    """Have a clip analysed, and its predictions pushed when they are there."""
    context.label_studio.configured()
    if task.id is None:
        raise Validation("The task has no id that the clip's predictions could be pushed to.")
    errand = courier.Errand(
        task=task.id,
        project=request.project,
        address=task.data[medium.key],
        medium=medium.name,
        fps=medium.fps(task.data),
        label_config=request.label_config,
    )
    await courier.order(context, tenant, errand, await present_version(context, request.label_config))


async def _interactive(
    context: Context, tenant: str, config: LabelConfig, task: TaskBlock, drawn: Mapping[str, Any], gone: Gone
) -> PredictAnswer:
    medium = _medium(config, task)
    if medium.kind != "image":
        raise Validation("A click picks a face of a picture. Clips are analysed as a whole: retrieve predictions.")
    try:
        analysed = await _analyse(context, tenant, config, medium, task, gone)
    except LabelStudioError as error:
        raise (NotConfigured if error.setup else Validation)(f"{str(error)[:1].upper()}{str(error)[1:]}.") from error
    picture = analysed.picture
    chosen = picked_face(drawn, picture.faces, picture.width, picture.height)
    faces = range(0) if chosen is None else range(chosen, chosen + 1)
    return PredictAnswer(results=[_prediction(config, medium, analysed, faces, whole=False)])


def _medium(config: LabelConfig, task: TaskBlock) -> Medium:
    medium = config.medium_of(task.data)
    if medium is None:
        wanted = ", ".join(f"'{medium.key}'" for medium in config.media) or "an <Image> or <Video>"
        raise Validation(f"The task's data has no address of a picture or clip; the configuration wants {wanted}.")
    return medium


async def _analyse(
    context: Context, tenant: str, config: LabelConfig, medium: Medium, task: TaskBlock, gone: Gone
) -> _Analysed:
    """Fetch a picture and have it analysed. Nothing of it stays in the service's store."""
    data = bytearray()

    async def pour(piece: bytes) -> None:
        data.extend(piece)

    await context.label_studio.fetch(task.data[medium.key], task.id, pour, limit_bytes=context.settings.max_image_bytes)
    roi = RoiStorage.FULL if needs_maps(config, medium) else RoiStorage.PEAKS
    with detect.place_in_queue(context):
        job = await detect.queue(context, tenant, bytes(data), JobOptions(roi=roi, store=False))
        return await detect.outcome(context, job, gone, _read)


def _read(connection: sa.Connection, context: Context, job: Job) -> _Analysed:
    results = ResultRepository(connection)
    checkpoint = context.checkpoint_of(connection, job)
    if checkpoint is None:
        raise CheckpointUnavailable("The checkpoint of this answer is no longer registered. Ask again.")
    faces = [face for frame in results.frames_page(job, limit=1) for face in frame.faces]
    maps = [results.roi_map(job, 0, face.face) for face in faces]
    JobRepository(connection).delete(job.tenant, job.id)
    picture = Picture(
        width=job.width or 1,
        height=job.height or 1,
        faces=faces,
        maps=maps,
        au_codes=checkpoint.au_codes,
        crop_scale=CropRule.model_validate(checkpoint.manifest.get("crop", {})).scale,
    )
    return _Analysed(picture, checkpoint.manifest, context.reading_of(job))


def _prediction(config: LabelConfig, medium: Medium, analysed: _Analysed, faces: range, *, whole: bool) -> Prediction:
    picture = analysed.picture
    results = picture_results(config, medium, picture, faces, secrets.token_hex(3), whole=whole)
    if wrong := problems_of(config, results):
        raise LabelStudioError(f"the results do not fit the configuration ({wrong[0]})", lasting=True)
    return Prediction(
        model_version=model_version(analysed.manifest, config, analysed.reading),
        score=certainty([picture.faces[index] for index in faces]),
        result=results,
    )
