"""The pages under docs/: their commands and programs run as printed, a page in a folder of its own; their links.

`sh` and `python` blocks are run here, or by the test that `RUN_BY` names. What cannot be run where the tests run stands
in blocks of another kind, and `NOT_RUN` says why.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

import roigcn
from tests.system.running import Served, clean_environment

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(DOCS)): path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
SERVER = "http://127.0.0.1:8000"
TYPED_SECONDS = 600.0

RUN_BY = {
    "cvat.md": "tests/docs/test_annotation.py",
    "explain.md": "tests/docs/test_explain.py",
    "label-studio.md": "tests/docs/test_annotation.py",
}
"""Pages whose blocks another test runs."""

NOT_RUN = {
    "cvat.md": "needs a CVAT server",
    "datasets.md": "needs BP4D, DISFA or coded pictures; tests/training/prepare makes small ones and runs the commands",
    "deployment.md": "starts services for other machines; tests/system/test_production.py and tests/docker run them",
    "explain.md": "needs the id of a job; tests/service has explain over HTTP",
    "formats.md": "needs py-feat; tests/service/exports/test_readers.py checks by its rules",
    "label-studio.md": "needs a Label Studio server (tests/platforms has one); a key would lock the server here",
    "page.md": "needs a browser",
    "rendered-faces.md": "needs a face pack and days; the same commands are run on the toy head",
    "protocol.md": "needs BP4D or DISFA; tests/training/protocol runs the commands on small sets",
    "tutorials/annotation-lead.md": "the token of a Label Studio server",
    "tutorials/engineer.md": "from its first key on, the server of these tests would want one with every request",
    "tutorials/psychologist.md": "sets up the environment that runs this test",
}
"""Why the blocks of a page that are neither `sh` nor `python` nor output are not run."""

OUTPUT = frozenset({"json", "text", "csv", "xml"})


class Block(NamedTuple):
    """A fenced block of a page."""

    kind: str
    text: str


def blocks(page: str) -> list[Block]:
    return [Block(*found) for found in re.findall(r"^```([^\n`]*)\n(.*?)^```", PAGES[page], re.M | re.S)]


def to_run(page: str) -> list[Block]:
    return [block for block in blocks(page) if block.kind in ("sh", "python")]


pytestmark = pytest.mark.timeout(900)  # a page is many commands, and each loads the network

HERE = [page for page in PAGES if to_run(page) and page not in RUN_BY]


class Reader:
    """Somebody who follows a page: types its commands and runs its programs, one after the other."""

    def __init__(self, served: Served, folder: Path, graph_cache: Path) -> None:
        self.names: dict[str, Any] = {}
        self.outputs: list[str] = []
        self._url = served.url
        self._folder = folder
        self._job = ""
        (folder / "examples").symlink_to(ROOT / "examples")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        settings = {
            "ROIGCN_SERVER": served.url,
            "ROIGCN_DATA_DIR": str(served.data_dir),
            "ROIGCN_CACHE_DIR": str(graph_cache),
            "PATH": path,
            "PYTHONFAULTHANDLER": "1",
        }
        self._environment = clean_environment() | settings

    def type(self, commands: str) -> None:
        """Commands, in a shell of their own; the first that fails ends them."""
        if "JOB" in commands and not self._job:
            self._job = self._some_job()
        lines = commands.replace(SERVER, self._url).replace("JOB", self._job).replace(".venv/bin/roigcn", "roigcn")
        typed = subprocess.Popen(
            ["bash", "-ec", lines],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            output, errors = typed.communicate(timeout=TYPED_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(typed.pid, signal.SIGABRT)  # Python says where it hangs, see PYTHONFAULTHANDLER
            output, errors = typed.communicate()
        assert typed.returncode == 0, f"{lines}\n{output}\n{errors}"
        self.outputs.append(output)
        jobs = re.findall(r'"(?:id|job)":"([0-9a-f-]{36})"', output)
        self._job = jobs[-1] if jobs else self._job

    def _some_job(self) -> str:
        """A job that is done, for a page that speaks of one without making it."""
        with roigcn.Client(self._url) as client:
            return client.wait(client.submit(self._folder / "examples" / "clips" / "two_faces.mp4")).id

    def execute(self, program: str) -> None:
        """A program, with the names of those before it."""
        exec(compile(program.replace(SERVER, self._url), "<page>", "exec"), self.names)


@pytest.fixture
def follow(
    served: Served, graph_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Reader]:
    """Follows a page from top to bottom."""
    monkeypatch.chdir(tmp_path)

    def follow(page: str) -> Reader:
        reader = Reader(served, tmp_path, graph_cache)
        for block in to_run(page):
            if block.kind == "sh":
                reader.type(block.text)
            else:
                reader.execute(block.text)
        return reader

    return follow


def test_the_psychologists_page(follow: Callable[[str], Reader], tmp_path: Path) -> None:
    reader = follow("tutorials/psychologist.md")
    made = {path.name for path in (tmp_path / "tables").iterdir()}
    assert made == {"session1.aus.csv", "session1.eaf", "session1.boris.csv"}
    report: pd.DataFrame = reader.names["report"]
    assert len(report) == 15
    assert report.loc["AU12", "coded"] > 20, "there is something to agree on"
    assert report["kappa"].dropna().between(-1, 1).all()
    assert report.loc["AU12", "F1"] > 0.5, "the checkpoint reads smiles of rendered people"


def test_the_engineers_page(follow: Callable[[str], Reader], tmp_path: Path) -> None:
    reader = follow("tutorials/engineer.md")
    twice = next(output for output in reader.outputs if output.count('"kind":"video"') == 2)
    ids = [json.loads(line)["id"] for line in re.findall(r"\{.*?\}(?=\{\"id\"|\s*$)", twice, re.S)]
    assert len(ids) == 2
    assert len(set(ids)) == 1, "one key, one job"
    assert any("event: succeeded" in output for output in reader.outputs)
    job = reader.names["job"]
    assert isinstance(job, roigcn.Job)
    assert job.succeeded
    assert (tmp_path / "smile_aus.png").read_bytes().startswith(b"\x89PNG")
    assert "<ANNOTATION_DOCUMENT" in (tmp_path / "two_faces.eaf").read_text()


@pytest.mark.parametrize("page", [page for page in HERE if "psychologist" not in page and "engineer" not in page])
def test_other_pages(follow: Callable[[str], Reader], page: str) -> None:
    assert follow(page).names or to_run(page)


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_passed_over_in_silence(page: str) -> None:
    """Every block is run here, run by a test that is named, output, or known not to be run."""
    others = {block.kind for block in blocks(page)} - {"sh", "python"} - OUTPUT
    assert not others or page in NOT_RUN, f"say in NOT_RUN why blocks {others} are not run, or make them sh or python"
    if page in RUN_BY:
        assert page in (ROOT / RUN_BY[page]).read_text(), f"{RUN_BY[page]} does not read {page}"
    assert PAGES[page].count("\n```") % 2 == 0, "a block is not closed"


def anchors(page: str) -> set[str]:
    """The anchors that the headings of a page get."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)", PAGES[page]):
        name, _, anchor = target.partition("#")
        path = (DOCS / page).parent / name if name else DOCS / page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), target


def test_the_index_has_every_page() -> None:
    """Or the README itself links it."""
    index, readme = PAGES["README.md"], (ROOT / "README.md").read_text(encoding="utf-8")
    others = PAGES.keys() - {"README.md"}
    missing = [page for page in others if f"({page})" not in index and f"(docs/{page})" not in readme]
    assert not missing, f"docs/README.md does not link {missing}"


def test_the_index_of_the_client_names_every_method() -> None:
    page = PAGES["client.md"]
    methods = [name for name in vars(roigcn.Client) if not name.startswith("_")]
    assert {"detect", "wait", "export"} <= set(methods)
    assert [name for name in methods if f"`{name}(" not in page and name != "close"] == []
