"""What a network is built from; apart from `model.network` so that reading a manifest needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

Variant = Literal["heatmap", "neg", "neg_gcn", "full"]
PhiAct = Literal["relu", "softplus"]

MAP_STRIDE = 4
"""Side of the input over the side of the maps."""

INPUT_MULTIPLE = 32
"""Inputs must be multiples of this: the deepest branch has one thirty-second of their side."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Architecture of a RoiGcn; the variants are the columns of the paper's Table 3.

    Attributes:
        backbone: a name in `model.hrnet.BACKBONES`.
        num_aus: K, the number of maps.
        input_size: side S of the crops in pixels, a multiple of 32. Only the supervision head depends on it.
        variant: "heatmap": positives-only targets and a plain head; "neg": targets of +1 and -1; "neg_gcn": and the
            graph convolution; "full": and its supervision by AU labels (the paper's network).
        phi_act: what keeps the eigenvector maps at or above 0 (METHOD 4.2).
        eigenvectors: number M of eigenvector maps; None for one per AU. Only without supervision may it be another.
        f_shared: one weight map of the supervision head for all AUs instead of one each (METHOD 4.5).
        use_bn: batch normalisation after theta; the paper has none.
        out_std: standard deviation of the initial weights of the last convolution.
        epsilon: of the node degrees, relative to their mean (METHOD 4.3).

    Raises:
        ValueError: for values that fit no network.
    """

    backbone: str = "hrnet_w18"
    num_aus: int = 12
    input_size: int = 256
    variant: Variant = "full"
    phi_act: PhiAct = "relu"
    eigenvectors: int | None = None
    f_shared: bool = False
    use_bn: bool = False
    out_std: float = 1e-3
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if self.num_aus < 1:
            raise ValueError(f"num_aus must be at least 1, got {self.num_aus}")
        if self.input_size < INPUT_MULTIPLE or self.input_size % INPUT_MULTIPLE:
            raise ValueError(f"input_size must be a multiple of {INPUT_MULTIPLE}, got {self.input_size}")
        for name, value, known in (("variant", self.variant, Variant), ("phi_act", self.phi_act, PhiAct)):
            if value not in get_args(known):
                raise ValueError(f"unknown {name} {value!r}; known are {', '.join(get_args(known))}")
        if self.eigenvectors is not None and self.eigenvectors < 1:
            raise ValueError(f"eigenvectors must be at least 1, got {self.eigenvectors}")
        if self.supervised and self.eigenvectors not in (None, self.num_aus):
            raise ValueError("supervision needs one eigenvector per AU: leave eigenvectors out or use variant neg_gcn")
        if not self.epsilon > 0:
            raise ValueError(f"epsilon must be above 0, got {self.epsilon}")

    @property
    def map_size(self) -> int:
        """Side of the ROI maps, a quarter of the input's."""
        return self.input_size // MAP_STRIDE

    @property
    def uses_graph(self) -> bool:
        """Whether features pass the graph convolution."""
        return self.variant in ("neg_gcn", "full")

    @property
    def supervised(self) -> bool:
        """Whether eigenvector maps are trained by AU labels (Loss1)."""
        return self.variant == "full"

    @property
    def positives_only(self) -> bool:
        """Whether targets of absent AUs are empty maps; decode such networks with "positives"."""
        return self.variant == "heatmap"

    @property
    def decoder(self) -> str:
        """The paper's decoder for this variant, a name of `model.decode.DECODERS`."""
        return "positives" if self.positives_only else "mask"

    def to_dict(self) -> dict[str, Any]:
        """All arguments, for a manifest or a log."""
        return asdict(self)

    @classmethod
    def from_dict(cls, arguments: Mapping[str, Any]) -> NetworkConfig:
        """The configuration of `to_dict`.

        Raises:
            ValueError: for an argument that no network has, or a value that fits none.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(arguments) - known)
        if unknown:
            raise ValueError(f"unknown network arguments: {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        return cls(**arguments)
