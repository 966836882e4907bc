"""docs/label-studio.md and docs/cvat.md: printed commands work, printed labels are understood, links lead on."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from service.integrations.label_studio.config import parse_config
from tests.system.running import clean_environment

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {name: (DOCS / f"{name}.md").read_text() for name in ("label-studio", "cvat")}
COMMANDS = [
    line
    for page in PAGES.values()
    for block in re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S)
    for line in block.splitlines()
    if "label-config" in line
]


@pytest.mark.parametrize("command", [*COMMANDS, "roigcn label-config --aus all --maps --probabilities"])
def test_printed_labels_are_understood(command: str) -> None:
    done = run(shlex.split(command)[1:])
    assert done.returncode == 0, done.stderr
    if "cvat" in command:
        assert [label["name"] for label in json.loads(done.stdout)] == ["face"]
    else:
        assert parse_config(done.stdout).usable()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--aus", "AU99"], "AU99"),
        (["--aus", ""], "Action Unit"),
        (["--task", "video", "--maps"], "pictures"),
        (["--platform", "cvat", "--probabilities"], "Label Studio"),
        (["--task", "sound"], "sound"),
    ],
)
def test_wrong_options_are_said(arguments: list[str], words: str) -> None:
    done = run(["label-config", *arguments])
    assert done.returncode == 2
    assert done.stdout == ""
    assert words in done.stderr


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_printed_configuration_is_understood() -> None:
    (xml,) = re.findall(r"^```xml\n(.*?)^```", PAGES["label-studio"], re.M | re.S)
    (choices,) = parse_config(f'<View><Image name="img" value="$image"/>{xml}</View>').controls
    assert (choices.per_region, choices.multiple, choices.threshold) == (True, True, 0.3)
    assert set(choices.au_labels()) == {"AU12"}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    for link, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", PAGES[name]):
        page = DOCS / link if link else DOCS / f"{name}.md"
        assert page.exists(), link
        headings = {
            re.sub(r"[^a-z0-9 -]", "", line.lower()).strip().replace(" ", "-")
            for line in re.findall(r"^#+ (.*)$", page.read_text(), re.M)
        }
        assert not anchor or anchor in headings, f"{link}#{anchor}"
