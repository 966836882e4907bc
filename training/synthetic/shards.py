"""Shards of rendered faces on disk: one .npz of plain arrays each, written whole or not at all."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.synthetic.recipes import LABELLED
from training.synthetic.renderer import RenderedFace

AU_CODES = tuple(f"AU{unit}" for unit in LABELLED)
AUX_NAMES = ("opening", "yaw", "pitch", "roll", "eye_blink")
MANIFEST_NAME = "dataset.json"
FORMAT_VERSION = 1


class ShardError(Exception):
    """A shard or a data set folder cannot be written or read; the message says what to do."""


def pack_faces(faces: Sequence[RenderedFace]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a shard of N faces.

    The members that `training.data.shards` reads: `images` (N, S, S, 3) uint8 RGB; `landmarks` (N, 68, 2) float32
    iBUG points in pixels, first pixel's centre at (0, 0); `labels` (N, 15) int8; `weights` (N, 15) float32;
    `au_codes` (15,) str; `identities` (N,) int64. Besides: `intensities` (N, 15) float32; `aux` (N, 5) float32, see
    `AUX_NAMES`.
    """
    if not faces:
        raise ValueError("a shard holds at least one face")
    return {
        "images": np.stack([face.pixels for face in faces]),
        "landmarks": np.stack([face.landmarks for face in faces]).astype(np.float32),
        "labels": np.stack([face.labels.occurrence for face in faces]).astype(np.int8),
        "weights": np.stack([face.labels.weight for face in faces]).astype(np.float32),
        "intensities": np.stack([face.labels.intensity for face in faces]).astype(np.float32),
        "identities": np.array([face.identity for face in faces], np.int64),
        "au_codes": np.array(AU_CODES),
        "aux": np.array([_aux(face) for face in faces], np.float32),
    }


def _aux(face: RenderedFace) -> tuple[float, ...]:
    scene = face.scene
    blink = float(face.expression.nuisances.get("eyeBlink", 0.0))
    return (face.opening, scene.yaw, scene.pitch, scene.roll, blink)


def shard_path(folder: Path, number: int) -> Path:
    """Return where a shard lies."""
    return folder / f"shard-{number:05d}.npz"


def write_shard(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write a shard beside its place and move it there in one step, so that a killed run leaves no half shard.

    Raises:
        ShardError: when the disk is full or the folder cannot be written; no partial file stays.
    """
    draft = path.with_name(f".{path.stem}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ShardError(
            f"Cannot write {path}: {error}. Free some space or choose another --out, then run again."
        ) from error


def read_shard(path: Path, members: Sequence[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """Read a shard, or only some of its members.

    Raises:
        ShardError: when the file is missing or not a shard.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in members or archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ShardError(f"{path} is not a readable shard ({error}); delete it and render again.") from error


def iterate_shards(folder: Path) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Yield the finished shards of a folder in order."""
    for path in sorted(folder.glob("shard-*.npz")):
        yield read_shard(path)


def write_manifest(folder: Path, recipe: dict[str, Any]) -> None:
    """Note what a folder holds, or check that it already holds the same.

    Raises:
        ShardError: when the folder was started with another recipe.
    """
    wanted = {"format_version": FORMAT_VERSION, "au_codes": list(AU_CODES), "aux": list(AUX_NAMES), **recipe}
    path = folder / MANIFEST_NAME
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        different = sorted(key for key in wanted if key != "images" and found.get(key) != wanted[key])
        if different:
            raise ShardError(
                f"{folder} was started with another {', '.join(different)}; "
                "use the same options to go on, or an empty --out."
            )
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)
