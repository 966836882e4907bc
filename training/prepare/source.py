"""What a data set gives: per subject its labelled frames, each with its picture, its landmarks or why it has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model.values import UInt8Array


class PrepareError(Exception):
    """A data set that cannot be prepared as it is; the message names file and place and says what to do."""


# Why a frame is skipped; the report counts these per subject.
NO_PICTURE = "no picture"
BROKEN_PICTURE = "picture cannot be read"
NO_LANDMARK_FILE = "no landmark file"
NO_LANDMARKS = "no landmarks in the file"
WRONG_LANDMARKS = "landmarks known to be wrong"
DOUBTFUL_LANDMARKS = "landmarks listed as doubtful"
USELESS_LANDMARKS = "landmarks do not fit the picture"
NO_FACE = "no face found"
NO_LABEL = "no known label"


@dataclass(frozen=True)
class Sample:
    """A labelled frame of a subject.

    Attributes:
        frame: the data set's own number.
        task: the part of the recording, "T1"; "" where there are none.
        labels: (K,) int8, 1 occurred, 0 absent or unknown.
        weights: (K,) float32, 1 where the label is known.
        landmarks: (68, 2) float64, pixels of the picture, the first pixel's centre at (0, 0); None if missing.
        missing: why landmarks are missing.
        read: decodes the picture, (H, W, 3) uint8 RGB; None where there is none, with the reason in `missing`.
            Raises ValueError for a broken one.
        origin: where the landmarks come from, "dataset", or another word that the report counts.
    """

    frame: int
    task: str
    labels: npt.NDArray[np.int8]
    weights: npt.NDArray[np.float32]
    landmarks: npt.NDArray[np.float64] | None
    missing: str
    read: Callable[[], UInt8Array] | None
    origin: str = "dataset"


class Source(Protocol):
    """A data set on disk. It travels to other processes, so it holds paths and tables, no open files."""

    @property
    def dataset(self) -> str:
        """ "bp4d", "disfa" or "csv"."""

    @property
    def au_codes(self) -> tuple[str, ...]:
        """K Action Units, the columns of every label."""

    @property
    def settings(self) -> Mapping[str, object]:
        """What besides the Action Units decides the result; a folder begun with other settings is refused."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the report should say about the data set as a whole, such as missing subjects."""

    def subjects(self) -> dict[str, int]:
        """Names of the people, with the number of labelled frames of each."""

    def samples(self, subject: str, note: Callable[[str], None]) -> Iterator[Sample]:
        """The labelled frames of a subject in order.

        Args:
            subject: one of `subjects`.
            note: takes remarks for the report.

        Raises:
            PrepareError: a file of the subject is broken or of another form.
        """


def labels_of(values: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Labels and weights of codes (..., K) in {0, 1}, where 9 and NaN mean unknown (METHOD 6.1)."""
    known = (values == 0) | (values == 1)
    return (values == 1).astype(np.int8), known.astype(np.float32)
