"""What the service counts, for Prometheus."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The counters of one app, in a registry of their own so that several apps can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "roigcn_http_requests", "Answered requests", ["method", "path", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "roigcn_http_request_seconds",
            "Time to the first byte of the answer",
            ["method", "path"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.upload_bytes = Counter("roigcn_upload_bytes", "Bytes of media received", ["kind"], registry=self.registry)
        self.detects_waiting = Gauge(
            "roigcn_detects_waiting", "Requests to /detect that wait for a worker", registry=self.registry
        )
        self.camera_frames = Counter(
            "roigcn_camera_frames",
            "Frames that came over /camera by what became of them",
            ["outcome"],
            registry=self.registry,
        )
        self.jobs = Gauge("roigcn_jobs", "Unfinished jobs by kind and state", ["kind", "state"], registry=self.registry)
        self.workers = Gauge("roigcn_workers", "Live worker processes by queue", ["queue"], registry=self.registry)


class MetricsMiddleware:
    """Counts requests under the template of their path, so that ids do not become labels."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = getattr(scope.get("route"), "path", "unknown")
                self._metrics.requests.labels(scope["method"], path, str(message["status"])).inc()
                self._metrics.request_seconds.labels(scope["method"], path).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, counted)
