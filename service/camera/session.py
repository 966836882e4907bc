"""One camera's socket: receives frames, keeps the latest, answers as fast as the workers are.

A frame goes the way of an image: a row, a NOTIFY, a worker, an answer; its rows are deleted with the answer. While one
frame is analysed the socket is read on, so that neither the client nor the network fills up with frames that nobody
will look at: of those that came meanwhile only the latest is analysed.
"""

from __future__ import annotations

import asyncio
import logging
import time

from fastapi import WebSocket, WebSocketDisconnect
from pydantic import ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError

from service.auth import Gate, Scope
from service.camera.latest import CameraFrame, LatestFrame
from service.camera.schemas import CameraSettings, FrameRead, FrameRefused
from service.checkpoints.choice import chosen
from service.context import Context
from service.detect import service as detect
from service.detect.schemas import DetectAnswer
from service.errors import problem_document
from service.problems import (
    DatabaseUnavailable,
    Forbidden,
    Internal,
    MediaTooLarge,
    Problem,
    RateLimited,
    Unauthorized,
    Validation,
)
from service.uploads import human_bytes
from worker.store.records import JobOptions, RoiStorage

log = logging.getLogger(__name__)

_HELLO_SECONDS = 10.0
_NUMBER_BYTES = 4
_CLOSE_CODES: dict[type[Problem], int] = {Unauthorized: 4401, Forbidden: 4403, Validation: 4422, RateLimited: 4429}


class CameraSession:
    """Answers one socket until it closes.

    Args:
        context: the app's.
        gate: the app's.
        socket: not yet accepted.
        key: an API key from the headers of the handshake.
    """

    def __init__(self, context: Context, gate: Gate, socket: WebSocket, key: str | None) -> None:
        self._context = context
        self._gate = gate
        self._socket = socket
        self._key = key
        self._settings = CameraSettings()
        self._latest = LatestFrame()
        self._rest: tuple[float, ...] | None = None
        self._takes_rest = False

    async def run(self) -> None:
        """Until the client goes, or is refused with a problem document and a close code."""
        await self._socket.accept()
        working: asyncio.Task[None] | None = None
        try:
            await self._hello()
            working = asyncio.create_task(self._work(), name="camera")
            await self._receive()
        except WebSocketDisconnect:
            pass
        except Problem as problem:
            await self._refuse(problem)
        finally:
            self._latest.close()
            self._context.metrics.camera_frames.labels("dropped").inc(self._latest.dropped)
            if working is not None:
                await working

    async def _hello(self) -> None:
        if self._context.cameras > self._context.settings.max_cameras:
            raise RateLimited(f"{self._context.settings.max_cameras} cameras are connected already. Try again later.")
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                message = await self._socket.receive()
        except TimeoutError as error:
            raise Validation(f"No settings came within {_HELLO_SECONDS:g} s. Send {{}} as text first.") from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        if message.get("text") is None:
            raise Validation("The first message must be settings as JSON text, such as {}; frames come after it.")
        await self._take_settings(message["text"])
        await self._tenant()
        await chosen(self._context, self._settings.checkpoint)
        await self._socket.send_json({"ready": True})

    async def _take_settings(self, text: str) -> None:
        try:
            settings = CameraSettings.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "settings"
            raise Validation(f"Correct {where}: {first['msg']}.") from error
        self._key = settings.key or self._key
        if settings.rest == "none" or settings.checkpoint != self._settings.checkpoint:
            self._rest = None
        if settings.rest != "keep":
            self._takes_rest = settings.rest == "take"
        self._settings = settings

    async def _tenant(self) -> str:
        """Whose key it is, asked anew for every frame: a key that was revoked opens nothing any more."""
        principal = await self._gate.principal(self._socket, self._key)
        if not principal.may(Scope.WRITE):
            raise Forbidden("This key lacks the scope 'write'. Use a key that was created with it.")
        return principal.tenant

    async def _receive(self) -> None:
        """Never waits for the work: what cannot be worked on in time makes place for what comes after."""
        limit = self._context.settings.max_image_bytes
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") is not None:
                await self._take_settings(message["text"])
                continue
            data: bytes = message["bytes"]
            if len(data) <= _NUMBER_BYTES:
                raise Validation("A frame is four bytes with its number, most significant first, and a picture's file.")
            if len(data) > limit + _NUMBER_BYTES:
                raise MediaTooLarge(f"A frame may have {human_bytes(limit)}. Send smaller ones.")
            self._context.metrics.upload_bytes.labels("camera").inc(len(data))
            number = int.from_bytes(data[:_NUMBER_BYTES], "big")
            self._latest.put(CameraFrame(number, data[_NUMBER_BYTES:]))

    async def _work(self) -> None:
        while (frame := await self._latest.take()) is not None:
            outcome = "refused"
            try:
                await self._send(await self._read(frame))
                outcome = "answered"
            except (Unauthorized, Forbidden) as problem:
                await self._refuse(problem)
                return
            except Problem as problem:
                await self._send(self._refused(problem, frame.number))
            except (OperationalError, InterfaceError) as error:
                log.warning("database: %s", error)
                gone = DatabaseUnavailable("The database does not answer. Go on sending; it is asked again.")
                await self._send(self._refused(gone, frame.number))
            except Exception:
                log.exception("camera frame")
                failed = Internal("The service made a mistake with this frame. Its log has the details.")
                await self._send(self._refused(failed, frame.number))
            self._context.metrics.camera_frames.labels(outcome).inc()

    async def _read(self, frame: CameraFrame) -> FrameRead:
        began = time.perf_counter()
        settings = self._settings
        tenant = await self._tenant()
        roi = RoiStorage.FULL if settings.maps else RoiStorage.PEAKS
        rest = None if self._takes_rest else self._rest
        options = JobOptions(roi=roi, faces=settings.faces, store=False, rest=rest)
        with detect.place_in_queue(self._context):
            checkpoint_id = await chosen(self._context, settings.checkpoint)
            job = await detect.queue(self._context, tenant, frame.picture, options, checkpoint_id)
            answer, resting = await detect.answer_at_rest(self._context, job, self._gone)
        if self._takes_rest and resting is not None:
            self._rest, self._takes_rest = resting, False
        _keep_maps(answer, settings.maps)
        return FrameRead(
            frame=frame.number,
            image=answer.image,
            checkpoint=answer.checkpoint,
            faces=answer.faces,
            held=rest is not None and bool(answer.faces),
            waited_ms=round(1000 * (began - frame.came_at), 2),
            worked_ms=round(1000 * (time.perf_counter() - began), 2),
            dropped=self._latest.dropped,
        )

    async def _gone(self) -> bool:
        return self._latest.closed

    async def _send(self, message: FrameRead | FrameRefused) -> None:
        if not self._latest.closed:
            try:
                await self._socket.send_text(message.model_dump_json())
            except (WebSocketDisconnect, RuntimeError):  # the client left meanwhile
                self._latest.close()

    def _refused(self, problem: Problem, number: int | None) -> FrameRefused:
        return FrameRefused(frame=number, problem=problem_document(problem, self._socket.url.path))

    async def _refuse(self, problem: Problem) -> None:
        await self._send(self._refused(problem, None))
        self._latest.close()
        try:
            await self._socket.close(_CLOSE_CODES.get(type(problem), 4400), problem.slug)
        except RuntimeError:  # closed already
            log.debug("a camera left before it was told: %s", problem.slug)


def _keep_maps(answer: DetectAnswer, wanted: list[str]) -> None:
    for face in answer.faces:
        for au in face.aus:
            if au.au not in wanted:
                au.roi_map = None
