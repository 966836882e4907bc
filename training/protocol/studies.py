"""Ablations: what is compared with what, on equal budgets (paper Tables 3 and 4; METHOD 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from model.decode import Decoder
from training.config import TrainConfig


@dataclass(frozen=True)
class Cell:
    """One column of a study.

    Attributes:
        name: of its folder and, where the paper has it, of the paper's column.
        title: for people.
        changes: section to key to value, put in place of the recipe's. Cells with equal changes share their networks.
        decoder: how maps are read; None for the one that goes with the variant.
        sigma_factor: multiplies the recipe's sigma.
    """

    name: str
    title: str
    changes: Mapping[str, Mapping[str, Any]]
    decoder: Decoder | None = None
    sigma_factor: float = 1.0

    def config(self, recipe: TrainConfig, seed: int) -> TrainConfig:
        """The recipe of this cell."""
        values = recipe.model_dump()
        for section, changes in self.changes.items():
            values[section] |= changes
        values["target"]["sigma"] *= self.sigma_factor
        return TrainConfig.model_validate(values | {"seed": seed})


@dataclass(frozen=True)
class Study:
    """Cells to compare.

    Attributes:
        name: on the command line; of the paper's table where it has one.
        title: for people.
        cells: in the order of the report.
        baseline: name of the cell that differences are taken to.
        paper_dataset: what the paper did it on; "" where it is not the paper's.
    """

    name: str
    title: str
    cells: tuple[Cell, ...]
    baseline: str
    paper_dataset: str = ""

    @property
    def varied(self) -> frozenset[str]:
        """Keys of the recipe, "section.key", that the cells set or change."""
        keys = {f"{section}.{key}" for cell in self.cells for section, part in cell.changes.items() for key in part}
        return frozenset(keys | {"target.sigma"} if any(cell.sigma_factor != 1 for cell in self.cells) else keys)


def _variant(name: str, title: str) -> Cell:
    return Cell(name, title, {"network": {"variant": name}})


def _decoded(decoder: Decoder, title: str) -> Cell:
    return Cell(decoder, title, {"network": {"variant": "full"}}, decoder)


STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        study.name: study
        for study in (
            Study(
                "table3",
                "What each part of the method brings (Table 3)",
                (
                    _variant("heatmap", "Heatmap"),
                    _variant("neg", "+ Neg. AUs"),
                    _variant("neg_gcn", "+ Neg. AUs + GCN"),
                    _variant("full", "+ Neg. AUs + GCN + Supervision"),
                ),
                baseline="heatmap",
                paper_dataset="bp4d",
            ),
            Study(
                "table4",
                "Does loss balancing help? (Table 4)",
                (
                    Cell("weighted", "Weighted by inverse occurrence", {"target": {"balance": "au"}}),
                    Cell("unweighted", "Unweighted", {"target": {"balance": "none"}}),
                ),
                baseline="weighted",
                paper_dataset="disfa",
            ),
            Study(
                "decoders",
                "How the maps are read",
                (
                    _decoded("mask", "mask: mean over either region above 0 (the paper's)"),
                    _decoded("mean", "mean: of the whole map above 0"),
                    _decoded("max", "max: sign of the strongest pixel"),
                    _decoded("peak", "peak: the two strongest peaks, without landmarks"),
                ),
                baseline="mask",
            ),
            Study(
                "sigma",
                "Width of the bumps",
                tuple(
                    Cell(f"sigma-x{factor:g}", f"{factor:g} times the recipe's σ", {}, sigma_factor=factor)
                    for factor in (1.0, 1.5, 2.0)
                ),
                baseline="sigma-x1",
            ),
            Study(
                "phi",
                "Activation of the eigenvector maps",
                tuple(Cell(act, act, {"network": {"phi_act": act}}) for act in ("relu", "softplus")),
                baseline="relu",
            ),
        )
    }
)
"""Studies by name. "decoders" trains each network once and reads it four ways."""
