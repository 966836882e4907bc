"""docs/formats.md has every format and every column of the native table."""

from __future__ import annotations

import re
from pathlib import Path

from service.exports.formats import Need
from service.exports.registry import FORMATS
from service.exports.table import columns
from worker.store.records import JobKind

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()


def test_every_format_is_described() -> None:
    for made in FORMATS.values():
        (line,) = re.findall(rf"^\| \[`{made.name}`\].*$", PAGE, re.M)
        assert f"`{made.suffix}`" in line
        assert [
            kind for kind in JobKind if f"{'clips' if kind is JobKind.VIDEO else 'pictures'}" in line.split("|")[3]
        ] == [kind for kind in JobKind if kind in made.kinds]
        assert ("AU event" in line) == (Need.EVENTS in made.needs)


def test_every_column_of_the_table_is_described() -> None:
    for column in columns(("AU12",), JobKind.IMAGE):
        assert f"`{column.name}`" in PAGE


def test_links_within_the_page_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", PAGE, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= headings
