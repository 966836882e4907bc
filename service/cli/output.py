"""What the terminal sees: rich output for people, plain text for pipes, exit codes for scripts.

Results go to stdout, progress and messages to stderr, so that a pipe carries results alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1  # at least one input failed, or the job did
    USAGE = 2  # the command line is wrong
    UNAVAILABLE = 3  # face nets, checkpoint, database or server are not there
    INTERRUPTED = 130


out = Console(soft_wrap=False)
err = Console(stderr=True)


def is_terminal() -> bool:
    """Whether results are read by a person; `NO_COLOR` and pipes get plain text."""
    return out.is_terminal


def say(message: str) -> None:
    """A message for the person at the terminal."""
    err.print(message, highlight=False)


def warn(message: str) -> None:
    """A message about something that went wrong and does not end the command."""
    err.print(f"[yellow]{escape(message)}[/]", highlight=False, soft_wrap=True)


def fail(message: str, code: Exit = Exit.FAILED) -> NoReturn:
    """End the command with a message and a code."""
    err.print(f"[red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def unreadable(path: Path, error: Exception) -> str:
    """Why a picture cannot be read, in words that say what to do."""
    if isinstance(error, IsADirectoryError):
        return f"{path}: a folder; name its pictures, such as {path}/*.jpg"
    return f"{path}: {(isinstance(error, OSError) and error.strerror) or error}"


@contextmanager
def progress_bar(description: str, total: float | None, unit: str) -> Iterator[Progress]:
    """A progress bar on stderr with count, rate and time left; silent when stderr is no terminal."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("[dim]{task.fields[note]}[/]"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
    )
    with bar:
        bar.add_task(description, total=total, note="")
        yield bar


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to; renamed to it when the block ends well, removed when it does not."""
    if not target.parent.is_dir():
        fail(f"the folder {target.parent} does not exist; make it first", Exit.USAGE)
    partial = target.with_name(f".{target.name}.part{os.getpid()}{target.suffix}")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
