"""`roigcn formats`: what results can be written as."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from service.cli.output import is_terminal, out


def formats(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the formats of `--format` and of the service's exports.

    docs/formats.md has the columns, the units and how to import each into the tool that it is for.
    """
    from service.exports.registry import FORMATS

    rows = [
        {
            "format": known.name,
            "file": f"*{known.suffix}",
            "of": sorted(kind.value for kind in known.kinds),
            "events": "events" in known.needs,
            "summary": known.summary,
        }
        for known in FORMATS.values()
    ]
    if as_json:
        typer.echo(json.dumps(rows))
    elif is_terminal():
        table = Table("format", "file", "of", "what it is")
        for row in rows:
            table.add_row(str(row["format"]), str(row["file"]), ", ".join(row["of"]), str(row["summary"]))  # type: ignore[arg-type]
        out.print(table)
    else:
        for row in rows:
            typer.echo(f"{row['format']}\t{row['file']}\t{','.join(row['of'])}\t{row['summary']}")  # type: ignore[arg-type]
