from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from model.graph import dense_graph_convolution, upsampled_concat
from model.network import NetworkConfig, RoiGcn, normalise

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {"backbone": "hrnet_w18_small", "num_aus": 5, "input_size": 64}
VARIANTS = ("heatmap", "neg", "neg_gcn", "full")


def build(**changes: Any) -> RoiGcn:
    return RoiGcn(NetworkConfig(**{**SMALL, **changes}))


def awake(network: RoiGcn) -> RoiGcn:
    """With weights that make every part matter: the initial maps are nearly 0."""
    generator = torch.Generator().manual_seed(0)
    nn.init.normal_(network.head.weight, std=0.1, generator=generator)
    if network.graph is not None:
        nn.init.normal_(network.graph.theta.weight, std=0.1, generator=generator)
    return network.eval()


def test_the_papers_network_has_its_size() -> None:
    # METHOD 3.3: 9.694M with the supervision head, 9.645M without.
    with torch.device("meta"):
        network = RoiGcn(NetworkConfig())
    assert network.parameter_count() == 9_562_260 + 3_252 + 3_252 + 72_900 + 3_252 + 49_164
    assert network.parameter_count(inference=True) == 9_694_080 - 49_164
    assert {network.graph.phi.out_channels, network.head.out_channels} == {12}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant(variant: str) -> None:
    network = build(variant=variant).eval()
    config = network.config
    with torch.no_grad():
        output = network(torch.randn(2, 3, 64, 64))
        inference = network.roi_maps(torch.zeros(1, 3, 96, 64))
    assert output.maps.shape == (2, 5, 16, 16)
    assert output.maps.isfinite().all()
    assert (output.phi is not None) == config.uses_graph == (variant in ("neg_gcn", "full"))
    assert (output.au_logits is not None) == config.supervised == (variant == "full")
    assert (config.decoder == "positives") == config.positives_only == (variant == "heatmap")
    assert inference.shape == (1, 5, 24, 16)  # without supervision the size is free
    assert any(key.startswith("supervision.") for key in network.state_dict()) == (variant == "full")
    assert not any(key.startswith("supervision.") for key in network.inference_state())


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_network_is_the_papers(variant: str) -> None:
    """The branch-wise formulation against METHOD 4.3 with the similarity formed in full."""
    network = awake(build(variant=variant))
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = network(x).maps
        x1 = x0 = upsampled_concat(network.backbone(x))
        if network.graph is not None:
            graph = network.graph
            phi = F.conv2d(x0, graph.phi.weight, graph.phi.bias).relu()
            eigenvalues = torch.sigmoid(graph.eigenvalue(x0.mean(dim=(2, 3))))
            z = dense_graph_convolution(x0.flatten(2), phi.flatten(2), eigenvalues, graph.epsilon).view_as(x0)
            x1 = F.conv2d(z, graph.theta.weight).relu()
        expected = F.conv2d(x1, network.head.weight, network.head.bias)
        torch.testing.assert_close(network.roi_maps(x), maps, rtol=0, atol=0)
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_initial_maps_are_small() -> None:
    network = build().eval()
    assert network.head.weight.std().item() == pytest.approx(1e-3, rel=0.1)
    assert not network.head.bias.any()
    assert build(out_std=0.5).head.weight.std().item() == pytest.approx(0.5, rel=0.1)
    assert torch.equal(network.graph.theta.weight[:, :, 0, 0], torch.eye(240))


@pytest.mark.parametrize("options", [{"phi_act": "softplus"}, {"use_bn": True}, {"f_shared": True}, {"epsilon": 1e-4}])
def test_options_reach_the_network(options: dict[str, Any]) -> None:
    network = build(**options)
    output = network(torch.randn(2, 3, 64, 64))
    assert output.maps.shape == (2, 5, 16, 16)
    assert network.graph.phi_act == options.get("phi_act", "relu")
    assert (network.graph.bn is not None) == ("use_bn" in options)
    assert len(network.supervision.weight) == (1 if "f_shared" in options else 5)
    assert network.graph.epsilon == options.get("epsilon", 1e-6)


def test_more_eigenvectors_than_aus() -> None:
    output = build(variant="neg_gcn", eigenvectors=64)(torch.randn(2, 3, 64, 64))
    assert output.phi.shape == (2, 64, 16, 16)
    assert output.maps.shape == (2, 5, 16, 16)


def test_gradients_reach_every_parameter() -> None:
    network = awake(build()).train()
    output = network(torch.randn(2, 3, 64, 64))
    (output.maps.square().mean() + output.au_logits.square().mean()).backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert silent == []
    assert all(network.get_parameter(f"graph.{name}").grad.any() for name in ("phi.weight", "theta.weight"))


def test_autocast_agrees() -> None:
    network = awake(build())
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        exact = network(x).maps
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = network(x).maps
    assert rough.isfinite().all()
    assert (rough.float() - exact).norm() < 0.1 * exact.norm()  # the backbone's own rounding, not broken sums


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.*:DeprecationWarning")
def test_tracing_keeps_the_answer() -> None:
    network = awake(build())
    x, other = torch.rand(1, 3, 64, 64), torch.rand(3, 3, 64, 64)

    class Maps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.network.roi_maps(x)

    with torch.no_grad():
        traced = torch.jit.trace(Maps(), x, check_trace=False)
        torch.testing.assert_close(traced(other), network.roi_maps(other), rtol=1e-4, atol=1e-5)


def test_an_empty_batch() -> None:
    output = build().eval()(torch.zeros(0, 3, 64, 64))
    assert output.maps.shape == (0, 5, 16, 16)
    assert output.au_logits.shape == (0, 5)


def test_supervision_wants_its_input_size() -> None:
    with pytest.raises(ValueError, match="supervision head knows 16x16 maps"):
        build()(torch.zeros(1, 3, 96, 96))


def test_normalisation() -> None:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    crops = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    x = normalise(crops, mean, std)
    assert x.shape == (2, 3, 8, 8)
    assert x.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(x, ((crops / 255 - mean) / std).permute(0, 3, 1, 2), rtol=0, atol=1e-5)


def test_configuration_round_trip() -> None:
    config = NetworkConfig(num_aus=15, input_size=128, variant="neg_gcn", eigenvectors=64)
    assert config.map_size == 32
    assert NetworkConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_aus": 0}, "num_aus must be at least 1"),
        ({"input_size": 100}, "multiple of 32"),
        ({"input_size": 0}, "multiple of 32"),
        ({"variant": "best"}, "unknown variant 'best'; known are heatmap"),
        ({"phi_act": "tanh"}, "unknown phi_act"),
        ({"eigenvectors": 64}, "supervision needs one eigenvector per AU"),
        ({"eigenvectors": 0, "variant": "neg_gcn"}, "eigenvectors must be at least 1"),
        ({"epsilon": 0.0}, "epsilon must be above 0"),
        ({"depth": 3}, "unknown network arguments: depth"),
    ],
)
def test_configurations_that_fit_no_network(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkConfig.from_dict(arguments)


def test_unknown_backbone() -> None:
    with pytest.raises(ValueError, match="unknown backbone 'resnet50'; known are hrnet_w18, hrnet_w18_small"):
        build(backbone="resnet50")
