"""Bodies of every kind: what is refused, how, and that a refused upload leaves nothing behind."""

from __future__ import annotations

import asyncio
import base64
import errno
import io
import json
import socket
import struct
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image
from starlette.requests import Request

from service.problems import Problem
from service.uploads import MemorySink, human_bytes, receive_file
from tests.service.kit import Server, Store, assert_problem

MP4 = b"\0\0\0\x18ftypisom" + b"\0" * 1000


def picture(kind: str = "PNG", size: tuple[int, int] = (8, 8)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "grey").save(file, kind)
    return file.getvalue()


PNG = picture()


def giant() -> bytes:
    """A small file whose header, with a valid checksum, promises 60,000 x 60,000 pixels."""
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + PNG[24:29]
    return PNG[:12] + header + struct.pack(">I", zlib.crc32(header)) + PNG[33:]


GIANT = giant()


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(server: Server, store: Store) -> Iterator[None]:
    before = sorted(server.media_files())
    yield
    assert sorted(server.media_files()) == before
    assert store.count() == 0


@pytest.mark.parametrize(
    ("content", "status", "slug"),
    [
        (b"", 422, "media-unreadable"),
        (b"hello, this is no picture", 415, "unsupported-media"),
        (PNG[:20], 422, "media-unreadable"),
        (b"%PDF-1.7 renamed to photo.jpg", 415, "unsupported-media"),
        (MP4, 415, "unsupported-media"),
        (GIANT, 413, "media-too-large"),
        (PNG + b"\0" * 300_000, 413, "media-too-large"),
        (PNG + b"\0" * 900_000, 413, "media-too-large"),
    ],
    ids=["empty", "text", "truncated header", "pdf", "clip", "giant pixels", "a little too large", "too large"],
)
@pytest.mark.parametrize("way", ["multipart", "base64"])
def test_pictures_that_are_refused(client: httpx.Client, content: bytes, status: int, slug: str, way: str) -> None:
    if way == "multipart":
        response = client.post("/detect", files={"image": ("photo.jpg", content, "image/jpeg")})
    else:
        response = client.post("/detect", json={"image_base64": base64.b64encode(content).decode()})
    assert_problem(response, status, slug)


@pytest.mark.parametrize(
    ("content", "status", "slug"),
    [
        (b"", 422, "media-unreadable"),
        (b"just text, renamed to clip.mp4", 415, "unsupported-media"),
        (PNG, 415, "unsupported-media"),
        (MP4 + b"\0" * 3_000_000, 413, "media-too-large"),
    ],
    ids=["empty", "text", "picture", "too large"],
)
def test_clips_that_are_refused(client: httpx.Client, content: bytes, status: int, slug: str) -> None:
    assert_problem(client.post("/jobs", files={"video": ("clip.mp4", content)}), status, slug)


@pytest.mark.parametrize(
    ("path", "name", "data"), [("/detect", "image", PNG), ("/jobs", "video", MP4)], ids=["detect", "jobs"]
)
def test_forms_that_are_refused(client: httpx.Client, path: str, name: str, data: bytes) -> None:
    cases: list[tuple[dict[str, object], int, str, str]] = [
        ({"files": {"file": ("a", data)}}, 422, "validation", f"'{name}'"),
        ({"files": [(name, ("a", data)), (name, ("b", data))]}, 422, "validation", "twice"),
        ({"files": {name: ("a", data)}, "data": {"roi": "full"}}, 422, "validation", "query"),
        ({"content": data, "headers": {"Content-Type": "application/octet-stream"}}, 415, "unsupported-media", name),
        ({"content": data}, 415, "unsupported-media", name),
        ({"data": {name: "text"}}, 415, "unsupported-media", "multipart"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 422, "validation", "boundary"),
        (
            {"content": b"nonsense", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
            422,
            "validation",
            "malformed",
        ),
        (
            {"content": b"--b--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
            422,
            "validation",
            name,
        ),
        (
            {
                "content": b'--b\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n\r\n' + data,
                "headers": {"Content-Type": "multipart/form-data; boundary=b"},
            },
            422,
            "validation",
            "boundary",
        ),
        (
            {
                "content": b"--b\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
                "headers": {"Content-Type": "multipart/form-data; boundary=b"},
            },
            422,
            "validation",
            "malformed",
        ),
    ]
    for request, status, slug, word in cases:
        body = assert_problem(client.post(path, **request), status, slug)  # type: ignore[arg-type]
        assert word in str(body["detail"]), body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"image": "eA=="}',
        b'{"image_base64": 7}',
        b'{"image_base64": "***"}',
        b'{"image_base64": "abc"}',
        b'{"image_base64": "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"}',
        b'{"image_base64": "eA==", "url": "http://example.org"}',
        b"[" * 100_000,
    ],
)
def test_json_that_is_refused(client: httpx.Client, body: bytes) -> None:
    assert_problem(
        client.post("/detect", content=body, headers={"Content-Type": "application/json"}), 422, "validation"
    )


def test_a_data_url_is_taken(client: httpx.Client) -> None:
    body = {"image_base64": "data:image/png;base64," + base64.b64encode(PNG).decode()}
    assert_problem(client.post("/detect", json=body), 503, "queue-full")  # accepted; nobody works here


@pytest.mark.parametrize("query", ["roi=some", "faces=two", "store=perhaps"])
def test_odd_options(client: httpx.Client, query: str) -> None:
    assert_problem(client.post(f"/detect?{query}", files={"image": PNG}), 422, "validation")


def test_without_a_worker_the_answer_is_to_come_again(client: httpx.Client) -> None:
    response = client.post("/detect", files={"image": PNG})
    body = assert_problem(response, 503, "queue-full")
    assert int(response.headers["retry-after"]) > 0
    assert "/health/ready" in str(body["detail"])


class RawConnection:
    """A client that sends what it likes, when it likes."""

    def __init__(self, server: Server, key: str, path: str, headers: dict[str, str]) -> None:
        address = urlsplit(server.url)
        assert address.hostname is not None
        self.socket = socket.create_connection((address.hostname, address.port or 80), timeout=10)
        lines = [f"POST {path} HTTP/1.1", f"Host: {address.netloc}", f"X-API-Key: {key}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

    def send_clip(self, count: int) -> None:
        head = b'--b\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
        self.socket.sendall(head + MP4 + b"\0" * count)

    def answer(self) -> tuple[int, dict[str, object]]:
        data = b""
        while chunk := self.socket.recv(65536):
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)


MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}


def test_a_client_that_leaves_in_the_middle(server: Server, tenant: str) -> None:
    before = len(server.media_files())
    connection = RawConnection(server, server.key(tenant), "/jobs", {**MULTIPART, "Content-Length": "2000000"})
    connection.send_clip(1_500_000)
    wait_until(lambda: len(server.media_files()) == before + 1)  # it is being written
    connection.socket.close()
    wait_until(lambda: len(server.media_files()) == before)


def test_a_client_that_stalls(server: Server, tenant: str) -> None:
    connection = RawConnection(server, server.key(tenant), "/jobs", {**MULTIPART, "Content-Length": "2000000"})
    connection.send_clip(100_000)
    status, body = connection.answer()
    assert (status, body["type"]) == (408, "upload-stalled")


def test_a_client_that_asks_first_sends_nothing_in_vain(server: Server, tenant: str) -> None:
    headers = {**MULTIPART, "Content-Length": "999999999999", "Expect": "100-continue"}
    connection = RawConnection(server, server.key(tenant), "/jobs", headers)
    status, body = connection.answer()
    assert (status, body["type"]) == (413, "media-too-large")


def test_a_length_that_is_not_declared_is_counted(server: Server, client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n' + MP4
        for _ in range(40):
            yield b"\0" * 100_000
        yield b"\r\n--b--\r\n"

    assert_problem(client.post("/jobs", content=chunks(), headers=MULTIPART), 413, "media-too-large")


def test_a_full_disk_leaves_nothing(server: Server, client: httpx.Client) -> None:
    media = server.app.state.context.media
    kept, media.min_free_bytes = media.min_free_bytes, 1 << 60
    try:
        body = assert_problem(client.post("/jobs", files={"video": MP4}), 507, "storage-full")
        assert "disk" in str(body["detail"])
    finally:
        media.min_free_bytes = kept


def wait_until(condition: object, seconds: float = 10.0) -> None:
    assert callable(condition)
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.01)


def request_of(body: bytes, pieces: int) -> Request:
    step = max(len(body) // pieces, 1)
    queue = [body[start : start + step] for start in range(0, len(body), step)]

    async def receive() -> dict[str, object]:
        chunk = queue.pop(0) if queue else b""
        return {"type": "http.request", "body": chunk, "more_body": bool(queue)}

    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


def form(data: bytes) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x.png"\r\nContent-Type: image/png\r\n\r\n'
    return head + data + b"\r\n--b--\r\n"


@pytest.mark.parametrize("pieces", [1, 2, 7, 1000])
def test_however_the_body_is_cut_the_bytes_are_the_same(pieces: int) -> None:
    data = bytes(range(256)) * 20 + b"\r\n--b-\r\n--"
    sink = MemorySink()
    received = asyncio.run(receive_file(request_of(form(data), pieces), "image", sink, limit_bytes=len(data)))
    assert bytes(sink.data) == data
    assert (received.filename, received.content_type, received.bytes) == ("x.png", "image/png", len(data))


def test_a_large_upload_is_never_held() -> None:
    class Counting:
        total = 0

        def write(self, data: bytes, /) -> None:
            self.total += len(data)

    chunk, count = b"\0" * 65_536, 1_000

    def pieces() -> Iterator[bytes]:
        yield form(b"")[: -len(b"\r\n--b--\r\n")]
        for _ in range(count):
            yield chunk
        yield b"\r\n--b--\r\n"

    source = pieces()

    async def receive() -> dict[str, object]:
        piece = next(source, b"")
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

    request = request_of(b"", 1)
    request = Request(request.scope, receive)
    sink = Counting()
    tracemalloc.start()
    try:
        asyncio.run(receive_file(request, "image", sink, limit_bytes=100_000_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sink.total == len(chunk) * count
    assert peak < 8_000_000


@pytest.mark.parametrize(
    ("code", "slug"), [(errno.ENOSPC, "storage-full"), (errno.EDQUOT, "storage-full"), (errno.EFBIG, "storage-full")]
)
def test_what_a_full_volume_raises_is_said(code: int, slug: str) -> None:
    class Full:
        def write(self, data: bytes, /) -> None:
            raise OSError(code, "full")

    with pytest.raises(Problem) as caught:
        asyncio.run(receive_file(request_of(form(b"data"), 1), "image", Full(), limit_bytes=100))
    assert caught.value.slug == slug


@pytest.mark.parametrize(
    ("count", "text"), [(10, "10 bytes"), (2_500, "2.5 kB"), (32_000_000, "32 MB"), (8_000_000_000, "8 GB")]
)
def test_sizes_read_well(count: int, text: str) -> None:
    assert human_bytes(count) == text
