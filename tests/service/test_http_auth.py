"""Who gets in: keys, scopes, tenants, and what is let in without keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.auth import ExposedWithoutKeysError, Scope, check_exposure, hash_key, is_loopback, new_key
from service.settings import ServiceSettings
from tests.service.kit import Server, Store, assert_problem, running_server
from worker.store.catalogue import ApiKeyRepository

PROTECTED = [
    ("POST", "/detect"),
    ("POST", "/jobs"),
    ("GET", "/jobs"),
    ("GET", "/jobs/019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10"),
    ("GET", "/jobs/019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10/events"),
    ("POST", "/jobs/019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10/cancel"),
    ("DELETE", "/jobs/019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10"),
    ("GET", "/jobs/019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10/frames"),
    ("GET", "/jobs/019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10/frames/0/faces/0/roi/AU12"),
    ("GET", "/jobs/019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10/frames/0/faces/0/explain"),
    ("GET", "/jobs/019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10/frames/0/overlay"),
    ("GET", "/jobs/019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10/frames/0/picture"),
    ("GET", "/jobs/019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10/timeline"),
    ("GET", "/jobs/019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10/roi-maps"),
    ("GET", "/jobs/019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10/media"),
    ("GET", "/jobs/019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10/media-link"),
    ("GET", "/jobs/019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10/export"),
    ("GET", "/jobs/019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10/au-events"),
    ("GET", "/exports"),
    ("GET", "/checkpoints"),
    ("POST", "/checkpoints/roigcn/1/activate"),
    ("GET", "/metrics"),
    ("POST", "/integrations/label-studio/setup"),
    ("POST", "/integrations/label-studio/predict"),
    ("GET", "/integrations/label-studio/pushes"),
]
WRITING = {
    "/detect",
    "/jobs",
    "/jobs/019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10/cancel",
    "/integrations/label-studio/setup",
    "/integrations/label-studio/predict",
}
OPEN = {"/", "/health/live", "/health/ready", "/openapi.json", "/docs"} | {
    "/integrations/label-studio/health",
    "/integrations/label-studio/webhook",  # Label Studio sends no key there, and it does nothing
}


def test_every_operation_is_protected_or_known_to_be_open(server: Server) -> None:
    paths = server.app.openapi()["paths"]
    listed = {(method.upper(), path) for path, methods in paths.items() for method in methods if path not in OPEN}
    tried = set()
    for method, path in PROTECTED:
        matching = [
            (verb, template)
            for verb, template in listed
            if verb == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
        ]
        tried.update(matching)
    assert tried == listed


@pytest.mark.parametrize(("method", "path"), PROTECTED)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer roigcn_" + "A" * 43},
        {"X-API-Key": "roigcn_" + "A" * 43},
        {"X-API-Key": "nonsense"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
    ],
)
def test_without_a_known_key_nothing_is_answered(
    server: Server, method: str, path: str, headers: dict[str, str]
) -> None:
    response = httpx.request(method, server.url + path, headers=headers)
    assert_problem(response, 401, "unauthorized")
    assert response.headers["www-authenticate"].startswith("Bearer")


def test_a_large_upload_without_a_key_is_not_read(server: Server) -> None:
    refused = httpx.post(f"{server.url}/jobs", files={"video": b"0" * 2_000_000})
    assert_problem(refused, 401, "unauthorized")
    assert refused.headers["connection"] == "close"
    assert "connection" not in httpx.post(f"{server.url}/jobs", files={"video": b"0"}).headers


@pytest.mark.parametrize("path", sorted(OPEN - {"/docs/oauth2-redirect"}))
def test_what_needs_no_key(server: Server, path: str) -> None:
    method = "POST" if path.endswith("/webhook") else "GET"
    assert httpx.request(method, server.url + path).status_code in (200, 503)  # not ready is an answer too


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_a_key_opens(server: Server, header: str) -> None:
    key = server.key("t", "read")
    value = f"Bearer {key}" if header == "Authorization" else key
    assert httpx.get(f"{server.url}/jobs", headers={header: value}).status_code == 200


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_scopes(server: Server, method: str, path: str) -> None:
    needed = "read"
    if method == "DELETE" or (method == "POST" and path in WRITING):
        needed = "write"
    elif path.endswith("/activate"):
        needed = "admin"
    order = [scope.value for scope in Scope]
    for scope in order:
        with server.client("t", scope) as client:
            response = client.request(method, path)
        if order.index(scope) >= order.index(needed):
            assert response.status_code not in (401, 403), scope
        else:
            assert needed in str(assert_problem(response, 403, "forbidden")["detail"])


def test_a_revoked_key_is_shut_out(server: Server) -> None:
    key = new_key()
    with server.engine.begin() as connection:
        record = ApiKeyRepository(connection).create("t", "short-lived", key.sha256, ["read"])
        ApiKeyRepository(connection).revoke(record.id)
    assert_problem(httpx.get(f"{server.url}/jobs", headers={"X-API-Key": key.text}), 401, "unauthorized")


def test_keys_are_random_and_only_their_hash_is_stored(server: Server) -> None:
    one, other = new_key(), new_key()
    assert one.text != other.text
    assert re.fullmatch(r"roigcn_[A-Za-z0-9_-]{43}", one.text)
    assert hash_key(one.text) == one.sha256
    assert one.text.encode() not in one.sha256
    key = server.key("t")
    with server.engine.begin() as connection:
        rows = connection.exec_driver_sql("SELECT api_keys::text FROM api_keys").scalars().all()
    assert rows
    assert not any(key in row for row in rows)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("api.localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.7", False),
        ("example.org", False),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
        ("", False),
    ],
)
def test_what_is_this_machine(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    if loopback:
        check_exposure(host, has_keys=False)
    else:
        with pytest.raises(ExposedWithoutKeysError, match="roigcn keys create"):
            check_exposure(host, has_keys=False)
    check_exposure(host, has_keys=True)


def test_an_open_address_without_keys_is_refused(database: str, tmp_path: Path) -> None:
    settings = ServiceSettings(database_url=database, data_dir=tmp_path, host="0.0.0.0")
    with pytest.raises(ExposedWithoutKeysError, match=r"127\.0\.0\.1"):
        create_app(settings)


def test_no_database_is_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ROIGCN_DATABASE_URL"):
        create_app(ServiceSettings(database_url=None, data_dir=tmp_path))


@pytest.fixture(scope="module")
def keyless(create_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service on a laptop: loopback, no key at all."""
    settings = ServiceSettings(database_url=create_database(), data_dir=tmp_path_factory.mktemp("keyless"))
    with running_server(settings) as running:
        yield running


def test_this_machines_user_needs_no_key(keyless: Server) -> None:
    assert httpx.get(f"{keyless.url}/jobs").status_code == 200
    assert httpx.get(f"{keyless.url}/jobs", headers={"Origin": keyless.url}).status_code == 200
    port = keyless.url.rsplit(":", 1)[1]
    assert httpx.get(f"{keyless.url}/jobs", headers={"Host": f"localhost:{port}"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:8000"},
        {"Host": "[::"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"X-Real-IP": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"Via": "1.1 proxy"},
    ],
    ids=str,
)
def test_other_sites_pages_and_names_are_refused(keyless: Server, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/jobs"), ("POST", "/jobs"), ("POST", "/detect")):
        assert_problem(httpx.request(method, keyless.url + path, headers=headers), 403, "forbidden")


def test_a_wrong_key_is_refused_also_where_none_is_needed(keyless: Server) -> None:
    assert_problem(httpx.get(f"{keyless.url}/jobs", headers={"X-API-Key": "wrong"}), 401, "unauthorized")


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_the_end_of_the_last_key_does_not_open_the_service(
    create_database: Callable[[], str], tmp_path: Path, end: str
) -> None:
    key = new_key()
    with running_server(ServiceSettings(database_url=create_database(), data_dir=tmp_path)) as running:
        with running.engine.begin() as connection:
            keys = ApiKeyRepository(connection)
            record = keys.create("t", "only", key.sha256, ["read"], expires_seconds=-1 if end == "expired" else None)
            if end == "revoked":
                keys.revoke(record.id)
        for headers in ({}, {"X-API-Key": key.text}):
            assert_problem(httpx.get(f"{running.url}/jobs", headers=headers), 401, "unauthorized")


def test_tenants_do_not_see_each_other(client: httpx.Client, stranger: httpx.Client, store: Store) -> None:
    job = store.queued()
    assert [entry["id"] for entry in client.get("/jobs").json()["jobs"]] == [str(job.id)]
    assert stranger.get("/jobs").json()["jobs"] == []
