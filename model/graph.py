"""The spectral graph convolution with supervised, low-rank similarity (paper sections 3.2 to 3.4; METHOD 4).

Every pixel of the feature map X0 is a node. Their similarity A = Φ Λ Φᵀ has one eigenvector map per Action Unit, and
the convolution is X1 = ReLU(Θ (X0 - D^-½ A D^-½ X0)). A (N x N) is never formed.

Formulation. The features are the backbone's four branches, bilinearly upsampled to the first one's size and
concatenated; but 1x1 convolutions commute with that upsampling, and the mean of an upsampled branch is the branch's own
mean, so Φ and Θ X0 are computed on each branch at its own resolution and only their sum is formed at full size. Θ acts
on channels and A on pixels, so Θ (X0 - P Λ Pᵀ X0) = Θ X0 - P Λ Pᵀ (Θ X0): the correction is a product of (C, M) and
(M, N) matrices in the convolutions' own channels-first layout, without a transpose of the features.
`dense_graph_convolution` is the definition, for tests.

Shapes: B pictures, C feature channels, M eigenvectors (K Action Units), N = H * W nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from model.network_config import PhiAct

TINY = 1e-12  # keeps 1/sqrt finite when every degree of a picture is 0


class _BilinearUpsample(torch.autograd.Function):
    """F.interpolate with a gradient of two small matrix products: PyTorch's own took a fifth of a training step on a
    processor (HRNet-W18-small, 128 px, bfloat16)."""

    @staticmethod
    def forward(ctx: FunctionCtx, part: Tensor, factor: int) -> Tensor:
        ctx.factor, ctx.size = factor, part.shape[-2:]  # type: ignore[attr-defined]  # ctx takes any attribute
        return F.interpolate(part, scale_factor=float(factor), mode="bilinear", align_corners=False)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        (height, width), factor = ctx.size, ctx.factor  # type: ignore[attr-defined]
        rows = _linear_weights(height, factor, gradient.dtype)
        columns = _linear_weights(width, factor, gradient.dtype)
        if not gradient.is_contiguous(memory_format=torch.channels_last):
            return rows @ (gradient @ columns.T), None
        batch, channels, _, wide = gradient.shape  # the same on the channels_last layout, without a copy
        lines = (rows @ gradient.permute(0, 2, 3, 1).reshape(batch, -1, wide * channels)).view(-1, wide, channels)
        return (columns @ lines).view(batch, height, width, channels).permute(0, 3, 1, 2), None


@lru_cache(maxsize=32)
def _linear_weights(size: int, factor: int, dtype: torch.dtype) -> Tensor:
    """(size, size * factor): what each pixel of a line contributes to each pixel of the upsampled line."""
    line = torch.eye(size)[None]
    return F.interpolate(line, scale_factor=float(factor), mode="linear", align_corners=False)[0].to(dtype)


def upsampled(part: Tensor, factor: int) -> Tensor:
    """A map (B, C, h, w) brought to (B, C, h * factor, w * factor) bilinearly (align_corners=False)."""
    if part.requires_grad and part.device.type == "cpu":
        return _BilinearUpsample.apply(part, factor)  # type: ignore[no-any-return,no-untyped-call]  # torch's stub
    return F.interpolate(part, scale_factor=float(factor), mode="bilinear", align_corners=False)


def upsampled_sum(parts: Sequence[Tensor]) -> Tensor:
    """The sum of maps (B, C, H / 2^i, W / 2^i), i = 0, 1, ..., each brought to (H, W) bilinearly."""
    total = parts[0]
    for i, part in enumerate(parts[1:], start=1):
        total = total + upsampled(part, 2**i)
    return total


def upsampled_concat(branches: Sequence[Tensor]) -> Tensor:
    """X0 (B, C, H, W): the branches at the first one's size, concatenated (METHOD 3.1)."""
    larger = [upsampled(branch, 2**i) for i, branch in enumerate(branches[1:], start=1)]
    return torch.cat([branches[0], *larger], dim=1)


class BranchConv2d(nn.Conv2d):
    """A 1x1 convolution of the upsampled, concatenated branches, computed branch by branch before the upsampling.

    Its parameters are those of the plain 1x1 convolution, and so is its result, up to rounding.

    Args:
        branch_channels: channels of each branch; their sum is the convolution's input width.
        out_channels: output width.
        bias: whether it has one.
    """

    def __init__(self, branch_channels: Sequence[int], out_channels: int, bias: bool = True) -> None:
        super().__init__(sum(branch_channels), out_channels, kernel_size=1, bias=bias)
        self.branch_channels = list(branch_channels)

    def forward(self, branches: Sequence[Tensor]) -> Tensor:  # type: ignore[override]  # takes the branches, not X0
        """Branches (B, C_i, H / 2^i, W / 2^i) to (B, out_channels, H, W)."""
        weights = torch.split(self.weight, self.branch_channels, dim=1)
        # The bias goes with the first branch: it must be added once.
        return upsampled_sum(
            [
                F.conv2d(branch, weight, self.bias if i == 0 else None)
                for i, (branch, weight) in enumerate(zip(branches, weights, strict=True))
            ]
        )

    def forward_concat(self, x0: Tensor) -> Tensor:
        """The same from X0 (B, C, H, W)."""
        return F.conv2d(x0, self.weight, self.bias)


class GraphOutput(NamedTuple):
    """What the graph convolution gives.

    Attributes:
        x1: (B, C, H, W) refined features, at or above 0.
        phi: (B, M, H, W) eigenvector maps, at or above 0.
    """

    x1: Tensor
    phi: Tensor


class SpectralGraphConv(nn.Module):
    """X1 = ReLU(Θ L X0) with L = I - D^-½ Φ Λ Φᵀ D^-½, everything but Θ depending on X0.

    Args:
        branch_channels: channels of the backbone's branches, C in sum.
        eigenvectors: M.
        phi_act: "relu" or "softplus".
        use_bn: batch normalisation after Θ.
        epsilon: added to the degrees, relative to their mean.
    """

    def __init__(
        self,
        branch_channels: Sequence[int],
        eigenvectors: int,
        phi_act: PhiAct = "relu",
        use_bn: bool = False,
        epsilon: float = 1e-6,
    ) -> None:
        super().__init__()
        channels = sum(branch_channels)
        self.phi_act = phi_act
        self.epsilon = epsilon
        self.phi = BranchConv2d(branch_channels, eigenvectors)
        self.eigenvalue = nn.Linear(channels, eigenvectors)
        self.theta = BranchConv2d(branch_channels, channels, bias=False)
        self.bn = nn.BatchNorm2d(channels) if use_bn else None
        # Identity: training starts from the backbone's own features (METHOD 4.3).
        nn.init.dirac_(self.theta.weight)

    def eigenvectors(self, branches: Sequence[Tensor]) -> Tensor:
        """Φ (B, M, H, W), at or above 0."""
        raw: Tensor = self.phi(branches)
        return F.relu(raw) if self.phi_act == "relu" else F.softplus(raw)

    def eigenvalues(self, branches: Sequence[Tensor]) -> Tensor:
        """λ (B, M) in (0, 1), from the mean of each feature channel."""
        pooled = torch.cat([branch.mean(dim=(2, 3)) for branch in branches], dim=1)
        return torch.sigmoid(self.eigenvalue(pooled))

    def forward(self, branches: Sequence[Tensor]) -> GraphOutput:
        """Branches (B, C_i, H / 2^i, W / 2^i) to refined features and eigenvector maps."""
        phi = self.eigenvectors(branches)
        features = self.theta(branches)
        z = subtract_low_rank(features, phi, self.eigenvalues(branches), self.epsilon)
        return GraphOutput(F.relu(z if self.bn is None else self.bn(z)), phi)


def subtract_low_rank(features: Tensor, phi: Tensor, eigenvalues: Tensor, epsilon: float = 1e-6) -> Tensor:
    """L applied to features: F - P (λ ⊙ (Pᵀ F)) with P = (d + ε)^-½ ⊙ Φ and d = Φ (λ ⊙ (Φᵀ 1)) (paper Eq. 5, 6).

    The sums run in single precision whatever autocast says: over 4096 nodes they come near half precision's largest
    number.

    Args:
        features: (B, C, H, W).
        phi: (B, M, H, W), at or above 0.
        eigenvalues: (B, M), above 0.
        epsilon: relative to the mean degree, so that the result doesn't depend on the scale of phi.

    Returns:
        (B, C, H, W), single precision (double if the features are). Where phi is 0 the features come back unchanged.
    """
    with torch.autocast(device_type=features.device.type, enabled=False):
        dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
        flat = features.to(dtype).flatten(2)  # (B, C, N)
        nodes = phi.to(dtype).flatten(2)  # (B, M, N)
        weights = eigenvalues.to(dtype).unsqueeze(1)  # (B, 1, M)
        sums = nodes.sum(dim=2).unsqueeze(1)  # (B, 1, M)
        degree = (weights * sums) @ nodes  # (B, 1, N)
        floor = epsilon * degree.mean(dim=2, keepdim=True).detach() + TINY
        p = nodes * torch.rsqrt(degree + floor)  # (B, M, N)
        gathered = (flat @ p.transpose(1, 2)) * weights  # (B, C, M)
        return torch.baddbmm(flat, gathered, p, alpha=-1.0).view_as(features)


def dense_graph_convolution(x0: Tensor, phi: Tensor, eigenvalues: Tensor, epsilon: float = 0.0) -> Tensor:
    """The definition, (I - D^-½ A D^-½) X0 with A = Φ Λ Φᵀ formed in full (paper Eq. 2, 3). For tests and small N.

    Args:
        x0: (B, C, N).
        phi: (B, M, N).
        eigenvalues: (B, M).
        epsilon: relative to the mean degree.

    Returns:
        (B, C, N).
    """
    similarity = phi.transpose(1, 2) @ (eigenvalues.unsqueeze(2) * phi)  # (B, N, N)
    degree = similarity.sum(dim=2)
    scale = (degree + epsilon * degree.mean(dim=1, keepdim=True)).rsqrt()
    normalised = scale.unsqueeze(2) * similarity * scale.unsqueeze(1)
    laplacian = torch.eye(x0.shape[2], dtype=x0.dtype, device=x0.device) - normalised
    return x0 @ laplacian  # L is symmetric


class SupervisionHead(nn.Module):
    """f of paper Eq. 4: each eigenvector map weighed pixel by pixel into one logit of its AU. For training alone.

    Args:
        num_aus: K.
        map_size: H = W.
        shared: one weight map for all AUs.
    """

    def __init__(self, num_aus: int, map_size: int, shared: bool = False) -> None:
        super().__init__()
        rows, nodes = (1 if shared else num_aus), map_size * map_size
        self.map_size = map_size
        self.weight = nn.Parameter(torch.empty(rows, nodes))
        self.bias = nn.Parameter(torch.empty(rows))
        bound = nodes**-0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, phi: Tensor) -> Tensor:
        """Eigenvector maps (B, K, H, W) to logits (B, K).

        Raises:
            ValueError: if the maps have another size than this head was built for.
        """
        if phi.shape[-2] != self.map_size or phi.shape[-1] != self.map_size:
            size = tuple(phi.shape[-2:])
            raise ValueError(f"the supervision head knows {self.map_size}x{self.map_size} maps, got {size}")
        return (phi.flatten(2) * self.weight).sum(dim=2) + self.bias
