from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from model.hrnet import BACKBONES, HRNET_W18, HRNET_W18_SMALL, HRNet, HRNetConfig

pytestmark = pytest.mark.usefixtures("one_thread")


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def convolution_macs(network: nn.Module, size: int) -> int:
    """Multiply-accumulates of all convolutions for one picture, counted as it passes."""
    total = 0

    def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        total += output.numel() * module.weight[0].numel()

    convolutions = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    hooks = [convolution.register_forward_hook(count) for convolution in convolutions]
    network.eval()(torch.empty(1, 3, size, size, device="meta"))
    for hook in hooks:
        hook.remove()
    return total


@cache
def meta(config: HRNetConfig) -> HRNet:
    with torch.device("meta"):
        return HRNet(config)


def test_w18_has_the_published_size() -> None:
    network = meta(HRNET_W18)
    parts = {
        "stem": sum(parameters(part) for part in (network.conv1, network.bn1, network.conv2, network.bn2)),
        **{
            name: parameters(getattr(network, name))
            for name in ("layer1", "transition1", "stage2", "transition2", "stage3", "transition3", "stage4")
        },
    }
    assert parts == {
        "stem": 38_848,
        "layer1": 286_208,
        "transition1": 124_524,
        "stage2": 124_092,
        "transition2": 23_472,
        "stage3": 2_162_880,
        "transition3": 93_600,
        "stage4": 6_708_636,
    }
    assert parameters(network) == 9_562_260


@pytest.mark.parametrize(("size", "giga_macs"), [(256, 4.287), (224, 3.282)])
def test_w18_has_the_published_cost(size: int, giga_macs: float) -> None:
    assert convolution_macs(meta(HRNET_W18), size) / 1e9 == pytest.approx(giga_macs, abs=5e-4)


def test_small_has_the_size_of_timms() -> None:
    network = meta(HRNET_W18_SMALL)
    assert parameters(network) == 1_477_920
    assert len(network.state_dict()) == 426


# Keys and shapes as in the public checkpoints (verified against timm 1.0.31's `hrnet_w18` and `hrnet_w18_small`).
@pytest.mark.parametrize(
    ("config", "key", "shape"),
    [
        (HRNET_W18, "conv1.weight", (64, 3, 3, 3)),
        (HRNET_W18, "bn2.running_var", (64,)),
        (HRNET_W18, "layer1.0.downsample.1.weight", (256,)),
        (HRNET_W18, "layer1.3.conv3.weight", (256, 64, 1, 1)),
        (HRNET_W18, "transition1.0.0.weight", (18, 256, 3, 3)),
        (HRNET_W18, "transition1.1.0.0.weight", (36, 256, 3, 3)),
        (HRNET_W18, "stage2.0.branches.1.3.bn2.num_batches_tracked", ()),
        (HRNET_W18, "transition2.2.0.1.running_mean", (72,)),
        (HRNET_W18, "stage3.3.fuse_layers.0.2.0.weight", (18, 72, 1, 1)),
        (HRNET_W18, "stage3.3.fuse_layers.2.0.0.0.weight", (18, 18, 3, 3)),
        (HRNET_W18, "stage3.3.fuse_layers.2.0.1.0.weight", (72, 18, 3, 3)),
        (HRNET_W18, "stage4.2.fuse_layers.3.0.2.1.bias", (144,)),
        (HRNET_W18, "transition3.3.0.0.weight", (144, 72, 3, 3)),
        (HRNET_W18_SMALL, "layer1.0.conv1.weight", (32, 64, 1, 1)),
        (HRNET_W18_SMALL, "stage4.0.branches.3.1.conv2.weight", (128, 128, 3, 3)),
    ],
)
def test_keys_are_the_public_ones(config: HRNetConfig, key: str, shape: tuple[int, ...]) -> None:
    assert tuple(meta(config).state_dict()[key].shape) == shape


def test_w18_has_as_many_keys_as_the_public_files() -> None:
    state = meta(HRNET_W18).state_dict()
    assert len(state) == 1830
    assert not any(key.startswith(("incre", "downsamp", "final", "classifier", "head")) for key in state)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_gives_four_rectified_branches(name: str) -> None:
    network = HRNet(BACKBONES[name]).eval()
    with torch.no_grad():
        branches = network(torch.randn(2, 3, 64, 96))
    channels = network.config.channels
    assert [tuple(x.shape) for x in branches] == [(2, c, 16 >> i, 24 >> i) for i, c in enumerate(channels)]
    for branch in branches:
        assert branch.isfinite().all()
        assert branch.min() >= 0
        assert branch.max() > 0


def test_branches_are_fused_with_nearest_upsampling() -> None:
    network = HRNet(HRNET_W18_SMALL)
    upsamplings = [module for module in network.modules() if isinstance(module, nn.Upsample)]
    assert len(upsamplings) == 1 + 3 + 6
    assert {module.mode for module in upsamplings} == {"nearest"}


def test_memory_layout_changes_nothing() -> None:
    network = HRNet(HRNET_W18_SMALL).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        plain = network(x)
        layout = network.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    for a, b in zip(plain, layout, strict=True):
        assert b.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 3, 100, 128), (1, 3, 128, 16)])
def test_sides_must_be_multiples_of_32(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        meta(HRNET_W18_SMALL)(torch.empty(shape, device="meta"))
