"""Fixtures for all tests: one embedded Postgres a session, a clean migrated database for whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
import sqlalchemy as sa

from worker.store.database import create_engine
from worker.store.embedded import EmbeddedPostgres, start_postgres
from worker.store.migrate import upgrade

_TEMPLATE = "roigcn_template"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """The server, with a migrated template database in it."""
    server = start_postgres(tmp_path_factory.mktemp("postgres"))
    with _admin(server) as connection:
        # The tests kill processes, not the machine: nothing here needs to survive a power cut.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(sa.text(f"ALTER SYSTEM SET {setting} = off"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))
        connection.execute(sa.text(f"CREATE DATABASE {_TEMPLATE}"))
    upgrade(_url(server, _TEMPLATE))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_url(postgres: EmbeddedPostgres) -> str:
    """A migrated database shared by the session; its users keep apart by tenant."""
    return _create(postgres, "roigcn_session")


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a clean migrated database of this test's own."""
    name = f"roigcn_{uuid4().hex}"
    yield _create(postgres, name)
    with _admin(postgres) as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def engine(database: str) -> Iterator[sa.Engine]:
    """A SQLAlchemy engine on `database`."""
    engine = create_engine(database)
    yield engine
    engine.dispose()


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database without any table."""
    name = f"roigcn_{uuid4().hex}"
    with _admin(postgres) as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield _url(postgres, name)
    with _admin(postgres) as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


def _create(server: EmbeddedPostgres, name: str) -> str:
    with _admin(server) as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}"))
    return _url(server, name)


def _url(server: EmbeddedPostgres, name: str) -> str:
    return server.url.replace("/postgres?", f"/{name}?")


@contextmanager
def _admin(server: EmbeddedPostgres) -> Iterator[sa.Connection]:
    """A connection outside any transaction, as CREATE DATABASE needs."""
    engine = create_engine(server.url, pool_size=1)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection
    engine.dispose()
