"""The routes of a machine learning backend; its address in Label Studio is `http://…/integrations/label-studio`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from service.auth import BasicWriter, Reader, basic_writer
from service.context import Ctx
from service.integrations.label_studio import service
from service.integrations.label_studio.schemas import (
    HealthAnswer,
    PredictAnswer,
    PredictRequest,
    PushesAnswer,
    SetupAnswer,
    SetupRequest,
    WebhookAnswer,
)
from service.openapi import problems
from service.problems import CheckpointUnavailable, MediaTooLarge, NotConfigured, QueueFull
from service.uploads import human_bytes

# A thousand tasks with their annotations and predictions come to a few megabytes.
_MAX_BODY_BYTES = 32_000_000


class GuardedRoute(APIRoute):
    """Asks who is there, and how large the body is, before the body is read into memory."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with the check in front."""
        answer = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            if self.body_field is not None:
                await basic_writer(request)
                _check_length(request)
            return await answer(request)

        return guarded


def _check_length(request: Request) -> None:
    declared = request.headers.get("content-length", "")
    if not declared.isdecimal() or int(declared) > _MAX_BODY_BYTES:
        raise MediaTooLarge(
            f"A body of at most {human_bytes(_MAX_BODY_BYTES)}, with its Content-Length, is taken. Send fewer tasks.",
            headers={"Connection": "close"},
        )


router = APIRouter(prefix="/integrations/label-studio", tags=["label studio"], route_class=GuardedRoute)


@router.get("/health", summary="Is the backend there?", responses=problems())
async def health() -> HealthAnswer:
    """Answers as long as the process does; Label Studio asks before everything else and waits one second. No key."""
    return HealthAnswer()


@router.post(
    "/setup",
    summary="Connect a project",
    responses=problems(CheckpointUnavailable, MediaTooLarge),
    dependencies=[Depends(basic_writer)],
)
async def setup(body: SetupRequest, context: Ctx) -> SetupAnswer:
    """The version of the predictions that a project with this configuration gets.

    A configuration without anything to fill in is refused, so that Label Studio says so when the backend is connected.
    The token that Label Studio sends along is not used: new organisations have such tokens switched off.
    """
    return SetupAnswer(model_version=await service.present_version(context, body.label_config))


@router.post(
    "/predict",
    summary="Predict tasks",
    responses=problems(CheckpointUnavailable, MediaTooLarge, NotConfigured, QueueFull),
)
async def predict(request: Request, body: PredictRequest, context: Ctx, caller: BasicWriter) -> PredictAnswer:
    """Faces and Action Units of each task's picture, as the project's own controls take them.

    Clips are queued; their predictions are pushed to Label Studio when they are done. With a context (interactive mode)
    the one face that the annotator's click or box means is answered.
    """
    return await service.predict(context, caller.tenant, body, request.is_disconnected)


@router.get("/pushes", summary="List pushes", responses=problems())
async def pushes(context: Ctx, caller: Reader) -> PushesAnswer:
    """The newest hundred clips of tasks: which are fetched, analysed, delivered, and why one is not."""
    return await service.pushes(context, caller.tenant)


@router.post("/webhook", summary="Hear of an event", responses=problems())
async def webhook() -> WebhookAnswer:
    """Takes every event of Label Studio and does nothing with it: nothing is trained here. Needs no key, reads nothing.

    Label Studio sets this address up by itself and sends no key to it.
    """
    return WebhookAnswer()


async def _nothing() -> dict[str, str]:
    return {}


# What older versions of Label Studio ask: answered, so that nothing in it fails, and not documented.
for _path, _method in (
    ("/versions", "GET"),
    ("/validate", "POST"),
    ("/job_status", "POST"),
    ("/duplicate_model", "POST"),
    ("/delete", "POST"),
    ("/train", "POST"),
):
    router.add_api_route(_path, _nothing, methods=[_method], include_in_schema=False)
