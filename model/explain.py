"""Makes explanations: one forward pass whose inner maps are kept (paper section 4.4, Figures 5 and 6). Loads torch.

>>> explainer = Explainer(Registry.open().active())
>>> explainer.explain(crops)[0].phi.shape
(15, 32, 32)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from model.checkpoint import Checkpoint
from model.engines.base import EngineError, check_crops
from model.explanation import Explanation, ExplanationError, check_explainable
from model.graph import SpectralGraphConv, upsampled_concat
from model.network import RoiGcn, normalise
from model.values import Float32Array, UInt8Array


def explain(network: RoiGcn, pixels: torch.Tensor, au_codes: Sequence[str]) -> list[Explanation]:
    """What the network does with each crop; its ROI maps are those that `network.roi_maps` gives, to the last bit.

    Args:
        network: in evaluation mode.
        pixels: (B, 3, S, S) normalised crops on the network's device, see `model.network.normalise`.
        au_codes: its K Action Units.

    Raises:
        ExplanationError: a variant without graph convolution, or a network in training mode, whose answers for a crop
            would depend on the others beside it.
    """
    check_explainable(network.config.variant)
    if network.training:
        raise ExplanationError("the network is in training mode; call network.eval() first")
    graph = network.graph
    assert graph is not None, "variants with a graph convolution have one"
    with torch.inference_mode():
        branches = network.backbone(pixels)
        x1, phi = graph(branches)
        maps = network.head(x1)
        x0, eigenvalues = upsampled_concat(branches), graph.eigenvalues(branches)
        after = network.head.weight[:, :, 0, 0]
        before = after @ _theta(graph)
    return [
        Explanation(
            au_codes=tuple(au_codes),
            x0=_array(x0[i]),
            x1=_array(x1[i]),
            phi=_array(phi[i]),
            eigenvalues=_array(eigenvalues[i]),
            roi_maps=_array(maps[i]),
            weight_before=_array(before),
            weight_after=_array(after),
            epsilon=graph.epsilon,
        )
        for i in range(len(pixels))
    ]


class Explainer:
    """A checkpoint's network in single precision on the processor, which shows what is inside it.

    It is an engine too (`model.engines.base.Engine`): an `Analyzer` may hold it, so that scores and pictures come from
    one network.

    Args:
        checkpoint: as the registry gives it.

    Raises:
        ExplanationError: its network has no graph convolution.
        CheckpointError: weights that do not fit their manifest.
    """

    name = "torch"
    device = "cpu"
    preferred_batch = 8

    def __init__(self, checkpoint: Checkpoint) -> None:
        manifest = checkpoint.manifest
        check_explainable(manifest.architecture.variant)
        self._manifest = manifest
        self.input_size = manifest.input_size
        self.map_size = manifest.map_size
        self.au_codes = manifest.au_codes
        self._network: RoiGcn | None = checkpoint.load_network().requires_grad_(False)
        self._mean = torch.tensor(manifest.normalisation.mean)
        self._std = torch.tensor(manifest.normalisation.std)

    def explain(self, crops: UInt8Array) -> list[Explanation]:
        """What the network does with each of the crops (B, S, S, 3).

        Raises:
            ValueError: crops of another size or type.
            EngineError: it was closed.
        """
        check_crops(crops, self._manifest)
        if self._network is None:
            raise EngineError("The engine was closed.")
        if not len(crops):
            return []
        pixels = torch.from_numpy(np.require(crops, requirements=("C", "W")))
        return explain(self._network, normalise(pixels, self._mean, self._std), self.au_codes)

    def run(self, crops: UInt8Array) -> Float32Array:
        """ROI maps (B, K, H, H) of crops (B, S, S, 3); see `Engine.run`."""
        found = [explanation.roi_maps for explanation in self.explain(crops)]
        empty = np.empty((0, len(self.au_codes), self.map_size, self.map_size), np.float32)
        return np.stack(found) if found else empty

    def close(self) -> None:
        """Frees the network; closing twice does no harm."""
        self._network = None


def _theta(graph: SpectralGraphConv) -> torch.Tensor:
    """(C, C): theta, with the scale of the normalisation behind it where there is one."""
    theta = graph.theta.weight[:, :, 0, 0]
    if graph.bn is None:
        return theta
    assert graph.bn.running_var is not None, "tracked by default"
    return theta * (graph.bn.weight * torch.rsqrt(graph.bn.running_var + graph.bn.eps))[:, None]


def _array(tensor: torch.Tensor) -> Float32Array:
    array: Float32Array = tensor.detach().float().cpu().contiguous().numpy()
    return array
