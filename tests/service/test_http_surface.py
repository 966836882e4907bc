"""The HTTP surface as a whole: fuzzed from its own OpenAPI document, errors in one shape, an honest health."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service.app import create_app
from service.problems import PROBLEMS, Problem, ProblemDocument
from service.settings import ServiceSettings
from tests.service.kit import Server, Store, assert_problem, clip, running_server
from worker.store.catalogue import WorkerRepository

DOCUMENT = create_app(ServiceSettings(database_url="postgresql://nowhere/nothing")).openapi()
OPERATIONS = [found.ok() for found in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()]
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "unfitting"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_the_service_keeps_its_own_contract(
    server: Server, fuzzer_key: str, operation: Any, mode: GenerationMode
) -> None:
    """Whatever a client makes of the document: no 500, no undeclared status, type or shape.

    503 is declared: no worker runs here, so `/detect` answers it to every picture.
    """
    job = Store(server, "fuzzer").finished(clip(3))

    @settings(**SETTINGS)
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: schemathesis.Case) -> None:
        if mode is GenerationMode.POSITIVE and "job_id" in (case.path_parameters or {}):
            case.path_parameters["job_id"] = str(job.id)  # made-up ids alone would never get past 404
        send(case, server, fuzzer_key)

    try:
        run()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # an operation without parameters cannot be called wrongly


SETTINGS: dict[str, Any] = {
    "max_examples": 10,
    "deadline": None,
    "derandomize": True,
    "database": None,
    "phases": [Phase.explicit, Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


def send(case: schemathesis.Case, server: Server, key: str) -> None:
    response = case.call(base_url=server.url, headers={"X-API-Key": key}, timeout=20)
    case.validate_response(response, checks=CHECKS)
    assert response.status_code < 500 or response.status_code == 503, response.text
    if response.status_code >= 400 and "health" not in case.path:
        body = response.json()
        assert response.headers["content-type"] == ["application/problem+json"]
        assert body["type"] in PROBLEMS
        assert body["status"] == response.status_code


@pytest.fixture(scope="session")
def fuzzer_key(server: Server) -> str:
    return server.key("fuzzer", "admin")


def test_every_operation_has_examples_and_problems() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert len(operation["description"]) > 20, where
            assert "HTTPValidationError" not in str(operation["responses"]), where
            for status, response in operation["responses"].items():
                content = response.get("content", {})
                if int(status) >= 400 and path != "/health/ready":
                    assert content["application/problem+json"]["examples"], f"{where} {status}"
                elif "application/json" in content:
                    name = content["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
                    model = DOCUMENT["components"]["schemas"][name]
                    shown = model.get("examples") or [p.get("examples") for p in model["properties"].values()]
                    assert any(shown), f"{where} {status}"


def test_examples_hold_to_their_schemas() -> None:
    tried = 0
    for model in DOCUMENT["components"]["schemas"].values():
        for example in model.get("examples", []):
            jsonschema_rs.validate({**model, "components": DOCUMENT["components"]}, example)
            tried += 1
    assert tried >= 8


@pytest.mark.parametrize(
    ("method", "path", "status", "slug", "header"),
    [
        ("GET", "/nothing", 404, "not-found", None),
        ("GET", "/jobs/", 404, "not-found", None),
        ("GET", "/detect", 405, "method-not-allowed", "POST"),
        ("PUT", "/jobs", 405, "method-not-allowed", "GET"),
        ("PATCH", "/health/live", 405, "method-not-allowed", "GET"),
        ("GET", "/%ff%00", 404, "not-found", None),
    ],
)
def test_pages_and_methods_that_are_not_there(
    client: httpx.Client, method: str, path: str, status: int, slug: str, header: str | None
) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.json()["type"] == slug
    if header:
        assert header in response.headers["allow"]


def test_a_mistake_of_the_service_is_a_problem_too(server: Server, client: httpx.Client) -> None:
    context = server.app.state.context
    kept, context.registry = context.registry, None
    try:
        body = assert_problem(client.get("/checkpoints"), 500, "internal")
    finally:
        context.registry = kept
    assert str(body["incident"]) in str(body["detail"])
    assert "NoneType" not in str(body)  # what went wrong inside is for the log alone


def test_slugs_are_unique_and_documented() -> None:
    assert len(PROBLEMS) == len(Problem.__subclasses__())
    for slug, kind in PROBLEMS.items():
        assert kind.title
        assert 400 <= kind.status < 600
        assert ProblemDocument(type=slug, title=kind.title, status=kind.status, detail="x").errors is None


def test_ready_says_what_is_missing(server: Server) -> None:
    response = httpx.get(f"{server.url}/health/ready")
    body = response.json()
    assert response.status_code == 503
    assert body["ready"] is False
    assert body["database"] == {"ok": True, "detail": "answers"}
    assert body["workers"]["ok"] is False
    assert "pictures" in body["workers"]["detail"]
    worker = "019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10"
    with server.engine.begin() as connection:
        WorkerRepository(connection).beat(worker, ["detect", "video"])  # type: ignore[arg-type]
    try:
        loading = httpx.get(f"{server.url}/health/ready").json()["workers"]
        assert (loading["ok"], loading["detect"]) == (False, 0), "no engine yet: it still loads its network"
        with server.engine.begin() as connection:
            WorkerRepository(connection).beat(worker, ["detect", "video"], engine="openvino CPU")  # type: ignore[arg-type]
        workers = httpx.get(f"{server.url}/health/ready").json()["workers"]
        assert (workers["ok"], workers["detect"], workers["video"]) == (True, 1, 1)
    finally:
        with server.engine.begin() as connection:
            WorkerRepository(connection).leave(worker)  # type: ignore[arg-type]


def test_live_asks_nothing_else(server: Server) -> None:
    assert httpx.get(f"{server.url}/health/live").json()["status"] == "alive"


def test_metrics_count_by_template(client: httpx.Client) -> None:
    client.get("/jobs/019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10")
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert 'roigcn_http_requests_total{method="GET",path="/jobs/{job_id}",status="404"}' in response.text
    assert "019a1f3e" not in response.text
    assert 'roigcn_workers{queue="detect"} 0.0' in response.text


def test_a_database_that_is_gone_is_said(create_database: Callable[[], str], tmp_path: Path) -> None:
    with running_server(ServiceSettings(database_url=create_database(), data_dir=tmp_path)) as running:
        name = running.engine.url.database
        assert httpx.get(f"{running.url}/jobs").status_code == 200
        admin = sa.create_engine(running.engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT", pool_size=1)
        with admin.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
            response = httpx.get(f"{running.url}/jobs")
            assert_problem(response, 503, "database-unavailable")
            assert int(response.headers["retry-after"]) > 0
            ready = httpx.get(f"{running.url}/health/ready")
            assert (ready.status_code, ready.json()["database"]["ok"]) == (503, False)
            assert httpx.get(f"{running.url}/health/live").status_code == 200
            connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE roigcn_template"))
        admin.dispose()
        assert httpx.get(f"{running.url}/jobs").status_code == 200


def test_the_api_process_imports_neither_torch_nor_openvino(database: str, tmp_path: Path) -> None:
    """In a process of its own: build and start the app, answer requests that reach every feature folder."""
    code = f"""
import sys
sys.path.insert(0, {str(Path.cwd())!r})
from pathlib import Path
from fastapi.testclient import TestClient
from service.app import create_app
from service.settings import ServiceSettings

settings = ServiceSettings(database_url={database!r}, data_dir=Path({str(tmp_path)!r}), detect_seconds=0.2)
with TestClient(create_app(settings), base_url="http://127.0.0.1:8000", client=("127.0.0.1", 1)) as client:
    assert client.get("/docs").status_code == 200
    assert client.get("/checkpoints").status_code == 200
    assert client.get("/health/ready").status_code == 503
    assert client.get("/jobs").json() == {{"jobs": [], "next": None}}
    picture = client.get("/openapi.json").json()["paths"]["/detect"]["post"]["requestBody"]["content"]
    example = picture["application/json"]["examples"]["one white pixel"]["value"]
    assert client.post("/detect", json=example).status_code == 503
import service.results.pictures, service.exports
heavy = [name for name in ("torch", "openvino", "training") if name in sys.modules]
assert not heavy, heavy
print("clean")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "clean", done.stderr
