"""`checkpoint=NAME[:VERSION]`: which network works on a picture or clip, and what is said of one that is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from model.registry import BUILTIN_ROOT, Registry
from service.settings import ServiceSettings
from tests.service.kit import Server, Store, assert_problem, running_server

NEWEST = Registry([BUILTIN_ROOT]).get("w18s-rendered")
CLIP = b"\0\0\0\x18ftypisom" + bytes(100)


def submit(client: httpx.Client, key: str | None = None, **query: str) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post("/jobs", params=query, files={"video": ("clip.mp4", CLIP)}, headers=headers)


@pytest.mark.parametrize("ref", ["w18s-rendered", NEWEST.ref])
def test_a_job_names_what_was_asked_for(client: httpx.Client, store: Store, ref: str) -> None:
    job = submit(client, checkpoint=ref)
    assert job.status_code == 202, job.text
    named = job.json()["checkpoint"]
    assert (named["name"], named["version"]) == ("w18s-rendered", NEWEST.manifest.version)
    assert submit(client).json()["checkpoint"] is None, "the active one is named by the worker that takes the job up"


@pytest.mark.parametrize("ref", ["nobody", "w18s-rendered:999", "nobody:1"])
def test_an_unknown_one_is_a_problem_that_lists_the_known(
    server: Server, client: httpx.Client, portrait: bytes, ref: str
) -> None:
    files = len(server.media_files())
    for response in (
        submit(client, checkpoint=ref),
        client.post("/detect", params={"checkpoint": ref}, files={"image": ("photo.jpg", portrait)}),
    ):
        body = assert_problem(response, 422, "checkpoint-unknown")
        assert NEWEST.ref in str(body["detail"])
    assert len(server.media_files()) == files
    assert client.get("/jobs").json()["jobs"] == []


@pytest.mark.parametrize("ref", ["", "../etc", "NAME", "a:", "a:b:c", "a b"])
def test_what_is_no_name(client: httpx.Client, ref: str) -> None:
    assert_problem(submit(client, checkpoint=ref), 422, "validation")


def test_a_repeated_key_with_another_checkpoint_is_a_conflict(client: httpx.Client, store: Store) -> None:
    first = submit(client, "key-1", checkpoint="w18s-rendered")
    again = submit(client, "key-1", checkpoint=NEWEST.ref)
    assert first.json()["id"] == again.json()["id"]
    assert_problem(submit(client, "key-1"), 409, "idempotency-conflict")


def test_a_pinned_checkpoint_stays(create_database: Callable[[], str], tmp_path: Path) -> None:
    settings = ServiceSettings(database_url=create_database(), data_dir=tmp_path, checkpoint="other:1")
    with running_server(settings) as running:
        response = httpx.post(
            f"{running.url}/jobs?checkpoint=w18s-rendered", files={"video": ("clip.mp4", CLIP)}, timeout=60
        )
        assert_problem(response, 409, "checkpoint-pinned")


def test_thresholds_are_listed(client: httpx.Client) -> None:
    (entry,) = [found for found in client.get("/checkpoints").json()["checkpoints"] if found["name"] == "w18s-rendered"]
    assert set(entry["thresholds"]) == set(entry["au_codes"])
    assert all(0 < value < 1 for value in entry["thresholds"].values())
