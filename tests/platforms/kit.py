"""A real Label Studio, headless, and a caller of its API."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.system.running import free_port

ROOT = Path(__file__).parents[2]
VENV = Path(os.environ.get("ROIGCN_PLATFORMS_VENV") or ROOT / ".venv-platforms")
START_SECONDS = 600.0  # the first start makes the database, minutes on a busy machine
_EMAIL = "lead@example.com"


@dataclass(frozen=True, slots=True)
class LabelStudioServer:
    """A running Label Studio with one user, signed in with a personal access token as a person would be."""

    url: str
    token: str
    client: httpx.Client

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Call the API; the answer's JSON."""
        headers = {"Authorization": f"Bearer {self._access()}"}
        answer = self.client.request(method, path, headers=headers, **arguments)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json() if answer.content else None

    def project(self, config: str, title: str = "faces") -> int:
        """A new project with this label configuration."""
        return int(self.call("POST", "/api/projects", json={"title": title, "label_config": config})["id"])

    def upload(self, project: int, path: Path) -> int:
        """Upload a file as a task; the task's id."""
        with path.open("rb") as file:
            self.call("POST", f"/api/projects/{project}/import", files={"file": (path.name, file)})
        return max(task["id"] for task in self.tasks(project))

    def tasks(self, project: int) -> list[dict[str, Any]]:
        """All tasks of a project."""
        page = self.call("GET", "/api/tasks", params={"project": project, "page_size": 100, "fields": "all"})
        tasks: list[dict[str, Any]] = page["tasks"]
        return tasks

    def predictions(self, task: int) -> list[dict[str, Any]]:
        """The predictions that a task has."""
        found: list[dict[str, Any]] = self.call("GET", "/api/predictions", params={"task": task})
        return found

    def retrieve(self, project: int) -> Any:
        """Press "Retrieve Predictions" for all tasks."""
        return self.call(
            "POST",
            "/api/dm/actions",
            params={"id": "retrieve_tasks_predictions", "project": project},
            json={"selectedItems": {"all": True, "excluded": []}},
        )

    def _access(self) -> str:
        answer = self.client.post("/api/token/refresh", json={"refresh": self.token})
        assert answer.is_success, answer.text
        return str(answer.json()["access"])


@dataclass(frozen=True, slots=True)
class Backend:
    """A running roigcn with an API key."""

    url: str
    key: str
    log: Path

    def connect(self, ls: LabelStudioServer, project: int) -> dict[str, Any]:
        """Connect a project to it as Label Studio's form does; the connection."""
        body = {
            "url": f"{self.url}/integrations/label-studio",
            "project": project,
            "title": "roigcn",
            "is_interactive": True,
            "auth_method": "BASIC_AUTH",
            "basic_auth_user": "roigcn",
            "basic_auth_pass": self.key,
        }
        made: dict[str, Any] = ls.call("POST", "/api/ml", json=body)
        return made

    def get(self, path: str) -> Any:
        """An answer of the service."""
        answer = httpx.get(f"{self.url}{path}", headers={"X-API-Key": self.key}, timeout=60)
        assert answer.is_success, answer.text
        return answer.json()


@contextmanager
def label_studio(folder: Path) -> Iterator[LabelStudioServer]:
    """Start Label Studio in a folder of its own and sign in."""
    program = VENV / "bin" / "label-studio"
    assert program.exists(), f"{program} is not there: run `make test-platforms`, which makes {VENV}"
    port = free_port()
    url, password = f"http://127.0.0.1:{port}", secrets.token_urlsafe(16)
    # A backend on a local address needs both switches: with the first alone the connection is refused half made.
    switches = {"ML_BLOCK_LOCAL_IP": "false", "SSRF_PROTECTION_ENABLED": "false"}
    quiet = {"COLLECT_ANALYTICS": "0", "LATEST_VERSION_CHECK": "0", "DEBUG": "0"}
    environment = os.environ | switches | quiet
    environment |= {"LABEL_STUDIO_BASE_DATA_DIR": str(folder / "data"), "LABEL_STUDIO_HOST": url}
    command = [str(program), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    command += ["--username", _EMAIL, "--password", password]
    log = folder / "label-studio.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, env=environment, cwd=folder, start_new_session=True
        )
    try:
        with httpx.Client(base_url=url, timeout=120.0) as client:
            _wait(client, process, log)
            yield LabelStudioServer(url, _personal_access_token(client, password), client)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def sdk_errors(config: str, predictions: list[dict[str, Any]]) -> list[list[str]]:
    """What Label Studio's SDK finds wrong with each prediction."""
    done = subprocess.run(
        [str(VENV / "bin" / "python"), str(Path(__file__).with_name("sdk.py"))],
        input=json.dumps({"config": config, "predictions": predictions}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    errors: list[list[str]] = json.loads(done.stdout)
    return errors


def _wait(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"Label Studio ended:\n{log.read_text()[-4000:]}"
        try:
            if client.get("/health", timeout=5.0).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"Label Studio did not start:\n{log.read_text()[-4000:]}")


def _personal_access_token(client: httpx.Client, password: str) -> str:
    """Sign in with the form, then make the token on the account's page, as a person does."""
    client.get("/user/login/")
    form = {"email": _EMAIL, "password": password, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
    signed = client.post("/user/login/", data=form, headers={"Referer": str(client.base_url)})
    assert signed.status_code == 302, signed.text[:2000]
    headers = {"X-CSRFToken": client.cookies["csrftoken"], "Referer": str(client.base_url)}
    made = client.post("/api/token/", headers=headers)
    assert made.status_code == 201, made.text
    client.cookies.clear()
    return str(made.json()["token"])
