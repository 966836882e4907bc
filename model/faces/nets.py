"""A `.tflite` net run by OpenVINO on uint8 pictures, in batches of fixed sizes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.values import Float32Array, UInt8Array

if TYPE_CHECKING:
    import openvino

BATCH_SIZES = (1, 2, 4, 8)


class PictureNet:
    """One net whose input is a batch of RGB pictures; OpenVINO reads the `.tflite` file as it is.

    The step from uint8 to the net's own range is part of the compiled graph. Each batch size is compiled when it is
    first needed, since OpenVINO runs fixed shapes much faster than open ones. Safe to share between threads, which
    then take turns.
    """

    def __init__(
        self,
        path: Path,
        *,
        mean: float,
        scale: float,
        outputs: Sequence[int],
        threads: int | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        """Open a net; nothing is compiled yet.

        Args:
            path: the `.tflite` file.
            mean: subtracted from each colour value, 0 to 255.
            scale: then divided by this.
            outputs: values per picture of each output, in the net's order; checks that the file is the right one.
            threads: processor threads, None for all.
            cache_dir: folder where OpenVINO keeps compiled nets between starts, None for no such cache.
        """
        from model.openvino_core import shared_core  # late: the API process imports this package and never runs a net

        self._core = shared_core()
        self._path, self._mean, self._scale = path, mean, scale
        self._outputs = tuple(outputs)
        # Left to itself OpenVINO computes in bfloat16 where the processor can: points then lie elsewhere by up to 1.4 %
        # of the distance between the outer eye corners, tremble from frame to frame, and depend on the machine.
        self._config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            self._config["INFERENCE_NUM_THREADS"] = threads
        if cache_dir is not None:
            cache_dir.mkdir(parents=True, exist_ok=True)
            self._config["CACHE_DIR"] = str(cache_dir)
        self._requests: dict[int, openvino.InferRequest] = {}
        self._lock = threading.Lock()
        shape = self._core.read_model(path).inputs[0].partial_shape
        self.size: int = shape[1].get_length()

    def run(self, pictures: UInt8Array) -> list[Float32Array]:
        """Run the net.

        Args:
            pictures: (B, size, size, 3) uint8 RGB; B may be 0.

        Returns:
            One (B, n) float32 array for each output, n as given in `outputs`.
        """
        results = [np.empty((len(pictures), width), np.float32) for width in self._outputs]
        with self._lock:
            start = 0
            for size in split_batch(len(pictures)):
                request = self._request(size)
                request.infer([np.ascontiguousarray(pictures[start : start + size])])
                for index, width in enumerate(self._outputs):
                    values = request.get_output_tensor(index).data
                    results[index][start : start + size] = values.reshape(size, width)
                start += size
        return results

    def _request(self, batch: int) -> openvino.InferRequest:
        if batch not in self._requests:
            from openvino import Layout, Type
            from openvino.preprocess import PrePostProcessor

            net = self._core.read_model(self._path)
            net.reshape([batch, self.size, self.size, 3])
            steps = PrePostProcessor(net)
            steps.input().tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
            steps.input().model().set_layout(Layout("NHWC"))
            steps.input().preprocess().convert_element_type(Type.f32).mean(self._mean).scale(self._scale)
            self._requests[batch] = self._core.compile_model(steps.build(), "CPU", self._config).create_infer_request()
        return self._requests[batch]


def split_batch(count: int) -> list[int]:
    """The largest batch sizes out of `BATCH_SIZES` that add up to `count`.

    Example:
        >>> split_batch(11)
        [8, 2, 1]
    """
    sizes = []
    while count > 0:
        sizes.append(max(size for size in BATCH_SIZES if size <= count))
        count -= sizes[-1]
    return sizes
