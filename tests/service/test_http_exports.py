"""Exports and AU events over HTTP: every format of a stored job, what is refused, flat memory, cut streams."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
import sqlalchemy as sa

from model.values import AuPrediction, Face
from service.exports.registry import FORMATS
from tests.service.kit import AU_CODES, Server, Store, assert_problem, clip, face
from worker.store.catalogue import CheckpointRepository
from worker.store.claims import ClaimRepository
from worker.store.jobs import JobRepository
from worker.store.records import FrameResult, FrameRow, Job, JobKind
from worker.store.results import ResultRepository

CLIP_FORMATS = [made.name for made in FORMATS.values() if JobKind.VIDEO in made.kinds]


def smiling(frames: int, smile: range) -> list[FrameResult]:
    """One face that smiles (AU12) for a while; frame 3 has no face."""

    def seen(index: int) -> tuple[Face, AuPrediction]:
        found, prediction = face(seed=index)
        chance = np.array([0.1, 0.9 if index in smile else 0.1], np.float32)
        return found, replace(prediction, probability=chance, score=2 * chance - 1, active=chance > 0.5)

    return [FrameResult(index, index * 40.0, () if index == 3 else (seen(index),)) for index in range(frames)]


def test_the_formats_are_listed(client: httpx.Client) -> None:
    listed = {item["name"]: item for item in client.get("/exports").json()["formats"]}
    assert list(listed) == list(FORMATS)
    assert listed["elan"] == {
        "name": "elan",
        "title": "ELAN",
        "summary": FORMATS["elan"].summary,
        "media_type": "text/x-eaf+xml",
        "suffix": ".eaf",
        "kinds": ["video"],
        "events": True,
    }


@pytest.mark.parametrize("name", CLIP_FORMATS)
def test_every_format_of_a_clip(client: httpx.Client, store: Store, name: str) -> None:
    job = store.finished(clip(7, 2))
    answer = client.get(f"/jobs/{job.id}/export", params={"format": name})
    assert answer.status_code == 200
    made = FORMATS[name]
    assert answer.headers["content-type"].split(";")[0] == made.media_type
    file_name = f"clip{made.suffix}"
    assert (
        answer.headers["content-disposition"] == f"attachment; filename=\"{file_name}\"; filename*=UTF-8''{file_name}"
    )
    assert len(answer.content) > 200


def test_ndjson_is_what_frames_answers(client: httpx.Client, store: Store) -> None:
    job = store.finished(clip(250))
    frames = client.get(f"/jobs/{job.id}/frames?format=ndjson").content
    assert client.get(f"/jobs/{job.id}/export?format=ndjson").content == frames


def test_a_name_that_needs_care_stays_whole(server: Server, store: Store, client: httpx.Client) -> None:
    job = store.finished(clip(1))
    with server.engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE media SET name = :name WHERE id = :id"), {"name": 'bébé "1".mp4', "id": job.media_id}
        )
    header = client.get(f"/jobs/{job.id}/export?format=native").headers["content-disposition"]
    assert header == "attachment; filename=\"b_b_ _1_.aus.csv\"; filename*=UTF-8''b%C3%A9b%C3%A9%20%221%22.aus.csv"


def test_event_options_reach_the_formats_that_hold_events(client: httpx.Client, store: Store) -> None:
    job = store.finished(smiling(20, range(5, 12)))

    def starts(query: str) -> list[str]:
        text = client.get(f"/jobs/{job.id}/export?format=boris&{query}").text
        return [row["Start (s)"] for row in csv.DictReader(io.StringIO(text))]

    assert starts("") == ["0.200"]
    assert starts("on=0.95") == []
    assert starts("min_ms=281") == []


def test_events_as_json(client: httpx.Client, store: Store) -> None:
    job = store.finished(smiling(20, range(5, 12)))
    answer = client.get(f"/jobs/{job.id}/au-events").json()
    assert (answer["state"], answer["frames"], answer["tracks"], answer["baseline"]) == ("succeeded", 20, [0], "none")
    assert answer["thresholds"] == {code: {"on": 0.5, "off": 0.35} for code in AU_CODES}
    assert answer["checkpoint"]["name"] == "tiny"
    assert answer["events"] == [
        {
            "au": "AU12",
            "track": 0,
            "onset_ms": 200.0,
            "apex_ms": 200.0,
            "offset_ms": 480.0,
            "onset_frame": 5,
            "apex_frame": 5,
            "offset_frame": 11,
            "peak_probability": 0.9,
            "mean_probability": 0.9,
            "peak_score": 0.8,
            "mean_score": 0.8,
            "frames": 7,
        }
    ]
    assert client.get(f"/jobs/{job.id}/au-events?min_ms=300").json()["events"] == []
    median = client.get(f"/jobs/{job.id}/au-events?baseline=median&on=0.8").json()
    assert (len(median["events"]), median["thresholds"]["AU1"]) == (1, {"on": 0.8, "off": 0.56})


@pytest.mark.parametrize(("reading", "threshold"), [("network", 0.3), ("both", 0.7), (None, 0.7)])
def test_thresholds_are_those_of_the_reading_that_the_job_was_analysed_with(
    client: httpx.Client, store: Store, reading: str | None, threshold: float
) -> None:
    """Whatever the service is set to now; a job of an earlier version, which did not say, follows the setting."""
    job = store.finished(smiling(12, range(5, 12)))
    manifest = {
        "au_codes": list(AU_CODES),
        "thresholds": dict.fromkeys(AU_CODES, 0.3),
        "landmark_opinion": {"thresholds": dict.fromkeys(AU_CODES, 0.7)},
    }
    with store.server.engine.begin() as connection:
        record = CheckpointRepository(connection).register(f"read-{reading}", "1", "cd" * 32, AU_CODES, manifest)
        values = {"checkpoint": record.id, "reading": reading, "id": job.id}
        connection.execute(
            sa.text("UPDATE jobs SET checkpoint_id = :checkpoint, reading = :reading WHERE id = :id"), values
        )
    answer = client.get(f"/jobs/{job.id}/au-events").json()
    assert answer["thresholds"]["AU12"]["on"] == threshold
    assert client.get(f"/jobs/{job.id}/timeline").json()["thresholds"] == dict.fromkeys(AU_CODES, threshold)
    assert client.get(f"/jobs/{job.id}").json()["reading"] == reading


def test_events_of_a_clip_without_frames_and_of_a_waiting_one(client: httpx.Client, store: Store) -> None:
    empty = client.get(f"/jobs/{store.finished([]).id}/au-events").json()
    assert (empty["frames"], empty["tracks"], empty["events"]) == (0, [], [])
    waiting = client.get(f"/jobs/{store.queued().id}/au-events").json()
    assert (waiting["state"], waiting["checkpoint"], waiting["thresholds"], waiting["events"]) == (
        "queued",
        None,
        {},
        [],
    )


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "format"),
        ("format=xlsx", "known are native, parquet"),
        ("format=elan&on=0.4&off=0.5", "off (0.5) must not be above on (0.4)"),
        ("format=elan&on=1.5", "less than or equal to 1"),
        ("format=elan&on=0", "greater than 0"),
        ("format=elan&min_ms=-1", "greater than or equal to 0"),
        ("format=elan&gap_ms=nan", "finite"),
        ("format=elan&baseline=mean", "'none' or 'median'"),
    ],
)
def test_odd_requests_are_refused(client: httpx.Client, store: Store, query: str, words: str) -> None:
    body = assert_problem(client.get(f"/jobs/{store.finished(clip(1)).id}/export?{query}"), 422, "validation")
    assert words in json.dumps(body)


def test_unfinished_jobs(server: Server, client: httpx.Client, store: Store) -> None:
    running = store.running(clip(5))
    body = assert_problem(client.get(f"/jobs/{running.id}/export?format=native"), 409, "job-not-finished")
    assert "partial=true" in str(body["detail"])
    part = client.get(f"/jobs/{running.id}/export?format=native&partial=true")
    assert part.text.count("\n") == 1 + 5
    with server.engine.begin() as connection:
        JobRepository(connection).request_cancel(running.tenant, running.id)
        ClaimRepository(connection).cancelled(running)
    body = assert_problem(client.get(f"/jobs/{running.id}/export?format=native"), 409, "job-not-finished")
    assert str(body["detail"]).startswith("The job was cancelled.")
    assert client.get(f"/jobs/{running.id}/export?format=native&partial=true").status_code == 200
    queued = store.queued()
    assert_problem(client.get(f"/jobs/{queued.id}/export?format=native&partial=true"), 409, "job-not-finished")


def test_strangers_and_unknown_jobs(client: httpx.Client, stranger: httpx.Client, store: Store) -> None:
    job = store.finished(clip(1))
    for path in ("export?format=native", "au-events"):
        assert_problem(stranger.get(f"/jobs/{job.id}/{path}"), 404, "not-found")
        assert_problem(client.get(f"/jobs/{uuid4()}/{path}"), 404, "not-found")


def test_pictures(client: httpx.Client, store: Store, tenant: str) -> None:
    job = store.picture(clip(1)[0])
    for made in FORMATS.values():
        answer = client.get(f"/jobs/{job.id}/export", params={"format": made.name})
        if JobKind.IMAGE in made.kinds:
            assert answer.status_code == 200
            assert str(job.id) in answer.headers["content-disposition"]
        else:
            body = assert_problem(answer, 409, "format-mismatch")
            assert "native" in str(body["detail"])
    assert_problem(client.get(f"/jobs/{job.id}/au-events"), 409, "format-mismatch")


def test_a_long_export_takes_no_more_memory_than_a_short_one(
    server: Server, client: httpx.Client, store: Store
) -> None:
    def peak(job: Job) -> int:
        tracemalloc.start()
        with client.stream("GET", f"/jobs/{job.id}/export?format=native") as answer:
            for _ in answer.iter_bytes():
                pass
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    short, long = store.finished(clip(400)), store.finished(clip(4000))
    peak(short)  # what is loaded once is not counted
    assert peak(long) < 1.6 * peak(short) + 2_000_000


def test_an_export_of_a_job_that_is_deleted_meanwhile_is_cut_off(
    server: Server, client: httpx.Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end must not look like the end of a file."""
    job = store.finished(clip(300))
    real = ResultRepository.frames_page

    def read_and_delete(self: ResultRepository, *arguments: Any) -> list[FrameRow]:
        rows = real(self, *arguments)
        with server.engine.begin() as connection:
            JobRepository(connection).delete(job.tenant, job.id)
        return rows

    monkeypatch.setattr(ResultRepository, "frames_page", read_and_delete)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"/jobs/{job.id}/export?format=ndjson")
