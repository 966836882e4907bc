"""Repositories of what jobs refer to: media, checkpoints, workers, API keys."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from uuid_utils.compat import uuid7

from worker.store.errors import CheckpointConflictError, NotFoundError
from worker.store.media import StoredFile
from worker.store.records import ApiKeyRecord, CheckpointRecord, JobKind, MediaRecord, WorkerRecord
from worker.store.rows import api_key_of, checkpoint_of, media_of
from worker.store.tables import api_keys, checkpoints, media, workers


class MediaRepository:
    """Rows about files of the `MediaStore`. The caller commits."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def create(
        self,
        tenant: str,
        file: StoredFile,
        *,
        mime: str,
        name: str | None = None,
        kind: JobKind = JobKind.VIDEO,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        duration_ms: float | None = None,
        frames: int | None = None,
    ) -> MediaRecord:
        """Enter a finished upload; what is not known yet the worker fills in."""
        insert = sa.insert(media).values(
            id=uuid7(),
            tenant=tenant,
            sha256=file.sha256,
            kind=kind.value,
            mime=mime,
            name=name,
            bytes=file.bytes,
            width=width,
            height=height,
            fps=fps,
            duration_ms=duration_ms,
            frames=frames,
            uri=file.uri,
        )
        return media_of(self._connection.execute(insert.returning(media)).one())

    def get(self, tenant: str, media_id: UUID) -> MediaRecord | None:
        """The tenant's media row, None when there is none."""
        query = sa.select(media).where(media.c.id == media_id, media.c.tenant == tenant)
        row = self._connection.execute(query).one_or_none()
        return None if row is None else media_of(row)

    def get_or_raise(self, tenant: str, media_id: UUID) -> MediaRecord:
        """The tenant's media row.

        Raises:
            NotFoundError: there is none, or it is another's.
        """
        record = self.get(tenant, media_id)
        if record is None:
            raise NotFoundError(f"no media {media_id}")
        return record

    def describe(
        self,
        media_id: UUID,
        *,
        width: int,
        height: int,
        fps: float | None,
        duration_ms: float | None,
        frames: int | None,
    ) -> None:
        """Enter what the worker found in the container."""
        values = {"width": width, "height": height, "fps": fps, "duration_ms": duration_ms, "frames": frames}
        self._connection.execute(sa.update(media).where(media.c.id == media_id).values(**values))

    def delete(self, tenant: str, media_id: UUID) -> str | None:
        """Delete the row; returns the uri for the caller to remove from the store after the commit."""
        gone = sa.delete(media).where(media.c.id == media_id, media.c.tenant == tenant).returning(media.c.uri)
        return self._connection.execute(gone).scalar_one_or_none()

    def usage(self, tenant: str) -> int:
        """Bytes that the tenant keeps in the media store, for quotas."""
        query = sa.select(sa.func.coalesce(sa.func.sum(media.c.bytes), 0)).where(media.c.tenant == tenant)
        return int(self._connection.execute(query).scalar_one())


class CheckpointRepository:
    """Rows about the checkpoints that stored results were made with. The caller commits."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def register(
        self, name: str, version: str, sha256: str, au_codes: Sequence[str], manifest: Mapping[str, Any]
    ) -> CheckpointRecord:
        """Enter a checkpoint, or find it entered already.

        Args:
            name: name in the registry.
            version: version in the registry.
            sha256: of the weights.
            au_codes: the order of all AU arrays.
            manifest: the manifest as JSON (`Manifest.model_dump(mode="json")`).

        Raises:
            CheckpointConflictError: the same name and version have other weights.
        """
        values = {
            "id": uuid7(),
            "name": name,
            "version": version,
            "sha256": sha256,
            "au_codes": list(au_codes),
            "manifest": dict(manifest),
        }
        self._connection.execute(pg.insert(checkpoints).values(values).on_conflict_do_nothing())
        record = self.find(name, version)
        if record is None or record.sha256 != sha256:
            raise CheckpointConflictError(
                f"checkpoint {name}:{version} was registered with other weights; give the new ones another version"
            )
        return record

    def get(self, checkpoint_id: UUID) -> CheckpointRecord | None:
        """The checkpoint of this id."""
        row = self._connection.execute(sa.select(checkpoints).where(checkpoints.c.id == checkpoint_id)).one_or_none()
        return None if row is None else checkpoint_of(row)

    def find(self, name: str, version: str) -> CheckpointRecord | None:
        """The checkpoint of this name and version."""
        where = (checkpoints.c.name == name, checkpoints.c.version == version)
        row = self._connection.execute(sa.select(checkpoints).where(*where)).one_or_none()
        return None if row is None else checkpoint_of(row)

    def list(self) -> list[CheckpointRecord]:
        """All registered checkpoints, newest first."""
        query = sa.select(checkpoints).order_by(checkpoints.c.id.desc())
        return [checkpoint_of(row) for row in self._connection.execute(query)]


class WorkerRepository:
    """Heartbeats of worker processes. The caller commits."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def beat(
        self, worker_id: UUID, queues: Sequence[str], *, checkpoint: str | None = None, engine: str | None = None
    ) -> None:
        """This process is alive. `checkpoint` and `engine` are None until they are loaded."""
        values = {
            "id": worker_id,
            "queues": list(queues),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "checkpoint": checkpoint,
            "engine": engine,
        }
        fresh = {"seen_at": sa.func.now(), "checkpoint": checkpoint, "engine": engine}
        upsert = pg.insert(workers).values(values).on_conflict_do_update(index_elements=[workers.c.id], set_=fresh)
        self._connection.execute(upsert)

    def leave(self, worker_id: UUID) -> None:
        """This process is ending."""
        self._connection.execute(sa.delete(workers).where(workers.c.id == worker_id))

    def forget_dead(self, older_than_seconds: float) -> int:
        """Remove the rows of processes that went without a word; returns how many."""
        limit = sa.func.now() - timedelta(seconds=older_than_seconds)
        return self._connection.execute(sa.delete(workers).where(workers.c.seen_at < limit)).rowcount

    def list(self, max_age_seconds: float | None = None) -> list[WorkerRecord]:
        """Worker processes, those with a heartbeat within `max_age_seconds` if given, oldest first."""
        age = sa.func.extract("epoch", sa.func.clock_timestamp() - workers.c.seen_at).cast(sa.Double)
        query = sa.select(workers, age.label("age_seconds")).order_by(workers.c.started_at)
        if max_age_seconds is not None:
            query = query.where(age <= max_age_seconds)
        return [
            WorkerRecord(**{**row._mapping, "queues": tuple(row.queues)}) for row in self._connection.execute(query)
        ]


class ApiKeyRepository:
    """API keys by the sha256 of the key. The caller commits."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def create(
        self,
        tenant: str,
        name: str,
        key_sha256: bytes,
        scopes: Sequence[str],
        expires_seconds: float | None = None,
    ) -> ApiKeyRecord:
        """Enter a key."""
        insert = sa.insert(api_keys).values(
            id=uuid7(),
            tenant=tenant,
            name=name,
            key_sha256=key_sha256,
            scopes=sorted(scopes),
            expires_at=None if expires_seconds is None else sa.func.now() + timedelta(seconds=expires_seconds),
        )
        return api_key_of(self._connection.execute(insert.returning(api_keys)).one())

    def find(self, key_sha256: bytes) -> ApiKeyRecord | None:
        """The usable key with this hash: neither revoked nor expired."""
        query = sa.select(api_keys).where(api_keys.c.key_sha256 == key_sha256, _USABLE)
        row = self._connection.execute(query).one_or_none()
        return None if row is None else api_key_of(row)

    def get(self, key_id: UUID) -> ApiKeyRecord | None:
        """The usable key with this id: neither revoked nor expired."""
        row = self._connection.execute(sa.select(api_keys).where(api_keys.c.id == key_id, _USABLE)).one_or_none()
        return None if row is None else api_key_of(row)

    def any(self) -> bool:
        """Whether any usable key exists (without one the service stays on loopback addresses)."""
        return bool(self._connection.execute(sa.select(sa.exists().where(_USABLE))).scalar_one())

    def ever(self) -> bool:
        """Whether any key was ever made: from then on every request needs one, also when the last was revoked."""
        return bool(self._connection.execute(sa.select(sa.exists(sa.select(api_keys.c.id)))).scalar_one())

    def list(self, tenant: str | None = None) -> list[ApiKeyRecord]:
        """Keys of a tenant, or all, revoked ones included, oldest first."""
        query = sa.select(api_keys).order_by(api_keys.c.id)
        if tenant is not None:
            query = query.where(api_keys.c.tenant == tenant)
        return [api_key_of(row) for row in self._connection.execute(query)]

    def revoke(self, key_id: UUID) -> None:
        """Make a key unusable.

        Raises:
            NotFoundError: no such key.
        """
        change = (
            sa.update(api_keys)
            .where(api_keys.c.id == key_id)
            .values(revoked_at=sa.func.coalesce(api_keys.c.revoked_at, sa.func.now()))
        )
        if self._connection.execute(change).rowcount == 0:
            raise NotFoundError(f"no API key {key_id}")

    def forget(self, key_id: UUID) -> None:
        """Remove a key as if it had never been made: after the last one no request needs a key.

        Raises:
            NotFoundError: no such key.
        """
        if self._connection.execute(sa.delete(api_keys).where(api_keys.c.id == key_id)).rowcount == 0:
            raise NotFoundError(f"no API key {key_id}")


_USABLE = sa.and_(
    api_keys.c.revoked_at.is_(None), sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > sa.func.now())
)
