"""The bell: a Celery message that means "there is work", and nothing else.

The database is the truth: a message carries no data, and a lost, late or doubled one does no harm. Importing this
module loads neither torch nor OpenVINO, so the API may ring too.
"""

from __future__ import annotations

import logging
import threading
import time

from celery import Celery

log = logging.getLogger(__name__)

MEMORY_BROKER = "memory://"
_EXPIRES_SECONDS = 60.0


def celery_app(broker_url: str | None) -> Celery:
    """A Celery app that knows the broker and the queues; results are never kept.

    Args:
        broker_url: Redis, RabbitMQ ...; None for a broker inside this process.
    """
    app = Celery("roigcn", broker=broker_url or MEMORY_BROKER, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_create_missing_queues=True,
        task_default_delivery_mode="transient",
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_proc_alive_timeout=600.0,  # a pool child loads its network before it reports
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=(
            {"polling_interval": 0.005}
            if broker_url is None
            else {"socket_connect_timeout": 5, "socket_timeout": 30, "socket_keepalive": True}
        ),
    )
    return app


class Bell:
    """Rings a queue.

    Args:
        app: from `celery_app`.
        pause: rings of one queue that come sooner after another are put off, by whoever calls `late` regularly.
    """

    def __init__(self, app: Celery, pause: float = 0.0) -> None:
        self._app = app
        self._pause = pause
        self._lock = threading.Lock()
        self._rung: dict[str, float] = {}
        self._late: set[str] = set()

    @classmethod
    def on(cls, broker_url: str) -> Bell:
        """A bell on a shared broker, for processes that are no worker, such as the API."""
        return cls(celery_app(broker_url))

    def ring(self, queue: str) -> bool:
        """Ring; False when it was put off, or the broker does not answer (the workers' sweep finds the work then)."""
        with self._lock:
            now = time.monotonic()
            if now - self._rung.get(queue, -self._pause) < self._pause:
                self._late.add(queue)
                return False
            self._rung[queue] = now
            self._late.discard(queue)
        try:
            self._app.send_task(queue, queue=queue, expires=_EXPIRES_SECONDS, retry=False, ignore_result=True)
        except Exception as error:  # every transport has errors of its own
            log.warning("cannot ring %s: %s", queue, error)
            return False
        return True

    def late(self) -> None:
        """Ring what was put off."""
        for queue in list(self._late):
            self.ring(queue)

    def heard(self, queue: str) -> None:
        """A task of the queue starts here: the next ring need not wait."""
        with self._lock:
            self._rung.pop(queue, None)
