"""The camera's socket."""

from __future__ import annotations

from fastapi import APIRouter, WebSocket

from service.auth import Gate
from service.camera.session import CameraSession
from service.context import Context

router = APIRouter()


@router.websocket("/camera")
async def camera(socket: WebSocket) -> None:
    """Frames in, faces out, nothing kept; docs/page.md describes the messages.

    A key comes in the headers of the handshake or, from browsers, which cannot set any, in the first message.
    """
    context: Context = socket.app.state.context
    gate: Gate = socket.app.state.gate
    scheme, _, bearer = socket.headers.get("authorization", "").partition(" ")
    key = bearer.strip() if scheme.lower() == "bearer" and bearer else socket.headers.get("x-api-key")
    context.cameras += 1
    try:
        await CameraSession(context, gate, socket, key).run()
    finally:
        context.cameras -= 1
