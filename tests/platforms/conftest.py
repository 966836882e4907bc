"""A real Label Studio and a real roigcn beside it, each from its own environment, both for all tests here."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.platforms.kit import Backend, LabelStudioServer, label_studio
from tests.system.running import clean_environment, free_port, wait_ready


@pytest.fixture(scope="session")
def ls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """Label Studio with one user."""
    with label_studio(tmp_path_factory.mktemp("label-studio")) as running:
        yield running


@pytest.fixture(scope="session")
def backend(ls: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """`roigcn serve` with a key, set up for that Label Studio."""
    folder = tmp_path_factory.mktemp("roigcn")
    data, port, log = folder / "data", free_port(), folder / "log.txt"
    settings = {"ROIGCN_LABEL_STUDIO_URL": ls.url, "ROIGCN_LABEL_STUDIO_TOKEN": ls.token}
    roigcn = [sys.executable, "-m", "service.cli"]
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*roigcn, "serve", "--port", str(port), "--data-dir", str(data)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            text=True,
            env=clean_environment() | settings,
            cwd=folder,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_ready(url, process, log)
            made = subprocess.run(
                [*roigcn, "keys", "create", "--name", "label studio", "--data-dir", str(data)],
                env=clean_environment(),
                capture_output=True,
                text=True,
                check=True,
            )
            yield Backend(url, made.stdout.strip(), log)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
