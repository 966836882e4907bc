"""Clips through a real worker, and jobs in every state."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import roigcn
from roigcn.bars import in_notebook, notebook_line
from service.exports.recording import ExportFrame, Recording, face_rows
from service.exports.table import write
from tests.client.conftest import Connect
from tests.client.kit import line_to
from tests.client.test_detect import client_headers, plain
from tests.service.kit import AU_CODES, Server, Store
from tests.service.kit import clip as results
from worker.store.claims import ClaimRepository
from worker.store.records import JobKind


def test_a_clip_from_submission_to_table(client: Any, served: Server, clip: Path) -> None:
    sent: list[tuple[int, int]] = []
    states: list[roigcn.Job] = []
    queued = client.submit(clip, progress=lambda *count: sent.append(count))
    assert sent[-1] == (clip.stat().st_size,) * 2
    assert (queued.kind, queued.media.name, queued.media.bytes) == ("video", "Interview 1.mp4", clip.stat().st_size)
    job = client.wait(queued, progress=states.append)
    assert (job.succeeded, job.final, job.progress.frames_done) == (True, True, 20)
    assert states[-1] == job == client.job(job.id)
    assert job.checkpoint.ref == "tiny:1"

    lines = httpx.get(f"{served.url}/jobs/{job.id}/frames?format=ndjson", headers=client_headers(client)).text
    expected = [json.loads(line) for line in lines.splitlines()]
    frames = list(client.frames(job))
    assert [plain(frame) for frame in frames] == expected
    assert [len(frame.faces) for frame in frames] == [1] * 15 + [0] * 5
    assert [json.loads(line) for line in client.frame_lines(job)] == expected
    assert [frame.frame for frame in client.frames(job, after=17)] == [18, 19]

    table = client.to_pandas(job)
    assert len(table) == 20
    assert table.attrs == {
        "job": job.id, "checkpoint": "tiny:1", "synthetic_only": "true", "file": "Interview 1.mp4",
    }  # fmt: skip
    np.testing.assert_allclose(table["time_ms"], [frame.pts_ms for frame in frames])
    scores = [frame.faces[0]["AU12"].score if frame.faces else np.nan for frame in frames]
    np.testing.assert_array_equal(table["AU12_score"], scores)
    assert table["face"].isna().tolist() == [False] * 15 + [True] * 5
    assert table["AU12_active"].dtype == "boolean"

    arrow = client.to_arrow(job)
    assert arrow.schema.metadata[b"roigcn.checkpoint"] == b"tiny:1"
    assert arrow.column("frame").to_pylist() == list(range(20))
    assert arrow.column("AU12_active").null_count == 5
    assert arrow.schema.field("face").type == pa.int32()
    client.delete(job)
    with pytest.raises(roigcn.NotFoundError):
        client.job(job)


def test_the_table_is_that_of_the_command_line(resting: Any, server: Server, store: Store, tmp_path: Path) -> None:
    stored = results(7, faces_per_frame=2)
    job = store.finished(stored)
    recording = Recording(JobKind.VIDEO, "clip.mp4", AU_CODES, "tiny:1", datetime.now(UTC))
    frames = [
        ExportFrame(frame.index, frame.pts_ms, face_rows(frame.index, frame.pts_ms, frame.faces), "clip.mp4")
        for frame in stored
    ]
    (tmp_path / "table.csv").write_bytes(b"".join(write(frames, recording)))
    mine, theirs = resting.to_pandas(job.id), pd.read_csv(tmp_path / "table.csv")
    pd.testing.assert_frame_equal(mine.astype("float64"), theirs.astype("float64"), atol=1e-4, rtol=0)


def test_a_clip_without_any_face_has_every_column(client: Any, tmp_path: Path, write_clip: Any) -> None:
    path = write_clip(tmp_path / "empty room.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 3)
    job = client.wait(client.submit(path))
    table = client.to_pandas(job)
    assert len(table) == 3
    assert "AU25_probability" in table.columns
    assert table["AU1_active"].isna().all()
    assert client.to_arrow(job).num_rows == 3


def test_a_broken_clip_fails_with_its_reason(client: Any) -> None:
    job = client.submit(b"\0\0\0\x18ftypisom" + bytes(2000), name="broken.mp4")
    with pytest.raises(roigcn.JobFailedError, match="failed: ") as caught:
        client.wait(job)
    ended = caught.value.job
    assert (ended.state, ended.error.type, ended.media.name) == ("failed", "media-unreadable", "broken.mp4")
    assert client.wait(job, check=False) == ended
    assert ended.error.detail in ended._repr_html_()


def test_one_key_one_job(resting: Any, store: Store) -> None:
    clips = [b"\0\0\0\x18ftypisom" + bytes(100 + n) for n in range(2)]
    first = resting.submit(clips[0], idempotency_key="upload-17")
    assert resting.submit(clips[0], idempotency_key="upload-17") == first
    assert resting.submit(clips[0]).id != first.id
    with pytest.raises(roigcn.IdempotencyConflictError):
        resting.submit(clips[1], idempotency_key="upload-17")


def test_jobs_come_newest_first_over_all_pages(resting: Any, store: Store) -> None:
    ids = [str(store.queued().id) for _ in range(5)][::-1]
    assert [job.id for job in resting.jobs()] == ids
    assert [job.id for job in resting.jobs(limit=2)] == ids[:2]
    resting.cancel(ids[0])
    assert [job.id for job in resting.jobs(state="cancelled")] == ids[:1]
    assert [job.id for job in resting.jobs(state="queued", kind="video")] == ids[1:]
    assert list(resting.jobs(kind="image")) == []


def test_pages_are_followed(resting: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roigcn.flows.PAGE_JOBS", 2)
    ids = [str(store.queued().id) for _ in range(5)][::-1]
    assert [job.id for job in resting.jobs()] == ids


def test_cancelled_and_deleted_while_followed(resting: Any, store: Store) -> None:
    job = store.queued()
    with pytest.raises(roigcn.JobCancelledError):
        resting.wait(job.id, progress=lambda state: resting_action(resting, "cancel", state))
    job = store.queued()
    with pytest.raises(roigcn.JobDeletedError):
        resting.wait(job.id, progress=lambda state: resting_action(resting, "delete", state))


def resting_action(client: Any, action: str, state: roigcn.Job) -> None:
    """Somebody else does it: a client on a loop cannot be entered again."""
    settings = getattr(client, "_client", client)
    if not state.final:
        with roigcn.Client(settings.server, settings._key) as other:
            getattr(other, action)(state)


def test_a_broken_stream_of_events_is_taken_up_again(
    server: Server, connect: Connect, tenant: str, store: Store
) -> None:
    job = store.running(results(2))
    seen: list[int] = []

    def report(state: roigcn.Job) -> None:
        seen.append(state.progress.frames_done)
        with server.engine.begin() as connection:
            claims = ClaimRepository(connection)
            if len(seen) < 4:
                claims.progress(job, 10 * len(seen), lease_seconds=60)
            elif not state.final:
                claims.finish(job, frames_total=30)

    with line_to(server.url) as line:
        # Each stream of events breaks in the middle of its second event.
        line.cut = lambda _number, head: 1600 if b"/events" in head.split(b"\r\n", 1)[0] else None
        client = connect(line.url, server.key(tenant))
        ended = client.wait(job.id, progress=report)
    assert ended.succeeded
    assert seen == sorted(seen)
    assert {2, 10, 20, 30} <= set(seen)
    assert sum("/events" in request for request in line.requests) >= 2


def test_a_broken_stream_of_frames_loses_and_doubles_nothing(
    server: Server, connect: Connect, tenant: str, store: Store
) -> None:
    job = store.finished(results(600))
    with line_to(server.url) as line:
        line.cut = lambda number, _head: 150_000 if number < 4 else None
        client = connect(line.url, server.key(tenant))
        frames = list(client.frames(job.id))
    assert [frame.frame for frame in frames] == list(range(600))
    assert len(line.requests) >= 5
    assert "after=" in line.requests[1]


def test_a_broken_upload_makes_one_job(server: Server, connect: Connect, tenant: str, store: Store) -> None:
    clip = b"\0\0\0\x18ftypisom" + bytes(2_000_000)
    sent: list[int] = []
    with line_to(server.url) as line:
        line.cut = lambda number, _head: -500_000 if number == 0 else None
        client = connect(line.url, server.key(tenant))
        job = client.submit(clip, progress=lambda count, _: sent.append(count))
        assert len(line.requests) == 2
    assert job.media.bytes == len(clip)
    assert sent[-1] == len(clip)
    assert sent != sorted(sent), "the count began anew"
    assert store.count() == 1


def test_a_lost_answer_to_an_upload_makes_one_job(server: Server, connect: Connect, tenant: str, store: Store) -> None:
    with line_to(server.url) as line:
        line.cut = lambda number, _head: 10 if number == 0 else None
        client = connect(line.url, server.key(tenant))
        job = client.submit(b"\0\0\0\x18ftypisom" + bytes(2000))
    assert store.count() == 1
    assert job.state == "queued"


def test_a_stream_that_is_left_is_closed(server: Server, resting: Any, store: Store) -> None:
    job = store.finished(results(500))
    frames = resting.frames(job.id)
    assert next(frames).frame == 0
    frames.close()
    following = resting.follow(store.queued().id)
    next(following)
    following.close()
    listener = server.app.state.context.listener
    gone = threading.Event()
    for _ in range(600):
        if listener.waiting == 0:
            return
        gone.wait(0.1)
    raise AssertionError("the server still tells of a job that nobody follows")


def test_a_running_job_in_words_and_in_a_notebook(resting: Any, store: Store) -> None:
    job = resting.job(store.running(results(3)).id)
    assert repr(job) == f"<Job {job.id} clip.mp4 running, 3/3 frames>"
    html = job._repr_html_()
    assert '<progress max="1" value="1.0000">' in html
    assert "rendered faces only" in html
    assert "clip.mp4" in html


def test_names_cannot_write_html(resting: Any, store: Store) -> None:
    job = resting.submit(b"\0\0\0\x18ftypisom" + bytes(100), name="<script>x.mp4")
    assert "<script>" not in job._repr_html_()
    assert "&lt;script&gt;" in job._repr_html_()


def test_a_notebook_shows_one_line_that_changes(resting: Any, store: Store) -> None:
    InteractiveShell.instance()
    assert not in_notebook(), "a shell in a terminal is none"
    job = store.running(results(3))
    with capture_output() as captured:
        report = notebook_line()
        report(resting.job(job.id))
        report(resting.cancel(job.id))
    shown, updated = captured.outputs
    assert "running" in shown.data["text/html"]
    assert "cancelling" in updated.data["text/html"]
    assert shown._display_id == updated._display_id if hasattr(shown, "_display_id") else True
