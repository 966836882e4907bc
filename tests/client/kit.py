"""What the client's tests share: a line to the server that breaks, a server that answers by a script, an async twin."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import roigcn


class Awaited:
    """An `AsyncClient` under the methods of `Client`, on a loop of its own: one test runs with either."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = roigcn.AsyncClient(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            outcome = method(*args, **kwargs)
            if inspect.isasyncgen(outcome):
                return self._items(outcome)
            return self._loop.run_until_complete(outcome)

        return call

    def _items(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        try:
            with contextlib.suppress(StopAsyncIteration):
                while True:
                    yield self._loop.run_until_complete(anext(items))
        finally:
            self._loop.run_until_complete(items.aclose())  # type: ignore[attr-defined]

    def __enter__(self) -> Awaited:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


@dataclass
class Line:
    """A TCP line to a server, which can be cut.

    Attributes:
        url: where it begins.
        cut: decides for each new connection, given its number and its first bytes, after how many bytes of the answer
            (or, negative, of the request) it is cut; None leaves it.
        requests: the first line of each connection's first request.
        down: refuses everybody while set.
    """

    url: str
    cut: Callable[[int, bytes], int | None] = lambda _number, _head: None
    requests: list[str] = field(default_factory=list)
    down: threading.Event = field(default_factory=threading.Event)


@contextmanager
def line_to(url: str) -> Iterator[Line]:
    """A line to the server at `url`."""
    target = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        line = Line(f"http://127.0.0.1:{listening.getsockname()[1]}")
        stop = threading.Event()
        threads: list[threading.Thread] = []
        listening.settimeout(0.05)

        def accept() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    near, _ = listening.accept()
                    if line.down.is_set():
                        near.close()
                        continue
                    thread = threading.Thread(target=_carry, args=(line, near, target, stop), daemon=True)
                    thread.start()
                    threads.append(thread)

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield line
        finally:
            stop.set()
            accepting.join(10)
            for thread in threads:
                thread.join(10)
                assert not thread.is_alive()


def _carry(line: Line, near: socket.socket, target: Any, stop: threading.Event) -> None:
    """Both directions of one connection, until one side ends it or it is cut. Each request begins the count anew."""
    near.settimeout(0.02)
    with near, socket.create_connection((target.hostname, target.port)) as far:
        far.settimeout(0.02)
        number: int | None = None
        limit: int | None = None
        sent = received = 0
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                data = near.recv(65536)
                if not data:
                    return
                if data.split(b" ", 1)[0] in (b"GET", b"POST", b"DELETE"):
                    line.requests.append(data.split(b"\r\n", 1)[0].decode())
                    number, sent, received = len(line.requests) - 1, 0, 0
                    limit = line.cut(number, data)
                sent += len(data)
                if limit is not None and limit < 0 and sent >= -limit:
                    return
                far.settimeout(30)
                far.sendall(data)
                far.settimeout(0.02)
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                data = far.recv(65536)
                if not data:
                    return
                received += len(data)
                if limit is not None and 0 <= limit < received:
                    near.sendall(data[: max(0, len(data) - (received - limit))])
                    return
                near.settimeout(30)
                near.sendall(data)
                near.settimeout(0.02)


@contextmanager
def scripted(*answers: bytes) -> Iterator[tuple[str, list[float]]]:
    """A server that gives these answers in turn, the last one again and again; its URL and when it was asked."""
    asked: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listening.accept()
                    with connection:
                        connection.settimeout(10)
                        head = b""
                        while b"\r\n\r\n" not in head:
                            head += connection.recv(65536)
                        asked.append(time.monotonic())
                        connection.sendall(answers[min(len(asked), len(answers)) - 1])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
        finally:
            stop.set()
            thread.join(20)


def answer(status: str, body: bytes = b"{}", *headers: str) -> bytes:
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
