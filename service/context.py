"""What the endpoints of one app share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated
from uuid import UUID

import sqlalchemy as sa
from fastapi import Depends, Request

from model.registry import Registry
from service.bell import Ringer
from service.database import Database
from service.integrations.label_studio.client import LabelStudio
from service.listen import Listener
from service.metrics import Metrics
from service.settings import ServiceSettings
from worker.store.catalogue import CheckpointRepository
from worker.store.media import MediaStore
from worker.store.records import CheckpointRecord, Job


@dataclass(slots=True)
class Context:
    """The long-lived parts of a running app.

    Attributes:
        waiting_detects: requests to `/detect` that wait for a worker now.
        courier_bell: set when there is a new delivery to another system.
        cameras: sockets of `/camera` that are open.
        decoding: bounds the processes that decode single pictures of clips.
    """

    settings: ServiceSettings
    database: Database
    listener: Listener
    media: MediaStore
    registry: Registry
    metrics: Metrics
    ringer: Ringer
    label_studio: LabelStudio
    waiting_detects: int = 0
    courier_bell: asyncio.Event = field(default_factory=asyncio.Event)
    cameras: int = 0
    decoding: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    _checkpoints: dict[UUID, CheckpointRecord] = field(default_factory=dict)

    def checkpoint_of(self, connection: sa.Connection, job: Job) -> CheckpointRecord | None:
        """The checkpoint that a job uses, None before a worker has taken it up. Rows never change, so they are kept."""
        if job.checkpoint_id is None:
            return None
        if job.checkpoint_id not in self._checkpoints:
            record = CheckpointRepository(connection).get(job.checkpoint_id)
            if record is None:
                return None
            self._checkpoints[job.checkpoint_id] = record
        return self._checkpoints[job.checkpoint_id]

    def reading_of(self, job: Job) -> str:
        """What decided a job's Action Units; the present setting for jobs that no worker or an earlier version read."""
        return job.reading or self.settings.reading


def current_context(request: Request) -> Context:
    """The context of the app that answers the request."""
    context: Context = request.app.state.context
    return context


Ctx = Annotated[Context, Depends(current_context)]
