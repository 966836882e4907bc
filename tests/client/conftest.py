"""The client against the service of `tests/service`, called and awaited."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roigcn
from model.values import UInt8Array
from tests.client.kit import Awaited
from tests.service.conftest import portrait, served, server, store, tenant
from tests.service.kit import Server

__all__ = ["portrait", "served", "server", "store", "tenant"]

Connect = Callable[..., Any]


@pytest.fixture(params=[roigcn.Client, Awaited], ids=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes clients of either kind, which are closed at the end."""
    made = []

    def connect(*args: Any, **kwargs: Any) -> Any:
        made.append(request.param(*args, **kwargs))
        return made[-1]

    yield connect
    for client in made:
        client.__exit__(None, None, None)


@pytest.fixture
def resting(server: Server, tenant: str, connect: Connect) -> Any:
    """A client of a service without workers."""
    return connect(server.url, server.key(tenant), retry_seconds=0)


@pytest.fixture
def client(served: Server, tenant: str, connect: Connect) -> Any:
    """A client of a service with workers."""
    return connect(served.url, served.key(tenant))


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory, write_clip: Callable[..., Path], astronaut: UInt8Array) -> Path:
    """Twenty frames, of which the last five have no face."""
    face = np.ascontiguousarray(astronaut[:300, 96:352])
    return write_clip(tmp_path_factory.mktemp("clip") / "Interview 1.mp4", [face] * 15 + [np.zeros_like(face)] * 5)
