"""docs/settings.md says what the code says."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from service.settings import ServiceSettings
from worker.settings import WorkerSettings, default_data_dir

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
HEAD = """\
# Settings

Every setting is an environment variable; some are options of `roigcn serve` too. A wrong value ends the program with a
message that names it.

| variable | default | what it does |
| --- | --- | --- |
"""


TAIL = """
Commands and client also read: `ROIGCN_SERVER` and `ROIGCN_API_KEY` (where the service is, and the key for it),
`ROIGCN_FACE_PACK` (the head that `roigcn render` draws), `ROIGCN_ASSETS_FROM` (a folder of wheels that `roigcn assets`
takes the face nets from, instead of fetching them).
"""


def meanings(documented: type) -> dict[str, str]:
    """The entries of the `Attributes:` part of a class's docstring."""
    text = textwrap.dedent((documented.__doc__ or "").split("Attributes:", 1)[1])
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", textwrap.indent(textwrap.dedent(text), "    "), re.M)
    return {name: re.sub(r"\s+", " ", meaning).strip() for name, meaning in entries}


def page() -> str:
    explained = meanings(WorkerSettings) | meanings(ServiceSettings)
    lines = []
    for name, field in ServiceSettings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "the user's data folder" if default == default_data_dir() else f"`{default}`"
        lines.append(f"| `ROIGCN_{name.upper()}` | {'' if default is None else shown} | {explained[name]} |")
    return HEAD + "\n".join(lines) + "\n" + TAIL


def test_the_page_lists_every_setting() -> None:
    assert PAGE.read_text() == page(), "write it anew: python -m tests.docs.test_settings"


if __name__ == "__main__":
    PAGE.write_text(page())
