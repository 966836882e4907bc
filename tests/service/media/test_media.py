"""A job's own file: ranges, links for players, and who may read it."""

from __future__ import annotations

import time
from uuid import UUID, uuid4

import httpx
import pytest

from service.auth import hash_key
from service.media.links import make_token
from service.media.ranges import parse_range
from service.problems import RangeNotSatisfiable
from tests.service.kit import Server, Store, assert_problem, clip
from worker.store.catalogue import ApiKeyRepository
from worker.store.records import Job

CONTENT = b"\0\0\0\x18ftypisom"
SIZE = len(CONTENT)


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None),
        ("bytes=0-", (0, 99)),
        ("bytes=0-0", (0, 0)),
        ("bytes=10-19", (10, 19)),
        ("bytes=90-1000", (90, 99)),
        ("Bytes= 5-6", (5, 6)),
        ("bytes=-10", (90, 99)),
        ("bytes=-1000", (0, 99)),
        ("bytes=99-", (99, 99)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("", None),
    ],
)
def test_ranges(header: str | None, part: tuple[int, int] | None) -> None:
    assert parse_range(header, 100) == part


@pytest.mark.parametrize(("header", "size"), [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=0-", 0), ("bytes=-5", 0)])
def test_ranges_behind_the_end(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(header, size)


@pytest.fixture
def job(store: Store) -> Job:
    return store.finished(clip(2))


def test_the_whole_file(client: httpx.Client, job: Job) -> None:
    answer = client.get(f"/jobs/{job.id}/media")
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-length"] == str(SIZE)
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("asked", "first", "last"), [("bytes=0-3", 0, 3), ("bytes=4-", 4, SIZE - 1), ("bytes=-2", SIZE - 2, SIZE - 1)]
)
def test_a_part(client: httpx.Client, job: Job, asked: str, first: int, last: int) -> None:
    answer = client.get(f"/jobs/{job.id}/media", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, CONTENT[first : last + 1])
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.headers["content-length"] == str(last - first + 1)


def test_a_part_behind_the_end(client: httpx.Client, job: Job) -> None:
    answer = client.get(f"/jobs/{job.id}/media", headers={"Range": "bytes=500-"})
    assert_problem(answer, 416, "range-not-satisfiable")
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


def test_if_range_gives_the_whole_of_another_file(client: httpx.Client, job: Job) -> None:
    path = f"/jobs/{job.id}/media"
    etag = client.get(path).headers["etag"]
    same = client.get(path, headers={"Range": "bytes=0-1", "If-Range": etag})
    other = client.get(path, headers={"Range": "bytes=0-1", "If-Range": '"another"'})
    assert (same.status_code, other.status_code) == (206, 200)


def test_a_link_needs_no_header(server: Server, client: httpx.Client, job: Job) -> None:
    link = client.get(f"/jobs/{job.id}/media-link").json()
    assert link["mime"] == "video/mp4"
    assert link["expires_at"] is not None
    answer = httpx.get(server.url + link["url"], headers={"Range": "bytes=0-3"})
    assert (answer.status_code, answer.content) == (206, CONTENT[:4])


def test_a_link_opens_nothing_else(server: Server, client: httpx.Client, store: Store, job: Job) -> None:
    other = store.finished(clip(1))
    token = client.get(f"/jobs/{job.id}/media-link").json()["url"].partition("?")[2]
    assert_problem(httpx.get(f"{server.url}/jobs/{other.id}/media?{token}"), 401, "unauthorized")
    for path in (f"/jobs/{job.id}", f"/jobs/{job.id}/frames", f"/jobs/{job.id}/media-link", "/jobs"):
        assert_problem(httpx.get(f"{server.url}{path}?{token}"), 401, "unauthorized")


@pytest.fixture
def key(server: Server, tenant: str) -> str:
    return server.key(tenant)


def test_spent_forged_and_revoked_links(server: Server, key: str, job: Job) -> None:
    with server.engine.begin() as connection:
        record = ApiKeyRepository(connection).find(hash_key(key))
    assert record is not None
    now = int(time.time())
    url = f"{server.url}/jobs/{job.id}/media"
    good = make_token(record, job.id, now + 60)
    assert httpx.get(url, params={"token": good}).status_code == 200
    later = good.replace(f".{now + 60}.", f".{now + 600}.")
    stranger = good.replace(record.id.hex, uuid4().hex)
    spent = make_token(record, job.id, now - 1)
    another = make_token(record, UUID(int=7), now + 60)
    for bad in (later, stranger, spent, another, good[:-1] + ("0" if good[-1] != "0" else "1"), "nonsense", ""):
        assert_problem(httpx.get(url, params={"token": bad}), 401, "unauthorized")
    with server.engine.begin() as connection:
        ApiKeyRepository(connection).revoke(record.id)
    assert_problem(httpx.get(url, params={"token": good}), 401, "unauthorized")


def test_another_tenant_finds_nothing(stranger: httpx.Client, job: Job) -> None:
    for path in ("media", "media-link"):
        assert_problem(stranger.get(f"/jobs/{job.id}/{path}"), 404, "not-found")


def test_a_job_without_a_file(server: Server, client: httpx.Client, job: Job) -> None:
    for path in server.media_files():
        path.unlink()
    for path in ("media", "media-link"):
        assert_problem(client.get(f"/jobs/{job.id}/{path}"), 410, "job-expired")
