"""Alembic's entry: runs on the connection that `worker.store.migrate` passes, within its transaction.

New revision, from the root of the repository with an up-to-date database:
    alembic -x url=postgresql://... --config worker/store/migrations/alembic.ini revision --autogenerate -m "..."
"""

from __future__ import annotations

from alembic import context

from worker.store.database import create_engine
from worker.store.tables import metadata


def _run(connection: object) -> None:
    context.configure(connection=connection, target_metadata=metadata)  # type: ignore[arg-type]  # sa.Connection
    with context.begin_transaction():
        context.run_migrations()


_connection = context.config.attributes.get("connection")
if _connection is not None:
    _run(_connection)
else:
    with create_engine(context.get_x_argument(as_dictionary=True)["url"], pool_size=1).begin() as _opened:
        _run(_opened)
