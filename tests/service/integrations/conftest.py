"""A Label Studio to ask and a service that is set up for it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from pydantic import SecretStr

from tests.service.integrations.station import PERSONAL_TOKEN, Station, station
from tests.service.kit import Server, running_server

ROOT = "/integrations/label-studio"


@pytest.fixture(scope="module")
def office() -> Iterator[Station]:
    """Where media lies and predictions go."""
    with station() as running:
        yield running


@pytest.fixture(scope="module")
def backend(served: Server, office: Station) -> Iterator[Server]:
    """A service that is set up for the station; its workers are those of `served`."""
    update = {"label_studio_url": office.url, "label_studio_token": SecretStr(PERSONAL_TOKEN)}
    with running_server(served.settings.model_copy(update=update)) as running:
        running.key("somebody")
        yield running


@pytest.fixture
def annotator(backend: Server, tenant: str) -> Iterator[httpx.Client]:
    """Label Studio, signed in by HTTP Basic with a key as the password: the only way that it offers."""
    auth = httpx.BasicAuth("roigcn", backend.key(tenant))
    headers = {"User-Agent": "heartex/1.23.2"}
    with httpx.Client(base_url=backend.url + ROOT, auth=auth, headers=headers, timeout=60) as client:
        yield client
