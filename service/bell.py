"""Rings the workers' shared broker, where there is one, without anybody waiting for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.bell import Bell


class Ringer:
    """Rings from a thread of its own: a broker that is slow or gone delays no answer.

    Without a broker nothing is rung: each worker hears the database's NOTIFY. With one they hear it too, so a ring
    that is lost costs milliseconds, never a job.

    Args:
        broker_url: Redis, RabbitMQ …; None for none.
    """

    def __init__(self, broker_url: str | None) -> None:
        self._broker_url = broker_url
        self._bell: Bell | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bell")

    def ring(self, queue: str) -> None:
        """There is new work in this queue. Returns at once."""
        if self._broker_url is not None:
            self._thread.submit(self._ring, self._broker_url, queue)

    def close(self) -> None:
        """Ring no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ring(self, broker_url: str, queue: str) -> None:
        if self._bell is None:
            from worker.bell import Bell  # Celery, which an API without a broker need not load

            self._bell = Bell.on(broker_url)
        self._bell.ring(queue)
