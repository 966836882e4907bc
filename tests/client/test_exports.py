"""Files for other tools, and AU events, through the client."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import httpx
import pytest

import roigcn
from service.exports.registry import FORMATS
from tests.client.conftest import Connect
from tests.client.kit import line_to
from tests.client.test_detect import client_headers
from tests.service.kit import Server, Store
from tests.service.kit import clip as results
from worker.store.records import JobKind


def test_formats_are_those_of_the_service(resting: Any) -> None:
    formats = resting.formats()
    assert [known.name for known in formats] == list(FORMATS)
    assert {known.name for known in formats if known.events} >= {"elan", "boris"}


@pytest.mark.parametrize("name", [name for name, known in FORMATS.items() if JobKind.VIDEO in known.kinds])
def test_a_file_is_what_the_service_sends(
    resting: Any, server: Server, store: Store, tmp_path: Path, name: str
) -> None:
    job = store.finished(results(30))
    path = resting.export(job.id, name, tmp_path / "result.file", min_ms=0)
    sent = httpx.get(
        f"{server.url}/jobs/{job.id}/export", params={"format": name, "min_ms": 0}, headers=client_headers(resting)
    )
    assert sent.status_code == 200
    assert path.read_bytes() == sent.content
    assert path == tmp_path / "result.file"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.file"]


def test_a_folder_gets_the_name_of_the_clip(resting: Any, store: Store, tmp_path: Path) -> None:
    job = store.finished(results(3))
    path = resting.export(job.id, to=tmp_path)
    assert path == tmp_path / "clip.aus.csv"
    with path.open() as file:
        assert [int(row["frame"]) for row in csv.DictReader(file)] == [0, 1, 2]


def test_a_file_with_somebodys_coding_is_not_replaced_unasked(resting: Any, store: Store, tmp_path: Path) -> None:
    job = store.finished(results(3))
    mine = tmp_path / "clip.eaf"
    mine.write_text("my coding")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        resting.export(job.id, "elan", tmp_path)
    assert mine.read_text() == "my coding"
    resting.export(job.id, "elan", tmp_path, overwrite=True)
    assert "<ANNOTATION_DOCUMENT" in mine.read_text()
    assert list(tmp_path.iterdir()) == [mine]


def test_a_broken_download_begins_anew(
    server: Server, connect: Connect, tenant: str, store: Store, tmp_path: Path
) -> None:
    job = store.finished(results(600))
    with line_to(server.url) as line:
        line.cut = lambda number, _head: 20_000 if number < 2 else None
        client = connect(line.url, server.key(tenant))
        path = client.export(job.id, "native", tmp_path)
    assert len(line.requests) == 3
    with path.open() as file:
        assert [int(row["frame"]) for row in csv.DictReader(file)] == list(range(600))
    assert list(tmp_path.iterdir()) == [path]


def test_refusals_leave_no_file(resting: Any, store: Store, tmp_path: Path) -> None:
    running = store.running(results(3))
    with pytest.raises(roigcn.JobNotFinishedError):
        resting.export(running.id, to=tmp_path)
    with pytest.raises(roigcn.ValidationError, match="papyrus"):
        resting.export(running.id, "papyrus", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert resting.export(running.id, to=tmp_path, partial=True).stat().st_size > 100


def test_events_are_those_of_the_service(resting: Any, server: Server, store: Store) -> None:
    job = store.finished(results(30))
    found = resting.au_events(job.id, on=0.6, off=0.3, min_ms=0, gap_ms=40)
    answer = httpx.get(
        f"{server.url}/jobs/{job.id}/au-events",
        params={"on": 0.6, "off": 0.3, "min_ms": 0, "gap_ms": 40},
        headers=client_headers(resting),
    ).json()
    assert len(found) == len(answer["events"]) > 0
    table = found.to_pandas()
    assert table.to_dict("records") == answer["events"]
    assert (found[0].au, found[0].onset_ms) == (answer["events"][0]["au"], answer["events"][0]["onset_ms"])
    assert found.thresholds["AU1"].on == 0.6
    assert list(found.tracks) == answer["tracks"]
    assert "<table" in found._repr_html_()
    assert str(len(found)) in repr(found)
    with pytest.raises(roigcn.ValidationError, match="do not go together"):
        resting.au_events(job.id, on=0.2, off=0.5)


def test_a_clip_without_events_has_an_empty_table(resting: Any, store: Store) -> None:
    found = resting.au_events(store.finished([]).id)
    assert (len(found), list(found), found[:1]) == (0, [], ())
    assert "onset_ms" in found.to_pandas().columns


def test_a_picture_has_no_events(client: Any, portrait: bytes, tmp_path: Path) -> None:
    found = client.detect(portrait)
    with pytest.raises(roigcn.FormatMismatchError):
        client.au_events(found)
    with pytest.raises(roigcn.FormatMismatchError):
        client.export(found, "elan", tmp_path)
    assert client.export(found, "coco", tmp_path).suffixes == [".coco", ".json"]


def test_a_checkpoint_by_name(client: Any, portrait: bytes, clip: Path) -> None:
    assert client.detect(portrait, checkpoint="tiny:1").checkpoint.ref == "tiny:1"
    assert client.wait(client.submit(clip, checkpoint="tiny")).checkpoint.ref == "tiny:1"
    for call in (client.detect, client.submit):
        with pytest.raises(roigcn.CheckpointUnknownError, match="nonesuch"):
            call(clip if call == client.submit else portrait, checkpoint="nonesuch")
