"""Converted networks, kept in a folder so that a network is converted once on a machine.

An entry is a folder `<cache_dir>/openvino/<key>/` with the graph (`graph.xml`, `graph.bin`) and the hashes of both. The
key names all that the graph depends on: weights, architecture, normalisation, the form of the graph and OpenVINO's
version. Entries appear by rename, under a lock that other processes wait for; a damaged entry is built again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from model.checkpoint import Checkpoint
from model.engines.base import EngineError

GRAPH_FORMAT = 1
"""Raise it when `deploy.DeployedNetwork` or the conversion changes what the graph computes."""

GRAPH_NAME, WEIGHTS_NAME, HASHES_NAME = "graph.xml", "graph.bin", "sha256.json"
_LOCK_SECONDS = 600.0

log = logging.getLogger(__name__)


def cache_key(checkpoint: Checkpoint, openvino_version: str) -> str:
    """Hexadecimal key of a checkpoint's graph."""
    manifest = checkpoint.manifest
    parts = {
        "weights": manifest.weights_sha256,
        "architecture": manifest.architecture.arguments(),
        "input_size": manifest.input_size,
        "normalisation": manifest.normalisation.model_dump(),
        "aus": len(manifest.au_codes),
        "format": GRAPH_FORMAT,
        "openvino": openvino_version,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def cached_graph(cache_dir: Path, key: str, build: Callable[[Path], None]) -> Path:
    """Path of the graph's xml, built if it is not there or damaged.

    Args:
        cache_dir: made if missing.
        key: of `cache_key`.
        build: writes `graph.xml` and `graph.bin` into the folder that it is given.

    Raises:
        EngineError: the folder cannot be written, or another process holds the lock for ten minutes.
    """
    root = cache_dir / "openvino"
    entry = root / key
    if _is_whole(entry):
        return entry / GRAPH_NAME
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{key}.lock", timeout=_LOCK_SECONDS):
            if _is_whole(entry):  # another process built it while this one waited
                return entry / GRAPH_NAME
            if entry.exists():
                log.warning("the converted network in %s is damaged and is built again", entry)
                shutil.rmtree(entry)
            draft = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=root))
            try:
                build(draft)
                hashes = {name: _sha256(draft / name) for name in (GRAPH_NAME, WEIGHTS_NAME)}
                (draft / HASHES_NAME).write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8")
                draft.chmod(0o755)  # mkdtemp makes folders that only their owner can read
                draft.rename(entry)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    except Timeout as error:
        raise EngineError(
            f"Another process has been converting the network for {_LOCK_SECONDS / 60:.0f} minutes. If none is "
            f"running, delete {root / f'{key}.lock'} and start again."
        ) from error
    except OSError as error:
        raise EngineError(
            f"The converted network cannot be kept in {root} ({error.strerror or error}). Free some space, or point "
            "ROIGCN_DATA_DIR to a folder that can be written to."
        ) from error
    return entry / GRAPH_NAME


def _is_whole(entry: Path) -> bool:
    try:
        hashes = json.loads((entry / HASHES_NAME).read_text(encoding="utf-8"))
        return all(_sha256(entry / name) == hashes[name] for name in (GRAPH_NAME, WEIGHTS_NAME))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
