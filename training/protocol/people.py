"""Whose faces a protocol works on: a data set asked for by person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, cast, get_args

import numpy as np

from training.data.folds import DATASET_PARTS, Parts, dealt_parts, published_parts
from training.data.prepared import PreparedSet, is_prepared
from training.data.shards import FaceShards, ShardError, find_shards

DatasetName = Literal["bp4d", "disfa", "csv", "rendered"]


class People(Protocol):
    """A data set of labelled faces of people.

    Attributes:
        dataset: which.
        folder: where it lies.
    """

    @property
    def dataset(self) -> str:
        """Which data set."""

    @property
    def folder(self) -> Path:
        """Where it lies."""

    @property
    def parts(self) -> Parts:
        """All people, in three parts."""

    def faces(self, people: Sequence[str], au_codes: Sequence[str]) -> FaceShards:
        """The faces of some people."""


@dataclass(frozen=True)
class PreparedPeople:
    """The people of a folder of `roigcn prepare`."""

    prepared: PreparedSet

    @property
    def dataset(self) -> str:
        """Which data set: bp4d, disfa or csv."""
        return self.prepared.dataset

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.prepared.folder

    @property
    def parts(self) -> Parts:
        """The published parts; of other sets every third person by name.

        Raises:
            FoldError: people that the data set does not have.
        """
        people = sorted(self.prepared.subjects)
        return published_parts(self.dataset, people) if self.dataset in DATASET_PARTS else dealt_parts(people)

    def faces(self, people: Sequence[str], au_codes: Sequence[str]) -> FaceShards:
        """The faces of some people.

        Raises:
            ShardError: as `PreparedSet.faces`.
        """
        return self.prepared.faces(people, au_codes)


@dataclass(frozen=True)
class RenderedPeople:
    """The identities of one part of a folder of `roigcn render`, named by their number."""

    folder: Path
    part: str
    dataset: str = "rendered"

    @cached_property
    def _paths(self) -> list[Path]:
        return find_shards(self.folder, self.part)

    @cached_property
    def _all(self) -> FaceShards:
        return FaceShards(self._paths, ())

    @cached_property
    def parts(self) -> Parts:
        """Every third identity of the part to one part of the protocol."""
        return dealt_parts([f"{number:07d}" for number in np.unique(self._all.identities)])

    def faces(self, people: Sequence[str], au_codes: Sequence[str]) -> FaceShards:
        """The faces of some identities.

        Raises:
            ShardError: an Action Unit that was not rendered, or identities that are not there.
        """
        wanted = np.array([int(name) for name in people], np.int64)
        return FaceShards(self._paths, au_codes, np.flatnonzero(np.isin(self._all.identities, wanted)))


def open_people(dataset: DatasetName, folder: Path, part: str = "train") -> People:
    """The people of a data set.

    Args:
        dataset: what the folder should hold.
        folder: of `roigcn prepare` or `roigcn render`.
        part: of rendered faces, whose people are folded.

    Raises:
        ShardError: the folder holds something else.
    """
    if dataset == "rendered":
        if is_prepared(folder):
            found = PreparedSet.open(folder).dataset
            raise ShardError(f"{folder}: holds {found} of `roigcn prepare`, not rendered faces; say {found} instead")
        people = RenderedPeople(folder, part)
        _ = people.parts  # broken shards are found before anything starts
        return people
    prepared = PreparedSet.open(folder)
    if prepared.dataset != dataset:
        raise ShardError(f"{folder}: holds {prepared.dataset}, not {dataset}; say {prepared.dataset} instead")
    return PreparedPeople(prepared)


def dataset_in(folder: Path) -> DatasetName:
    """What a folder holds, by its own word.

    Raises:
        ShardError: it is no folder of `roigcn prepare`, or of a data set unknown here.
    """
    if not is_prepared(folder):
        return "rendered"
    dataset = PreparedSet.open(folder).dataset
    for name in get_args(DatasetName):
        if name == dataset:
            return cast(DatasetName, name)
    raise ShardError(f"{folder}: holds the unknown data set {dataset!r}")
