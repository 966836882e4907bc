"""Transactions of the sync repositories, run in a bounded set of threads for the async endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from worker.store.database import create_engine

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """One pool of connections and as many threads.

    Args:
        url: Postgres URL.
        pool_size: connections, and transactions that run at once; further ones wait their turn.
    """

    def __init__(self, url: str, pool_size: int) -> None:
        self.engine = create_engine(url, pool_size=pool_size, application_name="roigcn api")
        self._threads = ThreadPoolExecutor(pool_size, thread_name_prefix="database")

    async def run(self, work: Callable[Concatenate[sa.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work(connection, ...)` in one transaction: committed when it returns, rolled back when it raises."""

        def transaction() -> T:
            with self.engine.begin() as connection:
                return work(connection, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._threads, transaction)

    def close(self) -> None:
        """Wait for running transactions and close the connections."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.engine.dispose()
