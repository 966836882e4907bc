"""What `Client` and `AsyncClient` have in common: where the service is, and the words that their methods take."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import httpx

from roigcn.drivers import Address
from roigcn.reach import Contact
from roigcn.records import Detection

DEFAULT_SERVER = "http://127.0.0.1:8000"
# The server closes connections that rest for 5 s. One that is given up sooner is never used just as it closes.
LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=2.0)

Roi = Literal["full", "peaks", "none"]
Faces = Literal["all", "largest"]
State = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"]
Kind = Literal["image", "video"]
Baseline = Literal["none", "median"]


class ClientBase:
    """Settings of a client; `roigcn.client.Client` says what each is."""

    def __init__(self, server: str | None, api_key: str | None, timeout: float, retry_seconds: float) -> None:
        self.server = server or os.environ.get("ROIGCN_SERVER") or DEFAULT_SERVER
        self._key = api_key or os.environ.get("ROIGCN_API_KEY") or None
        self._timeout = timeout
        self._address = Address(self.server, self._key, timeout)
        self._contact = Contact(self.server, retry_seconds)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.server!r})"

    def _viewer(self, job: str) -> Callable[[], bytes]:
        """Fetches a picture's overlay with a connection of its own, also when this client is closed or awaits."""
        server, key, timeout = self.server, self._key, self._timeout

        def fetch() -> bytes:
            from roigcn.client import Client  # it builds on this module

            with Client(server, key, timeout=timeout, retry_seconds=0) as client:
                return client.overlay(job).png

        return fetch

    def _showing(self, detection: Detection) -> Detection:
        if detection.job is not None:
            detection.show_with(self._viewer(detection.job))
        return detection


def user_agent() -> dict[str, str]:
    """Headers that say who asks."""
    try:
        return {"User-Agent": f"roigcn-python/{version('roigcn')}"}
    except PackageNotFoundError:  # the package's folder alone, copied beside a program
        return {"User-Agent": "roigcn-python"}
