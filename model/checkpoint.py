"""A checkpoint: a folder `<root>/<name>/<version>` that holds `weights.safetensors` and `manifest.json`.

Weights are safetensors, never pickle. Matrices and kernels lie on disk in half precision and are single precision in
memory. Vectors (biases, normalisation statistics) stay in single precision: they are under one hundredth of the file,
and running variances can leave the range of half precision. Reading needs neither torch nor OpenVINO; only
`Checkpoint.load_network` imports torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import safetensors
from pydantic import ValidationError
from safetensors.numpy import load_file, save

from model.landmark_reading import FAMILY, LandmarkReading
from model.manifest import (
    FORMAT_VERSION,
    Architecture,
    AuMetrics,
    Calibration,
    CropRule,
    Manifest,
    Metrics,
    Normalisation,
    RoiConfig,
    Training,
)
from model.values import Float32Array

if TYPE_CHECKING:
    from model.network import RoiGcn

__all__ = [
    "FORMAT_VERSION",
    "Architecture",
    "AuMetrics",
    "Calibration",
    "Checkpoint",
    "CheckpointError",
    "CropRule",
    "Manifest",
    "Metrics",
    "Normalisation",
    "RoiConfig",
    "Training",
    "load_checkpoint",
    "read_manifest",
    "write_checkpoint",
]

MANIFEST_NAME = "manifest.json"
WEIGHTS_NAME = "weights.safetensors"
CARD_NAME = "MODEL_CARD.md"
_SUPERVISION_PREFIX = "supervision."
_MANIFEST_MAX_BYTES = 4 << 20


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message says what is wrong and what to do about it."""


class TensorLike(Protocol):
    """What `write_checkpoint` needs of a torch tensor."""

    def detach(self) -> Any:
        """The tensor without its gradient."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was read and found whole.

    Attributes:
        path: the folder.
        manifest: its contract.
    """

    path: Path
    manifest: Manifest

    @property
    def ref(self) -> str:
        """`name:version`."""
        return self.manifest.ref

    @property
    def weights_path(self) -> Path:
        """The safetensors file."""
        return self.path / WEIGHTS_NAME

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Every tensor by its key in the network's state dict; floating point ones as float32.

        Raises:
            CheckpointError: the weights cannot be read.
        """
        return {key: tensor for key, tensor in self._tensors().items() if not key.startswith(FAMILY)}

    def landmark_reading(self) -> LandmarkReading | None:
        """The reading of landmarks that it holds, None if it holds none.

        Raises:
            CheckpointError: the weights cannot be read, or do not hold what the manifest promises.
        """
        if self.manifest.landmark_opinion is None:
            return None
        try:
            reading = LandmarkReading.of_tensors(self._tensors())
        except ValueError as error:
            raise CheckpointError(f"{self.weights_path}: {error}. {_COPY_AGAIN}") from error
        if reading.au_count != len(self.manifest.au_codes):
            raise CheckpointError(
                f"{self.weights_path}: its reading of landmarks is for {reading.au_count} Action Units, the manifest "
                f"names {len(self.manifest.au_codes)}. {_COPY_AGAIN}"
            )
        return reading

    def _tensors(self) -> dict[str, npt.NDArray[Any]]:
        try:
            tensors = load_file(self.weights_path)
        except (OSError, safetensors.SafetensorError) as error:
            raise CheckpointError(f"{self.weights_path}: cannot be read ({error}). {_COPY_AGAIN}") from error
        return {key: _single(tensor) for key, tensor in tensors.items()}

    def load_network(self) -> RoiGcn:
        """The network with these weights, float32, in evaluation mode. Imports torch.

        The supervision head (METHOD 4.5) serves training alone: weights without it load, and it is then left at its
        initial values.

        Raises:
            CheckpointError: the manifest's architecture is unknown here, or keys or shapes do not fit it.
        """
        import torch  # wanted by callers of this method alone

        from model.network import NetworkConfig, RoiGcn

        manifest = self.manifest
        try:
            network = RoiGcn(NetworkConfig.from_dict(manifest.network_arguments()))
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"{self.path}: this roigcn cannot build the network that the manifest describes ({error}). "
                "Upgrade roigcn, or mend `architecture` in the manifest."
            ) from error
        state = {key: torch.from_numpy(tensor) for key, tensor in self.state().items()}
        wanted = network.state_dict()
        missing = [key for key in wanted if key not in state and not key.startswith(_SUPERVISION_PREFIX)]
        foreign = [key for key in state if key not in wanted]
        misfits = [key for key in state if key in wanted and state[key].shape != wanted[key].shape]
        if missing or foreign or misfits:
            raise CheckpointError(
                f"{self.weights_path}: does not fit the manifest's architecture: {_some('missing', missing)}"
                f"{_some('unknown', foreign)}{_some('of another shape', misfits)}export the checkpoint again."
            )
        network.load_state_dict({**wanted, **state})
        return network.eval()


_COPY_AGAIN = "Copy the checkpoint's folder again from where it was published."


def load_checkpoint(path: str | os.PathLike[str], *, verify: bool = True) -> Checkpoint:
    """Reads a checkpoint's folder and makes sure that it is whole.

    Args:
        path: the folder `<root>/<name>/<version>`.
        verify: also hash the weights (about 1 ms a megabyte); without it only their size and header are checked.

    Raises:
        CheckpointError: missing, broken, truncated, foreign or newer than this code, with advice.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    weights = folder / WEIGHTS_NAME
    if not weights.is_file():
        raise CheckpointError(f"{folder}: holds no {WEIGHTS_NAME}. {_COPY_AGAIN}")
    _check_safetensors(weights)
    if not manifest.weights_sha256:
        raise CheckpointError(
            f"{folder / MANIFEST_NAME}: names no weights_sha256, so its weights cannot be trusted. "
            "Publish checkpoints with model.checkpoint.write_checkpoint (`roigcn export`)."
        )
    if verify and (found := _sha256(weights)) != manifest.weights_sha256:
        raise CheckpointError(
            f"{weights}: its sha256 is {found[:12]}…, the manifest says {manifest.weights_sha256[:12]}…: the weights "
            f"were changed or belong to another version. {_COPY_AGAIN}"
        )
    return Checkpoint(folder, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Reads and validates `manifest.json` alone.

    Raises:
        CheckpointError: as `load_checkpoint`.
    """
    path = folder / MANIFEST_NAME
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder. `roigcn checkpoints` lists what is installed.")
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: holds no {MANIFEST_NAME}, so it is no roigcn checkpoint. Expected is the folder "
            f"<name>/<version> with {MANIFEST_NAME} and {WEIGHTS_NAME}."
        )
    try:
        if path.stat().st_size > _MANIFEST_MAX_BYTES:
            raise CheckpointError(f"{path}: is larger than {_MANIFEST_MAX_BYTES >> 20} MB and thus no manifest.")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError
        raise CheckpointError(f"{path}: is not JSON ({error}); truncated or overwritten? {_COPY_AGAIN}") from error
    if not isinstance(data, dict) or not isinstance(data.get("format_version"), int):
        raise CheckpointError(f"{path}: has no format_version, so it is not a manifest that roigcn wrote.")
    if data["format_version"] > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: has format {data['format_version']}, this roigcn reads up to {FORMAT_VERSION}. Upgrade roigcn "
            "or use an older version of the checkpoint."
        )
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        raise CheckpointError(f"{path}: is not a valid manifest: {_first_problems(error)}.") from error


def write_checkpoint(
    folder: str | os.PathLike[str],
    network_state: Mapping[str, TensorLike | npt.NDArray[Any]],
    manifest: Manifest,
    *,
    half: bool = True,
    card: Callable[[Manifest], str] | None = None,
) -> Checkpoint:
    """Publishes a checkpoint: writes it beside its final place, then renames it, so that no reader sees half of it.

    Args:
        folder: the final folder; its last two parts must be the manifest's name and version.
        network_state: the network's state dict, torch tensors or arrays, and those of a reading of landmarks.
        manifest: its hash, dtype and number of parameters are filled in here.
        half: store kernels and matrices as float16, else float32.
        card: makes the text of the model card of the final manifest; without it there is none.

    Raises:
        CheckpointError: the folder exists (versions are never overwritten) or does not fit the manifest, or a weight
            is not finite.
    """
    folder = Path(folder)
    if folder.parts[-2:] != (manifest.name, manifest.version):
        raise CheckpointError(f"{folder}: must end in {manifest.name}/{manifest.version}, as the manifest says.")
    if folder.exists():
        raise CheckpointError(f"{folder}: exists. A published version never changes: raise the version instead.")
    tensors = {key: _stored(key, value, half=half) for key, value in network_state.items()}
    if not tensors:
        raise CheckpointError("The network's state is empty: nothing to publish.")
    blob = save(tensors, metadata={"format": "pt", "checkpoint": manifest.ref})
    manifest = manifest.with_weights(
        sha256=hashlib.sha256(blob).hexdigest(),
        dtype="float16" if half else "float32",
        parameters=sum(tensor.size for key, tensor in tensors.items() if not _is_no_parameter(key)),
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".publishing-", dir=folder.parent))
    try:
        draft.chmod(0o755)  # mkdtemp makes folders that only their owner can read
        files = {WEIGHTS_NAME: blob, MANIFEST_NAME: manifest.to_json().encode()}
        if card is not None:
            files[CARD_NAME] = card(manifest).encode()
        for name, content in files.items():
            with (draft / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        with contextlib.suppress(OSError):
            draft.rename(folder)  # fails when another process published this version meanwhile
    finally:
        if draft.exists():
            shutil.rmtree(draft, ignore_errors=True)
    published = load_checkpoint(folder)
    if published.manifest.weights_sha256 != manifest.weights_sha256:
        raise CheckpointError(f"{folder}: another process published this version at the same time. Raise the version.")
    return published


def _some(what: str, keys: list[str], limit: int = 3) -> str:
    return f"{len(keys)} {what} ({', '.join(keys[:limit])}{', …' if len(keys) > limit else ''}); " if keys else ""


def _is_no_parameter(key: str) -> bool:
    """Whether a tensor is a statistic or no part of the network."""
    return key.startswith(FAMILY) or key.endswith(("running_mean", "running_var", "num_batches_tracked"))


def _stored(key: str, value: TensorLike | npt.NDArray[Any], *, half: bool) -> npt.NDArray[Any]:
    """The array that goes to disk."""
    if not isinstance(value, np.ndarray):
        tensor = value.detach().cpu()
        value = np.asarray(tensor.float() if tensor.is_floating_point() else tensor)
    if not np.issubdtype(value.dtype, np.floating):
        return np.asarray(value, order="C")
    single = np.asarray(value, dtype=np.float32, order="C")
    if not np.isfinite(single).all():
        raise CheckpointError(f"Weight {key!r} holds NaN or infinity: the training diverged, do not publish it.")
    if not half or single.ndim < 2 or np.abs(single).max(initial=0.0) > np.finfo(np.float16).max:
        return single
    return single.astype(np.float16)


def _single(tensor: npt.NDArray[Any]) -> npt.NDArray[Any] | Float32Array:
    return tensor.astype(np.float32) if np.issubdtype(tensor.dtype, np.floating) else tensor


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_safetensors(path: Path) -> None:
    """Tells truncated and foreign files apart by the safetensors header, which says how long the file must be."""
    size = path.stat().st_size
    if size == 0:
        raise CheckpointError(f"{path}: is empty. {_COPY_AGAIN}")
    with path.open("rb") as file:
        start = file.read(8)
        if start.startswith(b"version "):
            raise CheckpointError(f"{path}: is a Git LFS pointer, not the weights. Run `git lfs pull`.")
        if start.startswith((b"PK", b"\x80\x02")):
            raise CheckpointError(
                f"{path}: is a pickled torch file, which is never loaded because it can run code. "
                "Convert it with `roigcn export`."
            )
        length = int.from_bytes(start, "little")
        foreign = f"{path}: is not a safetensors file. {_COPY_AGAIN}"
        if len(start) < 8 or length > 100_000_000:
            raise CheckpointError(foreign)
        if 8 + length > size:
            raise CheckpointError(f"{path}: is truncated within its header ({size} bytes). {_COPY_AGAIN}")
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        except (ValueError, AttributeError, KeyError, TypeError, IndexError) as error:
            raise CheckpointError(foreign) from error
    expected = 8 + length + max(ends, default=0)
    if size < expected:
        raise CheckpointError(f"{path}: is truncated, {size} of {expected} bytes are there. {_COPY_AGAIN}")


def _first_problems(error: ValidationError, limit: int = 3) -> str:
    problems = error.errors(include_url=False)
    texts = [
        ": ".join(part for part in (".".join(map(str, problem["loc"])), problem["msg"]) if part)
        for problem in problems[:limit]
    ]
    more = f" (and {len(problems) - limit} more)" if len(problems) > limit else ""
    return "; ".join(texts) + more
