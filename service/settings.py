"""Settings of the API process, from environment variables `ROIGCN_...`."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from worker.settings import WorkerSettings


class ServiceSettings(WorkerSettings):
    """What the API needs to know beside what the workers know.

    Attributes:
        host: address that the server listens on; on any other than a loopback address API keys are needed.
        port: TCP port.
        max_image_bytes: larger pictures are refused with 413.
        max_video_bytes: larger clips are refused with 413.
        detect_seconds: how long `POST /detect` waits for a worker before it answers 503.
        explain_seconds: how long a request to look inside the network waits for a worker before it is answered 503.
        max_waiting_detects: requests to `/detect` that wait at once; more are answered 503 (`queue-full`).
        max_cameras: sockets of `/camera` that are open at once; more are closed with 4429 (`rate-limited`).
        max_queued_videos: clips of one tenant that wait at once; more are answered 503 (`queue-full`).
        upload_idle_seconds: longest pause within an upload.
        database_pool: connections to Postgres, and threads that use them.
        migrate: bring the database to the newest schema at start.
        worker_alive_seconds: age of a worker's heartbeat from which `/health/ready` no longer counts it.
        label_studio_url: address of the Label Studio that media is fetched from and predictions are pushed to.
        label_studio_token: personal access token (or legacy token) of a user there who sees the projects.
        label_studio_media_hosts: further hosts, with commas between, that media of tasks may be fetched from.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    max_image_bytes: int = Field(default=32_000_000, ge=1)
    max_video_bytes: int = Field(default=8_000_000_000, ge=1)
    detect_seconds: float = Field(default=20.0, gt=0)
    explain_seconds: float = Field(default=60.0, gt=0)
    max_waiting_detects: int = Field(default=256, ge=1)
    max_cameras: int = Field(default=16, ge=0)
    max_queued_videos: int = Field(default=1000, ge=1)
    upload_idle_seconds: float = Field(default=60.0, gt=0)
    database_pool: int = Field(default=8, ge=1, le=64)
    migrate: bool = True
    worker_alive_seconds: float = Field(default=15.0, gt=0)
    label_studio_url: str | None = None
    label_studio_token: SecretStr | None = None
    label_studio_media_hosts: str = ""

    @field_validator("label_studio_url", "label_studio_token", mode="before")
    @classmethod
    def _empty_address_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("label_studio_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("an address such as https://label-studio.example.org is wanted")
        return value.rstrip("/")

    @property
    def media_hosts(self) -> frozenset[str]:
        """The hosts of `label_studio_media_hosts`, lower case."""
        return frozenset(part.strip().lower() for part in self.label_studio_media_hosts.split(",") if part.strip())
