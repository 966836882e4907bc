"""Values that wait on disk until all of them are there."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Spool(Generic[T]):
    """Values in a temporary file of this process, in order; use it in a `with` block. Memory stays flat."""

    def __init__(self) -> None:
        # Closed with the block. Nobody else can write to it, so pickle is safe.
        self._file = tempfile.TemporaryFile(prefix="roigcn-")  # noqa: SIM115
        self._count = 0

    def add(self, value: T) -> None:
        """Put a value at the end; not while the values are read.

        Raises:
            OSError: the disk is full.
        """
        pickle.dump(value, self._file, pickle.HIGHEST_PROTOCOL)
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        self._file.seek(0)
        for _ in range(self._count):
            yield pickle.load(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
