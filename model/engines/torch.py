"""The torch engine: NVIDIA GPUs in half precision, processors in single precision as the reference.

On a GPU the network runs in channels_last and half precision, with the graph convolution's sums in single precision
(METHOD 4.3). Batches are filled up to a few fixed sizes, so that cuDNN chooses its algorithms once for each of them.
"""

from __future__ import annotations

import threading

import numpy as np
import torch

from model.checkpoint import Checkpoint
from model.engines.base import EngineError, check_crops, default_threads
from model.engines.deploy import fold_batch_norms
from model.network import RoiGcn, normalise
from model.values import Float32Array, UInt8Array

BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class TorchEngine:
    """Runs a checkpoint's network with torch; see `model.engines.base.Engine`.

    Args:
        checkpoint: as the registry gives it.
        device: "auto" (the first GPU, else the processor), "cpu", "cuda" or "cuda:1".
        threads: processor threads. torch knows one number for the whole process, and this sets it.
        dtype: of the backbone; default: float16 on a GPU, float32 on a processor.

    Raises:
        EngineError: no such device.
        CheckpointError: weights that do not fit their manifest.
    """

    name = "torch"

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "auto",
        threads: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        manifest = checkpoint.manifest
        self._manifest = manifest
        self._device = _find_device(device)
        self._on_gpu = self._device.type == "cuda"
        self.device = str(self._device)
        self.input_size = manifest.input_size
        self.map_size = manifest.map_size
        self.au_codes = manifest.au_codes
        self.preferred_batch = 32 if self._on_gpu else 8
        self._dtype = dtype or (torch.float16 if self._on_gpu else torch.float32)
        self._lock = threading.Lock()
        if self._on_gpu:
            torch.backends.cudnn.benchmark = True
        else:
            torch.set_num_threads(threads or default_threads())
        network = fold_batch_norms(checkpoint.load_network()).requires_grad_(False)
        network.backbone.to(dtype=self._dtype)
        network.to(self._device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack the argument
        self._network: RoiGcn | None = network
        self._mean = torch.tensor(manifest.normalisation.mean, device=self._device)
        self._std = torch.tensor(manifest.normalisation.std, device=self._device)

    def run(self, crops: UInt8Array) -> Float32Array:
        """ROI maps (B, K, H, W) of crops (B, S, S, 3); see `Engine.run`."""
        check_crops(crops, self._manifest)
        count = len(crops)
        with self._lock, torch.inference_mode():
            if self._network is None:
                raise EngineError("The engine was closed.")
            parts = [
                self._forward(self._network, crops[start : start + BUCKETS[-1]])
                for start in range(0, count, BUCKETS[-1])
            ]
        if not parts:
            return np.empty((0, len(self.au_codes), self.map_size, self.map_size), np.float32)
        return np.concatenate(parts)

    def close(self) -> None:
        """Frees the network; closing twice does no harm."""
        with self._lock:
            self._network = None
        if self._on_gpu:
            torch.cuda.empty_cache()

    def _forward(self, network: RoiGcn, crops: UInt8Array) -> Float32Array:
        count = len(crops)
        pixels = torch.from_numpy(np.require(crops, requirements=("C", "W")))  # torch warns of read-only memory
        if self._on_gpu:
            bucket = next(size for size in BUCKETS if size >= count)
            full = torch.zeros((bucket, *crops.shape[1:]), dtype=torch.uint8, pin_memory=True)
            full[:count] = pixels
            pixels = full.to(self._device, non_blocking=True)
        x = normalise(pixels, self._mean, self._std).to(self._dtype)
        branches = network.backbone(x)
        # The graph's weights stay in single precision: autocast lowers its convolutions, not its sums.
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            maps, _ = network.decode_branches(branches)
        result: Float32Array = maps[:count].float().cpu().contiguous().numpy()
        return result


def _find_device(name: str) -> torch.device:
    name = name.lower()
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        raise EngineError(f"The torch engine knows no device {name!r}: use auto, cpu, cuda or cuda:N.")
    if not torch.cuda.is_available():
        raise EngineError(
            "No usable NVIDIA GPU: torch finds no CUDA device (is it the CUDA build, and is a driver installed?). "
            "Use device cpu, or the openvino engine."
        )
    count = torch.cuda.device_count()
    if int(number or 0) >= count:
        raise EngineError(f"There is no {name}: this machine's {count} CUDA devices are cuda:0 to cuda:{count - 1}.")
    return torch.device(f"cuda:{number or 0}")
