from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from model.losses import RoiGcnLoss, inverse_rate_weights
from model.network import RoiGcnOutput
from model.roi import target_maps

NAN = float("nan")


def output(maps: Tensor, logits: Tensor | None = None) -> RoiGcnOutput:
    return RoiGcnOutput(maps, logits, None)


def example(seed: int = 0) -> tuple[RoiGcnOutput, Tensor, Tensor]:
    """Maps (3, 4, 8, 8) and logits (3, 4), target maps and labels."""
    g = torch.Generator().manual_seed(seed)
    maps, targets = torch.randn(2, 3, 4, 8, 8, generator=g)
    return output(maps, torch.randn(3, 4, generator=g)), targets, torch.randint(0, 2, (3, 4), generator=g).float()


@pytest.mark.parametrize(("sigma", "loss0"), [(1.0, 0.00153), (1.5, 0.0034), (2.0, 0.0060)])
def test_scales_of_the_method(sigma: float, loss0: float) -> None:
    # METHOD 2.1: an all-zero prediction; alpha1 = 0.001 balances the two losses only at a small sigma.
    centres = np.tile([[20.0, 30.0], [40.0, 30.0]], (2, 12, 1, 1))
    labels = np.tile([0.0, 1.0], (2, 6))
    targets, weights = target_maps(centres, labels, 64, sigma=sigma)
    terms = RoiGcnLoss()(
        output(torch.zeros(2, 12, 64, 64), torch.zeros(2, 12)),
        torch.from_numpy(targets),
        torch.from_numpy(labels),
        torch.from_numpy(weights),
    )
    assert terms.roi.item() == pytest.approx(loss0, rel=0.02)
    assert 1e-3 * terms.supervision.item() == pytest.approx(0.00069, rel=0.01)
    assert terms.total.item() == pytest.approx(terms.roi.item() + 0.00069, rel=0.01)


def test_plain_losses_are_means() -> None:
    predicted, targets, labels = example()
    terms = RoiGcnLoss(alpha1=0.5)(predicted, targets, labels)
    torch.testing.assert_close(terms.roi, torch.nn.functional.mse_loss(predicted.maps, targets))
    bce = torch.nn.functional.binary_cross_entropy_with_logits(predicted.au_logits, labels)
    torch.testing.assert_close(terms.supervision, bce)
    torch.testing.assert_close(terms.total, terms.roi + 0.5 * bce)


@pytest.mark.parametrize("by", ["nan", "weight"])
def test_ignored_labels_change_nothing(by: str) -> None:
    predicted, targets, labels = example()
    kept = RoiGcnLoss()(output(predicted.maps[:2], predicted.au_logits[:2]), targets[:2], labels[:2])
    weights = torch.ones(3, 4)
    if by == "nan":
        labels[2] = NAN
    else:
        weights[2] = 0
    for found, wanted in zip(RoiGcnLoss()(predicted, targets, labels, weights), kept, strict=True):
        torch.testing.assert_close(found, wanted)


def test_per_label_weights() -> None:
    predicted, targets, labels = example()
    weights = torch.zeros(3, 4)
    weights[0, 1], weights[2, 3] = 3.0, 1.0
    terms = RoiGcnLoss()(predicted, targets, labels, weights)
    error = (predicted.maps - targets).square().mean(dim=(2, 3))
    torch.testing.assert_close(terms.roi, 0.75 * error[0, 1] + 0.25 * error[2, 3])


def test_au_weights_balance_both_losses() -> None:
    predicted, targets, labels = example()
    weights = inverse_rate_weights(torch.tensor([0.1, 0.2, 0.4, 0.4]))
    torch.testing.assert_close(weights, torch.tensor([2.0, 1.0, 0.5, 0.5]))
    terms = RoiGcnLoss(au_weights=weights)(predicted, targets, labels)
    error = (predicted.maps - targets).square().mean(dim=(2, 3)).mean(dim=0)
    torch.testing.assert_close(terms.roi, (error * weights).mean())
    assert terms.supervision != RoiGcnLoss()(predicted, targets, labels).supervision


def test_nothing_labelled_is_no_loss_and_no_gradient() -> None:
    predicted, targets, labels = example()
    predicted.maps.requires_grad_()
    terms = RoiGcnLoss()(predicted, targets, torch.full_like(labels, NAN))
    terms.total.backward()
    assert [term.item() for term in terms] == [0, 0, 0]
    assert not predicted.maps.grad.any()


def test_without_supervision() -> None:
    predicted, targets, labels = example()
    terms = RoiGcnLoss()(output(predicted.maps), targets, labels)
    assert terms.supervision == 0
    assert terms.total == terms.roi > 0


def test_gradients_are_right() -> None:
    g = torch.Generator().manual_seed(1)
    maps = torch.randn(2, 3, 4, 4, generator=g, requires_grad=True)
    logits = torch.randn(2, 3, generator=g, requires_grad=True)
    targets = torch.randn(2, 3, 4, 4, generator=g)
    labels = torch.tensor([[1, 0, NAN], [0, 1, 1]])
    weights = torch.tensor([[1.0, 2, 1], [0, 1, 1]])
    RoiGcnLoss(alpha1=0.1)(output(maps, logits), targets, labels, weights).total.backward()
    share = torch.tensor([[1.0, 2, 0], [0, 1, 1]]) / 5
    torch.testing.assert_close(maps.grad, share[..., None, None] * 2 * (maps - targets).detach() / 16)
    truth = labels.nan_to_num()
    torch.testing.assert_close(logits.grad, 0.1 * share * (logits.detach().sigmoid() - truth))


def test_half_precision_maps_are_summed_in_single() -> None:
    maps = torch.full((1, 1, 64, 64), 300.0, dtype=torch.float16)
    terms = RoiGcnLoss()(output(maps), torch.zeros(1, 1, 64, 64), torch.ones(1, 1))
    assert terms.roi.item() == pytest.approx(90_000)


@pytest.mark.parametrize(
    ("targets", "labels", "weights"),
    [((3, 4, 8, 9), (3, 4), (3, 4)), ((3, 4, 8, 8), (3, 5), (3, 4)), ((3, 4, 8, 8), (3, 4), (4,))],
)
def test_shapes_that_do_not_fit(targets: tuple[int, ...], labels: tuple[int, ...], weights: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="don't fit"):
        RoiGcnLoss()(example()[0], torch.zeros(targets), torch.zeros(labels), torch.zeros(weights))


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, NAN])
def test_rates_must_be_rates(rate: float) -> None:
    with pytest.raises(ValueError, match="occurrence rates"):
        inverse_rate_weights(torch.tensor([0.5, rate]))
