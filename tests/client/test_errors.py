"""Refusals as exceptions, servers that are busy, away, or not there at all."""

from __future__ import annotations

import json
import pickle
import threading
import time
from email.utils import formatdate
from typing import Any
from uuid import uuid4

import pytest
import uvicorn

import roigcn
from roigcn.base import LIMITS
from roigcn.errors import PROBLEMS, problem_from
from service.problems import PROBLEMS as SERVED
from tests.client.conftest import Connect
from tests.client.kit import answer, line_to, scripted
from tests.service.kit import Server, Store, clip
from tests.system.running import free_port

JOBS = json.dumps({"jobs": [], "next": None}).encode()
BUSY = json.dumps({"type": "queue-full", "title": "No worker is free", "status": 503, "detail": "Later."}).encode()


def test_exceptions_are_those_of_the_service() -> None:
    """Those of a newer service that are not among them are plain problems."""
    assert PROBLEMS.keys() <= SERVED.keys()
    assert all(roigcn.ProblemError in kind.__mro__ for kind in PROBLEMS.values())


def test_a_refusal_says_all_that_the_service_says(resting: Any) -> None:
    with pytest.raises(roigcn.UnsupportedMediaError) as caught:
        resting.detect(b"hello, this is no picture")
    error = caught.value
    assert (error.status, error.type, error.title) == (415, "unsupported-media", "The format is not supported")
    assert error.detail == error.document["detail"]
    assert error.detail in str(error)
    assert error.document["instance"] == "/detect"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


@pytest.mark.parametrize(
    ("method", "arguments", "kind", "words"),
    [
        ("detect", (b"",), roigcn.MediaUnreadableError, "no bytes"),
        ("detect", (b"\xff\xd8\xff" + bytes(400_000),), roigcn.MediaTooLargeError, "300"),
        ("submit", (b"no clip",), roigcn.UnsupportedMediaError, "container"),
        ("job", (uuid4(),), roigcn.NotFoundError, "job"),
        ("wait", (uuid4(),), roigcn.NotFoundError, "job"),
        ("delete", (uuid4(),), roigcn.NotFoundError, "job"),
        ("cancel", (uuid4(),), roigcn.NotFoundError, "job"),
        ("overlay", (uuid4(),), roigcn.NotFoundError, "job"),
        ("roi_map", (uuid4(), "AU12"), roigcn.NotFoundError, "job"),
        ("roi_map", (uuid4(), "../AU"), roigcn.NotFoundError, "no page"),
        ("to_pandas", (uuid4(),), roigcn.NotFoundError, "job"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isidentifier() else "",
)
def test_refusals(resting: Any, method: str, arguments: tuple[Any, ...], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        getattr(resting, method)(*arguments)


def test_wrong_parameters_are_named(resting: Any) -> None:
    with pytest.raises(roigcn.ValidationError, match=r"query\.roi"):
        resting.detect(b"picture", roi="everything")


def test_frames_of_an_unknown_job(resting: Any) -> None:
    with pytest.raises(roigcn.NotFoundError):
        list(resting.frames(uuid4()))


@pytest.mark.parametrize("method", ["job", "wait", "cancel", "delete", "to_pandas", "overlay"])
def test_what_is_no_id_is_not_sent(resting: Any, method: str) -> None:
    with pytest.raises(ValueError, match="'latest' is no job's id"):
        getattr(resting, method)("latest")


def test_keys(server: Server, connect: Connect, tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROIGCN_API_KEY", raising=False)
    with pytest.raises(roigcn.UnauthorizedError):
        list(connect(server.url).jobs())
    with pytest.raises(roigcn.UnauthorizedError):
        list(connect(server.url, "rk_wrong").jobs())
    with pytest.raises(roigcn.ForbiddenError):
        connect(server.url, server.key(tenant, "read")).submit(b"\0\0\0\x18ftypisom")
    monkeypatch.setenv("ROIGCN_API_KEY", server.key(tenant))
    monkeypatch.setenv("ROIGCN_SERVER", server.url)
    assert list(connect().jobs()) == []


@pytest.mark.parametrize("server", ["127.0.0.1:8000", "localhost", "ftp://127.0.0.1", ""])
def test_wrong_addresses(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROIGCN_SERVER", server or "nothing")
    with pytest.raises(ValueError, match="must look like http://127"):
        roigcn.Client(server)


def test_no_worker_is_free(resting: Any, portrait: bytes) -> None:
    with pytest.raises(roigcn.QueueFullError) as caught:
        resting.detect(portrait)
    assert caught.value.retry_after_seconds == 5


def test_a_server_that_is_not_there_is_told_at_once(connect: Connect) -> None:
    began = time.monotonic()
    with pytest.raises(roigcn.UnreachableError, match="does not answer"):
        connect(f"http://127.0.0.1:{free_port()}", retry_seconds=600).checkpoints()
    assert time.monotonic() - began < 300


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_busy_server_is_asked_again_when_it_says(connect: Connect, form: str) -> None:
    later = "2" if form == "seconds" else formatdate(time.time() + 3, usegmt=True)
    busy = answer("503 Service Unavailable", BUSY, f"Retry-After: {later}")
    with scripted(busy, answer("200 OK", JOBS)) as (url, asked):
        assert list(connect(url).jobs()) == []
    assert len(asked) == 2
    assert asked[1] - asked[0] > 1.5, "not before it was told to"


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (answer("503 Service Unavailable", BUSY, "Retry-After: 3600"), roigcn.QueueFullError),
        (answer("503 Service Unavailable", BUSY), roigcn.QueueFullError),
        (answer("503 Service Unavailable", BUSY, "Retry-After: soon"), roigcn.QueueFullError),
        (answer("500 Internal Server Error", b"<h1>oops</h1>"), roigcn.ProblemError),
    ],
    ids=["in an hour", "no hint", "no time", "500"],
)
def test_what_waiting_does_not_mend_is_told_at_once(connect: Connect, response: bytes, kind: type[Exception]) -> None:
    with scripted(response) as (url, asked):
        with pytest.raises(kind):
            list(connect(url, retry_seconds=60).jobs())
        assert len(asked) == 1


def test_resting_connections_are_given_up_before_the_server_closes_them(server: Server) -> None:
    """Both at 5 s would now and then send a picture into a connection that is being closed."""
    closes_after = uvicorn.Config(server.app).timeout_keep_alive
    assert LIMITS.keepalive_expiry is not None
    assert LIMITS.keepalive_expiry < closes_after / 2


def test_patience_ends(connect: Connect) -> None:
    with scripted(answer("503 Service Unavailable", BUSY, "Retry-After: 0")) as (url, asked):
        with pytest.raises(roigcn.QueueFullError, match="Later"):
            list(connect(url, retry_seconds=1).jobs())
        assert 2 <= len(asked) <= 6


def test_a_proxy_whose_server_restarts(connect: Connect) -> None:
    with scripted(answer("502 Bad Gateway", b"<html>nginx</html>"), answer("200 OK", JOBS)) as (url, asked):
        assert list(connect(url).jobs()) == []
        assert len(asked) == 2


def test_a_problem_that_is_no_document() -> None:
    error = problem_from(502, b"<html>\n  bad   gateway</html>")
    assert (error.status, error.type, error.detail) == (502, "unknown", "<html> bad gateway</html>")
    assert problem_from(418, b'{"type": "teapot"}').type == "teapot"
    assert problem_from(500, b"[1]").type == "unknown"


def test_a_restart_is_ridden_out(server: Server, connect: Connect, tenant: str, store: Store) -> None:
    job = store.finished(clip(3))
    with line_to(server.url) as line:
        client = connect(line.url, server.key(tenant))
        assert client.job(job.id).state == "succeeded"
        line.down.set()
        line.cut = lambda _number, _head: 0
        threading.Timer(1.0, lambda: (line.down.clear(), setattr(line, "cut", lambda _number, _head: None))).start()
        assert client.job(job.id).state == "succeeded"
