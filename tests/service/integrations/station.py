"""The part of Label Studio's HTTP interface that the service calls, answered as Label Studio 1.23.2 was seen to.

`tests/platforms` runs the same against the real one, which takes minutes to set up and so is not part of every run.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PERSONAL_TOKEN = "header.personal.signature"


def access_token(number: int, seconds: float) -> str:
    """A token of the shape that Label Studio gives out, with the second in which it ends."""
    claims = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + seconds, "n": number}).encode()).decode()
    return f"header.{claims.rstrip('=')}.signature"


@dataclass
class Station:
    """What it has and what it was asked.

    Attributes:
        files: contents by path.
        redirects: addresses by path.
        predictions: those that were stored, as they came.
        asked: method, path and `Authorization` of each request.
        broken: how many of the next calls of the API are answered 500.
        life_seconds: of the access tokens.
    """

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    broken: int = 0
    life_seconds: float = 300.0
    tokens: list[str] = field(default_factory=list)

    def paths(self) -> list[str]:
        """What was asked for."""
        return [path for _, path, _ in self.asked]


@contextmanager
def station() -> Iterator[Station]:
    """A running station."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

        def answer(
            self, status: int, body: bytes = b"", content_type: str = "application/json", **headers: str
        ) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def signed_in(self) -> bool:
            scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
            return scheme == "Bearer" and token in here.tokens

        def do_GET(self) -> None:
            path = urlsplit(self.path)
            here.asked.append(("GET", self.path, self.headers.get("Authorization")))
            if self.path in here.redirects:
                self.answer(302, Location=here.redirects[self.path])
            elif path.path.startswith("/open/") and path.path in here.files:
                self.answer(200, here.files[path.path], "image/jpeg")
            elif not self.signed_in():
                self.answer(401, b'{"detail": "Authentication credentials were not provided."}')
            elif path.path == "/api/predictions":
                task = int(parse_qs(path.query)["task"][0])
                found = [prediction for prediction in here.predictions if prediction["task"] == task]
                self.answer(200, json.dumps(found).encode())
            elif self.path in here.files:
                self.answer(200, here.files[self.path], "image/jpeg")
            else:
                self.answer(404, b"{}")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            here.asked.append(("POST", self.path, self.headers.get("Authorization")))
            if here.broken > 0:
                here.broken -= 1
                self.answer(500, b'{"detail": "database is locked"}')
            elif self.path == "/api/token/refresh":
                if body != {"refresh": PERSONAL_TOKEN}:
                    self.answer(401, b'{"detail": "Token is invalid"}')
                    return
                here.tokens.append(access_token(len(here.tokens), here.life_seconds))
                self.answer(200, json.dumps({"access": here.tokens[-1]}).encode())
            elif not self.signed_in():
                self.answer(401, b"{}")
            elif self.path == "/api/predictions":
                here.predictions.append(body)
                self.answer(201, json.dumps(body | {"id": len(here.predictions)}).encode())
            else:
                self.answer(404, b"{}")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here = Station(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
