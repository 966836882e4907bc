"""How a terminal shows trials: a bar for all of them and one for the present; plain lines in a pipe."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from training.loop import Progress


class TerminalView:
    """Bars on a console, as a context; silent in processes that only help to train.

    Args:
        console: of messages and bars.
        trials: how many there are.
    """

    def __init__(self, console: Console, trials: int) -> None:
        helping = os.environ.get("LOCAL_RANK", "0") != "0"  # set by Lightning in the processes that it starts
        self.console = Console(stderr=True, quiet=True) if helping else console
        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=helping or not console.is_terminal,
        )
        self.all = self.bars.add_task("networks", total=trials)
        self.present = self.bars.add_task("", total=None, visible=False)

    def __enter__(self) -> TerminalView:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def skipped(self, label: str) -> None:
        """A trial was done before."""
        self._say(f"{label}: done before")
        self.bars.advance(self.all)

    def training(self, label: str, steps: int) -> Callable[[Progress], None]:
        """A trial begins or goes on."""
        self._say(f"{label}: training, {steps} steps")
        self.bars.reset(self.present, total=steps, description=f"{label}: training", visible=True)

        def report(progress: Progress) -> None:
            text = (
                f"{label}: step {progress.step} of {steps}, maps {progress.loss_maps:.5f}, labels "
                f"{progress.loss_labels:.4f}, {progress.images_per_second:.1f} images/s"
            )
            self.bars.update(self.present, completed=progress.step, description=text)
            if not self.console.is_terminal:
                self._say(text)

        return report

    def scoring(self, label: str, faces: int) -> Callable[[int], None]:
        """A trained network is read."""
        self._say(f"{label}: reading {faces} faces")
        self.bars.reset(self.present, total=faces, description=f"{label}: reading", visible=True)
        read = 0

        def advance(count: int) -> None:
            nonlocal read
            read += count
            self.bars.update(self.present, completed=read)
            if read >= faces:
                self.bars.advance(self.all)

        return advance
