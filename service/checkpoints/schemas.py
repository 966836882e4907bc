"""Checkpoints in JSON."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_EXAMPLE: dict[str, Any] = {
    "name": "w18s-rendered",
    "version": "1",
    "active": True,
    "summary": "HRNet-W18-small at 128 pixels",
    "au_codes": ["AU1", "AU2", "AU12"],
    "input_size": 128,
    "backbone": "hrnet_w18_small",
    "synthetic_only": True,
    "trained_on": "rendered faces",
    "thresholds": {"AU1": 0.43, "AU2": 0.45, "AU12": 0.5},
    "reads_landmarks": True,
    "metrics": {"protocol": "held-out identities", "mean": {"auc": 0.86}},
    "licence": "Apache-2.0",
    "parameters": 3900000,
    "weights_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}


class MetricsBlock(BaseModel):
    """Measured quality, with the protocol that gave it."""

    protocol: str
    mean: dict[str, float | None]


class CheckpointAnswer(BaseModel):
    """An installed checkpoint."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: str
    version: str
    active: bool = Field(description="Whether new jobs use it")
    summary: str
    au_codes: list[str]
    input_size: int = Field(description="Side of a face's crop in pixels")
    backbone: str
    synthetic_only: bool = Field(description="Whether it was trained on rendered faces only")
    trained_on: str
    thresholds: dict[str, float] = Field(
        description="Of the probability, by AU; an AU without one is decided by the network's maps alone"
    )
    reads_landmarks: bool = Field(
        description="Whether probabilities also come from the landmarks; scores and maps are the network's alone"
    )
    metrics: MetricsBlock
    licence: str
    parameters: int
    weights_sha256: str


class BrokenAnswer(BaseModel):
    """A folder of the registry that cannot be used."""

    folder: str = Field(description="`name/version`")
    problem: str


class CheckpointsAnswer(BaseModel):
    """All installed checkpoints."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"checkpoints": [_EXAMPLE], "broken": []}]})

    checkpoints: list[CheckpointAnswer]
    broken: list[BrokenAnswer]
