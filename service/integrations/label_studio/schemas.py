"""What Label Studio 1.23 sends to a machine learning backend, and what it takes as an answer.

Requests keep only what is used; Label Studio sends much more and adds to it with every version.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from worker.store.deliveries import DeliveryState

_CONFIG = (
    '<View><Image name="img" value="$image"/><RectangleLabels name="face" toName="img"><Label value="face"/>'
    '</RectangleLabels><Choices name="aus" toName="img" perRegion="true" choice="multiple"><Choice value="AU12"/>'
    "</Choices></View>"
)
_RESULT: dict[str, Any] = {
    "id": "6f1c2a-f0",
    "from_name": "face",
    "to_name": "img",
    "type": "rectanglelabels",
    "original_width": 512,
    "original_height": 512,
    "image_rotation": 0,
    "value": {"x": 21.1, "y": 9.0, "width": 65.9, "height": 82.4, "rotation": 0, "rectanglelabels": ["face"]},
    "score": 0.9086,
}
_VERSION = "roigcn w18s-rendered:6 1f3a90c2"


class SetupRequest(BaseModel):
    """A project is connected, or its state is looked at."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"project": "3.1795344093", "schema": _CONFIG, "extra_params": None}]}
    )

    project: str = Field(description="Project id, a point, and the second of its creation")
    label_config: str = Field(alias="schema", description="The project's label configuration")


class SetupAnswer(BaseModel):
    """The version of the predictions that this project gets now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model_version": _VERSION}]}, protected_namespaces=())

    model_version: str = Field(description="Changes exactly when predictions would")


class TaskBlock(BaseModel):
    """A task of a project."""

    id: int | None = None
    data: dict[str, Any]
    project: int | None = None


class PredictParams(BaseModel):
    """Extras of a request."""

    context: dict[str, Any] | None = Field(default=None, description="In interactive mode: what the annotator drew")


class PredictRequest(BaseModel):
    """Predictions are wanted for some tasks."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "tasks": [{"id": 7, "data": {"image": "/data/upload/3/1a2b3c4d-smile.jpg"}, "project": 3}],
                    "project": "3.1795344093",
                    "label_config": _CONFIG,
                    "params": {"context": None},
                }
            ]
        }
    )

    tasks: list[TaskBlock] = Field(max_length=1000)
    project: str | None = None
    label_config: str
    params: PredictParams = PredictParams()


class Prediction(BaseModel):
    """A prediction as Label Studio keeps it."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str
    score: float = Field(description="How sure the network is of the Action Units, 0.5 to 1; 0 without a face")
    result: list[dict[str, Any]] = Field(description="Regions and choices, in Label Studio's own form")


class PredictAnswer(BaseModel):
    """One entry per task, in order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"results": [[{"model_version": _VERSION, "score": 0.91, "result": [_RESULT]}]], "errors": []}]
        }
    )

    results: list[list[Prediction] | Prediction] = Field(
        description="A list of predictions per task: one for a picture, none yet for a clip (it is pushed when it is "
        "done) and none for what could not be analysed. In interactive mode a single prediction"
    )
    errors: list[str] = Field(default=[], description="Why tasks have no prediction, for people who look")


class HealthAnswer(BaseModel):
    """The backend is there."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "UP", "model_class": "roigcn"}]}, protected_namespaces=()
    )

    status: str = "UP"
    model_class: str = "roigcn"


class WebhookAnswer(BaseModel):
    """The event was heard."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ignored"}]})

    status: str = "ignored"


class PushBlock(BaseModel):
    """A clip whose predictions go to a task when they are there."""

    id: UUID
    task: int
    project: str | None
    state: DeliveryState
    job: UUID | None = Field(description="The clip's job; null until the clip is fetched")
    attempts: int = Field(description="Failed attempts so far")
    detail: str | None = Field(description="What went wrong last")
    created_at: AwareDatetime


class PushesAnswer(BaseModel):
    """The caller's newest pushes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "pushes": [
                        {
                            "id": "019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10",
                            "task": 12,
                            "project": "3.1795344093",
                            "state": "analysing",
                            "job": None,
                            "attempts": 0,
                            "detail": None,
                            "created_at": "2026-11-24T23:00:00Z",
                        }
                    ]
                }
            ]
        }
    )

    pushes: list[PushBlock]
