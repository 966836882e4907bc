"""The two losses of the paper and their sum (Eq. 4, 7 and 8; METHOD 5)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network import RoiGcnOutput

ALPHA1 = 1e-3
"""Weight of the supervision loss (paper section 4.1)."""


class LossTerms(NamedTuple):
    """Attributes: total = roi + alpha1 * supervision, all scalars; supervision is 0 for variants without it."""

    total: Tensor
    roi: Tensor
    supervision: Tensor


def inverse_rate_weights(rates: Tensor) -> Tensor:
    """Per-AU weights of the paper's balanced loss (Table 4): inverse occurrence rates that sum to K.

    Args:
        rates: (K,) occurrence rates in (0, 1], from the training folds only.

    Raises:
        ValueError: for a rate outside (0, 1].
    """
    if not bool(((rates > 0) & (rates <= 1)).all()):
        raise ValueError(f"occurrence rates must lie in (0, 1], got {rates.tolist()}")
    inverse = 1.0 / rates
    return inverse * (rates.numel() / inverse.sum())


class RoiGcnLoss(nn.Module):
    """L = Loss0 + alpha1 * Loss1: squared error of the ROI maps and cross entropy of the supervision head.

    Both are weighted means over pictures and AUs, divided by the sum of the weights: ignored labels don't shrink them.

    Args:
        alpha1: weight of Loss1.
        au_weights: (K,) weights of the AUs in both losses, e.g. `inverse_rate_weights`; None for equal ones.
    """

    au_weights: Tensor | None

    def __init__(self, alpha1: float = ALPHA1, au_weights: Tensor | None = None) -> None:
        super().__init__()
        self.alpha1 = alpha1
        self.register_buffer("au_weights", au_weights, persistent=False)

    def forward(
        self, output: RoiGcnOutput, target_maps: Tensor, labels: Tensor, weights: Tensor | None = None
    ) -> LossTerms:
        """The losses of a batch.

        Args:
            output: of the network.
            target_maps: (B, K, H, W), as `roi.target_maps` draws them.
            labels: (B, K): 1, 0, or NaN for unknown, which counts in neither loss.
            weights: (B, K) at or above 0, per label, as `roi.target_maps` gives them (or any finer weighting); None
                for 1 each. A batch whose weights are all 0 has the loss 0.

        Raises:
            ValueError: if shapes don't fit.
        """
        maps = output.maps
        if maps.shape != target_maps.shape or labels.shape != maps.shape[:2]:
            raise ValueError(
                f"maps {tuple(maps.shape)}, target maps {tuple(target_maps.shape)} and labels {tuple(labels.shape)} "
                "don't fit: want (B, K, H, W) twice and (B, K)"
            )
        with torch.autocast(device_type=maps.device.type, enabled=False):
            unknown = labels.isnan()
            counted = torch.ones_like(labels, dtype=torch.float32) if weights is None else weights.float()
            if counted.shape != labels.shape:
                raise ValueError(f"weights {tuple(counted.shape)} don't fit labels {tuple(labels.shape)}")
            if self.au_weights is not None:
                counted = counted * self.au_weights
            counted = counted.masked_fill(unknown, 0.0)
            share = counted / counted.sum().clamp_min(torch.finfo(torch.float32).tiny)  # (B, K), sums to 1
            roi = (share * (maps.float() - target_maps.float()).square().mean(dim=(2, 3))).sum()
            supervision = roi.new_zeros(())
            if output.au_logits is not None:
                truth = labels.masked_fill(unknown, 0.0).float()
                entropy = F.binary_cross_entropy_with_logits(output.au_logits.float(), truth, reduction="none")
                supervision = (share * entropy).sum()
            return LossTerms(roi + self.alpha1 * supervision, roi, supervision)
