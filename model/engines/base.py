"""What an engine is: face crops in, ROI maps out, on some hardware.

An engine holds one checkpoint's network in the form that its hardware runs fastest. Normalisation is part of its graph
and decoding is not: `run` maps uint8 pixels to float32 maps and nothing else, so engines can be compared number by
number. Importing this module loads neither torch nor OpenVINO; `open_engine` loads the one that it needs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal, Protocol, get_args

from model.checkpoint import Checkpoint
from model.manifest import Manifest
from model.values import Float32Array, UInt8Array

EngineKind = Literal["auto", "openvino", "torch"]


class EngineError(Exception):
    """An engine that cannot be opened; the message says what to do about it."""


class Engine(Protocol):
    """One checkpoint's network, ready to run.

    Attributes:
        name: the kind, "openvino" or "torch".
        device: what it runs on, as the kind calls it ("CPU", "cuda:0").
        input_size: side S of a crop in pixels.
        map_size: side H = W of a ROI map.
        au_codes: the K Action Units, in the order of the maps.
        preferred_batch: crops per call that use the hardware well.
    """

    name: str
    device: str
    input_size: int
    map_size: int
    au_codes: tuple[str, ...]
    preferred_batch: int

    def run(self, crops: UInt8Array) -> Float32Array:
        """ROI maps (B, K, H, W) float32 of RGB crops (B, S, S, 3) uint8; B may be 0. Safe to call from threads.

        Raises:
            ValueError: another shape or dtype.
            EngineError: the engine was closed.
        """
        ...

    def close(self) -> None:
        """Frees the network; closing twice does no harm."""
        ...


def open_engine(
    checkpoint: Checkpoint,
    kind: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Engine:
    """Opens a checkpoint's network on an engine.

    Args:
        checkpoint: as the registry gives it.
        kind: "openvino" (processors), "torch" (NVIDIA GPUs, and processors as a reference), or "auto": torch where
            a usable NVIDIA GPU is, else OpenVINO.
        device: "auto", "cpu", for torch "cuda" or "cuda:1", for OpenVINO any of its device names.
        threads: processor threads; default: what the process may use, at most 16.
        cache_dir: where converted networks are kept; default: `default_cache_dir()`.

    Raises:
        EngineError: unknown kind, device that is not there, or an engine that is not installed.
        CheckpointError: weights that do not fit their manifest.
    """
    if kind not in get_args(EngineKind):
        raise EngineError(f"Unknown engine {kind!r}: choose one of {', '.join(get_args(EngineKind))}.")
    if threads is not None and threads < 1:
        raise EngineError(f"An engine needs at least 1 thread, not {threads}.")
    wants_cuda = device.lower().startswith("cuda")
    if kind == "auto":
        kind = "torch" if wants_cuda or (device == "auto" and _has_usable_gpu()) else "openvino"
    if kind == "torch":
        from model.engines.torch import TorchEngine  # loads torch, which the other engine does without

        return TorchEngine(checkpoint, device=device, threads=threads)
    if wants_cuda:
        raise EngineError("The openvino engine does not run on CUDA: use the torch engine for an NVIDIA GPU.")
    from model.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(
        checkpoint, device=device, threads=threads, cache_dir=Path(cache_dir) if cache_dir else default_cache_dir()
    )


def default_cache_dir() -> Path:
    """`$ROIGCN_DATA_DIR/cache`, else the platform's cache folder for roigcn."""
    if data_dir := os.environ.get("ROIGCN_DATA_DIR"):
        return Path(data_dir).expanduser() / "cache"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "roigcn" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "roigcn"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "roigcn"


def default_threads() -> int:
    """Processor threads that this process may use, at most 16: small crops do not fill more."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(usable, 16))


def check_crops(crops: UInt8Array, manifest: Manifest) -> None:
    """Raises ValueError unless crops are (B, S, S, 3) uint8 with the manifest's S."""
    size = manifest.input_size
    if crops.ndim != 4 or crops.shape[1:] != (size, size, 3) or crops.dtype.name != "uint8":
        raise ValueError(
            f"an engine of {manifest.ref} takes uint8 crops of shape (B, {size}, {size}, 3), "
            f"not {crops.dtype} of shape {crops.shape}"
        )


def _has_usable_gpu() -> bool:
    """Asks torch only where an NVIDIA driver is present, so that other machines never load torch for the question."""
    if not any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/dxg")) and sys.platform != "win32":
        return False
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()
