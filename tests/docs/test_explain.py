"""The commands of docs/explain.md, run as printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from service.cli import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")


def test_the_commands_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROIGCN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("ROIGCN_CHECKPOINT", raising=False)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    lines = [line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]
    commands = [line.split("roigcn ", 1)[1] for line in lines if ".venv/bin/roigcn " in line]
    assert commands
    for command in commands:
        result = CliRunner().invoke(app, shlex.split(command))
        assert result.exit_code == 0, result.output
    with np.load("smile.npz") as arrays:
        named = re.findall(r"`(\w+)`", PAGE.split("`smile.npz` has")[1].split("\n\n")[0])
        assert len(named) >= 5
        assert set(named) <= set(arrays.files), "the page names arrays that are there"
    assert Image.open("smile_explain.png").width == 1480


def test_the_picture_is_small_and_there() -> None:
    for path in re.findall(r"\]\((images/[^)]+)\)", PAGE):
        assert (ROOT / "docs" / path).stat().st_size < 300_000
