"""Progress as server-sent events, heard through the one listening connection."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from uuid import uuid4

import httpx
import sqlalchemy as sa

from tests.service.kit import Server, Store, clip
from worker.store.claims import ClaimRepository
from worker.store.records import JobError

Event = dict[str, str]


def events_of(response: httpx.Response) -> Iterator[Event]:
    """Parse `text/event-stream`; comments (pings) are passed over."""
    event: Event = {}
    for line in response.iter_lines():
        if not line:
            if "data" in event:
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value


def follow(client: httpx.Client, job: object, **headers: str) -> list[Event]:
    with client.stream("GET", f"/jobs/{job}/events", headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        return list(events_of(response))


def test_a_finished_job_is_told_at_once(client: httpx.Client, store: Store) -> None:
    job = store.finished(clip(3))
    (event,) = follow(client, job.id)
    assert event["event"] == "succeeded"
    body = json.loads(event["data"])
    assert body == client.get(f"/jobs/{job.id}").json()


def test_a_client_that_reconnects_after_the_end_is_told_again(client: httpx.Client, store: Store) -> None:
    job = store.finished(clip(3))
    (event,) = follow(client, job.id)
    (again,) = follow(client, job.id, **{"Last-Event-ID": event["id"]})
    assert again["event"] == "succeeded"


def test_progress_is_told_as_it_is_committed(server: Server, client: httpx.Client, store: Store) -> None:
    job = store.running(clip(2))
    steps = iter([5, 9])
    with client.stream("GET", f"/jobs/{job.id}/events") as response:
        seen = []
        for event in events_of(response):
            seen.append((event["event"], json.loads(event["data"])["progress"]["frames_done"]))
            with server.engine.begin() as connection:
                claims = ClaimRepository(connection)
                if (done := next(steps, None)) is not None:
                    claims.progress(job, done, lease_seconds=60)
                elif event["event"] == "progress":
                    claims.fail(job, JobError("media-unreadable", "the file breaks off"))
    assert seen == [("progress", 2), ("progress", 5), ("progress", 9), ("failed", 9)]
    assert json.loads(event["data"])["error"] == {"type": "media-unreadable", "detail": "the file breaks off"}


def test_news_do_not_wait_for_a_timer(server: Server, client: httpx.Client, store: Store) -> None:
    """The stream looks at the rows every 5 s by itself; hearing of 20 changes in turn within that shows the bell."""
    job = store.running(clip(1))
    began, count = time.monotonic(), 0
    with client.stream("GET", f"/jobs/{job.id}/events") as response:
        for event in events_of(response):
            count += 1
            with server.engine.begin() as connection:
                if count == 20:
                    ClaimRepository(connection).finish(job, frames_total=count)
                elif event["event"] == "progress":
                    ClaimRepository(connection).progress(job, count + 1, lease_seconds=60)
    assert count == 21
    assert time.monotonic() - began < 20 * 5 / 2


def test_known_progress_is_not_told_twice(server: Server, client: httpx.Client, store: Store) -> None:
    job = store.running(clip(2))
    with client.stream("GET", f"/jobs/{job.id}/events") as response:
        mark = next(events_of(response))["id"]
    wait_for_listeners(server, 0)
    with client.stream("GET", f"/jobs/{job.id}/events", headers={"Last-Event-ID": mark}) as response:
        wait_for_listeners(server, 1)
        with server.engine.begin() as connection:
            ClaimRepository(connection).progress(job, 7, lease_seconds=60)
        event = next(events_of(response))
    assert json.loads(event["data"])["progress"]["frames_done"] == 7


def test_cancelled_and_deleted_jobs_end_the_stream(client: httpx.Client, store: Store) -> None:
    for action, names in (("cancel", ["progress", "cancelled"]), ("delete", ["progress", "deleted"])):
        job = store.queued()
        seen = []
        with client.stream("GET", f"/jobs/{job.id}/events") as response:
            for event in events_of(response):
                if not seen and action == "cancel":
                    client.post(f"/jobs/{job.id}/cancel")
                elif not seen:
                    client.delete(f"/jobs/{job.id}")
                seen.append(event["event"])
        assert seen == names


def test_the_connection_comes_back_after_it_was_cut(server: Server, client: httpx.Client, store: Store) -> None:
    job = store.running(clip(2))
    with client.stream("GET", f"/jobs/{job.id}/events") as response:
        events = events_of(response)
        next(events)
        with server.engine.begin() as connection:
            # Committed together with the cut: its notification reaches nobody.
            ClaimRepository(connection).progress(job, 5, lease_seconds=60)
            cut = connection.execute(
                sa.text(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND application_name = 'roigcn listen'"
                )
            ).scalar_one()
        assert cut == 1
        assert json.loads(next(events)["data"])["progress"]["frames_done"] == 5
        with server.engine.begin() as connection:
            ClaimRepository(connection).finish(job, frames_total=5)
        assert next(events)["event"] == "succeeded"


def test_many_followers_share_one_connection(server: Server, client: httpx.Client, store: Store) -> None:
    job = store.running(clip(2))
    ends: list[str] = []

    def run() -> None:
        ends.append(follow(client, job.id)[-1]["event"])

    threads = [threading.Thread(target=run) for _ in range(20)]
    for thread in threads:
        thread.start()
    wait_for_listeners(server, 20)
    with server.engine.begin() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = :name"
        assert connection.execute(sa.text(query), {"name": "roigcn listen"}).scalar_one() == 1
        ClaimRepository(connection).finish(job, frames_total=2)
    for thread in threads:
        thread.join(20)
    assert ends == ["succeeded"] * 20
    wait_for_listeners(server, 0)


def test_a_follower_who_leaves_is_forgotten(server: Server, client: httpx.Client, store: Store) -> None:
    job = store.queued()
    with client.stream("GET", f"/jobs/{job.id}/events") as response:
        events = events_of(response)  # kept: a forgotten generator closes the response
        next(events)
        wait_for_listeners(server, 1)
    wait_for_listeners(server, 0)


def test_an_unknown_job_has_no_events(client: httpx.Client) -> None:
    assert client.get(f"/jobs/{uuid4()}/events").status_code == 404


def wait_for_listeners(server: Server, count: int) -> None:
    listener = server.app.state.context.listener
    ends = time.monotonic() + 10
    while listener.waiting != count:
        assert time.monotonic() < ends, f"{listener.waiting} listen, not {count}"
        time.sleep(0.01)
