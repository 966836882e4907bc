"""The network as the OpenVINO engine runs it: pixels in, ROI maps out, rearranged for few passes over large maps.

`fold_batch_norms` multiplies each convolution's kernels by its normalisation's scale: the engine has a pass less over
every feature map, and the converter half as many nodes. `InferenceHead` is the graph convolution and the map head of
`model.graph` and `model.network`, in another order of the same sums. Both are exact up to rounding.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.graph import TINY, SpectralGraphConv
from model.manifest import Normalisation
from model.network import RoiGcn, normalise


class DeployedNetwork(nn.Module):
    """Crops (B, S, S, 3) uint8 RGB to ROI maps (B, K, S / 4, S / 4); the supervision head is left out.

    Args:
        network: in evaluation mode; it is copied, not changed.
        normalisation: the manifest's.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: RoiGcn, normalisation: Normalisation) -> None:
        super().__init__()
        folded = fold_batch_norms(network)
        self.backbone = folded.backbone
        self.head: nn.Module = folded.head
        if folded.graph is not None:
            self.head = InferenceHead(folded.graph, folded.head, folded.config.map_size)
        self.register_buffer("mean", torch.tensor(normalisation.mean))
        self.register_buffer("std", torch.tensor(normalisation.std))

    def forward(self, crops: Tensor) -> Tensor:
        """One pass."""
        maps: Tensor = self.head(self.backbone(normalise(crops, self.mean, self.std)))
        return maps


class InferenceHead(nn.Module):
    """Graph convolution and map head from the four branches, never touching the concatenated features.

    With X0 = Σ U_b X_b (U_b the upsampling of branch b), Pᵀ X0 = Σ (U_bᵀ P)ᵀ X_b: the M maps of P are brought down
    instead of the C feature maps up, and Θ then meets a (C, M) matrix instead of N nodes. So the correction
    P Λ (Pᵀ X0) Θᵀ is known before Θ X0 is formed, and joins it, the ReLU included, in one pass of one convolution.
    Of Θ X0 itself the two large branches, a fifth of the channels, are convolved at full size; the two small ones
    are convolved first and upsampled then.

    Shapes: B crops, C features, M eigenvectors, N = H * W nodes.

    Args:
        graph: the trained graph convolution, in evaluation mode.
        head: the 1x1 convolution to ROI maps.
        map_size: H = W.
    """

    def __init__(self, graph: SpectralGraphConv, head: nn.Conv2d, map_size: int) -> None:
        super().__init__()
        self.map_size = map_size
        self.phi_act = graph.phi_act
        self.epsilon = graph.epsilon
        self.eigenvalue = graph.eigenvalue
        self.out = head
        theta, shift = graph.theta.weight.detach(), None
        if graph.bn is not None:
            theta, shift = _fold(theta, graph.bn)
        assert graph.phi.bias is not None
        self.theta, self.phi = theta, graph.phi.weight.detach()  # (C, C, 1, 1), (M, C, 1, 1)
        self.shift, self.phi_bias = shift, graph.phi.bias.detach()
        self.widths = list(graph.theta.branch_channels)
        # (H, H / 2^b): rows of the upsampling from branch b = 1, 2, 3; the columns' are the same.
        self.rows = [_upsampling(map_size >> b, map_size) for b in range(1, len(self.widths))]

    def forward(self, branches: Sequence[Tensor]) -> Tensor:
        """Branches (B, C_b, H / 2^b, W / 2^b) to ROI maps (B, K, H, W)."""
        large = torch.cat([branches[0], self._upsampled(branches[1])], dim=1)
        raw = self._convolved(self.phi, self.phi_bias, large) + self._small(self.phi, branches)
        phi = (F.relu(raw) if self.phi_act == "relu" else F.softplus(raw)).flatten(2)  # (B, M, N)
        pooled = torch.cat([branch.mean(dim=(2, 3)) for branch in branches], dim=1)
        weights = torch.sigmoid(self.eigenvalue(pooled)).unsqueeze(1)  # (B, 1, M)
        degree = (weights * phi.sum(dim=2).unsqueeze(1)) @ phi  # (B, 1, N)
        p = phi * torch.rsqrt(degree + self.epsilon * degree.mean(dim=2, keepdim=True) + TINY)
        gathered = (self.theta[:, :, 0, 0] @ self._gathered(p, branches)) * weights  # (B, C, M)
        # (B, C, N) and not (B, N, C): with an open batch dimension OpenVINO would really transpose the latter.
        correction = torch.unflatten(gathered @ p, 2, (self.map_size, self.map_size))
        rest = self._small(self.theta, branches) - correction
        maps: Tensor = self.out(F.relu(self._convolved(self.theta, self.shift, large) + rest))
        return maps

    def _convolved(self, kernel: Tensor, bias: Tensor | None, large: Tensor) -> Tensor:
        """The part of a 1x1 convolution of X0 that reads the two large branches."""
        return F.conv2d(large, kernel[:, : large.shape[1]], bias)

    def _small(self, kernel: Tensor, branches: Sequence[Tensor]) -> Tensor:
        """The part that reads the two small ones."""
        parts = torch.split(kernel, self.widths, dim=1)
        return self._upsampled(F.conv2d(branches[2], parts[2])) + self._upsampled(F.conv2d(branches[3], parts[3]))

    def _upsampled(self, part: Tensor) -> Tensor:
        return F.interpolate(part, size=(self.map_size, self.map_size), mode="bilinear", align_corners=False)

    def _gathered(self, p: Tensor, branches: Sequence[Tensor]) -> Tensor:
        """(Pᵀ X0)ᵀ, (B, C, M), from P (B, M, N)."""
        maps = torch.unflatten(p, 2, (self.map_size, self.map_size))
        parts = [branches[0].flatten(2) @ p.transpose(1, 2)]
        columns = torch.split(maps @ torch.cat(self.rows, dim=1), [row.shape[1] for row in self.rows], dim=3)
        for branch, row, narrow in zip(branches[1:], self.rows, columns, strict=True):
            parts.append(branch.flatten(2) @ (row.T @ narrow).flatten(2).transpose(1, 2))
        return torch.cat(parts, dim=1)


def _upsampling(size: int, target: int) -> Tensor:
    """(target, size): bilinear upsampling of a line as a matrix."""
    return F.interpolate(torch.eye(size)[None], size=target, mode="linear", align_corners=False)[0].T.contiguous()


def _fold(kernel: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Kernel and bias of a convolution that has the normalisation after it inside."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.detach() * torch.rsqrt(norm.running_var + norm.eps)
    return kernel * scale.view(-1, 1, 1, 1), norm.bias.detach() - norm.running_mean * scale


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
    return [
        (first, second)
        for (first, convolution), (second, norm) in itertools.pairwise(module.named_children())
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    ]
