"""A bounded queue between two threads that can end, fail and be given up."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class GivenUp(Exception):  # noqa: N818  # not an error: how a producer learns to stop
    """The consumer wants nothing more."""


class Channel(Generic[T]):
    """Holds at most `size` items: a fast producer waits, so memory stays flat.

    The producer calls `put`, then `finish` or `fail`; the consumer iterates, or calls `give_up`.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._condition = threading.Condition()
        self._error: BaseException | None = None
        self._finished = False
        self._given_up = False

    def put(self, item: T) -> None:
        """Append an item; waits while the channel is full.

        Raises:
            GivenUp: the consumer has left.
        """
        with self._condition:
            while len(self._items) >= self._size and not self._given_up:
                self._condition.wait()
            if self._given_up:
                raise GivenUp
            self._items.append(item)
            self._condition.notify_all()

    def finish(self) -> None:
        """There will be no more items."""
        with self._condition:
            self._finished = True
            self._condition.notify_all()

    def fail(self, error: BaseException) -> None:
        """There will be no more items, for this reason; the consumer gets it raised after the items before it."""
        with self._condition:
            self._error = error
            self._finished = True
            self._condition.notify_all()

    def give_up(self) -> None:
        """The consumer leaves: producers are woken and told, items that wait are dropped."""
        with self._condition:
            self._given_up = True
            self._items.clear()
            self._condition.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._condition:
                while not self._items and not self._finished and not self._given_up:
                    self._condition.wait()
                if self._given_up:
                    return
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._items.popleft()
                self._condition.notify_all()
            yield item
