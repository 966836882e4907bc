"""Engines over psycopg 3, and the raw connection beneath one for COPY and LISTEN."""

from __future__ import annotations

from typing import Any, cast

import psycopg
import sqlalchemy as sa

_SCHEMES = ("postgresql+psycopg://", "postgresql://", "postgres://")


def sqlalchemy_url(url: str) -> str:
    """`postgres://`, `postgresql://` or `postgresql+psycopg://` as the last, which names our driver.

    Raises:
        ValueError: another database than Postgres.
    """
    for scheme in _SCHEMES:
        if url.startswith(scheme):
            return _SCHEMES[0] + url[len(scheme) :]
    raise ValueError(f"database_url must start with postgresql://, not {url.split(':', 1)[0]!r}")


def psycopg_url(url: str) -> str:
    """The same URL for `psycopg.connect`."""
    return "postgresql://" + sqlalchemy_url(url)[len(_SCHEMES[0]) :]


def create_engine(url: str, *, pool_size: int = 5, application_name: str = "roigcn") -> sa.Engine:
    """An engine whose connections are checked before use, so that a restarted Postgres is no error."""
    return sa.create_engine(
        sqlalchemy_url(url),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        connect_args={"application_name": application_name, "connect_timeout": 10},
    )


def driver_connection(connection: sa.Connection) -> psycopg.Connection[Any]:
    """The psycopg connection beneath; what is done on it is part of the same transaction."""
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)
