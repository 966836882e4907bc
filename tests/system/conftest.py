"""The whole service as `make serve` runs it, in a data folder of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from tests.system.running import Served, clean_environment, free_port, wait_ready


@pytest.fixture(scope="session")
def graph_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for converted networks, so that each is converted once."""
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, graph_cache: Path) -> Iterator[Served]:
    """`roigcn serve` with its embedded Postgres and workers."""
    folder = tmp_path_factory.mktemp("serve")
    port = free_port()
    log = folder / "log.txt"
    command = [sys.executable, "-m", "service.cli", "serve", "--port", str(port), "--data-dir", str(folder / "data")]
    with log.open("w") as stream:
        process = subprocess.Popen(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            text=True,
            env=clean_environment() | {"ROIGCN_CACHE_DIR": str(graph_cache)},
            cwd=folder,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            wait_ready(url, process, log)
            yield Served(url, port, folder / "data", process, log)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@pytest.fixture(scope="session")
def astronaut_jpeg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NASA's portrait of Eileen Collins, who smiles broadly, as a JPEG (public domain)."""
    path = tmp_path_factory.mktemp("photo") / "astronaut.jpg"
    Image.fromarray(data.astronaut()).save(path, quality=95)
    return path
