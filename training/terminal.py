"""What the training commands share: consoles, progress bars, options, errors as one line.

Nothing heavy is imported until a command runs: every start of `roigcn` loads this file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PANEL = "Training"
INTERRUPTED = 130
out, err = Console(), Console(stderr=True)

ThreadsOption = Annotated[
    int,
    typer.Option(help="Processor threads of each process. On a shared machine 1 is best: more wait for one another."),
]


def fail(message: str) -> NoReturn:
    """End the command with one line and exit code 1."""
    err.print(f"[red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def say(message: str) -> None:
    """A message for the person at the terminal."""
    err.print(message, highlight=False, soft_wrap=True, markup=False)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn the errors that a user can mend into one line and exit code 1."""
    from model.checkpoint import CheckpointError
    from model.faces.assets import AssetError
    from model.weights import WeightsError
    from training.config import ConfigError
    from training.data.folds import FoldError
    from training.data.shards import ShardError
    from training.state import TrainingError

    try:
        yield
    except (AssetError, CheckpointError, ConfigError, FoldError, ShardError, TrainingError, WeightsError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or 'file'}: {error.strerror or error}")


def progress_bar(unit: str) -> Progress:
    """A bar on stderr with count and time left; silent when stderr is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
    )
