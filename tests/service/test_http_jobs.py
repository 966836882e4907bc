"""Jobs over HTTP: submitting, listing, looking, cancelling, deleting."""

from __future__ import annotations

import hashlib
from uuid import uuid4

import httpx
import pytest

from service.jobs.containers import sniff_container
from tests.service.kit import Server, Store, assert_problem, clip

MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + b"\0" * 3000


def submit(client: httpx.Client, data: bytes = MP4, **kwargs: object) -> httpx.Response:
    return client.post("/jobs", files={"video": ("holiday.mp4", data, "video/mp4")}, **kwargs)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _leave_nothing_queued(store: Store) -> None:
    """`store` cancels what the tenant has left."""


def test_a_clip_is_stored_and_queued(server: Server, client: httpx.Client) -> None:
    response = submit(client, params={"roi": "peaks", "faces": "largest"})
    job = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/jobs/{job['id']}"
    assert int(response.headers["retry-after"]) >= 1
    assert (job["kind"], job["state"]) == ("video", "queued")
    assert job["progress"] == {"frames_done": 0, "frames_total": None, "fraction": None}
    assert job["options"] == {"roi": "peaks", "faces": "largest", "store": True}
    assert job["checkpoint"] is None
    assert job["media"]["sha256"] == hashlib.sha256(MP4).hexdigest()
    assert (job["media"]["bytes"], job["media"]["mime"], job["media"]["name"]) == (len(MP4), "video/mp4", "holiday.mp4")
    assert client.get(response.headers["location"]).json() == job
    assert any(path.read_bytes() == MP4 for path in server.media_files())


@pytest.mark.parametrize(
    ("filename", "shown"),
    [("../../etc/passwd", "passwd"), ("C:\\clips\\a.mp4", "a.mp4"), ("a\u202eb.mp4", "ab.mp4"), ("x" * 300, "x" * 200)],
)
def test_a_client_cannot_name_files(client: httpx.Client, filename: str, shown: str) -> None:
    body = client.post("/jobs", files={"video": (filename, MP4)}).json()
    assert body["media"]["name"] == shown


def test_the_same_key_gives_the_same_job(server: Server, client: httpx.Client, store: Store) -> None:
    headers = {"Idempotency-Key": "upload-1"}
    first = submit(client, headers=headers)
    files = len(server.media_files())
    second = submit(client, headers=headers)
    assert second.status_code == 202
    assert second.json()["id"] == first.json()["id"]
    assert len(server.media_files()) == files
    assert store.count() == 1


@pytest.mark.parametrize("change", ["clip", "options"])
def test_a_key_for_another_request_is_a_conflict(
    server: Server, client: httpx.Client, store: Store, change: str
) -> None:
    headers = {"Idempotency-Key": "upload-1"}
    submit(client, headers=headers)
    files = len(server.media_files())
    data = MP4 + b"!" if change == "clip" else MP4
    params = {"roi": "none"} if change == "options" else {}
    assert_problem(submit(client, data, headers=headers, params=params), 409, "idempotency-conflict")
    assert len(server.media_files()) == files
    assert store.count() == 1


def test_keys_of_two_tenants_are_two_keys(client: httpx.Client, stranger: httpx.Client) -> None:
    headers = {"Idempotency-Key": "upload-1"}
    mine, theirs = submit(client, headers=headers).json(), submit(stranger, MP4 + b"2", headers=headers).json()
    assert mine["id"] != theirs["id"]
    stranger.delete(f"/jobs/{theirs['id']}")


@pytest.mark.parametrize("key", ["", "a" * 256, "two words"])
def test_odd_idempotency_keys_are_refused(client: httpx.Client, key: str) -> None:
    assert_problem(submit(client, headers={"Idempotency-Key": key}), 422, "validation")


def test_jobs_are_listed_newest_first_in_pages(client: httpx.Client, store: Store) -> None:
    made = [str(store.queued().id) for _ in range(5)]
    seen: list[str] = []
    path: str | None = "/jobs?limit=2&state=queued&kind=video"
    pages = 0
    while path:
        page = client.get(path).json()
        seen += [job["id"] for job in page["jobs"]]
        path, pages = page["next"], pages + 1
    assert seen == made[::-1]
    assert pages == 3
    assert client.get("/jobs", params={"state": "succeeded"}).json() == {"jobs": [], "next": None}
    assert client.get("/jobs", params={"kind": "image"}).json() == {"jobs": [], "next": None}


def test_etag_spares_the_body_until_something_changes(client: httpx.Client, store: Store) -> None:
    path = f"/jobs/{store.queued().id}"
    first = client.get(path)
    headers = {"If-None-Match": first.headers["etag"]}
    same = client.get(path, headers=headers)
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["etag"] == first.headers["etag"]
    assert client.get(path, headers={"If-None-Match": f'"x", W/{first.headers["etag"]}'}).status_code == 304
    client.post(f"{path}/cancel")
    changed = client.get(path, headers=headers)
    assert changed.status_code == 200
    assert changed.json()["state"] == "cancelled"


def test_a_running_job_shows_progress_and_the_checkpoint(client: httpx.Client, store: Store) -> None:
    body = client.get(f"/jobs/{store.running(clip(4)).id}").json()
    assert body["state"] == "running"
    assert body["progress"] == {"frames_done": 4, "frames_total": 4, "fraction": 1.0}
    assert body["checkpoint"]["synthetic_only"] is True
    assert "rendered" in body["checkpoint"]["note"]
    assert body["attempts"] == 1


def test_cancelling(client: httpx.Client, store: Store) -> None:
    queued = f"/jobs/{store.queued().id}/cancel"
    assert client.post(queued).json()["state"] == "cancelled"
    assert client.post(queued).json()["state"] == "cancelled"  # asking twice is asking once
    assert client.post(f"/jobs/{store.running(clip(1)).id}/cancel").json()["state"] == "cancelling"
    assert_problem(client.post(f"/jobs/{store.finished(clip(1)).id}/cancel"), 409, "job-finished")


def test_deleting_takes_rows_and_file(server: Server, client: httpx.Client, store: Store) -> None:
    files = len(server.media_files())
    job = store.finished(clip(3))
    path = f"/jobs/{job.id}"
    assert len(server.media_files()) == files + 1
    response = client.delete(path)
    assert (response.status_code, response.content) == (204, b"")
    assert len(server.media_files()) == files
    assert_problem(client.get(path), 404, "not-found")
    assert_problem(client.delete(path), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/events"),
        ("POST", "/cancel"),
        ("DELETE", ""),
        ("GET", "/frames"),
        ("GET", "/frames?format=ndjson"),
        ("GET", "/frames/0/faces/0/roi/AU12"),
        ("GET", "/frames/0/overlay"),
    ],
)
def test_another_tenants_job_does_not_exist(
    client: httpx.Client, stranger: httpx.Client, store: Store, method: str, path: str
) -> None:
    job = store.finished(clip(2))
    theirs = stranger.request(method, f"/jobs/{job.id}{path}")
    nobodys = stranger.request(method, f"/jobs/{uuid4()}{path}")
    assert_problem(theirs, 404, "not-found")
    assert_problem(nobodys, 404, "not-found")
    assert theirs.json()["title"] == nobodys.json()["title"]
    assert client.get(f"/jobs/{job.id}").json()["state"] == "succeeded"
    assert stranger.get("/jobs").json()["jobs"] == []


@pytest.mark.parametrize("job_id", ["1", "not-an-id", "019a1f3e-7a52", "%00", "' OR 1=1"])
def test_ids_that_are_none(client: httpx.Client, job_id: str) -> None:
    assert_problem(client.get(f"/jobs/{job_id}"), 422, "validation")


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "state=happy", "kind=sound", "after=7"])
def test_odd_queries_of_the_list(client: httpx.Client, query: str) -> None:
    body = assert_problem(client.get(f"/jobs?{query}"), 422, "validation")
    assert body["errors"]


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (MP4, "video/mp4"),
        (b"\0\0\0\x14ftypqt  ", "video/quicktime"),
        (b"\0\0\0\x08wide", "video/quicktime"),
        (b"\x1a\x45\xdf\xa3\x42\x82\x84webm", "video/webm"),
        (b"\x1a\x45\xdf\xa3\x42\x82\x88matroska", "video/x-matroska"),
        (b"RIFF\0\0\0\0AVI LIST", "video/x-msvideo"),
        (b"RIFF\0\0\0\0WEBPVP8 ", None),
        (b"OggS\0", "video/ogg"),
        (b"FLV\x01", "video/x-flv"),
        (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "video/x-ms-wmv"),
        (b"\0\0\1\xba", "video/mpeg"),
        ((b"\x47" + b"\0" * 187) * 3, "video/mp2t"),
        ((b"\0\0\0\0\x47" + b"\0" * 187) * 3, "video/mp2t"),
        (b"G" * 10, None),
        (b"", None),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"\xff\xd8\xff\xe0", None),
        (b"hello, this is text", None),
        (b"<html>", None),
    ],
)
def test_containers_by_their_first_bytes(head: bytes, mime: str | None) -> None:
    assert sniff_container(head) == mime
