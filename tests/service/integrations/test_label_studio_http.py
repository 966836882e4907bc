"""The backend's routes as Label Studio 1.23 calls them, with its own bodies, on a real service with real workers."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from model.values import UInt8Array
from service.integrations.label_studio.client import LabelStudio, LabelStudioError
from service.integrations.label_studio.config import parse_config
from service.integrations.label_studio.template import label_config
from service.integrations.label_studio.urls import Hosts, RefusedUrlError
from service.integrations.label_studio.validate import problems_of
from service.settings import ServiceSettings
from tests.service.integrations.conftest import ROOT
from tests.service.integrations.kit import FOREIGN, predict_body, setup_body
from tests.service.integrations.station import PERSONAL_TOKEN, Station, station
from tests.service.kit import Server, assert_problem, jpeg, running_server

CONFIG = label_config("image", ("AU1", "AU12", "AU25"), maps=True, probabilities=True)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Station]:
    """Another host."""
    with station() as running:
        yield running


def test_health_needs_no_key(backend: Server) -> None:
    answer = httpx.get(f"{backend.url}{ROOT}/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "UP", "model_class": "roigcn"})


def test_setup_names_the_version(annotator: httpx.Client) -> None:
    first, again = (annotator.post("/setup", json=setup_body(CONFIG)) for _ in range(2))
    assert first.status_code == 200, first.text
    assert first.json() == again.json()
    assert first.json()["model_version"].startswith("roigcn tiny:1 ")
    other = annotator.post("/setup", json=setup_body(FOREIGN)).json()["model_version"]
    assert other != first.json()["model_version"]


@pytest.mark.parametrize(
    ("config", "words"),
    [("<View></View>", "no control"), ("<View", "not XML"), ("<!DOCTYPE v><View/>", "document type")],
)
def test_a_project_without_use_is_refused(annotator: httpx.Client, config: str, words: str) -> None:
    body = assert_problem(annotator.post("/setup", json=setup_body(config)), 422, "validation")
    assert words in str(body["detail"])


def test_pictures_are_answered_at_once(annotator: httpx.Client, office: Station, portrait: bytes) -> None:
    office.files["/data/upload/3/1a2b-face.jpg"] = portrait
    office.files["/data/upload/3/3c4d-wall.jpg"] = jpeg(np.full((120, 160, 3), 90, np.uint8))
    addresses = ("/data/upload/3/1a2b-face.jpg", "/data/upload/3/3c4d-wall.jpg", "/data/upload/3/gone.jpg", "ftp://x/y")
    answer = annotator.post("/predict", json=predict_body(*addresses, config=CONFIG))
    assert answer.status_code == 200, answer.text
    (face,), (wall,), gone, foreign = answer.json()["results"]
    assert face["model_version"] == annotator.post("/setup", json=setup_body(CONFIG)).json()["model_version"]
    config = parse_config(CONFIG)
    assert problems_of(config, face["result"]) == []
    kinds = [result["type"] for result in face["result"]]
    assert kinds.count("rectanglelabels") == 1
    assert kinds.count("number") == 3
    assert 0.5 <= face["score"] <= 1
    box = face["result"][0]
    assert (box["original_width"], box["original_height"]) == (512, 512)
    assert 25 < box["value"]["x"] + box["value"]["width"] / 2 < 60, "she stands left of the middle"
    assert wall == {"model_version": face["model_version"], "score": 0.0, "result": []}
    assert gone == foreign == []
    assert [error.split(":")[0] for error in answer.json()["errors"]] == ["task 3", "task 4"]


def test_the_personal_token_is_exchanged_and_used(annotator: httpx.Client, office: Station, portrait: bytes) -> None:
    office.files["/data/upload/3/token.jpg"] = portrait
    office.asked.clear()
    assert (
        annotator.post("/predict", json=predict_body("/data/upload/3/token.jpg", config=CONFIG)).json()["errors"] == []
    )
    fetched = [authorization for _, path, authorization in office.asked if path == "/data/upload/3/token.jpg"]
    assert fetched == [f"Bearer {office.tokens[-1]}"]
    office.tokens.clear()  # Label Studio was restarted with another secret: every token given out is void
    assert (
        annotator.post("/predict", json=predict_body("/data/upload/3/token.jpg", config=CONFIG)).json()["errors"] == []
    )


def test_nothing_of_a_picture_stays(annotator: httpx.Client, backend: Server, office: Station, portrait: bytes) -> None:
    office.files["/data/upload/3/stay.jpg"] = portrait
    annotator.post("/predict", json=predict_body("/data/upload/3/stay.jpg", config=CONFIG))
    jobs = httpx.get(f"{backend.url}/jobs", headers={"X-API-Key": annotator_key(annotator)}).json()
    assert jobs == {"jobs": [], "next": None}


def annotator_key(annotator: httpx.Client) -> str:
    request = annotator.build_request("GET", "/health")
    auth = annotator.auth
    assert isinstance(auth, httpx.BasicAuth)
    header = next(auth.auth_flow(request)).headers["Authorization"]
    return base64.b64decode(header.partition(" ")[2]).decode().partition(":")[2]


def test_only_the_configured_host_is_asked(
    annotator: httpx.Client, office: Station, elsewhere: Station, portrait: bytes
) -> None:
    elsewhere.files["/open/face.jpg"] = portrait
    office.redirects["/data/upload/3/leak.jpg"] = f"{elsewhere.url}/open/face.jpg"
    bare = elsewhere.url.removeprefix("http:")
    addresses = (
        f"{elsewhere.url}/open/face.jpg",
        bare + "/open/face.jpg",
        "/data/upload/3/leak.jpg",
        "file:///etc/passwd",
    )
    answer = annotator.post("/predict", json=predict_body(*addresses, config=CONFIG)).json()
    assert answer["results"] == [[], [], [], []]
    assert all("is not fetched" in error or "neither http" in error for error in answer["errors"]), answer
    assert elsewhere.asked == []


def test_further_hosts_are_asked_without_the_token(
    backend: Server, office: Station, elsewhere: Station, portrait: bytes, tenant: str
) -> None:
    elsewhere.files["/open/face.jpg"] = portrait
    host = elsewhere.url.removeprefix("http://")
    settings = backend.settings.model_copy(update={"label_studio_media_hosts": f"media.example.org, {host}"})
    office.redirects["/data/upload/3/away.jpg"] = f"{elsewhere.url}/open/face.jpg"
    with running_server(settings) as running:
        auth = httpx.BasicAuth("any", running.key(tenant))
        body = predict_body(f"{elsewhere.url}/open/face.jpg", "/data/upload/3/away.jpg", config=CONFIG)
        answer = httpx.post(f"{running.url}{ROOT}/predict", json=body, auth=auth, timeout=60).json()
    assert answer["errors"] == []
    assert [authorization for _, _, authorization in elsewhere.asked] == [None, None]
    elsewhere.asked.clear()


def test_a_file_over_the_limit_is_not_taken(backend: Server, office: Station, tenant: str) -> None:
    office.files["/data/upload/3/large.jpg"] = b"x" * 5000
    settings = backend.settings.model_copy(update={"max_image_bytes": 4999})
    with running_server(settings) as running:
        auth = httpx.BasicAuth("any", running.key(tenant))
        body = predict_body("/data/upload/3/large.jpg", config=CONFIG)
        answer = httpx.post(f"{running.url}{ROOT}/predict", json=body, auth=auth, timeout=60).json()
    assert answer["results"] == [[]]
    assert "4999 bytes" in answer["errors"][0]


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({"label_studio_url": None}, "ROIGCN_LABEL_STUDIO_URL"),
        ({"label_studio_token": None}, "ROIGCN_LABEL_STUDIO_TOKEN"),
        ({"label_studio_token": ServiceSettings(label_studio_token="a.b.c").label_studio_token}, "make a new one"),
    ],
    ids=["no address", "no token", "a token that is not taken"],
)
def test_what_is_not_set_up_is_said(
    backend: Server, office: Station, tenant: str, portrait: bytes, update: dict[str, Any], words: str
) -> None:
    office.files["/data/upload/3/unset.jpg"] = portrait
    with running_server(backend.settings.model_copy(update=update)) as running:
        auth = httpx.BasicAuth("any", running.key(tenant))
        for context in (None, CLICK):
            body = predict_body("/data/upload/3/unset.jpg", context=context, config=CONFIG)
            answer = httpx.post(f"{running.url}{ROOT}/predict", json=body, auth=auth, timeout=60)
            assert words in str(assert_problem(answer, 503, "not-configured")["detail"])


CLICK = {
    "result": [
        {
            "type": "keypointlabels",
            "original_width": 512,
            "original_height": 512,
            "is_positive": 1,
            "value": {"x": 44, "y": 22, "width": 0.5, "keypointlabels": ["face"]},
        }
    ]
}


def test_a_click_picks_a_face(annotator: httpx.Client, office: Station, astronaut: UInt8Array) -> None:
    pair = np.concatenate([astronaut, astronaut], axis=1)  # she twice, side by side
    office.files["/data/upload/3/pair.jpg"] = jpeg(pair)
    whole = annotator.post("/predict", json=predict_body("/data/upload/3/pair.jpg", config=CONFIG)).json()["results"][
        0
    ][0]
    boxes = [result["value"] for result in whole["result"] if result["type"] == "rectanglelabels"]
    assert len(boxes) == 2
    for box in boxes:
        value = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "width": 0.5}
        context = {"result": [CLICK["result"][0] | {"value": value}]}
        body = predict_body("/data/upload/3/pair.jpg", context=context, config=CONFIG)
        (picked,) = annotator.post("/predict", json=body).json()["results"]
        assert [r["value"]["x"] for r in picked["result"] if r["type"] == "rectanglelabels"] == [box["x"]]
    beside = {"result": [CLICK["result"][0] | {"value": {"x": 1, "y": 99, "width": 0.5}}]}
    (nothing,) = annotator.post(
        "/predict", json=predict_body("/data/upload/3/pair.jpg", context=beside, config=CONFIG)
    ).json()["results"]
    assert nothing["result"] == []


def test_a_click_on_nothing_that_is_there_is_said(annotator: httpx.Client) -> None:
    gone = annotator.post("/predict", json=predict_body("/data/upload/3/gone.jpg", context=CLICK, config=CONFIG))
    assert "404" in str(assert_problem(gone, 422, "validation")["detail"])
    clip = label_config("video", ("AU12",))
    body = predict_body("/data/upload/3/clip.mp4", config=clip, key="video", context=CLICK)
    assert_problem(annotator.post("/predict", json=body), 422, "validation")


def test_a_task_without_its_medium_is_said(annotator: httpx.Client) -> None:
    answer = annotator.post("/predict", json=predict_body("/data/upload/3/a.jpg", key="photo", config=CONFIG)).json()
    assert answer["results"] == [[]]
    assert "'image'" in answer["errors"][0]


@pytest.mark.parametrize(
    "event",
    [
        {"action": "ANNOTATION_CREATED", "project": {"id": 3}, "task": {"id": 1}, "annotation": {"id": 1}},
        {"action": "START_TRAINING", "project": {"id": 3, "label_config": CONFIG}},
        {"action": "SOMETHING_NEW"},
        "no object",
    ],
)
def test_events_are_heard_without_a_key(backend: Server, event: Any) -> None:
    answer = httpx.post(f"{backend.url}{ROOT}/webhook", json=event)
    assert (answer.status_code, answer.json()) == (200, {"status": "ignored"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "versions"),
        ("POST", "validate"),
        ("POST", "job_status"),
        ("POST", "duplicate_model"),
        ("POST", "delete"),
    ],
)
def test_old_routes_do_no_harm(backend: Server, method: str, path: str) -> None:
    assert httpx.request(method, f"{backend.url}{ROOT}/{path}", json={}).status_code == 200


@pytest.mark.parametrize("path", ["setup", "predict"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Basic !!!"}, {"Authorization": "Basic cm9pZ2NuOg=="}, {"Authorization": "Bearer roigcn_x"}],
    ids=["none", "no base64", "empty password", "unknown key"],
)
def test_keys_are_needed(backend: Server, path: str, headers: dict[str, str]) -> None:
    assert_problem(httpx.post(f"{backend.url}{ROOT}/{path}", headers=headers, content=b"{}"), 401, "unauthorized")


def test_a_key_that_only_reads_is_not_enough(backend: Server, tenant: str) -> None:
    auth = httpx.BasicAuth("roigcn", backend.key(tenant, "read"))
    assert_problem(httpx.post(f"{backend.url}{ROOT}/setup", json=setup_body(CONFIG), auth=auth), 403, "forbidden")


def test_basic_is_not_taken_elsewhere(backend: Server, tenant: str) -> None:
    """A browser sends it by itself, also when another site's page makes the request."""
    auth = httpx.BasicAuth("roigcn", backend.key(tenant))
    assert_problem(httpx.get(f"{backend.url}/jobs", auth=auth), 401, "unauthorized")


def test_a_body_of_no_length_is_refused(annotator: httpx.Client) -> None:
    assert_problem(annotator.post("/predict", content=iter([b"{}"])), 413, "media-too-large")


def test_a_great_body_is_refused_before_it_is_sent(backend: Server, tenant: str) -> None:
    connection = http.client.HTTPConnection(backend.url.removeprefix("http://"), timeout=60)
    connection.putrequest("POST", f"{ROOT}/predict")
    for name, value in {"X-API-Key": backend.key(tenant), "Content-Length": str(10**9)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["type"]) == (413, "media-too-large")
    connection.close()


@pytest.mark.parametrize("body", [{}, {"tasks": []}, {"label_config": CONFIG}, [], {"tasks": [1], "label_config": ""}])
def test_bodies_of_another_shape_are_refused(annotator: httpx.Client, body: Any) -> None:
    assert_problem(annotator.post("/predict", json=body), 422, "validation")


HOSTS = Hosts("https://ls.example.org/studio", frozenset({"media.example.org", "cdn.example.org:8443"}))


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("/data/upload/3/a.png", "https://ls.example.org/studio/data/upload/3/a.png"),
        ("data/upload/3/a.png", "https://ls.example.org/studio/data/upload/3/a.png"),
        ("/studio/data/upload/3/a.png", "https://ls.example.org/studio/data/upload/3/a.png"),
        ("upload/3/a.png", "https://ls.example.org/studio/data/upload/3/a.png"),
        ("/data/local-files/?d=clips/a.mp4", "https://ls.example.org/studio/data/local-files/?d=clips/a.mp4"),
        ("https://ls.example.org/studio/x.png", "https://ls.example.org/studio/x.png"),
        ("https://LS.example.org:443/studio/x.png", "https://ls.example.org/studio/x.png"),
        ("//media.example.org/x.png", "https://media.example.org/x.png"),
        ("http://media.example.org/x.png", "http://media.example.org/x.png"),
        ("https://cdn.example.org:8443/x.png", "https://cdn.example.org:8443/x.png"),
        ("s3://bucket/a.png", "https://ls.example.org/studio/tasks/7/resolve/?fileuri=czM6Ly9idWNrZXQvYS5wbmc%3D"),
    ],
)
def test_addresses_are_resolved(address: str, url: str) -> None:
    assert str(HOSTS.resolve(address, 7)) == url


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://ls.example.org.evil.org/x",
        "https://ls.example.org@evil.org/x",
        "https://evil.org\\@ls.example.org/x",
        "//evil.org/x",
        "http://ls.example.org:8080/x",
        "https://cdn.example.org/x",
        "file:///etc/passwd",
        "ftp://ls.example.org/x",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "http://[::1/x",
    ],
)
def test_addresses_of_others_are_refused(address: str) -> None:
    with pytest.raises(RefusedUrlError):
        HOSTS.resolve(address, 7)


async def forget(_: bytes) -> None:
    """A sink of nothing."""


def test_an_access_token_is_kept_while_it_lives(office: Station) -> None:
    office.files["/data/upload/3/kept.jpg"] = b"bytes"

    async def fetch(times: int) -> None:
        settings = ServiceSettings(label_studio_url=office.url, label_studio_token=PERSONAL_TOKEN)
        client = LabelStudio(settings)
        try:
            for _ in range(times):
                await client.fetch("/data/upload/3/kept.jpg", None, forget, limit_bytes=10)
        finally:
            await client.close()

    for life_seconds, refreshes in ((300.0, 1), (20.0, 3)):
        office.asked.clear()
        office.life_seconds = life_seconds
        asyncio.run(fetch(3))
        assert office.paths().count("/api/token/refresh") == refreshes
    office.life_seconds = 300.0


def test_redirects_end(office: Station) -> None:
    office.redirects["/round"] = "/round"

    async def fetch() -> None:
        client = LabelStudio(ServiceSettings(label_studio_url=office.url, label_studio_token=PERSONAL_TOKEN))
        try:
            await client.fetch("/round", None, forget, limit_bytes=10)
        finally:
            await client.close()

    with pytest.raises(LabelStudioError, match="redirects"):
        asyncio.run(fetch())


@pytest.mark.parametrize("address", ["label-studio.example.org", "ftp://x", "http://", "http://x/?a=b"])
def test_an_address_that_is_none_is_refused_at_the_start(address: str) -> None:
    with pytest.raises(ValueError, match="label_studio_url"):
        ServiceSettings(label_studio_url=address)
