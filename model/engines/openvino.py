"""The OpenVINO engine: processors, in single precision.

The network is converted once (see `graph_cache`) and compiled twice: for latency, where all threads share one request,
and for throughput, where a batch is cut into as many asynchronous requests as there are streams, each on its own
thread. The batch dimension stays open, which costs nothing measurable and lets any batch through without padding.
Converting needs torch; opening a network that is in the cache does not load it.
"""

from __future__ import annotations

import logging
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.checkpoint import Checkpoint
from model.engines.base import EngineError, check_crops, default_threads
from model.engines.graph_cache import GRAPH_NAME, cache_key, cached_graph
from model.openvino_core import ov, shared_core
from model.values import Float32Array, UInt8Array

if TYPE_CHECKING:
    from model.engines.deploy import DeployedNetwork

MAX_REQUEST = 8
"""Crops in one request: more of them only need more memory, the processor is busy with fewer."""

log = logging.getLogger(__name__)


class OpenVinoEngine:
    """Runs a checkpoint's network with OpenVINO; see `model.engines.base.Engine`.

    Args:
        checkpoint: as the registry gives it.
        device: "auto" or "cpu" for the processor, or the name of another OpenVINO device ("GPU", "NPU").
        threads: processor threads; default: those that the process may use.
        cache_dir: where converted networks are kept.

    Raises:
        EngineError: no such device, or the cache cannot be written.
        CheckpointError: weights that do not fit their manifest.
    """

    name = "openvino"

    def __init__(
        self, checkpoint: Checkpoint, *, device: str = "auto", threads: int | None = None, cache_dir: Path
    ) -> None:
        manifest = checkpoint.manifest
        self._manifest = manifest
        self.input_size = manifest.input_size
        self.map_size = manifest.map_size
        self.au_codes = manifest.au_codes
        self.preferred_batch = 8
        self._lock = threading.Lock()
        core = shared_core()
        self.device = _find_device(core, device)
        graph = cached_graph(
            cache_dir, cache_key(checkpoint, ov.get_version()), lambda folder: convert(checkpoint, folder / GRAPH_NAME)
        )
        threads = threads or default_threads()
        self._streams = _stream_count(threads) if self.device == "CPU" else 1
        network = core.read_model(graph)
        self._single: Any = self._compile(core, network, threads, streams=1)
        self._parallel: list[Any] = []
        if self._streams > 1:
            compiled = self._compile(core, network, threads, streams=self._streams)
            self._parallel = [compiled.create_infer_request() for _ in range(self._streams)]
        self._single = self._single.create_infer_request()

    def run(self, crops: UInt8Array) -> Float32Array:
        """ROI maps (B, K, H, W) of crops (B, S, S, 3); see `Engine.run`."""
        check_crops(crops, self._manifest)
        crops = np.require(crops, requirements=("C", "W"))  # tensors over read-only memory are refused
        maps = np.empty((len(crops), len(self.au_codes), self.map_size, self.map_size), np.float32)
        with self._lock:
            if self._single is None:
                raise EngineError("The engine was closed.")
            done = 0
            # As many rounds of equal requests on all streams as fit, then what is left with all threads together.
            while self._parallel and len(crops) - done >= self._streams:
                size = min((len(crops) - done) // self._streams, MAX_REQUEST)
                for i, request in enumerate(self._parallel):
                    start = done + i * size
                    request.set_input_tensor(ov.Tensor(crops[start : start + size], shared_memory=True))
                    request.start_async()
                for i, request in enumerate(self._parallel):
                    request.wait()
                    maps[done + i * size : done + (i + 1) * size] = request.get_output_tensor().data
                done += size * self._streams
            while done < len(crops):
                size = min(len(crops) - done, MAX_REQUEST)
                self._single.set_input_tensor(ov.Tensor(crops[done : done + size], shared_memory=True))
                self._single.infer()
                maps[done : done + size] = self._single.get_output_tensor().data
                done += size
        return maps

    def close(self) -> None:
        """Frees the network; closing twice does no harm."""
        with self._lock:
            self._single = None
            self._parallel = []

    def _compile(self, core: ov.Core, network: ov.Model, threads: int, *, streams: int) -> ov.CompiledModel:
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if self.device == "CPU":
            settings |= {"NUM_STREAMS": str(streams), "INFERENCE_NUM_THREADS": threads}
        return core.compile_model(network, self.device, settings)


def convert(checkpoint: Checkpoint, path: Path) -> None:
    """Converts a checkpoint's network to OpenVINO's format, in single precision. Loads torch, takes some seconds.

    Args:
        checkpoint: as the registry gives it.
        path: of the xml file; the weights go beside it.
    """
    from model.engines.deploy import DeployedNetwork  # loads torch: a worker that finds its network cached does not

    log.info("converting %s for OpenVINO, once on this machine", checkpoint.ref)
    deployed = DeployedNetwork(checkpoint.load_network(), checkpoint.manifest.normalisation).eval()
    ov.save_model(to_graph(deployed, checkpoint.manifest.input_size), path, compress_to_fp16=False)


def to_graph(deployed: DeployedNetwork, input_size: int) -> ov.Model:
    """OpenVINO's graph of a network, for any number of crops."""
    import torch

    # Two crops, since a batch of one would let the tracer take dimensions of 1 for constants.
    example = torch.zeros((2, input_size, input_size, 3), dtype=torch.uint8)
    with torch.no_grad(), warnings.catch_warnings():
        # torch calls its tracer deprecated; OpenVINO reads traces best, and the network is one that traces exactly.
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(deployed, example, check_trace=False)  # type: ignore[no-untyped-call]  # torch's own
        graph = ov.convert_model(traced, example_input=example)
    graph.reshape(ov.PartialShape([-1, input_size, input_size, 3]))
    return graph


def _stream_count(threads: int) -> int:
    """Requests at a time: one thread each on small machines, a few threads each on larger ones."""
    return threads if threads <= 4 else threads // 2


def _find_device(core: ov.Core, name: str) -> str:
    wanted = "CPU" if name.lower() in ("auto", "cpu") else name.upper()
    known: list[str] = core.available_devices
    if wanted not in known:
        raise EngineError(f"OpenVINO finds no device {name!r} on this machine: choose one of {', '.join(known)}.")
    return wanted
