"""`checkpoint=NAME[:VERSION]` of a request: which network is to work on it."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import sqlalchemy as sa
from fastapi import Query
from starlette.concurrency import run_in_threadpool

from model.checkpoint import Checkpoint
from model.manifest import NAME_PATTERN, VERSION_PATTERN
from model.registry import Registry
from service.context import Context
from service.problems import CheckpointPinned, CheckpointUnavailable, CheckpointUnknown
from worker.store.catalogue import CheckpointRepository
from worker.store.errors import CheckpointConflictError

_CLOSE = {"Connection": "close"}  # the body of the request will not be read

REF_PATTERN = rf"{NAME_PATTERN.removesuffix('$')}(:{VERSION_PATTERN.removeprefix('^').removesuffix('$')})?$"
"""`NAME` or `NAME:VERSION`."""

CheckpointRef = Annotated[
    str | None,
    Query(
        pattern=REF_PATTERN,
        description="`NAME` (its newest version) or `NAME:VERSION` of an installed checkpoint; by default the active "
        "one. A worker that has not loaded it yet does so first, which takes seconds",
        examples=["w18s-rendered", "w18s-rendered:3"],
    ),
]


async def chosen(context: Context, ref: str | None) -> UUID | None:
    """The row of the checkpoint that a request names; None when it names none.

    Raises:
        CheckpointUnknown: it is not installed.
        CheckpointPinned: the settings fix another.
        CheckpointUnavailable: rows that are stored under its name and version were made with other weights.
    """
    if ref is None:
        return None
    checkpoint = await run_in_threadpool(find, context.registry, ref)
    pinned = context.settings.checkpoint
    if pinned is not None and pinned not in (checkpoint.manifest.name, checkpoint.ref):
        raise CheckpointPinned(
            f"ROIGCN_CHECKPOINT fixes the checkpoint to {pinned}. Leave `checkpoint` out of the request.",
            headers=_CLOSE,
        )
    try:
        return await context.database.run(_register, checkpoint)
    except CheckpointConflictError as error:
        raise CheckpointUnavailable(f"{str(error).capitalize()}.", headers=_CLOSE) from error


def find(registry: Registry, ref: str) -> Checkpoint:
    """The installed checkpoint of that name, by its manifest; the worker that loads it checks the weights.

    Raises:
        CheckpointUnknown: there is none.
    """
    name, _, version = ref.partition(":")
    installed = registry.list()  # newest version of each name first
    for entry in installed:
        if entry.manifest.name == name and version in ("", entry.manifest.version):
            return entry
    known = ", ".join(entry.ref for entry in installed) or "none at all"
    raise CheckpointUnknown(f"No checkpoint '{ref}' is installed. Choose one of: {known}.", headers=_CLOSE)


def _register(connection: sa.Connection, checkpoint: Checkpoint) -> UUID:
    manifest = checkpoint.manifest
    record = CheckpointRepository(connection).register(
        manifest.name,
        manifest.version,
        manifest.weights_sha256,
        manifest.au_codes,
        manifest.model_dump(mode="json"),
    )
    return record.id
