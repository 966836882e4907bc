"""The plots of a report, as PNG files. Drawn without a screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.protocol.curves import reliability, roc_points
from training.protocol.measure import ProtocolMeasures, nanmean
from training.protocol.paper import OURS, PublishedTable
from training.protocol.trial import TrialScores

INK, GREY, LIGHT = "#1f2933", "#7b8794", "#d9dee3"
OWN, PAPER = "#2b6cb0", "#c05621"
FOLD_COLOURS = ("#2b6cb0", "#2f855a", "#b7791f")
DPI = 130


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in one step, so that no half picture stays."""
    draft = path.with_suffix(".writing.png")
    try:
        figure.savefig(draft, dpi=DPI, facecolor="white")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def tidy(axes: Axes) -> None:
    """Thin axes and a light grid behind."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.tick_params(colors=INK, labelsize=9)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=LIGHT, linewidth=0.7)


def draw_f1(measures: ProtocolMeasures, table: PublishedTable | None, title: str) -> Figure:
    """F1 by AU and their mean: fold means with intervals, folds, floor, the paper's and its peers' range."""
    names = [*measures.au_codes, "mean"]
    x = np.arange(len(names), dtype=float)
    x[-1] += 0.6
    figure = Figure(figsize=(max(7.0, 0.72 * len(names) + 2), 4.6), layout="constrained")
    axes = figure.subplots()
    values = np.append(measures.fold_mean["f1"], measures.mean("f1")) * 100
    low = np.append(measures.f1_interval.low, measures.mean_f1_interval.low) * 100
    high = np.append(measures.f1_interval.high, measures.mean_f1_interval.high) * 100
    floor = np.append(measures.fold_mean["f1_always"], measures.mean("f1_always")) * 100
    axes.bar(x, np.nan_to_num(values), width=0.55, color=OWN, label="here, mean of the folds")
    known = ~np.isnan(low) & ~np.isnan(high) & ~np.isnan(values)
    if known.any():
        # A percentile interval need not contain its estimate.
        spread = np.clip([values[known] - low[known], high[known] - values[known]], 0, None)
        axes.errorbar(
            x[known], values[known], spread, fmt="none", ecolor=INK, elinewidth=1.2, capsize=3, label="95 % over people"
        )
    for i, fold in enumerate(measures.folds):
        points = np.append(fold.values["f1"], nanmean(fold.values["f1"])) * 100
        label = "single folds" if i == 0 else None
        axes.scatter(
            x - 0.12 + 0.12 * i, points, s=13, color="white", edgecolors=INK, linewidths=0.8, zorder=3, label=label
        )
    axes.hlines(floor, x - 0.4, x + 0.4, colors=GREY, linestyles="dotted", linewidth=1.8, label="always yes (floor)")
    if table is not None:
        for column in (name for name in table.columns if name != OURS):
            peers = [*(table.f1(column, code) for code in measures.au_codes), table.printed_mean[column]]
            label = "others in the paper" if column == next(iter(table.columns)) else None
            axes.scatter(x + 0.36, peers, marker="_", s=34, color=GREY, linewidths=1.0, label=label)
        paper = [*(table.f1(OURS, code) for code in measures.au_codes), table.printed_mean[OURS]]
        axes.scatter(x + 0.36, paper, marker="D", s=26, color=PAPER, zorder=3, label=f"{OURS} in the paper")
    for k in np.flatnonzero(np.isnan(values)):
        axes.text(x[k], 1.5, "never\noccurs", ha="center", va="bottom", fontsize=8, color=GREY)
    axes.axvline(x[-1] - 0.8, color=LIGHT, linewidth=1)
    axes.set_xticks(x, names)
    axes.set_ylim(0, 100)
    axes.set_ylabel("F1 (%)", color=INK)
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    tidy(axes)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def _grid(count: int, title: str) -> tuple[Figure, list[Axes]]:
    """Small square axes, one for each AU."""
    columns = min(5, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(2.2 * columns + 0.4, 2.25 * rows + 0.9), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.set_axis_off()
    for axes in grid[:count]:
        tidy(axes)
        axes.grid(axis="x", color=LIGHT, linewidth=0.7)
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="dotted", linewidth=1)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_aspect("equal")
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", ".5", "1"])
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    return figure, list(grid[:count])


def _nothing(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=8, color=GREY, backgroundcolor="white")


def draw_roc(scores: Sequence[TrialScores], measures: ProtocolMeasures) -> Figure:
    """ROC curves by AU, one line for each fold."""
    figure, grid = _grid(len(measures.au_codes), "ROC curves on the tested people")
    for k, (code, axes) in enumerate(zip(measures.au_codes, grid, strict=True)):
        for one, colour in zip(scores, FOLD_COLOURS, strict=False):
            points = roc_points(one, k)
            if points is not None:
                axes.plot(*points, color=colour, linewidth=1.3, label=one.trial.fold.name)
        if not axes.get_legend_handles_labels()[0]:
            _nothing(axes, "never both\nclasses")
        auc = measures.fold_mean["auc"][k]
        axes.set_title(code if np.isnan(auc) else f"{code}  AUC {auc:.2f}", fontsize=9, color=INK)
    handles = {label: line for axes in grid for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.supxlabel("false-positive rate", fontsize=9, color=INK)
    figure.supylabel("true-positive rate", fontsize=9, color=INK)
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=3, frameon=False, fontsize=9)
    return figure


def draw_reliability(scores: Sequence[TrialScores], measures: ProtocolMeasures) -> Figure:
    """How often each AU occurred by its calibrated probability, all folds together."""
    figure, grid = _grid(len(measures.au_codes), "Calibrated probability and how often the AU occurred (all folds)")
    for k, (code, axes) in enumerate(zip(measures.au_codes, grid, strict=True)):
        found = reliability(list(scores), k)
        if found is None:
            _nothing(axes, "too few held-out\npositives to fit")
        else:
            size = 8 + 60 * found.faces / max(1, found.faces.max(initial=1))
            axes.plot(found.predicted, found.observed, color=OWN, linewidth=1.2)
            axes.scatter(found.predicted, found.observed, s=size, color=OWN, zorder=3)
        ece = measures.fold_mean["ece"][k]
        axes.set_title(code if np.isnan(ece) else f"{code}  ECE {ece:.2f}", fontsize=9, color=INK)
    figure.supxlabel("calibrated probability (larger dots: more faces)", fontsize=9, color=INK)
    figure.supylabel("share that occurred", fontsize=9, color=INK)
    return figure
