"""The camera's socket with a real server and a real worker: answers, back-pressure, who gets in, nothing kept."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from service.camera.schemas import FrameRead
from tests.service.kit import Server, jpeg
from worker.store.tables import frames, jobs, payloads, roi_maps

SECONDS = 60
FACES = Path(__file__).parents[3] / "examples" / "faces"


@contextmanager
def camera(server: Server, hello: object, **headers: str) -> Iterator[ClientConnection]:
    """A socket that has sent its first message."""
    address = server.url.replace("http", "ws", 1) + "/camera"
    with connect(address, additional_headers=headers, max_size=None, open_timeout=SECONDS) as socket:
        with suppress(ConnectionClosed):  # a server that refuses at once may have said so and gone; it is heard below
            socket.send(hello if isinstance(hello, str | bytes) else json.dumps(hello))
        yield socket


def hear(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(socket.recv(timeout=SECONDS))
    return message


def frame(number: int, picture: bytes) -> bytes:
    return number.to_bytes(4, "big") + picture


def stored(server: Server, tenant: str) -> list[int]:
    """How many rows the tenant has among jobs, pictures, frames and ROI maps."""
    with server.engine.connect() as connection:
        mine = sa.select(jobs.c.id).where(jobs.c.tenant == tenant)
        counts = [connection.execute(sa.select(sa.func.count()).select_from(mine.subquery())).scalar_one()]
        for table in (payloads, frames, roi_maps):
            query = sa.select(sa.func.count()).select_from(table).where(table.c.job_id.in_(mine))
            counts.append(connection.execute(query).scalar_one())
        return counts


def test_a_frame_is_answered_and_not_kept(served: Server, tenant: str, portrait: bytes) -> None:
    with camera(served, {"key": served.key(tenant), "maps": ["AU12"]}) as socket:
        assert hear(socket) == {"ready": True}
        socket.send(frame(41, portrait))
        answer = hear(socket)
        FrameRead.model_validate(answer)
        assert (answer["frame"], answer["dropped"], answer["image"]) == (41, 0, {"width": 512, "height": 512})
        (face,) = answer["faces"]
        with_maps = [au["au"] for au in face["aus"] if "roi_map" in au]
        assert with_maps == ["AU12"]
        assert answer["checkpoint"]["synthetic_only"] is True
        assert answer["worked_ms"] > 0
        assert stored(served, tenant) == [0, 0, 0, 0]


def test_a_resting_face_is_taken_and_let_go(served: Server, tenant: str, portrait: bytes) -> None:
    surprise = (FACES / "surprise.jpg").read_bytes()
    wall = jpeg(np.full((120, 90, 3), 128, np.uint8))
    with camera(served, {"key": served.key(tenant)}) as socket:
        hear(socket)

        def look(number: int, picture: bytes, **wishes: str) -> tuple[bool, float | None]:
            if wishes:
                socket.send(json.dumps(wishes))
            socket.send(frame(number, picture))
            answer = hear(socket)
            assert answer["frame"] == number
            return answer["held"], answer["faces"][0]["aus"][0]["probability"] if answer["faces"] else None

        alone = look(1, surprise)
        assert look(2, wall, rest="take") == (False, None), "no face, so there is still none to take"
        assert look(3, portrait)[0] is False
        held = look(4, surprise)
        assert held[0] is True
        assert held[1] is not None
        assert alone[1] is not None
        assert abs(held[1] - alone[1]) > 0.1, "AU1 is measured"
        assert look(5, surprise, faces="largest") == held, "other wishes keep it"
        assert look(6, wall) == (False, None)
        assert look(7, surprise, rest="none") == alone
        look(8, portrait, rest="take")
        assert look(9, surprise) == held
        assert look(10, surprise, checkpoint="tiny") == alone, "another checkpoint may measure otherwise"
        assert stored(served, tenant) == [0, 0, 0, 0]


def test_the_latest_frame_wins(served: Server, tenant: str, portrait: bytes) -> None:
    wall = jpeg(np.full((120, 90, 3), 128, np.uint8))
    with camera(served, {}, **{"X-API-Key": served.key(tenant)}) as socket:
        hear(socket)
        for number in range(1, 60):
            socket.send(frame(number, portrait))
        socket.send(frame(60, wall))
        answers = [hear(socket)]
        while answers[-1]["frame"] != 60:
            answers.append(hear(socket))
        numbers = [answer["frame"] for answer in answers]
        assert numbers == sorted(set(numbers))
        assert answers[-1]["faces"] == []
        assert answers[-1]["dropped"] == 60 - len(answers)
        assert len(answers) < 60, "frames came faster than the network, and none was passed over"
        assert stored(served, tenant) == [0, 0, 0, 0]


def test_a_client_that_leaves_leaves_nothing(served: Server, tenant: str, portrait: bytes) -> None:
    with camera(served, {"key": served.key(tenant)}) as socket:
        hear(socket)
        for number in range(5):
            socket.send(frame(number, portrait))
    ends = time.monotonic() + SECONDS
    while stored(served, tenant) != [0, 0, 0, 0] or served.app.state.context.cameras:
        assert time.monotonic() < ends, stored(served, tenant)
        time.sleep(0.05)


def test_a_bad_frame_does_not_end_the_socket(served: Server, tenant: str, portrait: bytes) -> None:
    with camera(served, {"key": served.key(tenant)}) as socket:
        hear(socket)
        socket.send(frame(1, b"no picture"))
        refused = hear(socket)
        assert (refused["frame"], refused["problem"]["type"]) == (1, "unsupported-media")
        assert refused["problem"]["instance"] == "/camera"
        socket.send(frame(2, portrait))
        assert hear(socket)["frame"] == 2


def test_wishes_can_change(served: Server, tenant: str, portrait: bytes) -> None:
    with camera(served, {"key": served.key(tenant)}) as socket:
        hear(socket)
        socket.send(frame(1, portrait))
        assert not any("roi_map" in au for au in hear(socket)["faces"][0]["aus"])
        socket.send(json.dumps({"maps": ["AU1"], "checkpoint": "tiny:1"}))
        socket.send(frame(2, portrait))
        assert [au["au"] for au in hear(socket)["faces"][0]["aus"] if "roi_map" in au] == ["AU1"]


def test_without_a_worker_the_socket_stays_open(server: Server, tenant: str, portrait: bytes) -> None:
    with camera(server, {"key": server.key(tenant)}) as socket:
        hear(socket)
        for number in range(20):
            socket.send(frame(number, portrait))
        numbers: list[int] = []
        while not numbers or numbers[-1] != 19:
            answer = hear(socket)
            assert answer["problem"]["type"] == "queue-full"
            numbers.append(answer["frame"])
        assert numbers == sorted(set(numbers))
        assert len(numbers) < 20
        assert stored(server, tenant) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("hello", "code", "slug"),
    [
        ({}, 4401, "unauthorized"),
        ({"key": "nonsense"}, 4401, "unauthorized"),
        ({"key": "READER"}, 4403, "forbidden"),
        ({"key": "WRITER", "unknown": 1}, 4422, "validation"),
        ({"key": "WRITER", "faces": "some"}, 4422, "validation"),
        ({"key": "WRITER", "maps": ["smile"]}, 4422, "validation"),
        ({"key": "WRITER", "checkpoint": "nobody:9"}, 4400, "checkpoint-unknown"),
        ("no json", 4422, "validation"),
        (b"\0\0\0\1picture", 4422, "validation"),
    ],
)
def test_who_is_refused_is_told_why(server: Server, tenant: str, hello: object, code: int, slug: str) -> None:
    if isinstance(hello, dict) and hello.get("key") in ("READER", "WRITER"):
        scopes = ("read",) if hello["key"] == "READER" else ("read", "write")
        hello = hello | {"key": server.key(tenant, *scopes)}
    with camera(server, hello) as socket:
        message = hear(socket)
        assert (message["frame"], message["problem"]["type"]) == (None, slug)
        assert message["problem"]["detail"]
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=SECONDS)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, slug)


@pytest.mark.parametrize("data", [b"", b"\0\0\0\1"])
def test_a_frame_without_a_picture_ends_the_socket(server: Server, tenant: str, data: bytes) -> None:
    with camera(server, {"key": server.key(tenant)}) as socket:
        hear(socket)
        socket.send(data)
        assert hear(socket)["problem"]["type"] == "validation"


def test_only_so_many_cameras(server: Server, tenant: str) -> None:
    context = server.app.state.context
    kept, context.cameras = context.cameras, server.settings.max_cameras
    try:
        with camera(server, {"key": server.key(tenant)}) as socket:
            assert hear(socket)["problem"]["type"] == "rate-limited"
    finally:
        context.cameras = kept
