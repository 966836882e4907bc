"""The OpenAPI document: problem documents for every error, examples for every operation."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from service.problems import (
    MEDIA_TYPE,
    DatabaseUnavailable,
    Forbidden,
    Internal,
    Problem,
    ProblemDocument,
    Unauthorized,
    Validation,
)

Responses = dict[int | str, dict[str, Any]]

_ALWAYS: tuple[type[Problem], ...] = (Unauthorized, Forbidden, Validation, Internal, DatabaseUnavailable)
_EXAMPLE_DETAILS = "What happened with this request and what to do about it."

DESCRIPTION = """
Finds faces in pictures and clips and reads their facial Action Units with the ROI-GCN network.

* All coordinates are pixels of the upright image, origin top left; times are milliseconds; probabilities run from 0
  to 1 and scores from about -1 to 1.
* Every error is an RFC 9457 problem document whose `type` is a stable slug and whose `detail` says what to do.
* `left` and `right` are sides of the image: the subject's other side unless the picture is mirrored.
"""


def problems(*kinds: type[Problem]) -> Responses:
    """The error responses of an operation: the given ones and those that every operation may give."""
    responses: Responses = {}
    for kind in dict.fromkeys(kinds + _ALWAYS):
        entry = responses.setdefault(
            kind.status,
            {
                "description": kind.title,
                "content": {
                    MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}, "examples": {}},
                },
            },
        )
        entry["content"][MEDIA_TYPE]["examples"][kind.slug] = {
            "summary": kind.title,
            "value": {
                "type": kind.slug,
                "title": kind.title,
                "status": kind.status,
                "detail": _EXAMPLE_DETAILS,
                "instance": "/path/of/the/request",
            },
        }
    return responses


def install(app: FastAPI) -> None:
    """Give `app` its document, made once."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            problem = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            schemas |= problem.pop("$defs", {}) | {"ProblemDocument": problem}
            _restore_nulls(schemas)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the documented way to change FastAPI's document


def _restore_nulls(schemas: dict[str, Any]) -> None:
    """FastAPI drops every null from its document, also from examples, which then lack members that are required."""
    for model in BaseModel.__subclasses__():
        extra = model.model_config.get("json_schema_extra")
        if model.__module__.startswith("service.") and model.__name__ in schemas and isinstance(extra, dict):
            schemas[model.__name__]["examples"] = extra["examples"]
