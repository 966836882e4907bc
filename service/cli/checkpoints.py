"""`roigcn checkpoints`: list, show, activate and prepare the networks that this installation has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from model.checkpoint import Checkpoint, CheckpointError
from model.registry import Registry
from service.cli.output import Exit, fail, is_terminal, out, say, warn
from worker.settings import WorkerSettings

app = typer.Typer(no_args_is_help=False, help="The checkpoints of this installation.")

DataDir = Annotated[Path | None, typer.Option("--data-dir", envvar="ROIGCN_DATA_DIR", help="Data folder.")]


def _settings(data_dir: Path | None) -> WorkerSettings:
    return WorkerSettings() if data_dir is None else WorkerSettings(data_dir=data_dir)


def open_registry(data_dir: Path | None) -> Registry:
    """The built-in checkpoints and those of the data folder."""
    return Registry.open(_settings(data_dir).data_dir)


def _summary(checkpoint: Checkpoint, active: bool) -> dict[str, object]:
    manifest = checkpoint.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "active": active,
        "backbone": manifest.architecture.backbone,
        "input_size": manifest.input_size,
        "aus": len(manifest.au_codes),
        "synthetic_only": manifest.training.synthetic_only,
        "auc": (manifest.metrics.mean.get("auc") if manifest.metrics else None),
        "path": str(checkpoint.path),
    }


@app.callback(invoke_without_command=True)
def list_checkpoints(
    context: typer.Context,
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the checkpoints; the active one is used where none is named."""
    if context.invoked_subcommand:
        source = context.get_parameter_source("data_dir")
        if source is not None and source.name == "COMMANDLINE":  # else another installation would be changed
            name = context.invoked_subcommand
            fail(f"put --data-dir behind the command: roigcn checkpoints {name} ... --data-dir {data_dir}", Exit.USAGE)
        return
    registry = open_registry(data_dir)
    try:
        active = registry.active().ref
    except CheckpointError as error:
        active = ""
        warn(str(error))
    rows = [_summary(checkpoint, checkpoint.ref == active) for checkpoint in registry.list()]
    if as_json or not is_terminal():
        out.print_json(json.dumps(rows)) if as_json else _plain(rows)
    else:
        table = Table("", "checkpoint", "backbone", "input", "AUs", "trained on", "AUC")
        for row in rows:
            auc = row["auc"]
            table.add_row(
                "●" if row["active"] else "",
                f"{row['name']}:{row['version']}",
                str(row["backbone"]),
                f"{row['input_size']} px",
                str(row["aus"]),
                "[yellow]rendered faces only[/]" if row["synthetic_only"] else "real faces",
                f"{auc:.3f}" if isinstance(auc, float) else "–",
            )
        out.print(table)
    for broken in registry.broken():
        warn(f"{broken.path}: {broken.problem}")


def _plain(rows: list[dict[str, object]]) -> None:
    for row in rows:
        marks = ["active"] if row["active"] else []
        marks += ["synthetic-only"] if row["synthetic_only"] else []
        fields = [f"{row['name']}:{row['version']}", row["backbone"], row["input_size"], ",".join(marks)]
        out.print("\t".join(str(field) for field in fields), highlight=False, soft_wrap=True)


@app.command()
def show(checkpoint: Annotated[str, typer.Argument(help="NAME or NAME:VERSION.")], data_dir: DataDir = None) -> None:
    """Print a checkpoint's manifest: input, AUs, calibration, training data, measured quality."""
    try:
        found = open_registry(data_dir).get(checkpoint)
    except CheckpointError as error:
        fail(str(error), Exit.UNAVAILABLE)
    out.print_json(found.manifest.model_dump_json())


@app.command()
def activate(checkpoint: Annotated[str, typer.Argument(help="NAME:VERSION.")], data_dir: DataDir = None) -> None:
    """Use this checkpoint where none is named. Running workers follow; a job keeps the one it started with."""
    registry = open_registry(data_dir)
    try:
        found = registry.get(checkpoint)
        registry.activate(found.manifest.name, found.manifest.version)
    except CheckpointError as error:
        fail(str(error), Exit.UNAVAILABLE)
    say(f"active: {found.ref}")


@app.command()
def prepare(
    checkpoint: Annotated[str | None, typer.Argument(help="NAME or NAME:VERSION; default the active one.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Convert a checkpoint for this machine's engine now, so that the first start of a worker does not have to."""
    from model.engines import open_engine  # loads the engine's library; the other commands here need not

    registry = open_registry(data_dir)
    settings = _settings(data_dir)
    try:
        found = registry.get(checkpoint) if checkpoint else registry.active()
        engine = open_engine(
            found, settings.engine, device=settings.device, cache_dir=settings.cache_dir or settings.data_dir / "cache"
        )
    except CheckpointError as error:
        fail(str(error), Exit.UNAVAILABLE)
    say(f"{found.ref}: ready on engine {engine.name}")
    engine.close()
