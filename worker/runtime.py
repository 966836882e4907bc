"""What one worker process holds: its identity, the database, the loaded networks, and whether it should stop."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import sqlalchemy as sa

from worker.settings import WorkerSettings
from worker.store.catalogue import CheckpointRepository
from worker.store.database import create_engine
from worker.store.media import MediaStore
from worker.store.notify import VIDEO_QUEUE
from worker.store.records import CheckpointRecord, Job

if TYPE_CHECKING:
    from model.analyzer import Analyzer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network in memory with its row in the database."""

    analyzer: Analyzer
    checkpoint: CheckpointRecord


class Runtime:
    """One per process that runs tasks.

    Attributes:
        settings: of the process.
        url: Postgres URL.
        database: SQLAlchemy engine on it.
        worker_id: identity in leases and heartbeats.
        queues: names of the queues that it serves.
        device: of the engine.
        media: the media store.
        cancelling: jobs that someone has asked to cancel, as the sweep last saw them.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        url: str,
        queues: Sequence[str],
        device: str | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.settings = settings
        self.url = url
        self.database: sa.Engine = create_engine(url, pool_size=2, application_name="roigcn worker")
        self.worker_id: UUID = uuid4()
        self.queues = tuple(queues)
        self.device = device or settings.device
        self.media = MediaStore(settings.media_dir)
        self.cancelling: frozenset[UUID] = frozenset()
        self._should_stop = should_stop
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()
        self._default: tuple[str | None, str] | None = None
        self._busy = 0
        self._working: frozenset[UUID] = frozenset()
        self._active_at = time.monotonic()

    @property
    def stopping(self) -> bool:
        """Whether the process is shutting down: work is put back at the next good place."""
        return self._should_stop()

    def pulse(self) -> None:
        """Something moved: called by every stage of the work, however small the step."""
        self._active_at = time.monotonic()

    @contextmanager
    def busy(self, *jobs: UUID) -> Iterator[None]:
        """While work is done: then silence is a stall, otherwise it is rest. Leases of `jobs` are renewed meanwhile."""
        self.pulse()
        self._busy += 1
        self._working |= set(jobs)
        try:
            yield
        finally:
            self._working -= set(jobs)
            self._busy -= 1

    @property
    def working(self) -> frozenset[UUID]:
        """The jobs that this process works on: a lease of any other that bears its name is left to run out."""
        return self._working

    @property
    def stalled(self) -> bool:
        """Whether work has not moved for `stall_seconds`: the heartbeat stops, so that others take over."""
        return self._busy > 0 and time.monotonic() - self._active_at > self.settings.stall_seconds

    @property
    def engine_name(self) -> str | None:
        """Kind and device of the engine, None before one is loaded."""
        newest = next(reversed(self._loaded.values()), None)
        return None if newest is None else f"{newest.analyzer.engine.name} {newest.analyzer.engine.device}"

    @property
    def checkpoint_ref(self) -> str | None:
        """`name:version` last used, None before one is loaded."""
        return next(reversed(self._loaded), None)

    def loaded(self, job: Job | None = None) -> Loaded:
        """The network for a job: the one that it asks for or has started with, else the configured or active one.

        Of the networks in memory, the ones used longest ago are closed: use what this gave before the next call.

        Raises:
            CheckpointError: it is missing or broken.
            EngineError: the engine cannot run here.
            AssetError: the face nets are missing.
            CheckpointConflictError: its name and version were registered with other weights.
        """
        ref = self._ref_of(job) or self._default_ref()
        if ref not in self._loaded:
            self._loaded[ref] = self._load(ref)
            while len(self._loaded) > self.settings.loaded_checkpoints:
                old, unused = self._loaded.popitem(last=False)
                log.info("unloading checkpoint %s", old)
                unused.analyzer.close()
        self._loaded.move_to_end(ref)
        return self._loaded[ref]

    def close(self) -> None:
        """Free networks and connections."""
        while self._loaded:
            self._loaded.popitem()[1].analyzer.close()
        self.database.dispose()

    def _ref_of(self, job: Job | None) -> str | None:
        if job is None or job.checkpoint_id is None:
            return None
        known = next((ref for ref, it in self._loaded.items() if it.checkpoint.id == job.checkpoint_id), None)
        if known is not None:
            return known
        with self.database.connect() as connection:
            record = CheckpointRepository(connection).get(job.checkpoint_id)
        return None if record is None else f"{record.name}:{record.version}"

    def _default_ref(self) -> str:
        """The reference is looked up anew when the pointer changes; to read a checkpoint is to hash its weights."""
        from model.registry import Registry

        registry = Registry.open(self.settings.data_dir)
        wanted = self.settings.checkpoint or registry.pointer()
        if self._default is None or self._default[0] != wanted:
            chosen = registry.get(wanted) if wanted else registry.active()
            self._default = (wanted, chosen.ref)
        return self._default[1]

    def _load(self, ref: str) -> Loaded:
        from model.analyzer import Analyzer
        from model.engines.base import default_threads
        from model.faces.finder import FaceFinder

        settings = self.settings
        started = time.monotonic()
        threads = settings.threads or default_threads()
        if self.queues == (VIDEO_QUEUE,):
            # Its face nets run beside the engine, one frame at a time: many threads would mostly wait for each other.
            threads = min(threads, max(2, threads // 4))
        analyzer = Analyzer.open(
            ref,
            settings.engine,
            settings.data_dir,
            device=self.device,
            threads=settings.threads,
            cache_dir=settings.cache_dir,
            finder=FaceFinder(settings.assets_dir, threads=threads),
            reading=settings.reading,
        )
        manifest = analyzer.checkpoint.manifest
        try:
            with self.database.begin() as connection:
                record = CheckpointRepository(connection).register(
                    manifest.name,
                    manifest.version,
                    manifest.weights_sha256,
                    manifest.au_codes,
                    manifest.model_dump(mode="json"),
                )
        except BaseException:
            analyzer.close()
            raise
        took = time.monotonic() - started
        log.info("checkpoint %s on %s %s, loaded in %.1f s", ref, analyzer.engine.name, analyzer.engine.device, took)
        return Loaded(analyzer, record)
