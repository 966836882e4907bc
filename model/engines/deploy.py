"""The network as engines run it: pixels in, ROI maps out, batch normalisation folded into the convolutions.

Folding multiplies each convolution's kernels by its normalisation's scale, an exact rearrangement up to rounding. It
spares the torch engine a pass over every feature map, and the converter to OpenVINO half of its nodes.
"""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.manifest import Normalisation
from model.network import RoiGcn, normalise


class DeployedNetwork(nn.Module):
    """Crops (B, S, S, 3) uint8 RGB to ROI maps (B, K, S / 4, S / 4).

    Args:
        network: in evaluation mode; it is copied, not changed.
        normalisation: the manifest's.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: RoiGcn, normalisation: Normalisation) -> None:
        super().__init__()
        self.network = fold_batch_norms(network)
        self.register_buffer("mean", torch.tensor(normalisation.mean))
        self.register_buffer("std", torch.tensor(normalisation.std))

    def forward(self, crops: Tensor) -> Tensor:
        """One pass; the supervision head, which only training needs, is left out."""
        return self.network.roi_maps(normalise(crops, self.mean, self.std))


def fold_batch_norms(network: RoiGcn) -> RoiGcn:
    """A copy in which no normalisation of the backbone is left.

    Raises:
        ValueError: if the network is in training mode, where normalisation depends on the batch.
    """
    if network.training:
        raise ValueError("only a network in evaluation mode can be folded: call .eval() first")
    folded = copy.deepcopy(network)
    for module in list(folded.backbone.modules()):
        for conv_name, bn_name in _pairs(module):
            convolution = module.get_submodule(conv_name)
            norm = module.get_submodule(bn_name)
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            setattr(module, conv_name, fuse_conv_bn_eval(convolution, norm))
            setattr(module, bn_name, nn.Identity())
    left = [name for name, module in folded.backbone.named_modules() if isinstance(module, nn.BatchNorm2d)]
    if left:
        raise ValueError(f"batch normalisation without a convolution before it: {', '.join(left)}")
    return folded


def _pairs(module: nn.Module) -> list[tuple[str, str]]:
    """Names of children that follow each other as convolution and normalisation.

    In blocks they are registered as conv1, bn1, conv2, ...; in sequences as 0, 1, ...: in both one after the other.
    """
    children = list(module.named_children())
    return [
        (first, second)
        for (first, convolution), (second, norm) in itertools.pairwise(children)
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    ]
