"""Request bodies, counted while they stream in and never held whole unless they are small by contract.

Starlette's `request.form()` spools every part to a temporary file before an endpoint sees it, wherever that file may
lie and however large it may be. Here the bytes of the one file go straight to a sink, and the first thing that is
wrong (another field, one byte over the limit) ends the request.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import errno
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from service.problems import MediaTooLarge, MediaUnreadable, RequestTimeout, StorageFull, UnsupportedMedia, Validation

_FLUSH_BYTES = 1 << 20
# Boundaries and part headers around one file.
_ENVELOPE_BYTES = 64 << 10
# After a refusal so much more is read and thrown away, so that a client that sends first and listens afterwards gets
# the answer instead of a reset connection.
_DRAIN_BYTES = 8 << 20
_DRAIN_SECONDS = 2.0
_CLOSE = {"Connection": "close"}


class Sink(Protocol):
    """Where the bytes of an upload go; called in a thread, in order."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes; raises `OSError` when there is no room."""


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """What came with the bytes of a file."""

    filename: str | None
    content_type: str | None
    bytes: int


@dataclass(slots=True)
class MemorySink:
    """Keeps the bytes; for images, which are small by the limit."""

    data: bytearray = field(default_factory=bytearray)

    def write(self, data: bytes, /) -> None:
        """Append the bytes."""
        self.data += data


def content_type(request: Request) -> str:
    """The media type of the body, lower case and without parameters."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def human_bytes(count: int) -> str:
    """A limit as a person says it: `32 MB`."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


async def receive_file(
    request: Request, name: str, sink: Sink, *, limit_bytes: int, idle_seconds: float = 60.0
) -> ReceivedFile:
    """Stream the one file of a multipart body into a sink.

    Args:
        request: a request whose body was not read yet.
        name: the form field that carries the file.
        sink: gets the file's bytes in pieces of about a megabyte.
        limit_bytes: most bytes that the file may have.
        idle_seconds: longest pause of the client.

    Raises:
        Validation: not this one field, a malformed or truncated body, or the client went away.
        UnsupportedMedia: not a multipart body.
        MediaTooLarge: over the limit, by `Content-Length` before anything is read.
        MediaUnreadable: a file of no bytes.
        RequestTimeout: the client paused too long.
        StorageFull: the sink had no room.
    """
    if content_type(request) != "multipart/form-data":
        raise UnsupportedMedia(
            f"The body is {content_type(request) or 'of no declared type'}. "
            f"Send multipart/form-data with the file in the field '{name}', as curl -F {name}=@FILE does."
        )
    boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary")
    if not boundary:
        raise Validation("The multipart Content-Type has no boundary. Let the HTTP client write that header itself.")
    await _refuse_by_length(request, limit_bytes, limit_bytes + _ENVELOPE_BYTES)
    part = _FilePart(name)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": part.on_part_begin,
                "on_header_field": part.on_header_field,
                "on_header_value": part.on_header_value,
                "on_header_end": part.on_header_end,
                "on_headers_finished": part.on_headers_finished,
                "on_part_data": part.on_part_data,
                "on_end": part.on_end,
            },
        )
        async for chunk in _body(request, idle_seconds):
            parser.write(chunk)
            if part.bytes > limit_bytes:
                raise await _too_large(request, limit_bytes)
            if len(part.pending) >= _FLUSH_BYTES:
                await _flush(part, sink)
        parser.finalize()
    except FormParserError as error:
        raise Validation(f"The multipart body is malformed ({error}). Let the HTTP client build it.") from error
    if not part.complete:
        raise Validation("The multipart body ends before its last boundary. Send the whole file again.")
    if not part.found:
        raise Validation(f"There is no field '{name}' in the form. Send the file as curl -F {name}=@FILE does.")
    if part.bytes == 0:
        raise MediaUnreadable(f"The file in '{name}' has no bytes. Check the path that was given to the client.")
    await _flush(part, sink)
    return ReceivedFile(part.filename, part.content_type, part.bytes)


async def receive_base64(request: Request, name: str, *, limit_bytes: int, idle_seconds: float = 60.0) -> bytes:
    """The bytes of a JSON body `{name: base64}`; a data URL is taken too.

    Raises:
        Validation: not such an object, not base64, or the client went away.
        MediaTooLarge: over the limit.
        MediaUnreadable: no bytes.
        RequestTimeout: the client paused too long.
    """
    limit_body = (limit_bytes + 2) // 3 * 4 + _ENVELOPE_BYTES
    await _refuse_by_length(request, limit_bytes, limit_body)
    body = bytearray()
    async for chunk in _body(request, idle_seconds):
        body += chunk
        if len(body) > limit_body:
            raise await _too_large(request, limit_bytes)
    return await run_in_threadpool(_decode_base64, bytes(body), name, limit_bytes)


def _decode_base64(body: bytes, name: str, limit_bytes: int) -> bytes:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Validation(f'The body is not JSON ({error}). Send {{"{name}": "…base64…"}}.') from error
    if not isinstance(document, dict) or not isinstance(document.get(name), str):
        raise Validation(f'The JSON body needs the string member "{name}" with the file in base64.')
    if unknown := sorted(set(document) - {name}):
        raise Validation(f'The JSON body has unknown members: {", ".join(unknown)[:200]}. Send "{name}" alone.')
    text: str = document[name]
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Validation(
            f'"{name}" is not base64 ({error}). Encode the bytes of the file, as base64 -w0 does.'
        ) from error
    if not data:
        raise MediaUnreadable(f'"{name}" has no bytes. Check what was encoded.')
    if len(data) > limit_bytes:
        raise MediaTooLarge(f"The file has {len(data)} bytes; at most {human_bytes(limit_bytes)} are taken.")
    return data


class _FilePart:
    """Collects the one file part while the parser calls back; refuses every other part as soon as it is named."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.filename: str | None = None
        self.content_type: str | None = None
        self.bytes = 0
        self.pending = bytearray()
        self.found = False
        self.complete = False
        self._headers: dict[bytes, bytes] = {}
        self._header = (bytearray(), bytearray())

    def on_part_begin(self) -> None:
        self._headers = {}

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def on_header_end(self) -> None:
        self._headers[bytes(self._header[0]).lower()] = bytes(self._header[1])
        self._header = (bytearray(), bytearray())

    def on_headers_finished(self) -> None:
        options = parse_options_header(self._headers.get(b"content-disposition"))[1]
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name != self.name:
            raise Validation(
                f"The form has a field '{name[:80]}'. This operation takes one file in the field '{self.name}'; "
                "options go into the query."
            )
        if self.found:
            raise Validation(f"The form has the field '{self.name}' twice. Send one file per request.")
        self.found = True
        filename = options.get(b"filename")
        self.filename = filename.decode("utf-8", "replace") if filename else None
        declared = self._headers.get(b"content-type")
        self.content_type = declared.decode("latin-1") if declared else None

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.bytes += end - start
        self.pending += data[start:end]

    def on_end(self) -> None:
        self.complete = True


async def _flush(part: _FilePart, sink: Sink) -> None:
    data, part.pending = bytes(part.pending), bytearray()
    try:
        await run_in_threadpool(sink.write, data)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFull(
                "The media folder has no room for this file. Delete finished jobs or give the service more disk.",
                headers=_CLOSE,
            ) from error
        raise


async def _body(request: Request, idle_seconds: float) -> AsyncIterator[bytes]:
    stream = request.stream()
    try:
        while True:
            async with asyncio.timeout(idle_seconds):
                chunk = await anext(stream, None)
            if chunk is None:
                return
            yield chunk
    except TimeoutError as error:
        raise RequestTimeout(
            f"Nothing arrived for {idle_seconds:.0f} s in the middle of the body. Send the request again.",
            headers=_CLOSE,
        ) from error
    except ClientDisconnect as error:
        raise Validation("The connection closed in the middle of the body. Send the request again.") from error


async def _refuse_by_length(request: Request, limit_bytes: int, limit_body: int) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit_body:
        raise await _too_large(request, limit_bytes)


async def _too_large(request: Request, limit_bytes: int) -> MediaTooLarge:
    # A client that asks first (Expect: 100-continue) has sent nothing yet and reads the answer at once.
    if request.headers.get("expect", "").lower() != "100-continue":
        drained = 0
        with contextlib.suppress(Validation, RequestTimeout, TimeoutError, RuntimeError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                async for chunk in _body(request, _DRAIN_SECONDS):
                    drained += len(chunk)
                    if drained > _DRAIN_BYTES:
                        break
    return MediaTooLarge(
        f"At most {human_bytes(limit_bytes)} are taken. Send a smaller file, or have the limit raised "
        "(ROIGCN_MAX_IMAGE_BYTES, ROIGCN_MAX_VIDEO_BYTES).",
        headers=_CLOSE,
    )
