"""Numbers of a run by step, for people and programs."""

from __future__ import annotations

import csv
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """Numbers by step, to `metrics.csv` (step, name, value) and to TensorBoard."""

    def __init__(self, folder: Path, active: bool = True) -> None:
        self.folder, self.active = folder, active

    def __enter__(self) -> RunLog:
        if self.active:
            path = self.folder / "metrics.csv"
            fresh = not path.exists()
            self._file = path.open("a", newline="", encoding="utf-8")
            self._rows = csv.writer(self._file)
            if fresh:
                self._rows.writerow(["step", "name", "value"])
            self._board = SummaryWriter(str(self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        if self.active:
            self._file.close()
            self._board.close()

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """Append numbers of a step; they are on disk when this returns."""
        if not self.active:
            return
        for name, value in numbers.items():
            if name != "step":
                self._rows.writerow([step, name, f"{value:.6g}"])
                self._board.add_scalar(name, value, step)
        self._file.flush()
