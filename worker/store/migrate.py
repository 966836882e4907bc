"""Bring a database to the newest schema: `upgrade(url)`. Safe to call from several processes at once."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from worker.store.database import create_engine

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x726F6967636E  # "roigcn"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", MIGRATIONS.as_posix().replace("%", "%%"))
    return config


def upgrade(url: str, revision: str = "head") -> None:
    """Run the missing migrations in one transaction, under an advisory lock that makes other callers wait."""
    engine = create_engine(url, pool_size=1, application_name="roigcn migrate")
    try:
        with engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()


def current_revision(connection: sa.Connection) -> str | None:
    """The schema's revision, None in an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def head_revision() -> str:
    """The newest revision that this version of the program knows."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None, "the package holds no migration"
    return head
