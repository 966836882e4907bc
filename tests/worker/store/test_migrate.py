from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from worker.store.database import create_engine, psycopg_url, sqlalchemy_url
from worker.store.migrate import current_revision, head_revision, upgrade
from worker.store.tables import metadata


def test_migrations_give_the_tables_that_the_code_declares(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        assert current_revision(connection) == head_revision()


def test_processes_that_start_together_migrate_once(empty_database: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upgrade, [empty_database] * 4))
    engine = create_engine(empty_database)
    with engine.connect() as connection:
        assert sorted(sa.inspect(connection).get_table_names()) == sorted([*metadata.tables, "alembic_version"])
    engine.dispose()


def test_downgrade_removes_everything(empty_database: str) -> None:
    from alembic import command

    from worker.store import migrate

    upgrade(empty_database)
    engine = create_engine(empty_database)
    with engine.begin() as connection:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]
    engine.dispose()


def test_compressed_columns_are_stored_outside_and_as_they_are(engine: sa.Engine) -> None:
    query = sa.text(
        "SELECT attrelid::regclass::text, attstorage FROM pg_attribute "
        "WHERE (attrelid, attname) IN (('roi_maps'::regclass, 'data'), ('payloads'::regclass, 'bytes'), "
        "('explanations'::regclass, 'arrays'))"
    )
    with engine.connect() as connection:
        assert {tuple(row) for row in connection.execute(query)} == {
            ("roi_maps", "e"),
            ("payloads", "e"),
            ("explanations", "e"),
        }


@pytest.mark.parametrize("scheme", ["postgres://", "postgresql://", "postgresql+psycopg://"])
def test_urls_of_every_spelling(scheme: str) -> None:
    assert sqlalchemy_url(f"{scheme}u:p@h/d") == "postgresql+psycopg://u:p@h/d"
    assert psycopg_url(f"{scheme}u:p@h/d") == "postgresql://u:p@h/d"


def test_another_database_is_refused() -> None:
    with pytest.raises(ValueError, match="must start with postgresql://, not 'mysql'"):
        sqlalchemy_url("mysql://h/d")
