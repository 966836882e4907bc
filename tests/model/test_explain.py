from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from model.analyzer import Analyzer
from model.checkpoint import Checkpoint
from model.engines.base import EngineError
from model.explain import Explainer, explain
from model.explanation import ExplanationError
from model.network import NetworkConfig, RoiGcn
from model.values import Crop, Float64Array, UInt8Array

CODES = ("AU1", "AU4", "AU12", "AU25")

pytestmark = pytest.mark.usefixtures("one_thread")


def network(**changes: object) -> RoiGcn:
    torch.manual_seed(3)
    config = NetworkConfig(
        **{"backbone": "hrnet_w18_small", "num_aus": 4, "input_size": 64, "variant": "full", **changes}  # type: ignore[arg-type]
    )
    made = RoiGcn(config)
    torch.nn.init.normal_(made.head.weight, std=0.02)
    with torch.no_grad():  # statistics with which activations keep to the size that training gives
        for _ in range(3):
            made.backbone(torch.randn(2, 3, 64, 64))
    return made.eval()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "full"},
        {"variant": "neg_gcn"},
        {"variant": "neg_gcn", "eigenvectors": 7},
        {"variant": "full", "phi_act": "softplus", "use_bn": True},
        {"variant": "full", "backbone": "hrnet_w18"},
    ],
    ids=str,
)
def test_it_is_the_networks_own_forward(pixels: torch.Tensor, changes: dict[str, object]) -> None:
    subject = network(**changes)
    found = explain(subject, pixels, CODES)
    with torch.inference_mode():
        output = subject(pixels)
        assert torch.equal(subject.roi_maps(pixels), output.maps)
        branches = subject.backbone(pixels)
    assert len(found) == 3
    channels = sum(subject.backbone.config.channels)
    for i, one in enumerate(found):
        assert np.array_equal(one.roi_maps, output.maps[i].numpy())
        assert np.array_equal(one.phi, output.phi[i].numpy())
        assert one.x0.shape == one.x1.shape == (channels, 16, 16)
        assert one.eigenvalues.shape == (len(one.phi),)
        assert ((one.eigenvalues > 0) & (one.eigenvalues < 1)).all()
        assert np.array_equal(one.x0[: branches[0].shape[1]], branches[0][i].numpy())
        # The map is the weighted sum of the channels of X1 that `telling_channels` goes by.
        summed = np.tensordot(one.weight_after, one.x1, axes=1) + subject.head.bias.detach().numpy()[:, None, None]
        assert np.allclose(summed, one.roi_maps, atol=1e-5)


def test_x1_follows_from_what_is_shown(pixels: torch.Tensor) -> None:
    """X0, Phi and lambda as given, put through the definition of METHOD 4.3, are X1."""
    subject = network()
    assert subject.graph is not None
    theta = subject.graph.theta.weight.detach()[:, :, 0, 0].double().numpy()
    for one in explain(subject, pixels[:1], CODES):
        features = one.x0.reshape(len(one.x0), -1).astype(np.float64)
        rows = np.stack([one.similarity_row(x, y).ravel() for y in range(16) for x in range(16)])
        x1 = np.maximum(theta @ (features - features @ rows.T), 0)
        assert np.allclose(x1.reshape(one.x1.shape), one.x1, atol=1e-4)


def test_weights_before_go_through_theta_and_its_normalisation(pixels: torch.Tensor) -> None:
    subject = network(use_bn=True)
    assert subject.graph is not None
    assert subject.graph.bn is not None
    with torch.no_grad():
        subject.graph.bn.running_var.fill_(4.0 - subject.graph.bn.eps)
        torch.nn.init.normal_(subject.graph.theta.weight)
    (one,) = explain(subject, pixels[:1], CODES)
    theta = subject.graph.theta.weight.detach()[:, :, 0, 0].numpy()
    assert np.allclose(one.weight_before, one.weight_after @ theta / 2, atol=1e-5)


@pytest.mark.parametrize("variant", ["heatmap", "neg"])
def test_variants_without_graph_convolution_say_so(
    pixels: torch.Tensor, variant: str, make_checkpoint: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    with pytest.raises(ExplanationError, match=f"variant '{variant}' has no graph convolution.*use a checkpoint"):
        explain(network(variant=variant), pixels, CODES)
    with pytest.raises(ExplanationError, match="no graph convolution"):
        Explainer(make_checkpoint(tmp_path, variant=variant))


def test_a_network_in_training_is_refused(pixels: torch.Tensor) -> None:
    with pytest.raises(ExplanationError, match="training mode"):
        explain(network().train(), pixels, CODES)


def test_an_explainer_is_an_engine(checkpoint: Checkpoint, face: Float64Array) -> None:
    explainer = Explainer(checkpoint)
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 255, (2, 64, 64, 3), np.uint8)
    found = explainer.explain(crops)
    assert np.array_equal(explainer.run(crops)[1], found[1].roi_maps)
    assert explainer.explain(crops[:0]) == []
    assert explainer.run(crops[:0]).shape == (0, 4, 16, 16)

    class NoFinder:
        def find(self, rgb: UInt8Array) -> list[object]:
            return []

    analyzer = Analyzer(checkpoint, explainer, NoFinder())  # type: ignore[arg-type]
    crop = Crop(crops[0], np.eye(2, 3), (face / 4).astype(np.float32))
    (prediction,) = analyzer.predict([crop])
    assert np.allclose(prediction.roi_maps, found[0].roi_maps, atol=1e-6)

    with pytest.raises(ValueError, match="64"):
        explainer.explain(np.zeros((1, 32, 32, 3), np.uint8))
    explainer.close()
    explainer.close()
    with pytest.raises(EngineError, match="closed"):
        explainer.explain(crops)
