"""The sweep: a thread in every worker process that keeps the queue honest.

It wakes on NOTIFY and every few seconds anyway. It renews this worker's leases and its row in `workers`, puts back
jobs whose worker is gone, fails what was lost too often or waited too long, deletes what has expired, and rings when
there is work: so the bell may be lost, and any worker may die, without harm.
"""

from __future__ import annotations

import logging
import threading
import time

import psycopg
import sqlalchemy as sa
from psycopg import sql

from worker.bell import Bell
from worker.runtime import Runtime
from worker.store.catalogue import WorkerRepository
from worker.store.claims import ClaimRepository
from worker.store.database import psycopg_url
from worker.store.explanations import ExplanationRepository
from worker.store.jobs import JobRepository
from worker.store.notify import DETECT_QUEUE, QUEUES, WORK_CHANNEL
from worker.store.records import JobState

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25  # how soon a stop is seen
_RECONNECT_SECONDS = 1.0
_HOUSEKEEPING_SECONDS = 60.0
_DEAD_WORKER_SECONDS = 300.0
_EXPLANATION_SECONDS = 24 * 3600.0  # megabytes each, and made again in a second


class Sweep(threading.Thread):
    """The thread; `start` and `stop` it.

    Args:
        runtime: of this process.
        bell: rings the queues that this process can serve.
    """

    def __init__(self, runtime: Runtime, bell: Bell) -> None:
        super().__init__(name="roigcn-sweep", daemon=True)
        self._runtime = runtime
        self._bell = bell
        self._ended = threading.Event()
        self._swept_at = -float("inf")
        self._cleaned_at = time.monotonic()

    def stop(self) -> None:
        """End the thread and remove the process from the table of workers."""
        self._ended.set()
        if self.is_alive():
            self.join()
        try:
            with self._runtime.database.begin() as connection:
                WorkerRepository(connection).leave(self._runtime.worker_id)
        except sa.exc.SQLAlchemyError as error:
            log.warning("cannot sign off: %s", error)

    def hurry(self) -> None:
        """Sweep at the next look, e.g. to show at once that the network is loaded."""
        self._swept_at = -float("inf")

    def run(self) -> None:
        """Listen and sweep until stopped; a database that is away is waited for."""
        while not self._ended.is_set():
            try:
                self._listen()
            except (psycopg.Error, sa.exc.SQLAlchemyError, OSError) as error:
                log.warning("sweep: %s; again in %g s", error, _RECONNECT_SECONDS)
                self._ended.wait(_RECONNECT_SECONDS)
            except Exception:
                log.exception("sweep")
                self._ended.wait(_RECONNECT_SECONDS)

    def sweep(self) -> None:
        """One round."""
        runtime, settings = self._runtime, self._runtime.settings
        with runtime.database.begin() as connection:
            claims = ClaimRepository(connection)
            if runtime.stalled:
                log.error("the work has not moved for %g s; this worker gives up its jobs", settings.stall_seconds)
            else:
                held = claims.renew(runtime.worker_id, settings.lease_seconds, runtime.working)
                runtime.cancelling = frozenset(job for job, state in held.items() if state is JobState.CANCELLING)
                WorkerRepository(connection).beat(
                    runtime.worker_id, runtime.queues, checkpoint=runtime.checkpoint_ref, engine=runtime.engine_name
                )
            for job in claims.requeue_lost(settings.max_attempts):
                log.warning("job %s lost its worker: now %s", job.id, job.state.value)
            claims.fail_overdue()
            ExplanationRepository(connection).fail_lost(settings.max_attempts)
        with runtime.database.connect() as connection:
            waiting = {QUEUES[kind] for kind in QUEUES if ClaimRepository(connection).waiting(kind)}
            if ExplanationRepository(connection).waiting():
                waiting.add(DETECT_QUEUE)
        for queue in waiting:
            self._ring(queue)
        if time.monotonic() - self._cleaned_at > _HOUSEKEEPING_SECONDS:
            self._cleaned_at = time.monotonic()
            self.clean()

    def clean(self) -> None:
        """Delete expired jobs with their files, unfinished uploads, old explanations, and the rows of dead workers."""
        runtime = self._runtime
        while True:
            with runtime.database.begin() as connection:
                deleted, uris = JobRepository(connection).delete_expired()
            for uri in uris:
                runtime.media.delete(uri)
            if not deleted:
                break
        runtime.media.remove_abandoned()
        with runtime.database.begin() as connection:
            WorkerRepository(connection).forget_dead(_DEAD_WORKER_SECONDS)
            ExplanationRepository(connection).delete_older(_EXPLANATION_SECONDS)

    def _listen(self) -> None:
        with psycopg.connect(psycopg_url(self._runtime.url), autocommit=True) as connection:
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(WORK_CHANNEL)))
            self.hurry()  # what was notified while nobody listened is lost
            while not self._ended.is_set():
                if time.monotonic() - self._swept_at >= self._runtime.settings.sweep_seconds:
                    self._swept_at = time.monotonic()
                    self.sweep()
                for note in connection.notifies(timeout=_LOOK_SECONDS, stop_after=1):
                    self._ring(note.payload)
                self._bell.late()

    def _ring(self, queue: str) -> None:
        if queue in self._runtime.queues and not self._runtime.stopping:
            self._bell.ring(queue)
