"""The graph convolution against its definition; invariants (a) to (g) of METHOD 4.6."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.graph import (
    BranchConv2d,
    SpectralGraphConv,
    SupervisionHead,
    dense_graph_convolution,
    subtract_low_rank,
    upsampled,
    upsampled_concat,
)

pytestmark = pytest.mark.usefixtures("one_thread")

CHANNELS = (5, 6, 7, 8)
B, C, M, SIDE = 2, 9, 4, 8
N = SIDE * SIDE


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def factors(random: torch.Generator, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Features (B, C, 8, 8), rectified eigenvector maps (B, M, 8, 8) without empty rows, eigenvalues (B, M)."""
    features = torch.randn(B, C, SIDE, SIDE, generator=random, dtype=dtype)
    phi = torch.rand(B, M, SIDE, SIDE, generator=random, dtype=dtype) + 0.01
    return features, phi, torch.rand(B, M, generator=random, dtype=dtype) * 0.9 + 0.05


def laplacian(phi: Tensor, eigenvalues: Tensor) -> Tensor:
    """L (B, N, N) of the definition."""
    identity = torch.eye(N, dtype=phi.dtype).expand(len(phi), N, N)
    return dense_graph_convolution(identity, phi.flatten(2), eigenvalues)


def test_a_factored_equals_dense(random: torch.Generator) -> None:
    features, phi, eigenvalues = factors(random)
    dense = dense_graph_convolution(features.flatten(2), phi.flatten(2), eigenvalues, epsilon=1e-6)
    factored = subtract_low_rank(features, phi, eigenvalues)
    assert (factored.flatten(2) - dense).abs().max() < 1e-11  # TINY is all that differs
    dense = dense_graph_convolution(features.flatten(2), phi.flatten(2), eigenvalues)
    assert (subtract_low_rank(features, phi, eigenvalues, 0.0).flatten(2) - dense).abs().max() < 1e-12


def test_a_in_single_precision(random: torch.Generator) -> None:
    features, phi, eigenvalues = factors(random, torch.float32)
    dense = dense_graph_convolution(features.flatten(2), phi.flatten(2), eigenvalues)
    torch.testing.assert_close(subtract_low_rank(features, phi, eigenvalues).flatten(2), dense, rtol=0, atol=1e-5)


def test_b_eigenvalues_lie_in_0_1_and_at_most_m_below(random: torch.Generator) -> None:
    _, phi, eigenvalues = factors(random)
    spectrum = torch.linalg.eigvalsh(laplacian(phi, eigenvalues))
    assert spectrum.min() > -1e-12
    assert spectrum.max() < 1 + 1e-12
    assert ((spectrum < 1 - 1e-9).sum(dim=1) <= M).all()
    assert ((spectrum < 1 - 1e-9).sum(dim=1) >= 1).all()


def test_c_the_root_of_the_degrees_is_removed(random: torch.Generator) -> None:
    _, phi, eigenvalues = factors(random)
    nodes = phi.flatten(2)
    degree = torch.einsum("bmn,bm,bmk->bn", nodes, eigenvalues, nodes)
    root = degree.sqrt().view(B, 1, SIDE, SIDE)
    assert subtract_low_rank(root, phi, eigenvalues, epsilon=0.0).abs().max() < 1e-9


@pytest.mark.parametrize("scale", [1e-3, 7.0, 1e4])
def test_d_the_scale_of_phi_does_not_matter(random: torch.Generator, scale: float) -> None:
    features, phi, eigenvalues = factors(random)
    torch.testing.assert_close(
        subtract_low_rank(features, scale * phi, eigenvalues),
        subtract_low_rank(features, phi, eigenvalues),
        rtol=0,
        atol=1e-7,
    )


def test_e_nodes_may_be_permuted(random: torch.Generator) -> None:
    features, phi, eigenvalues = factors(random)
    order = torch.randperm(N, generator=random)

    def shuffled(maps: Tensor) -> Tensor:
        return maps.flatten(2)[:, :, order].view_as(maps)

    torch.testing.assert_close(
        subtract_low_rank(shuffled(features), shuffled(phi), eigenvalues),
        shuffled(subtract_low_rank(features, phi, eigenvalues)),
        rtol=0,
        atol=1e-12,
    )


def test_f_isolated_nodes_keep_their_features(random: torch.Generator) -> None:
    features, phi, eigenvalues = factors(random)
    alone = torch.rand(B, 1, SIDE, SIDE, generator=random) < 0.5
    refined = subtract_low_rank(features, phi * ~alone, eigenvalues)
    alone = alone.expand_as(features)
    assert torch.equal(refined[alone], features[alone])
    assert not torch.equal(refined[~alone], features[~alone])
    assert torch.equal(subtract_low_rank(features, phi * 0, eigenvalues), features)


@pytest.mark.parametrize("shift", [0.5, 2.0, 99.0])
def test_g_gradients_are_finite_with_many_empty_rows(random: torch.Generator, shift: float) -> None:
    features, raw, eigenvalues = factors(random, torch.float32)
    raw = (torch.randn(raw.shape, generator=random) - shift).requires_grad_()
    features.requires_grad_()
    eigenvalues.requires_grad_()
    subtract_low_rank(features, F.relu(raw), eigenvalues).square().sum().backward()
    for leaf in (features, raw, eigenvalues):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


def test_gradients_are_right(random: torch.Generator) -> None:
    features = torch.randn(1, 2, 3, 3, generator=random, dtype=torch.float64, requires_grad=True)
    phi = (torch.rand(1, 2, 3, 3, generator=random, dtype=torch.float64) + 0.2).requires_grad_()
    eigenvalues = torch.full((1, 2), 0.4, dtype=torch.float64, requires_grad=True)
    # Without epsilon, whose share is detached by design.
    assert torch.autograd.gradcheck(lambda *x: subtract_low_rank(*x, 0.0), (features, phi, eigenvalues))


def test_sums_run_in_single_precision_under_autocast(random: torch.Generator) -> None:
    # 4096 softplus-sized nodes: degrees of 3e6 are far beyond half precision.
    features = torch.randn(1, 3, 64, 64, generator=random)
    phi = 20 + torch.rand(1, M, 64, 64, generator=random)
    eigenvalues = torch.full((1, M), 0.7)
    wanted = subtract_low_rank(features, phi, eigenvalues)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            found = subtract_low_rank(features, phi, eigenvalues)
        assert found.dtype == torch.float32
        assert torch.equal(found, wanted)
        assert subtract_low_rank(features.to(dtype), phi.to(dtype), eigenvalues.to(dtype)).isfinite().all()


def branches(random: torch.Generator, side: int = 32) -> list[Tensor]:
    return [torch.randn(B, c, side >> i, side >> i, generator=random).relu() for i, c in enumerate(CHANNELS)]


@pytest.mark.parametrize("bias", [True, False])
def test_branchwise_convolution_is_the_plain_one(random: torch.Generator, bias: bool) -> None:
    layer = BranchConv2d(CHANNELS, 11, bias=bias)
    x = branches(random)
    x0 = upsampled_concat(x)
    assert x0.shape == (B, sum(CHANNELS), 32, 32)
    torch.testing.assert_close(layer(x), layer.forward_concat(x0), rtol=0, atol=1e-5)
    assert layer.weight.shape == (11, sum(CHANNELS), 1, 1)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_upsampling_has_the_gradient_of_torchs_own(
    random: torch.Generator, factor: int, layout: torch.memory_format
) -> None:
    part = torch.randn(2, 3, 4, 6, generator=random, dtype=torch.float64)
    seed = torch.randn(2, 3, 4 * factor, 6 * factor, generator=random, dtype=torch.float64)
    gradients = []
    for upsample in (upsampled, lambda x, f: F.interpolate(x, scale_factor=float(f), mode="bilinear")):
        leaf = part.clone(memory_format=layout).requires_grad_()
        larger = upsample(leaf, factor)
        larger.backward(seed.contiguous(memory_format=layout))
        gradients.append((larger.detach(), leaf.grad))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-12)


def test_means_of_branches_are_means_of_the_upsampled(random: torch.Generator) -> None:
    x = branches(random)
    means = torch.cat([branch.mean(dim=(2, 3)) for branch in x], dim=1)
    torch.testing.assert_close(upsampled_concat(x).mean(dim=(2, 3)), means, rtol=0, atol=1e-5)


@pytest.mark.parametrize("phi_act", ["relu", "softplus"])
@pytest.mark.parametrize("use_bn", [False, True])
def test_the_layer_is_the_papers(random: torch.Generator, phi_act: str, use_bn: bool) -> None:
    layer = SpectralGraphConv(CHANNELS, M, phi_act, use_bn=use_bn).eval()  # type: ignore[arg-type]
    torch.nn.init.normal_(layer.theta.weight, std=0.2, generator=random)
    if layer.bn is not None:
        layer.bn.running_mean.uniform_(-1, 1)
        layer.bn.running_var.uniform_(0.5, 2)
    x = branches(random)
    with torch.no_grad():
        refined = layer(x)
        # METHOD 4.3, line by line, with A formed in full.
        x0 = upsampled_concat(x)
        raw = F.conv2d(x0, layer.phi.weight, layer.phi.bias)
        phi = raw.relu() if phi_act == "relu" else F.softplus(raw)
        eigenvalues = torch.sigmoid(layer.eigenvalue(x0.mean(dim=(2, 3))))
        z = dense_graph_convolution(x0.flatten(2), phi.flatten(2), eigenvalues, layer.epsilon).view_as(x0)
        x1 = F.conv2d(z, layer.theta.weight)
        x1 = (x1 if layer.bn is None else layer.bn(x1)).relu()
    torch.testing.assert_close(refined.phi, phi, rtol=0, atol=1e-5)
    torch.testing.assert_close(refined.x1, x1, rtol=0, atol=1e-5 * float(x1.abs().max()))
    assert refined.x1.shape == x0.shape


def test_theta_starts_as_identity(random: torch.Generator) -> None:
    layer = SpectralGraphConv(CHANNELS, M)
    x = branches(random)
    torch.testing.assert_close(layer.theta(x), upsampled_concat(x), rtol=0, atol=1e-6)
    assert layer.theta.bias is None


@pytest.mark.parametrize(("shared", "count"), [(False, 3 * 64 + 3), (True, 64 + 1)])
def test_supervision_weighs_every_pixel(random: torch.Generator, shared: bool, count: int) -> None:
    head = SupervisionHead(3, 8, shared=shared)
    assert sum(parameter.numel() for parameter in head.parameters()) == count
    assert head.weight.abs().max() <= 1 / 8
    phi = torch.rand(2, 3, 8, 8, generator=random)
    logits = head(phi)
    assert logits.shape == (2, 3)
    row = 0 if shared else 2
    expected = (phi[1, 2].flatten() @ head.weight[row]) + head.bias[row]
    torch.testing.assert_close(logits[1, 2], expected)


def test_supervision_knows_its_map_size() -> None:
    with pytest.raises(ValueError, match=r"8x8 maps, got \(16, 16\)"):
        SupervisionHead(3, 8)(torch.zeros(1, 3, 16, 16))
