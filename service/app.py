"""The HTTP service: `uvicorn --factory service.app:create_app` with settings from the environment.

Its lifespan migrates the database and holds the connections; an address that is open to others while there are no keys
is refused before. The process imports neither torch nor OpenVINO.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import sqlalchemy as sa
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from model.registry import Registry
from service import errors, openapi
from service.auth import Gate, check_exposure, is_loopback
from service.bell import Ringer
from service.camera.endpoints import router as camera_router
from service.checkpoints.endpoints import router as checkpoints_router
from service.context import Context
from service.database import Database
from service.detect.endpoints import router as detect_router
from service.explain.endpoints import router as explain_router
from service.exports.endpoints import router as exports_router
from service.health.endpoints import router as health_router
from service.integrations.label_studio import courier
from service.integrations.label_studio.client import LabelStudio
from service.integrations.label_studio.endpoints import router as label_studio_router
from service.jobs.endpoints import router as jobs_router
from service.listen import Listener
from service.media.endpoints import router as media_router
from service.metrics import Metrics, MetricsMiddleware
from service.results.endpoints import router as results_router
from service.results.endpoints import whole_job as whole_job_router
from service.settings import ServiceSettings
from service.web import endpoints as web
from worker.store.catalogue import ApiKeyRepository
from worker.store.database import create_engine, psycopg_url
from worker.store.media import MediaStore
from worker.store.migrate import upgrade
from worker.store.notify import JOB_CHANNEL
from worker.store.records import ApiKeyRecord

_TAGS = [
    {"name": "detect", "description": "One picture, answered within the request."},
    {"name": "jobs", "description": "Clips, analysed in the background."},
    {"name": "results", "description": "What was stored: frames, faces, ROI maps."},
    {"name": "exports", "description": "Results as files for other tools, and AU events."},
    {"name": "checkpoints", "description": "The networks that are installed."},
    {"name": "label studio", "description": "The machine learning backend of Label Studio projects."},
    {"name": "health", "description": "Whether the service lives, can work, and how much it did."},
]

_ROUTERS = (
    detect_router,
    jobs_router,
    results_router,
    whole_job_router,
    media_router,
    exports_router,
    camera_router,
    explain_router,
    checkpoints_router,
    label_studio_router,
    health_router,
)


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """Build the service.

    Args:
        settings: taken from the environment when not given. `database_url` must be set: who runs without an own
            Postgres starts the embedded one first (`worker.store.embedded.start_postgres`), as `roigcn serve` does.

    Raises:
        service.auth.ExposedWithoutKeysError: `settings.host` is not a loopback address and there are no API keys.
    """
    settings = settings or ServiceSettings()
    if settings.database_url is None:
        raise RuntimeError(
            "No database: set ROIGCN_DATABASE_URL to a Postgres, or use `roigcn serve`, which starts one of its own."
        )
    _refuse_exposure(settings, settings.database_url)
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _running(settings, metrics) as context, courier.running(context):
            app.state.context = context
            app.state.gate = _gate(context.database)
            yield

    app = FastAPI(
        title="roigcn",
        version=version("roigcn"),
        summary="Facial Action Units with the ROI-GCN network",
        description=openapi.DESCRIPTION,
        openapi_tags=_TAGS,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # `web` has an own one, without files from elsewhere
        redoc_url=None,
    )
    app.add_middleware(MetricsMiddleware, metrics=metrics)
    errors.install(app)
    openapi.install(app)
    for router in _ROUTERS:
        app.include_router(router)
    web.install(app)
    return app


@asynccontextmanager
async def _running(settings: ServiceSettings, metrics: Metrics) -> AsyncIterator[Context]:
    url = settings.database_url
    assert url is not None, "create_app has checked it"
    if settings.migrate:
        await run_in_threadpool(upgrade, url)
    database = Database(url, settings.database_pool)
    ringer = Ringer(settings.broker_url)
    label_studio = LabelStudio(settings)
    try:
        async with Listener(psycopg_url(url), JOB_CHANNEL).running() as listener:
            yield Context(
                settings=settings,
                database=database,
                listener=listener,
                media=await run_in_threadpool(MediaStore, settings.media_dir),
                registry=Registry.open(settings.data_dir),
                metrics=metrics,
                ringer=ringer,
                label_studio=label_studio,
            )
    finally:
        ringer.close()
        await label_studio.close()
        await run_in_threadpool(database.close)


def _gate(database: Database) -> Gate:
    def find(connection: sa.Connection, digest: bytes) -> ApiKeyRecord | None:
        return ApiKeyRepository(connection).find(digest)

    async def find_key(digest: bytes) -> ApiKeyRecord | None:
        return await database.run(find, digest)

    async def had_keys() -> bool:
        return await database.run(lambda connection: ApiKeyRepository(connection).ever())

    return Gate(find_key, had_keys)


def _refuse_exposure(settings: ServiceSettings, url: str) -> None:
    if is_loopback(settings.host):
        return
    if settings.migrate:
        upgrade(url)
    engine = create_engine(url, pool_size=1)
    try:
        with engine.begin() as connection:
            check_exposure(settings.host, _any_key(connection))
    finally:
        engine.dispose()


def _any_key(connection: sa.Connection) -> bool:
    return ApiKeyRepository(connection).any()
