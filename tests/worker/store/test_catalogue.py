from __future__ import annotations

import os
from uuid import uuid4

import pytest
import sqlalchemy as sa

from worker.store.catalogue import ApiKeyRepository, CheckpointRepository, MediaRepository, WorkerRepository
from worker.store.errors import CheckpointConflictError, NotFoundError
from worker.store.media import StoredFile


def test_media_belong_to_a_tenant(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        repository = MediaRepository(connection)
        made = repository.create("lab", StoredFile("ab/1", "hash", 70), mime="video/mp4", name="clip.mp4")
        repository.create("lab", StoredFile("ab/2", "hash", 30), mime="video/mp4")
        repository.describe(made.id, width=640, height=480, fps=25.0, duration_ms=1000.0, frames=25)
        found = repository.get_or_raise("lab", made.id)
        assert (found.width, found.height, found.fps, found.frames, found.name) == (640, 480, 25.0, 25, "clip.mp4")
        assert (repository.usage("lab"), repository.usage("other")) == (100, 0)
        assert repository.delete("other", made.id) is None
        with pytest.raises(NotFoundError):
            repository.get_or_raise("other", made.id)
        assert repository.delete("lab", made.id) == "ab/1"
        assert repository.get("lab", made.id) is None


def test_a_checkpoint_is_registered_once(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        repository = CheckpointRepository(connection)
        first = repository.register("base", "1", "hash", ["AU1", "AU2"], {"licence": "x"})
        assert repository.register("base", "1", "hash", ["AU1", "AU2"], {"licence": "x"}) == first
        second = repository.register("base", "2", "other", ["AU1"], {})
        assert first.au_codes == ("AU1", "AU2")
        assert first.manifest == {"licence": "x"}
        assert repository.get(first.id) == first
        assert repository.find("base", "3") is None
        assert repository.list() == [second, first]
        with pytest.raises(CheckpointConflictError, match="base:1"):
            repository.register("base", "1", "changed", ["AU1", "AU2"], {})


def test_workers_come_beat_and_go(engine: sa.Engine) -> None:
    me, dead = uuid4(), uuid4()
    with engine.begin() as connection:
        WorkerRepository(connection).beat(me, ["detect"])
        WorkerRepository(connection).beat(dead, ["video"])
        connection.execute(
            sa.text("UPDATE workers SET seen_at = now() - interval '1 hour' WHERE id = :id"), {"id": dead}
        )
    with engine.begin() as connection:
        repository = WorkerRepository(connection)
        repository.beat(me, ["detect"], checkpoint="base:1", engine="openvino")
        (worker,) = repository.list(max_age_seconds=30)
        assert (worker.id, worker.queues, worker.pid) == (me, ("detect",), os.getpid())
        assert (worker.checkpoint, worker.engine) == ("base:1", "openvino")
        assert worker.age_seconds < 30
        assert len(repository.list()) == 2
        assert repository.forget_dead(60) == 1
        repository.leave(me)
        assert repository.list() == []


def test_keys_are_found_until_they_end(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        repository = ApiKeyRepository(connection)
        assert not repository.any()
        assert not repository.ever()
        key = repository.create("lab", "laptop", b"hash", ["write", "read"])
        repository.create("lab", "old", b"expired", ["read"], expires_seconds=-1)
        assert repository.any()
        assert repository.find(b"hash") == key
        assert key.scopes == {"read", "write"}
        assert repository.find(b"expired") is None
        assert repository.find(b"unknown") is None
        repository.revoke(key.id)
        assert repository.find(b"hash") is None
        assert not repository.any()
        assert repository.ever(), "the end of the last key does not undo that there was one"
        assert [record.name for record in repository.list("lab")] == ["laptop", "old"]
        for change in (repository.revoke, repository.forget):
            with pytest.raises(NotFoundError):
                change(uuid4())
        for record in repository.list():
            repository.forget(record.id)
        assert not repository.ever()
