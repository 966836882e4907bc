from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from worker.store.errors import MediaTooLargeError, NotFoundError, StorageFullError
from worker.store.media import MediaStore


def _files(store: MediaStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def test_an_upload_is_counted_hashed_and_stored(tmp_path: Path) -> None:
    store = MediaStore(tmp_path / "media")
    with store.writer(max_bytes=10) as writer:
        writer.write(b"hello")
        writer.write(memoryview(b"world"))
        assert _files(store) == list((tmp_path / "media" / "incoming").iterdir())
        stored = writer.finalise()
    assert (stored.bytes, stored.sha256) == (10, hashlib.sha256(b"helloworld").hexdigest())
    assert store.path(stored.uri).read_bytes() == b"helloworld"
    assert store.delete(stored.uri)
    assert not store.delete(stored.uri)
    assert _files(store) == []


def _upload(store: MediaStore, chunks: Iterable[bytes]) -> None:
    with store.writer(max_bytes=9) as writer:
        for chunk in chunks:
            writer.write(chunk)
        writer.finalise()


def test_an_upload_that_is_too_large_leaves_nothing(tmp_path: Path) -> None:
    store = MediaStore(tmp_path)
    with pytest.raises(MediaTooLargeError, match="9 bytes"):
        _upload(store, [b"hello", b"world"])
    assert _files(store) == []


def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"hello"
        raise ConnectionError

    store = MediaStore(tmp_path)
    with pytest.raises(ConnectionError):
        _upload(store, chunks())
    assert _files(store) == []


def test_a_full_volume_is_said_so(tmp_path: Path) -> None:
    store = MediaStore(tmp_path, min_free_bytes=1 << 60)
    with pytest.raises(StorageFullError), store.writer(max_bytes=9) as writer:
        writer.write(b"hello")
    assert _files(store) == []


@pytest.mark.parametrize("uri", ["../../etc/passwd", "/etc/passwd", "incoming/x", "", "ab/" + "0" * 32])
def test_paths_outside_the_store_are_not_found(tmp_path: Path, uri: str) -> None:
    with pytest.raises(NotFoundError):
        MediaStore(tmp_path).path(uri)


def test_abandoned_uploads_are_removed(tmp_path: Path) -> None:
    store = MediaStore(tmp_path)
    old, new = tmp_path / "incoming" / "old", tmp_path / "incoming" / "new"
    old.write_bytes(b"x")
    new.write_bytes(b"x")
    os.utime(old, (0, 0))
    assert store.remove_abandoned(3600) == 1
    assert _files(store) == [new]
