"""Shards: folders of uncompressed `.npz` files, each with the pictures, landmarks and labels of some faces.

A shard is read through the page cache, never copied: an uncompressed archive holds each array contiguously, so it is
mapped where it lies. Twenty thousand faces cost the loader no memory of its own and a second process shares the pages.

Members (N faces of S x S pixels, K Action Units):
    images      (N, S, S, 3) uint8 RGB
    landmarks   (N, 68, 2) float32, iBUG order, pixels of the picture
    labels      (N, K) int8, 1 occurred, 0 absent
    weights     (N, K) float32, 0 where the label is unknown or ambiguous (optional: ones)
    au_codes    (K,) str, "AU1" ...
    identities  (N,) integer, equal for pictures of one person (optional: every picture its own)
    subject     (1,) str, the one person of all pictures in the shard (optional: as `identities` says)

Identities do not cross shards (`roigcn render` draws new ones for each) unless these name their `subject`: shards of
one folder with the same subject show the same person (`roigcn prepare` writes several for one person). So parts are
held out by whole shards or by subjects.
"""

from __future__ import annotations

import errno
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

REQUIRED = ("images", "landmarks", "labels", "au_codes")


class ShardError(Exception):
    """A shard is missing, broken or of another format; the message names the file and says what to do."""


@dataclass(frozen=True)
class Shard:
    """The arrays of one file, mapped from disk.

    Attributes:
        path: the file.
        images: (N, S, S, 3) uint8 RGB.
        landmarks: (N, 68, 2) float32, pixels of the picture.
        labels: (N, K) float32 in {0, 1}, columns in the order asked for.
        weights: (N, K) float32, 0 where the label says nothing.
        identities: (N,) int64, unique over all shards of one `FaceShards`.
        subject: the person that all pictures show; "" where the shard names none.
    """

    path: Path
    images: npt.NDArray[np.uint8]
    landmarks: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    identities: npt.NDArray[np.int64]
    subject: str = ""


def map_member(path: Path, archive: zipfile.ZipFile, name: str) -> npt.NDArray[np.generic]:
    """Map one array of an uncompressed `.npz`, or read it when it is compressed.

    Raises:
        ShardError: the member is cut short or no array.
    """
    info = archive.getinfo(name)
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(member)
        header_bytes = member.tell()
        if info.compress_type != zipfile.ZIP_STORED or dtype.hasobject:
            member.seek(0)
            return np.asarray(np.lib.format.read_array(member, allow_pickle=False))
    with path.open("rb") as raw:  # the local header's own name and extra lengths say where the data start
        raw.seek(info.header_offset + 26)
        name_bytes, extra_bytes = np.frombuffer(raw.read(4), "<u2").astype(int)
    offset = info.header_offset + 30 + int(name_bytes) + int(extra_bytes) + header_bytes
    count = int(np.prod(shape))
    if info.file_size != header_bytes + count * dtype.itemsize:
        raise ShardError(f"{path}: {name} is cut short; render or copy this shard again")
    if count == 0:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape, order="F" if fortran else "C")


def read_shard(path: Path, au_codes: Sequence[str], first_identity: int = 0) -> Shard:
    """Open one shard, with its label columns in the order of `au_codes`.

    Args:
        path: an `.npz` file as this module describes.
        au_codes: the Action Units wanted; the shard may hold more, in any order.
        first_identity: number from which this shard's identities count.

    Raises:
        ShardError: missing, truncated, foreign, of inconsistent lengths, or without one of the Action Units.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = {Path(name).stem: name for name in archive.namelist()}
            missing = [name for name in REQUIRED if name not in names]
            if missing:
                raise ShardError(
                    f"{path}: no {', '.join(missing)} inside; this is no shard of `roigcn render` or `roigcn prepare`"
                )
            arrays = {stem: map_member(path, archive, name) for stem, name in names.items()}
    except FileNotFoundError as error:
        raise ShardError(f"{path}: no such file") from error
    except (zipfile.BadZipFile, EOFError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.EMFILE:
            raise ShardError(
                f"{path}: too many open files for this system's limit; raise it (`ulimit -n 65536`) and run again"
            ) from error
        raise ShardError(f"{path}: broken ({error}); render or copy this shard again") from error

    images, landmarks = arrays["images"], arrays["landmarks"]
    codes = [str(code) for code in arrays["au_codes"]]
    count = len(images)
    lengths = {name: len(arrays[name]) for name in ("images", "landmarks", "labels", "weights") if name in arrays}
    if len(set(lengths.values())) > 1:
        raise ShardError(f"{path}: lengths differ: {lengths}; render this shard again")
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ShardError(f"{path}: images are {images.shape} {images.dtype}, wanted (N, S, S, 3) uint8")
    if landmarks.shape != (count, 68, 2):
        raise ShardError(f"{path}: landmarks are {landmarks.shape}, wanted ({count}, 68, 2)")
    absent = [code for code in au_codes if code not in codes]
    if absent:
        raise ShardError(
            f"{path}: no labels for {', '.join(absent)}; it holds {', '.join(codes)}: set network.aus of the recipe to "
            "some of these"
        )
    columns = [codes.index(code) for code in au_codes]
    labels = np.asarray(arrays["labels"], np.float32)[:, columns]
    weights = np.asarray(arrays["weights"], np.float32)[:, columns] if "weights" in arrays else np.ones_like(labels)
    own = np.asarray(arrays["identities"], np.int64) if "identities" in arrays else np.arange(count, dtype=np.int64)
    subject = str(arrays["subject"].reshape(-1)[0]) if arrays.get("subject", np.empty(0)).size else ""
    if subject:
        own = np.zeros(count, np.int64)
    _, ranks = np.unique(own, return_inverse=True)
    return Shard(
        path=path,
        images=images.astype(np.uint8, copy=False),
        landmarks=np.asarray(landmarks, np.float32),
        labels=labels,
        weights=weights,
        identities=ranks.astype(np.int64) + first_identity,
        subject=subject,
    )


def write_shard(path: Path, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Write a shard beside its place and move it there in one step, so that a killed run leaves no half shard.

    Raises:
        ShardError: the disk is full or the folder cannot be written; no partial file stays.
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
        raise ShardError(f"cannot write {path}: {error.strerror or error}; make room and run again") from error
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def allow_open_files(shards: int) -> None:
    """Raise this process's limit on open files, as far as the system lets it, to what so many shards need.

    A mapped array keeps its file open, and 1024 files are a usual limit: a data set of 400 people is more than that.
    """
    try:
        import resource
    except ImportError:  # no such limit on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 3 * shards + 512
    if soft != resource.RLIM_INFINITY and needed > soft:
        highest = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))


class FaceShards:
    """Several shards as one sequence of faces.

    Args:
        paths: the files, in order.
        au_codes: the Action Units wanted, the columns of every label.
        chosen: numbers of the faces wanted, counted over all files, each once; all by default.

    Raises:
        ShardError: no files, or one of them cannot be used, or no face is chosen.
        IndexError: a chosen number is none of the faces'.
    """

    def __init__(self, paths: Sequence[Path], au_codes: Sequence[str], chosen: npt.ArrayLike | None = None) -> None:
        if not paths:
            raise ShardError("no shards given; render some with `roigcn render`")
        allow_open_files(len(paths))
        self.au_codes = tuple(au_codes)
        self.shards: list[Shard] = []
        people = 0
        known: dict[tuple[Path, str], int] = {}
        for path in map(Path, paths):
            shard = read_shard(path, au_codes, first_identity=people)
            if shard.subject:
                number = known.setdefault((path.parent.resolve(), shard.subject), people)
                shard = replace(shard, identities=np.full_like(shard.identities, number))
            people = max(people, int(shard.identities.max(initial=people - 1)) + 1)
            self.shards.append(shard)
        self._starts = np.cumsum([0] + [len(shard.labels) for shard in self.shards])
        total = int(self._starts[-1])
        self.numbers = np.arange(total) if chosen is None else np.unique(np.asarray(chosen, np.int64))
        if len(self) == 0:
            raise ShardError(f"{paths[0]}: the shards hold no faces" if total == 0 else "no faces were chosen")
        if self.numbers[0] < 0 or self.numbers[-1] >= total:
            raise IndexError(f"faces {self.numbers[0]} to {self.numbers[-1]} of {total}")

    def __reduce__(self) -> tuple[type[FaceShards], tuple[list[Path], tuple[str, ...], npt.NDArray[np.int64] | None]]:
        """Another process opens the files itself: mapped pictures must not travel."""
        whole = len(self) == self._starts[-1]
        return FaceShards, ([shard.path for shard in self.shards], self.au_codes, None if whole else self.numbers)

    def subset(self, chosen: npt.ArrayLike) -> FaceShards:
        """The faces with these numbers of this sequence, in its order; pictures stay where they are mapped."""
        return FaceShards([shard.path for shard in self.shards], self.au_codes, self.numbers[np.asarray(chosen)])

    def __len__(self) -> int:
        return len(self.numbers)

    def face(self, index: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Picture (S, S, 3) uint8 and landmarks (68, 2) float32 of face `index`; negative indices are refused."""
        if not 0 <= index < len(self):
            raise IndexError(f"face {index} of {len(self)}")
        shard_number, row = self._place(int(self.numbers[index]))
        shard = self.shards[shard_number]
        return np.asarray(shard.images[row]), np.asarray(shard.landmarks[row])

    def _place(self, number: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self._starts, number, side="right")) - 1
        return shard, number - int(self._starts[shard])

    @cached_property
    def labels(self) -> npt.NDArray[np.float32]:
        """(N, K) in {0, 1}."""
        return np.concatenate([shard.labels for shard in self.shards])[self.numbers]

    @cached_property
    def weights(self) -> npt.NDArray[np.float32]:
        """(N, K), 0 where the label says nothing."""
        return np.concatenate([shard.weights for shard in self.shards])[self.numbers]

    @cached_property
    def identities(self) -> npt.NDArray[np.int64]:
        """(N,), equal for pictures of one person."""
        return np.concatenate([shard.identities for shard in self.shards])[self.numbers]

    @property
    def fingerprint(self) -> str:
        """Names, contents and lengths of the shards; a resumed run compares it to know that its data are the same.

        Of the contents, labels, weights, landmarks and the pictures' size are summed up; pictures take too long.
        """
        parts = []
        for shard, start in zip(self.shards, self._starts, strict=False):
            rows = self.numbers[(self.numbers >= start) & (self.numbers < start + len(shard.labels))] - start
            which = f"@{_content(shard):08x}"
            if len(rows) != len(shard.labels):
                which += f"#{zlib.crc32(rows.tobytes()):08x}"
            if len(rows) or len(self) == self._starts[-1]:
                parts.append(f"{shard.path.name}{which}:{len(rows)}")
        return ";".join(parts)


def _content(shard: Shard) -> int:
    """CRC-32 of what a shard's faces are labelled with and how large they are."""
    found = zlib.crc32(repr(shard.images.shape[1:]).encode())
    for values in (shard.labels, shard.weights, shard.landmarks):
        found = zlib.crc32(np.ascontiguousarray(values).data, found)
    return found


def find_shards(folder: Path, split: str) -> list[Path]:
    """The shards of a folder's part: `<folder>/<split>/*.npz`, or `<folder>/<split>*.npz`, sorted by name.

    In a folder of `roigcn prepare` they are those of the part's subjects, see `training.data.prepared`.

    Raises:
        ShardError: the folder or the part does not exist or holds no shard.
    """
    from training.data.prepared import PreparedSet, is_prepared  # it builds on this module

    if is_prepared(folder):
        return PreparedSet.open(folder).part(split)
    if not folder.is_dir():
        raise ShardError(
            f"{folder}: no such folder; make its parts with `roigcn render --split train --out {folder}/train`, "
            "calibration and test likewise, or give a folder of `roigcn prepare`"
        )
    paths = sorted((folder / split).glob("*.npz")) or sorted(folder.glob(f"{split}*.npz"))
    if not paths:
        raise ShardError(f"{folder}: no shards of the part {split!r} (looked for {split}/*.npz and {split}*.npz)")
    return paths
