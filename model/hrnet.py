"""HRNetV2, the backbone: four branches at 1/4, 1/8, 1/16 and 1/32 of the input, exchanged again and again.

Sun et al. 2019 and Wang et al. 2020 (paper references [24, 28]); METHOD 3.1. Module names and shapes are those of the
public checkpoints (HRNet-Image-Classification, HRNet-Facial-Landmark-Detection, timm), without their heads, so that
those files load as they are: see `model.weights`. Branches are fused with nearest upsampling, as the ImageNet weights
were trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch.nn.functional as F
from torch import Tensor, nn

BN_MOMENTUM = 0.1
STEM_CHANNELS = 64
STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class StageConfig:
    """One stage: `modules` exchange units, each with `blocks` residual blocks on every branch."""

    modules: int
    blocks: int
    channels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HRNetConfig:
    """The shape of an HRNet.

    Attributes:
        name: its name in configurations and manifests.
        stage1_blocks: bottleneck blocks of the first stage.
        stage1_channels: their inner width (a quarter of their output).
        stages: the three multi-branch stages, of 2, 3 and 4 branches.
    """

    name: str
    stage1_blocks: int
    stage1_channels: int
    stages: tuple[StageConfig, StageConfig, StageConfig]

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the four branches."""
        return self.stages[-1].channels


HRNET_W18 = HRNetConfig(
    name="hrnet_w18",
    stage1_blocks=4,
    stage1_channels=64,
    stages=(
        StageConfig(1, 4, (18, 36)),
        StageConfig(4, 4, (18, 36, 72)),
        StageConfig(3, 4, (18, 36, 72, 144)),
    ),
)
HRNET_W18_SMALL = HRNetConfig(
    name="hrnet_w18_small",
    stage1_blocks=1,
    stage1_channels=32,
    stages=(
        StageConfig(1, 2, (16, 32)),
        StageConfig(1, 2, (16, 32, 64)),
        StageConfig(1, 2, (16, 32, 64, 128)),
    ),
)

BACKBONES: Mapping[str, HRNetConfig] = MappingProxyType(
    {config.name: config for config in (HRNET_W18, HRNET_W18_SMALL)}
)
"""Backbones by name. W18 is the paper's; W18-small is what a CPU can train."""


def _conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, relu: bool = False) -> list[nn.Module]:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs, momentum=BN_MOMENTUM),
    ]
    return [*layers, nn.ReLU(inplace=True)] if relu else layers


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut; input and output have the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv_bn(channels, channels, 3)
        self.conv2, self.bn2 = _conv_bn(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + x, inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution around a shortcut; the output has four times the inner channels."""

    expansion = 4

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        outputs = channels * self.expansion
        self.conv1, self.bn1 = _conv_bn(inputs, channels, 1)
        self.conv2, self.bn2 = _conv_bn(channels, channels, 3)
        self.conv3, self.bn3 = _conv_bn(channels, outputs, 1)
        self.downsample = nn.Sequential(*_conv_bn(inputs, outputs, 1)) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, 4 * channels, H, W)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn3(self.conv3(y)) + shortcut, inplace=True)


class ExchangeModule(nn.Module):
    """Residual blocks on each branch, then every branch receives the sum of all, brought to its resolution."""

    def __init__(self, channels: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(width) for _ in range(blocks))) for width in channels)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self._path(channels, source, target) for source in range(len(channels)))
            for target in range(len(channels))
        )

    @staticmethod
    def _path(channels: Sequence[int], source: int, target: int) -> nn.Module:
        """What brings branch `source` to the resolution and width of branch `target`."""
        if source == target:
            return nn.Identity()
        if source > target:
            upsample = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
            return nn.Sequential(*_conv_bn(channels[source], channels[target], 1), upsample)
        halvings = [
            nn.Sequential(*_conv_bn(channels[source], channels[source], 3, stride=2, relu=True))
            for _ in range(target - source - 1)
        ]
        return nn.Sequential(*halvings, nn.Sequential(*_conv_bn(channels[source], channels[target], 3, stride=2)))

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Branches (B, C_i, H / 2^i, W / 2^i) to the same shapes."""
        deep = [blocks(x) for blocks, x in zip(self.branches, branches, strict=True)]
        fused = []
        for paths in self.fuse_layers:
            total: Tensor | None = None
            for path, x in zip(paths, deep, strict=True):  # type: ignore[call-overload]  # ModuleList holds ModuleLists
                part = path(x)
                total = part if total is None else total + part
            assert total is not None
            fused.append(F.relu(total, inplace=True))
        return fused


class Stage(nn.Sequential):
    """Exchange modules one after another."""

    def __init__(self, config: StageConfig) -> None:
        super().__init__(*(ExchangeModule(config.channels, config.blocks) for _ in range(config.modules)))


def _transition(previous: Sequence[int], current: Sequence[int]) -> nn.ModuleList:
    """Widths changed where they differ, and one new branch at half the resolution of the last."""
    layers: list[nn.Module] = []
    for i, width in enumerate(current):
        if i < len(previous):
            same = width == previous[i]
            layers.append(nn.Identity() if same else nn.Sequential(*_conv_bn(previous[i], width, 3, relu=True)))
        else:  # the extra nesting is that of the public checkpoints' keys
            layers.append(nn.Sequential(nn.Sequential(*_conv_bn(previous[-1], width, 3, stride=2, relu=True))))
    return nn.ModuleList(layers)


class HRNet(nn.Module):
    """HRNetV2 without a head.

    Args:
        config: the shape, e.g. HRNET_W18.
    """

    def __init__(self, config: HRNetConfig = HRNET_W18) -> None:
        super().__init__()
        self.config = config
        widths = [(Bottleneck.expansion * config.stage1_channels,), *(stage.channels for stage in config.stages)]
        self.conv1, self.bn1 = _conv_bn(3, STEM_CHANNELS, 3, stride=2)
        self.conv2, self.bn2 = _conv_bn(STEM_CHANNELS, STEM_CHANNELS, 3, stride=2)
        first = Bottleneck(STEM_CHANNELS, config.stage1_channels)
        rest = (Bottleneck(widths[0][0], config.stage1_channels) for _ in range(config.stage1_blocks - 1))
        self.layer1 = nn.Sequential(first, *rest)
        self.transition1 = _transition(widths[0], widths[1])
        self.stage2 = Stage(config.stages[0])
        self.transition2 = _transition(widths[1], widths[2])
        self.stage3 = Stage(config.stages[1])
        self.transition3 = _transition(widths[2], widths[3])
        self.stage4 = Stage(config.stages[2])
        self._init_weights()

    def _init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised pictures (B, 3, S, S) to four branches.

        Args:
            x: S a multiple of 32.

        Returns:
            [(B, C_i, S / 4 / 2^i, S / 4 / 2^i) for i in 0..3], all at or above 0. For W18 C = 18, 36, 72, 144.

        Raises:
            ValueError: if a side of the input isn't a multiple of 32: the branches could not be fused.
        """
        # Under torch.jit.trace sizes are tensors, which must not decide anything.
        if any(isinstance(side, int) and side % STRIDES[-1] for side in x.shape[-2:]):
            raise ValueError(f"the sides of the input must be multiples of {STRIDES[-1]}, got {tuple(x.shape[-2:])}")
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        branches = [self.layer1(x)]
        for transition, stage in (
            (self.transition1, self.stage2),
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        ):
            # A new branch grows from the last one, the others from themselves.
            sources = branches + branches[-1:] * (len(transition) - len(branches))
            branches = stage([grow(source) for grow, source in zip(transition, sources, strict=True)])
        return branches
