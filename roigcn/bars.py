"""Progress where somebody looks: a bar on the terminal, a line that changes in a notebook, nothing in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.progress import Progress

    from roigcn.records import Job

JobReport = Callable[["Job"], None]
UploadReport = Callable[[int, int], None]
"""Takes bytes sent and bytes in all."""


def job_bar(progress: bool | JobReport) -> AbstractContextManager[JobReport]:
    """Reports each state of a job that is waited for: to a function, or to a bar if there is a place for one."""
    if callable(progress):
        return nullcontext(progress)
    if progress and in_notebook():
        return nullcontext(notebook_line())
    if progress and sys.stderr.isatty():
        return _terminal_job_bar()
    return nullcontext(_nothing)


def upload_bar(progress: bool | UploadReport, name: str) -> AbstractContextManager[UploadReport]:
    """Reports an upload in the same ways. In a notebook only the job itself is shown."""
    if callable(progress):
        return nullcontext(progress)
    if progress and sys.stderr.isatty() and not in_notebook():
        return _terminal_upload_bar(name)
    return nullcontext(_nothing)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    interactive = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


def notebook_line() -> JobReport:
    """Shows the job itself, each state in place of the one before."""
    from IPython import display

    show: Any = display.display
    handle: Any = None

    def report(job: Job) -> None:
        nonlocal handle
        if handle is None:
            handle = show(job, display_id=True)
        else:
            handle.update(job)

    return report


def _nothing(*_: object) -> None:
    """Report to nobody."""


@contextmanager
def _terminal_job_bar() -> Iterator[JobReport]:
    with _rich("frames") as bar:
        task = bar.add_task("", total=None, note="")

        def report(job: Job) -> None:
            name = (job.media.name if job.media else None) or job.id[:8]
            progress = job.progress
            bar.update(
                task,
                description=name,
                completed=progress.frames_done,
                total=progress.frames_total,
                note=job.state,
            )

        yield report


@contextmanager
def _terminal_upload_bar(name: str) -> Iterator[UploadReport]:
    with _rich("bytes") as bar:
        task = bar.add_task(name, total=None, note="upload")
        yield lambda sent, total: bar.update(task, completed=sent, total=total)


def _rich(unit: str) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
