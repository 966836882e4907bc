"""ROI-GCN: backbone, graph convolution and the map head (paper Fig. 4; METHOD 0, 3 and 4).

>>> network = RoiGcn(NetworkConfig(backbone="hrnet_w18_small", num_aus=15, input_size=128))
>>> network(torch.zeros(1, 3, 128, 128)).maps.shape
torch.Size([1, 15, 32, 32])
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.graph import BranchConv2d, GraphOutput, SpectralGraphConv, SupervisionHead
from model.hrnet import BACKBONES, HRNet
from model.network_config import NetworkConfig

__all__ = ["NetworkConfig", "RoiGcn", "RoiGcnOutput"]

SUPERVISION_PREFIX = "supervision."


class RoiGcnOutput(NamedTuple):
    """What one forward pass gives.

    Attributes:
        maps: (B, K, S / 4, S / 4) ROI maps, about -1 (absent) to 1 (occurred) at the ROIs.
        au_logits: (B, K) of the supervision head, or None for variants without it.
        phi: (B, M, S / 4, S / 4) eigenvector maps, or None for variants without the graph convolution.
    """

    maps: Tensor
    au_logits: Tensor | None
    phi: Tensor | None


class RoiGcn(nn.Module):
    """The network of the paper, or one of its ablations.

    Args:
        config: its architecture.

    Raises:
        ValueError: for an unknown backbone.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        if config.backbone not in BACKBONES:
            raise ValueError(f"unknown backbone {config.backbone!r}; known are {', '.join(BACKBONES)}")
        self.config = config
        self.backbone = HRNet(BACKBONES[config.backbone])
        channels = self.backbone.config.channels
        self.graph: SpectralGraphConv | None = None
        self.supervision: SupervisionHead | None = None
        self.head: nn.Conv2d
        if config.uses_graph:
            eigenvectors = config.eigenvectors or config.num_aus
            self.graph = SpectralGraphConv(channels, eigenvectors, config.phi_act, config.use_bn, config.epsilon)
            self.head = nn.Conv2d(sum(channels), config.num_aus, kernel_size=1)
        else:
            self.head = BranchConv2d(channels, config.num_aus)
        if config.supervised:
            self.supervision = SupervisionHead(config.num_aus, config.map_size, config.f_shared)
        nn.init.normal_(self.head.weight, std=config.out_std)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def decode_branches(self, branches: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Everything behind the backbone: ROI maps and eigenvector maps (None without the graph convolution).

        Args:
            branches: as `HRNet.forward` gives them.
        """
        if self.graph is None:
            return self.head(branches), None
        refined: GraphOutput = self.graph(branches)
        return self.head(refined.x1), refined.phi

    def roi_maps(self, x: Tensor) -> Tensor:
        """The inference path: normalised crops (B, 3, S, S) to maps (B, K, S / 4, S / 4), without supervision."""
        return self.decode_branches(self.backbone(x))[0]

    def forward(self, x: Tensor) -> RoiGcnOutput:
        """Normalised crops (B, 3, S, S), RGB, to maps and, for training, AU logits.

        Raises:
            ValueError: if S isn't a multiple of 32, or the supervised network was built for another S.
        """
        maps, phi = self.decode_branches(self.backbone(x))
        logits = self.supervision(phi) if self.supervision is not None else None
        return RoiGcnOutput(maps, logits, phi)

    def inference_state(self) -> dict[str, Tensor]:
        """The state dict without the supervision head, which serves training alone: what a checkpoint needs."""
        return {key: value for key, value in self.state_dict().items() if not key.startswith(SUPERVISION_PREFIX)}

    def parameter_count(self, *, inference: bool = False) -> int:
        """Number of parameters; with `inference` without the supervision head's."""
        return sum(
            parameter.numel()
            for name, parameter in self.named_parameters()
            if not (inference and name.startswith(SUPERVISION_PREFIX))
        )


def normalise(crops: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Crops (B, S, S, 3) uint8 RGB to the network's input (B, 3, S, S), in the memory layout channels_last.

    Args:
        crops: pixels 0 to 255.
        mean: (3,) of RGB in 0 to 1.
        std: (3,) likewise.
    """
    pixels = crops.permute(0, 3, 1, 2).to(mean.dtype)
    scale = 1.0 / (255.0 * std)
    return (pixels * scale.view(1, 3, 1, 1) - (mean / std).view(1, 3, 1, 1)).contiguous(
        memory_format=torch.channels_last
    )
