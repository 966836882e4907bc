"""The Celery app of the workers.

    ROIGCN_DATABASE_URL=postgresql://... python -m celery -A worker.app worker -Q detect -P solo -c 1
    ROIGCN_DATABASE_URL=... ROIGCN_BROKER_URL=redis://... python -m celery -A worker.app worker -Q video -P prefork -c 2

`worker_argv` gives the whole command. Without a broker the bell is inside each process (`memory://`), which then must
be of the solo pool. With one, `prefork` runs one child per GPU: the network is loaded in the child, as CUDA cannot be
initialised before a fork. Importing this module loads neither torch nor OpenVINO.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing.sharedctypes
import os
import sys
from typing import Any

import billiard
from celery import signals
from celery.exceptions import WorkerTerminate

from worker.bell import MEMORY_BROKER, Bell, celery_app
from worker.runtime import Runtime
from worker.settings import WorkerSettings
from worker.store.notify import DETECT_QUEUE, QUEUES, VIDEO_QUEUE
from worker.sweep import Sweep

log = logging.getLogger(__name__)

_WORK = {DETECT_QUEUE: "worker.images", VIDEO_QUEUE: "worker.clips"}
_SHARED_PAUSE_SECONDS = 0.25  # several workers hear the same NOTIFY: none needs to ring more often than this

settings = WorkerSettings()
app = celery_app(settings.broker_url)
app.conf.include = ["worker.tasks"]
app.set_current()

_queues: tuple[str, ...] = tuple(QUEUES.values())
# Set by the main process on SIGTERM and seen by its pool children; plain memory, as a signal handler takes no lock.
_stop = multiprocessing.sharedctypes.RawValue("b", 0)
_main = os.getpid()
_bell = Bell(app, pause=0.0 if settings.broker_url is None else _SHARED_PAUSE_SECONDS)
_runtime: Runtime | None = None
_sweep: Sweep | None = None


def worker_argv(queue: str, settings: WorkerSettings) -> list[str]:
    """The command of a worker process for one queue, for exec or Popen.

    Raises:
        ValueError: several children without a shared broker.
    """
    if settings.concurrency > 1 and settings.broker_url is None:
        raise ValueError("ROIGCN_CONCURRENCY above 1 needs ROIGCN_BROKER_URL; or start several worker processes")
    pool = "solo" if settings.concurrency == 1 else "prefork"
    command = [sys.executable, "-m", "celery", "--quiet", "-A", "worker.app", "worker", "-Q", queue, "-P", pool]
    node = f"{queue}-{os.getpid()}@%h"
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return [*command, "-c", str(settings.concurrency), "-n", node, "-l", "INFO", *quiet]


def runtime() -> Runtime:
    """The runtime of this process."""
    assert _runtime is not None, "the worker process has not started"
    return _runtime


def bell() -> Bell:
    """The bell of this process."""
    return _bell


@signals.celeryd_init.connect  # type: ignore[untyped-decorator]  # celery has no types
def _configure(options: dict[str, Any], **_: Any) -> None:
    """In the main process: which queues it serves, and whether pool and broker go together."""
    global _queues
    chosen = options.get("queues") or ()
    _queues = tuple(chosen.split(",") if isinstance(chosen, str) else chosen) or _queues
    unknown = set(_queues) - set(QUEUES.values())
    if unknown:
        raise SystemExit(f"unknown queue {', '.join(sorted(unknown))}; there are {' and '.join(QUEUES.values())}")


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _check_pool(instance: Any, **_: Any) -> None:
    if app.conf.broker_url == MEMORY_BROKER and "solo" not in instance.pool_cls.__module__:
        raise SystemExit("without ROIGCN_BROKER_URL a worker must run with -P solo: its bell is inside the process")


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]
def _start(**_: Any) -> None:
    """In the process that runs tasks: connect, sign on, load the network. A process that cannot work ends."""
    global _runtime, _sweep
    from worker.unavailable import UNAVAILABLE

    _runtime = Runtime(settings, _database_url(), _queues, _device(), should_stop=lambda: bool(_stop.value))
    _sweep = Sweep(_runtime, _bell)
    _sweep.start()
    try:
        _runtime.loaded()
        for module in (_WORK[queue] for queue in _queues):
            importlib.import_module(module)  # now, not in the first job's time
        _sweep.hurry()
    except UNAVAILABLE as error:
        log.critical("this worker cannot work: %s", error)
        _end()
        raise WorkerTerminate(1) from error


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _ask_to_stop(**_: Any) -> None:
    """SIGTERM: running work stops at its next good place and is put back."""
    if os.getpid() == _main:  # a library's fork inherits the handler and the memory; its end is not this worker's
        _stop.value = 1


@signals.worker_process_shutdown.connect  # type: ignore[untyped-decorator]
@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _end(**_: Any) -> None:
    global _runtime, _sweep
    if _sweep is not None:
        _sweep.stop()
        _sweep = None
    if _runtime is not None:
        _runtime.close()
        _runtime = None


def _database_url() -> str:
    if settings.database_url is not None:
        return settings.database_url
    from worker.store.embedded import start_postgres
    from worker.store.migrate import upgrade

    server = start_postgres(settings.data_dir)
    upgrade(server.url)
    return server.url


def _device() -> str | None:
    """With several children and several GPUs, one for each child."""
    index = getattr(billiard.current_process(), "index", None)
    if index is None or settings.device not in ("auto", "cuda"):
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = len(visible.split(",")) if visible else len([*_nvidia_devices()])
    return f"cuda:{index % count}" if count > 1 else None


def _nvidia_devices() -> list[str]:
    from pathlib import Path

    return [path.name for path in Path("/dev").glob("nvidia[0-9]*")]
