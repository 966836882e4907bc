"""One LISTEN connection for every request that waits.

The worker commits results and notifies in the same transaction; Postgres delivers the notification after the commit.
A request subscribes before its job is visible to any worker, so it cannot miss the answer; and because a notification
can be lost with a connection, waiting is always for "look again", never for the data itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import psycopg

log = logging.getLogger(__name__)

# A silent TCP connection to a database that went away is found out by asking it, at most this late.
_PROBE_SECONDS = 20.0
_RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Subscription:
    """A waiter for news of one job."""

    def __init__(self) -> None:
        self._news = asyncio.Event()

    def wake(self) -> None:
        """There may be news: the waiter looks again."""
        self._news.set()

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait for news; True when there may be some, False when the time passed without."""
        try:
            async with asyncio.timeout(max(timeout_seconds, 0.0)):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True


class Listener:
    """The listening connection and who waits for which job.

    Args:
        conninfo: libpq connection string or URL.
        channel: Postgres channel whose payloads are JSON objects with a `job` member.
    """

    def __init__(self, conninfo: str, channel: str) -> None:
        self._conninfo = conninfo
        self._channel = channel
        self._waiting: dict[UUID, set[Subscription]] = defaultdict(set)
        self.connected = asyncio.Event()

    @contextlib.contextmanager
    def subscribe(self, job: UUID) -> Iterator[Subscription]:
        """Hear of a job for as long as the context lasts."""
        subscription = Subscription()
        self._waiting[job].add(subscription)
        try:
            yield subscription
        finally:
            self._waiting[job].discard(subscription)
            if not self._waiting[job]:
                del self._waiting[job]

    @property
    def waiting(self) -> int:
        """How many subscriptions there are."""
        return sum(len(subscriptions) for subscriptions in self._waiting.values())

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Listener]:
        """Listen in the background for as long as the context lasts."""
        task = asyncio.create_task(self._run(), name="listen")
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                delay = _RECONNECT_SECONDS[min(failures, len(_RECONNECT_SECONDS) - 1)]
                failures = 0 if self.connected.is_set() else failures + 1
                self.connected.clear()
                log.warning("listening on %s was interrupted (%s); again in %.1f s", self._channel, error, delay)
                await asyncio.sleep(delay)

    async def _listen(self) -> None:
        async with await psycopg.AsyncConnection.connect(
            self._conninfo, autocommit=True, application_name="roigcn listen", connect_timeout=10
        ) as connection:
            await connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(self._channel)))
            self.connected.set()
            # What was notified while nobody listened is lost: everybody looks at the rows once.
            self._wake_all()
            while True:
                async for notify in connection.notifies(timeout=_PROBE_SECONDS):
                    self._deliver(notify.payload)
                await connection.execute("SELECT 1")

    def _deliver(self, payload: str) -> None:
        try:
            job = UUID(json.loads(payload)["job"])
        except (ValueError, KeyError, TypeError):
            log.warning("a notification on %s was not understood: %.200r", self._channel, payload)
            self._wake_all()
            return
        for subscription in self._waiting.get(job, ()):
            subscription.wake()

    def _wake_all(self) -> None:
        for subscriptions in self._waiting.values():
            for subscription in subscriptions:
                subscription.wake()
