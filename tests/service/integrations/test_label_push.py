"""Clips of tasks: fetched, analysed by a real worker, and their predictions handed over, once, whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa

from model.values import UInt8Array
from service.integrations.label_studio.config import parse_config
from service.integrations.label_studio.courier import KIND, Errand, retry_delay
from service.integrations.label_studio.template import label_config
from service.integrations.label_studio.validate import problems_of
from service.settings import ServiceSettings
from tests.service.integrations.conftest import ROOT
from tests.service.integrations.kit import predict_body, setup_body
from tests.service.integrations.station import PERSONAL_TOKEN, Station
from tests.service.kit import Server, Store, clip, running_server
from worker.store.deliveries import DeliveryRepository
from worker.store.tables import checkpoints

CONFIG = label_config("video", ("AU1", "AU12", "AU25"))
CLIP = "/data/upload/4/9f8e-clip.mp4"
SECONDS = 180.0


@pytest.fixture(scope="module")
def clip_bytes(
    tmp_path_factory: pytest.TempPathFactory, write_clip: Callable[..., Path], astronaut: UInt8Array
) -> bytes:
    """A second of her."""
    pictures = [np.ascontiguousarray(astronaut[:300, 96 + n : 352 + n]) for n in range(25)]
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", pictures).read_bytes()


@pytest.fixture(autouse=True)
def _clean(office: Station) -> None:
    office.predictions.clear()
    office.broken = 0


def push_of(client: httpx.Client, *states: str) -> dict[str, Any]:
    """The caller's newest push once it is in one of the states."""
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        pushes = client.get("/pushes").json()["pushes"]
        if pushes and pushes[0]["state"] in states:
            push: dict[str, Any] = pushes[0]
            return push
        time.sleep(0.1)
    raise AssertionError(f"no push became {states}: {pushes}")


@pytest.fixture
def lead(backend: Server, tenant: str) -> httpx.Client:
    """Who ordered the predictions, signed in as every client does."""
    headers = {"X-API-Key": backend.key(tenant)}
    return httpx.Client(base_url=backend.url + ROOT, headers=headers, timeout=60)


def order(annotator: httpx.Client, address: str = CLIP) -> None:
    answer = annotator.post("/predict", json=predict_body(address, config=CONFIG, key="video"))
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"results": [[]], "errors": []}, "nothing yet; it is pushed when it is there"


def test_a_clip_is_pushed_when_it_is_done(
    annotator: httpx.Client, lead: httpx.Client, office: Station, clip_bytes: bytes
) -> None:
    office.files[CLIP] = clip_bytes
    order(annotator)
    order(annotator)  # Label Studio asks again while it waits
    push = push_of(lead, "delivered", "failed")
    assert (push["state"], push["detail"], push["task"]) == ("delivered", None, 1)
    assert len(lead.get("/pushes").json()["pushes"]) == 1
    (prediction,) = office.predictions
    assert prediction["task"] == 1
    assert prediction["model_version"] == annotator.post("/setup", json=setup_body(CONFIG)).json()["model_version"]
    assert 0.5 <= prediction["score"] <= 1
    assert problems_of(parse_config(CONFIG), prediction["result"]) == []
    boxes = [result for result in prediction["result"] if result["type"] == "videorectangle"]
    assert len(boxes) == 1
    assert boxes[0]["value"]["framesCount"] == 24, "25 pictures at 25 a second are a second; the task names no rate: 24"
    order(annotator)  # Label Studio has lost sight of it
    assert push_of(lead, "delivered")["id"] != push["id"]
    assert len(office.predictions) == 1, "what is there already is not given twice"


def test_a_push_survives_a_restart(
    create_database: Callable[[], str], office: Station, tenant: str, tmp_path: Path
) -> None:
    """One process meets a Label Studio that fails and ends; the next one hands the prediction over."""
    settings = ServiceSettings(
        database_url=create_database(),
        data_dir=tmp_path,
        label_studio_url=office.url,
        label_studio_token=PERSONAL_TOKEN,
    )
    office.broken = 10_000
    with running_server(settings) as first:
        headers = {"X-API-Key": first.key(tenant)}
        job = Store(first, tenant).finished(clip(12))
        manifest = {"name": "tiny", "version": "1", "weights_sha256": "ab" * 32, "thresholds": {"AU12": 0.5}}
        errand = Errand(9, "4.1", CLIP, "video", 25.0, CONFIG)
        with first.engine.begin() as connection:
            connection.execute(sa.update(checkpoints).values(manifest=manifest))
            repository = DeliveryRepository(connection)
            repository.add(tenant, KIND, "restart", errand.to_json())
            (delivery,) = repository.claim(KIND, 1, 60)
            repository.analysing(delivery, job.id)
        client = httpx.Client(base_url=first.url + ROOT, headers=headers, timeout=60)
        ends = time.monotonic() + SECONDS
        while not (push := push_of(client, "analysing"))["attempts"]:
            assert time.monotonic() < ends
            time.sleep(0.1)
        assert "500" in push["detail"]
    assert office.predictions == []
    office.broken = 0
    with running_server(settings) as second:
        client = httpx.Client(base_url=second.url + ROOT, headers=headers, timeout=60)
        assert push_of(client, "delivered", "failed")["state"] == "delivered"
    (prediction,) = office.predictions
    assert prediction["task"] == 9
    assert problems_of(parse_config(CONFIG), prediction["result"]) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "404"), (b"\x89PNG\r\n\x1a\n", "no video container"), (b"\0\0\0\x18ftypisom", "was not analysed")],
    ids=["gone", "a picture", "a broken clip"],
)
def test_what_cannot_be_done_is_said_and_left(
    annotator: httpx.Client, lead: httpx.Client, office: Station, content: bytes | None, words: str
) -> None:
    office.files.pop(CLIP, None)
    if content is not None:
        office.files[CLIP] = content
    order(annotator)
    assert words in push_of(lead, "failed")["detail"]
    assert office.predictions == []


def test_clips_need_a_label_studio(served: Server, tenant: str) -> None:
    with served.client(tenant) as client:
        answer = client.post(f"{ROOT}/predict", json=predict_body(CLIP, config=CONFIG, key="video"))
    assert (answer.status_code, answer.json()["type"]) == (503, "not-configured")


def test_attempts_come_ever_less_often() -> None:
    assert [retry_delay(attempts) for attempts in (0, 1, 2, 20, 1000)] == [2, 4, 8, 3600, 3600]
