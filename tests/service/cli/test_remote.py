"""`roigcn submit` and `roigcn watch` against a running service: results, messages and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from model.values import UInt8Array
from service.cli import app
from service.cli.output import Exit
from tests.service.kit import Server, Store, clip
from tests.system.running import free_port

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(server: Server, tenant: str, *arguments: object) -> Result:
        monkeypatch.setenv("ROIGCN_SERVER", server.url)
        monkeypatch.setenv("ROIGCN_API_KEY", server.key(tenant))
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


def test_a_clip_is_sent_followed_and_fetched(
    served: Server, tenant: str, run: Run, tmp_path: Path, write_clip: Callable[..., Path], astronaut: UInt8Array
) -> None:
    path = write_clip(tmp_path / "clip.mp4", [np.ascontiguousarray(astronaut[:300, 96:352])] * 5)
    result = run(served, tenant, "submit", path, "--out", tmp_path / "frames.ndjson", "--roi", "none")
    assert result.exit_code == Exit.DONE, result.output
    job = result.stdout.strip()
    frames = [json.loads(line) for line in (tmp_path / "frames.ndjson").read_text().splitlines()]
    assert [frame["frame"] for frame in frames] == list(range(5))
    assert "5 frames written" in result.stderr
    again = run(served, tenant, "watch", job)
    assert (again.exit_code, "5 frames analysed" in again.stderr) == (Exit.DONE, True)


def test_faces_and_checkpoint_are_asked_for(
    server: Server, tenant: str, store: Store, run: Run, tmp_path: Path
) -> None:
    clip_file = tmp_path / "clip.mp4"
    clip_file.write_bytes(b"\0\0\0\x18ftypisom")
    job = run(server, tenant, "submit", clip_file, "--faces", "largest", "--checkpoint", "w18s-light").stdout.strip()
    with server.client(tenant) as client:
        answer = client.get(f"/jobs/{job}").json()
    assert (answer["options"]["faces"], answer["checkpoint"]["name"]) == ("largest", "w18s-light")


def test_a_clip_is_held_against_a_neutral_picture(
    served: Server, tenant: str, run: Run, tmp_path: Path, write_clip: Callable[..., Path], astronaut: UInt8Array
) -> None:
    face = np.ascontiguousarray(astronaut[:300, 96:352])
    path, picture = write_clip(tmp_path / "clip.mp4", [face] * 3), tmp_path / "rest.png"
    Image.fromarray(face).save(picture)
    job = run(served, tenant, "submit", path, "--watch", "--neutral", picture).stdout.strip()
    with served.client(tenant) as client:
        assert len(client.get(f"/jobs/{job}").json()["options"]["rest"]) == 7
        assert client.get(f"/jobs/{job}/timeline").json()["own_rest"] == [0]
    Image.new("RGB", (64, 64)).save(picture)
    result = run(served, tenant, "submit", path, "--neutral", picture)
    assert (result.exit_code, "shows no face" in result.stderr) == (Exit.FAILED, True)


def test_ends_that_are_no_success(server: Server, tenant: str, store: Store, run: Run, tmp_path: Path) -> None:
    target = tmp_path / "frames.ndjson"
    job = store.queued()
    with server.client(tenant) as client:
        client.post(f"/jobs/{job.id}/cancel")
    result = run(server, tenant, "watch", job.id, "--out", target)
    assert (result.exit_code, "cancelled" in result.stderr) == (Exit.FAILED, True)
    assert list(tmp_path.iterdir()) == []
    finished = store.finished(clip(3))
    result = run(server, tenant, "watch", finished.id, "--out", target)
    assert (result.exit_code, len(target.read_text().splitlines())) == (Exit.DONE, 3)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["watch", "latest"], Exit.USAGE, "no job's id"),
        (["watch", "019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10"], Exit.FAILED, "404 not-found"),
        (["submit", __file__], Exit.FAILED, "415 unsupported-media"),
        (["submit", __file__, "--roi", "everything"], Exit.FAILED, "query.roi"),
        (["submit", __file__, "--faces", "prettiest"], Exit.FAILED, "query.faces"),
        (["submit", __file__, "--checkpoint", "nobody"], Exit.FAILED, "422 checkpoint-unknown"),
        (["submit", __file__, "--api-key", "wrong"], Exit.UNAVAILABLE, "401 unauthorized"),
        (["submit", __file__, "--server", "127.0.0.1:8000"], Exit.USAGE, "must look like"),
        (["export", "019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10", "-f", "xlsx", "-o", "x"], Exit.FAILED, "known are native"),
        (["export", "019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10", "-f", "elan", "-o", "x"], Exit.FAILED, "404 not-found"),
        (["export", "latest", "-o", "x"], Exit.USAGE, "no job's id"),
        (["export", "latest", "-o", "x", "--on", "1.5"], Exit.USAGE, "at most 1"),
        (["submit", __file__, "--server", "NOBODY"], Exit.UNAVAILABLE, "roigcn serve"),
    ],
    ids=lambda value: " ".join(part for part in value if part != __file__) if isinstance(value, list) else "",
)
def test_refusals_say_what_to_do(
    server: Server, tenant: str, run: Run, arguments: list[str], code: Exit, words: str
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    result = run(server, tenant, *(nobody if argument == "NOBODY" else argument for argument in arguments))
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_job_is_exported(server: Server, tenant: str, store: Store, run: Run, tmp_path: Path) -> None:
    job = store.finished(clip(6))
    target = tmp_path / "smile.eaf"
    result = run(server, tenant, "export", job.id, "--format", "elan", "-o", target, "--on", "0.3", "--min-ms", "0")
    assert (result.exit_code, result.stdout.strip()) == (Exit.DONE, str(target)), result.output
    with server.client(tenant) as client:
        path = f"/jobs/{job.id}/export?format=elan&on=0.3&min_ms=0"
        assert target.read_bytes() == client.get(path).content
    again = run(server, tenant, "export", job.id, "-f", "elan", "-o", target)
    assert (again.exit_code, "give --overwrite to replace it" in again.stderr) == (Exit.USAGE, True)
    assert run(server, tenant, "export", job.id, "-f", "elan", "-o", target, "--overwrite").exit_code == Exit.DONE


def test_an_export_is_named_after_its_clip(
    server: Server, tenant: str, store: Store, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = store.running(clip(6))
    refused = run(server, tenant, "export", job.id)
    assert (refused.exit_code, "job-not-finished" in refused.stderr) == (Exit.FAILED, True)
    assert list(tmp_path.iterdir()) == [], "what is refused leaves no file"
    result = run(server, tenant, "export", job.id, "--partial")
    assert (result.exit_code, result.stdout.strip()) == (Exit.DONE, str(tmp_path / "clip.aus.csv"))
    assert len((tmp_path / "clip.aus.csv").read_text().splitlines()) == 7
    with server.client(tenant) as client:
        client.post(f"/jobs/{job.id}/cancel")
