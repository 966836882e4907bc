"""The media store: uploaded files under `data_dir/media`, written once, named by the store and never by a client."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO
from uuid import uuid4

from worker.store.errors import MediaTooLargeError, NotFoundError, StorageFullError

_URI = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}")
_FREE_CHECK_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A finished upload: `uri` within the store, hex sha256 and size."""

    uri: str
    sha256: str
    bytes: int


class MediaStore:
    """Files in a folder.

    Attributes:
        root: the folder; created when missing.
        min_free_bytes: an upload that would leave less on the volume is refused.
    """

    def __init__(self, root: Path, min_free_bytes: int = 256 << 20) -> None:
        self.root = root
        self.min_free_bytes = min_free_bytes
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def writer(self, max_bytes: int) -> MediaWriter:
        """A writer for one upload of at most `max_bytes` bytes. Use it in a `with` block."""
        return MediaWriter(self, max_bytes)

    def path(self, uri: str) -> Path:
        """The local file of a uri.

        Raises:
            NotFoundError: no such file (or no uri of this store).
        """
        path = self._locate(uri)
        if not path.is_file():
            raise NotFoundError(f"the media file {uri} is not in the store")
        return path

    def delete(self, uri: str) -> bool:
        """Remove a file; False when it was gone already."""
        try:
            self._locate(uri).unlink()
        except FileNotFoundError:
            return False
        return True

    def remove_abandoned(self, older_than_seconds: float = 24 * 3600.0) -> int:
        """Remove unfinished uploads of killed processes; returns how many."""
        removed = 0
        for path in self._incoming.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > older_than_seconds:
                    path.unlink()
                    removed += 1
        return removed

    def _locate(self, uri: str) -> Path:
        if not _URI.fullmatch(uri):
            raise NotFoundError(f"{uri!r} is no uri of the media store")
        return self.root / uri


class MediaWriter:
    """Counts and hashes while it writes; without `finalise` the file is removed at the end of the `with` block."""

    def __init__(self, store: MediaStore, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._name = uuid4().hex
        self._path = store._incoming / self._name
        self._hash = hashlib.sha256()
        self._unchecked = _FREE_CHECK_BYTES
        self._file: IO[bytes] | None = None
        self.bytes = 0

    def __enter__(self) -> MediaWriter:
        self._file = self._path.open("xb")
        return self

    def write(self, chunk: bytes | memoryview) -> None:
        """Append a chunk.

        Raises:
            MediaTooLargeError: the upload passes `max_bytes`.
            StorageFullError: the volume is nearly full.
        """
        assert self._file is not None, "the writer is used in a `with` block"
        self.bytes += len(chunk)
        if self.bytes > self._max_bytes:
            raise MediaTooLargeError(f"the upload is larger than the {self._max_bytes} bytes allowed")
        self._unchecked += len(chunk)
        if self._unchecked >= _FREE_CHECK_BYTES:
            self._unchecked = 0
            if shutil.disk_usage(self._store.root).free < self._store.min_free_bytes + _FREE_CHECK_BYTES:
                raise StorageFullError("the media store has no space left; try again later")
        self._hash.update(chunk)
        self._file.write(chunk)

    def finalise(self) -> StoredFile:
        """Make the file durable and give it its place: it is there whole, or not at all."""
        assert self._file is not None, "the writer is used in a `with` block"
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        uri = f"{self._name[:2]}/{self._name}"
        target = self._store.root / uri
        target.parent.mkdir(exist_ok=True)
        self._path.replace(target)
        return StoredFile(uri, self._hash.hexdigest(), self.bytes)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        self._path.unlink(missing_ok=True)
