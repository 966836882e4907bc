"""The `roigcn` command."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points, version
from typing import Annotated

import typer

from service.cli import assets, checkpoints, detect, explain, formats, keys, label_config, remote, serve, video
from service.cli.output import Exit, out, warn

app = typer.Typer(
    name="roigcn",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Facial Action Units in pictures and clips, with the ROI-GCN network.",
    epilog="Exit codes: 0 done, 1 an input or job failed, 2 wrong usage, 3 something that is needed is not there.",
)

HERE = "On this machine, without a server"
SERVER = "The service"
SETUP = "Set-up"

app.command(rich_help_panel=HERE)(detect.detect)
app.command(rich_help_panel=HERE)(video.video)
app.command(rich_help_panel=HERE)(formats.formats)
app.command(rich_help_panel=HERE)(explain.explain)
app.command(rich_help_panel=SERVER)(serve.serve)
app.command(rich_help_panel=SERVER)(remote.submit)
app.command(rich_help_panel=SERVER)(remote.watch)
app.command(rich_help_panel=SERVER)(remote.export)
app.command(rich_help_panel=SERVER)(serve.api)
app.command(rich_help_panel=SERVER)(serve.worker)
app.add_typer(keys.app, name="keys", rich_help_panel=SERVER)
app.command(rich_help_panel=SETUP)(assets.assets)
app.command(rich_help_panel=SETUP)(label_config.label_config)
app.add_typer(checkpoints.app, name="checkpoints", rich_help_panel=SETUP)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(version("roigcn"), highlight=False)
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Facial Action Units in pictures and clips, with the ROI-GCN network."""


def add_plugins() -> None:
    """Add the commands that other packages offer under the entry point group `roigcn.commands`."""
    for entry in entry_points(group="roigcn.commands"):
        try:
            plugin: typer.Typer = entry.load()
        except ImportError as error:  # an installation without the extra that the commands need
            if "train" not in sys.argv[1:2]:
                continue
            warn(f"the commands of {entry.value} are not there ({error}); install roigcn with its extra `train`")
            continue
        app.registered_commands.extend(plugin.registered_commands)
        app.registered_groups.extend(plugin.registered_groups)


def main() -> None:
    """Entry point of the command."""
    add_plugins()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
