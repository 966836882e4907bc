"""`roigcn keys`: who may use the service from other machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import sqlalchemy as sa
import typer
from rich.table import Table

from service.auth import DEFAULT_TENANT, Scope, new_key
from service.cli.output import Exit, fail, is_terminal, out, say
from service.embedded import database
from service.settings import ServiceSettings
from worker.store.catalogue import ApiKeyRepository
from worker.store.database import create_engine
from worker.store.embedded import EmbeddedPostgresError
from worker.store.errors import NotFoundError
from worker.store.records import ApiKeyRecord

app = typer.Typer(no_args_is_help=True, help="API keys: create, list, revoke.")

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Data folder of the embedded database, that of roigcn serve; default ROIGCN_DATA_DIR, or the user's data "
        "folder. Not needed for an outside database.",
    ),
]


@contextmanager
def _keys(data_dir: Path | None) -> Iterator[ApiKeyRepository]:
    """The repository in a transaction on the service's database, running or not."""
    settings = ServiceSettings() if data_dir is None else ServiceSettings(data_dir=data_dir)
    try:
        with database(settings) as ready:
            assert ready.database_url is not None
            engine = create_engine(ready.database_url, pool_size=1)
            try:
                with engine.begin() as connection:
                    yield ApiKeyRepository(connection)
            finally:
                engine.dispose()
    except (EmbeddedPostgresError, sa.exc.OperationalError) as error:
        fail(str(error), Exit.UNAVAILABLE)


@app.command()
def create(
    name: Annotated[str, typer.Option(help="A name to know the key by.")] = "default",
    scope: Annotated[
        Scope, typer.Option(help="read results; write: also send work; admin: also activate.")
    ] = Scope.WRITE,
    tenant: Annotated[str, typer.Option(help="Whose jobs the key sees; others' do not exist for it.")] = DEFAULT_TENANT,
    days: Annotated[float | None, typer.Option(min=0.0, help="Days until it expires; default never.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it. It is shown once: only its hash is stored."""
    key = new_key()
    with _keys(data_dir) as keys:
        keys.create(tenant, name, key.sha256, [str(scope)], None if days is None else days * 86400)
    say(f"key {name!r}, scope {scope}, tenant {tenant!r}. Keep it: it is not shown again.")
    out.print(key.text, highlight=False, soft_wrap=True)


def _state(key: ApiKeyRecord) -> str:
    if key.revoked_at:
        return "revoked"
    return "expired" if key.expires_at and key.expires_at <= datetime.now(UTC) else "usable"


@app.command("list")
def list_keys(data_dir: DataDir = None) -> None:
    """List the keys."""
    with _keys(data_dir) as keys:
        records = keys.list()
    if not is_terminal():
        for row in records:
            state = _state(row)
            typer.echo(f"{row.id}\t{row.name}\t{row.tenant}\t{','.join(sorted(row.scopes))}\t{state}")
        return
    table = Table("id", "name", "tenant", "scopes", "created", "state")
    for row in records:
        state = _state(row)
        state = state if state == "usable" else f"[red]{state}[/]"
        table.add_row(
            str(row.id), row.name, row.tenant, ", ".join(sorted(row.scopes)), f"{row.created_at:%Y-%m-%d}", state
        )
    out.print(table)


@app.command()
def revoke(
    key_id: Annotated[UUID, typer.Argument(help="As `roigcn keys list` prints it.")],
    forget: Annotated[
        bool, typer.Option("--forget", help="Remove it also from the list. Without any, this machine needs no key.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Make a key unusable, within two seconds everywhere.

    A service that had a key asks for one ever after, also when the last was revoked or has expired, until every key was
    revoked with --forget: then it answers this machine's user without one again.
    """
    try:
        with _keys(data_dir) as keys:
            keys.forget(key_id) if forget else keys.revoke(key_id)
            usable, ever = keys.any(), keys.ever()
    except NotFoundError as error:
        fail(str(error))
    if usable:
        say("revoked")
    elif ever:
        say("revoked; no usable key is left: the service refuses every request (see roigcn keys revoke --help)")
    else:
        say("revoked and forgotten; there is no key: the service answers this machine's user without one")
