"""Health in JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class LiveAnswer(BaseModel):
    """The process answers."""

    status: str = Field(default="alive", examples=["alive"])
    version: str = Field(examples=["0.1.0"])


class Check(BaseModel):
    """One thing that the service needs."""

    ok: bool
    detail: str


class WorkersCheck(Check):
    """Worker processes with a fresh heartbeat."""

    detect: int = Field(description="Processes that analyse pictures")
    video: int = Field(description="Processes that analyse clips")


class ReadyAnswer(BaseModel):
    """Whether requests can be answered now."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "ready": True,
                    "database": {"ok": True, "detail": "answers"},
                    "workers": {"ok": True, "detail": "1 for pictures, 1 for clips", "detect": 1, "video": 1},
                    "checkpoint": {"ok": True, "detail": "w18s-rendered:6"},
                }
            ]
        }
    )

    ready: bool
    database: Check
    workers: WorkersCheck
    checkpoint: Check
