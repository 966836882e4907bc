"""Settings of a worker process, from environment variables `ROIGCN_...`.

The service subclasses `WorkerSettings`, so that one environment configures both.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def default_data_dir() -> Path:
    """The user's data folder for roigcn: XDG on Linux, Application Support on macOS, LOCALAPPDATA on Windows."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", str(Path.home() / "AppData" / "Local")))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "roigcn"


class WorkerSettings(BaseSettings):
    """What a worker needs to know.

    Attributes:
        data_dir: folder of the embedded database, the media store, registered checkpoints and caches.
        database_url: Postgres URL; unset means the embedded Postgres in `data_dir`.
        broker_url: Celery broker; unset means a bell inside each worker process (`memory://`, solo pool).
        engine: which engine runs the network: `auto`, `openvino` (processors) or `torch` (GPUs).
        device: device of the engine, `auto`, `cpu`, `cuda`, `cuda:1` ...
        threads: threads of the engine; unset means one per core.
        checkpoint: `name[:version]` of the checkpoint to use; unset means the registry's active one.
        reading: `network`: probability and decision by the paper's network alone; `both`: joined with a reading of the
            landmarks, which the checkpoint must hold; `auto`: both where the checkpoint holds it.
        assets_dir: folder of the face nets; unset means the user's cache.
        cache_dir: folder of converted graphs; unset means `data_dir/cache`.
        concurrency: children of a worker process, each with the network; one per GPU. More than 1 needs a broker.
        loaded_checkpoints: networks that a worker process keeps loaded at once; the one used longest ago goes first.
        batch_size: the most faces in one run of the engine, and the most image jobs in one claim.
        lease_seconds: how long a claimed job stays claimed without a heartbeat.
        sweep_seconds: period of the sweep: heartbeat, requeue of lost jobs, ring.
        max_attempts: claims without progress after which a job fails as `worker-lost`.
        stall_seconds: a job that shows no activity for so long loses its heartbeat, and the process its liveness.
        commit_frames: a video's rows are committed after so many frames at the latest,
        commit_seconds: or after so many seconds.
        max_video_seconds: longer clips fail as `media-too-long`.
        max_image_pixels: larger images are refused before they are decoded.
        max_video_pixels: larger video pictures fail as `media-too-large`.
    """

    model_config = SettingsConfigDict(env_prefix="ROIGCN_", extra="ignore", frozen=True)

    data_dir: Path = Field(default_factory=default_data_dir)
    database_url: str | None = None
    broker_url: str | None = None
    engine: Literal["auto", "openvino", "torch"] = "auto"
    device: str = "auto"
    threads: int | None = Field(default=None, ge=1)
    checkpoint: str | None = None
    reading: Literal["auto", "network", "both"] = "auto"
    assets_dir: Path | None = None
    cache_dir: Path | None = None
    concurrency: int = Field(default=1, ge=1)
    loaded_checkpoints: int = Field(default=3, ge=1)
    batch_size: int = Field(default=16, ge=1, le=256)
    lease_seconds: float = Field(default=20.0, gt=0)
    sweep_seconds: float = Field(default=3.0, gt=0)
    max_attempts: int = Field(default=3, ge=1)
    stall_seconds: float = Field(default=300.0, gt=0)
    commit_frames: int = Field(default=256, ge=1)
    commit_seconds: float = Field(default=2.0, gt=0)
    max_video_seconds: float = Field(default=4 * 3600.0, gt=0)
    max_image_pixels: int = Field(default=100_000_000, ge=1)
    max_video_pixels: int = Field(default=8192 * 4320, ge=1)

    @field_validator("database_url", "broker_url", "checkpoint", "assets_dir", "cache_dir", "threads", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        """An empty environment variable (compose files write them) means unset."""
        return None if value == "" else value

    @field_validator("data_dir", "assets_dir", "cache_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value is not None else None

    @property
    def media_dir(self) -> Path:
        """Folder of the media store."""
        return self.data_dir / "media"
