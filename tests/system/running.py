"""A running service and how tests talk to it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

FINAL = ("succeeded", "failed", "cancelled")
START_SECONDS = 180.0  # the first start on a machine converts the network


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment() -> dict[str, str]:
    """This environment without settings of roigcn, but with the face nets where they are."""
    kept = {"ROIGCN_ASSETS_DIR"}
    return {name: value for name, value in os.environ.items() if not name.startswith("ROIGCN_") or name in kept}


@dataclass(frozen=True, slots=True)
class Served:
    """A running service."""

    url: str
    port: int
    data_dir: Path
    process: subprocess.Popen[str]
    log: Path

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60.0)

    def worker(self, queue: str) -> psutil.Process | None:
        """The worker process of a queue that runs now."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if "celery" in " ".join(child.cmdline()) and queue in child.cmdline():
                    return child
        return None

    def wait(self, job: str, states: tuple[str, ...] = FINAL, seconds: float = 120.0) -> dict[str, Any]:
        """The job once it is in one of the states."""
        deadline = time.monotonic() + seconds
        with self.client() as client:
            while time.monotonic() < deadline:
                answer: dict[str, Any] = client.get(f"/jobs/{job}").json()
                if answer["state"] in states:
                    return answer
                time.sleep(0.1)
        raise AssertionError(f"still {answer['state']} after {seconds} s: {answer}\n{self.log.read_text()[-3000:]}")

    def submit(self, clip: Path, **query: str) -> str:
        """Send a clip; the job's id."""
        with self.client() as client, clip.open("rb") as file:
            answer = client.post("/jobs", params=query, files={"video": (clip.name, file)})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def frames(self, job: str) -> list[dict[str, Any]]:
        """All stored frames of a job."""
        with self.client() as client, client.stream("GET", f"/jobs/{job}/frames?format=ndjson") as answer:
            return [json.loads(line) for line in answer.iter_lines()]


def wait_ready(url: str, process: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the service ended:\n{log.read_text()}"
        try:
            if httpx.get(f"{url}/health/ready", timeout=5.0).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"not ready after {START_SECONDS} s:\n{log.read_text()}")
