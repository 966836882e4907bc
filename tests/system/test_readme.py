"""The README's commands, run as printed against a running service; its answers are those that come."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.system.running import Served, clean_environment

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.M | re.S)
    inline = re.findall(r"`(\.venv/bin/roigcn submit [^`]+)`", README)
    return [line for block in blocks for line in block.splitlines()] + inline


def run(command: str, served: Served, folder: Path, job: str) -> str:
    """Run a printed line in a folder that has the repository's examples."""
    if not (folder / "examples").exists():
        (folder / "examples").symlink_to(ROOT / "examples")
    line = command.replace("http://127.0.0.1:8000", served.url).replace("JOB", job)
    line = line.replace(".venv/bin/roigcn", f"{sys.executable} -m service.cli")
    env = clean_environment() | {"ROIGCN_SERVER": served.url, "ROIGCN_DATA_DIR": str(served.data_dir)}
    done = subprocess.run(["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def shape(value: Any) -> Any:
    """Keys and types of a document, lists by their first item."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__.replace("int", "number").replace("float", "number")


def test_there_are_commands_to_run() -> None:
    assert len(commands()) >= 7


def test_every_printed_command_works(served: Served, tmp_path: Path) -> None:
    job = ""
    for command in commands():
        output = run(command, served, tmp_path, job)
        if "/detect" in command or "/jobs\n" in command + "\n":
            answer = json.loads(output)
            job = answer.get("job") or answer["id"]
            if "id" in answer:
                served.wait(job)
    assert (tmp_path / "au12.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "smile_aus.png").stat().st_size > 10_000
    assert (tmp_path / "two_faces.csv").read_text().startswith("frame,time_ms,")
    frames = [json.loads(line) for line in (tmp_path / "frames.ndjson").read_text().splitlines()]
    assert [frame["frame"] for frame in frames] == list(range(len(frames)))


def test_the_printed_program_works(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = re.search(r"^```python\n(.*?)^```", README, re.M | re.S)
    assert program is not None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    exec(program.group(1).replace("http://127.0.0.1:8000", served.url), {})
    assert "time_ms" in capsys.readouterr().out


def test_the_printed_answer_is_the_answer(served: Served, tmp_path: Path) -> None:
    printed = re.search(r"^```json\n(.*?)^```", README, re.M | re.S)
    assert printed is not None
    command = next(command for command in commands() if "/detect" in command)
    answer = json.loads(run(command, served, tmp_path, ""))
    shown = json.loads(re.sub(r",\s*…", "", printed.group(1)))
    assert shape(shown) == shape(answer)
    (face,), (shown_face,) = answer["faces"], shown["faces"]
    for au in shown_face["aus"]:
        got = next(item for item in face["aus"] if item["au"] == au["au"])
        assert got["probability"] == pytest.approx(au["probability"], abs=0.02)
        assert got["active"] == au["active"]
    assert shown_face["box"] == pytest.approx(face["box"], abs=0.5)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)", README))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
