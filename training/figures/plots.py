"""Figures 5 and 6 of the paper, drawn with matplotlib and without a screen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

from model.draw import NEGATIVE_RGB, POSITIVE_RGB, full_colour_value
from model.explain_panel import STROKES
from model.explanation import common_scale
from training.figures.faces import FigureFace

INK, GREY = "#1f2933", "#7b8794"
SEQUENTIAL = "viridis"
SIGNED = LinearSegmentedColormap.from_list(
    "roi", [tuple(v / 255 for v in NEGATIVE_RGB), (1, 1, 1), tuple(v / 255 for v in POSITIVE_RGB)]
)
_GAP = 2


def draw_channels(face: FigureFace) -> Figure:
    """Figure 5: every channel of X0 (a) and of X1 (b) in grids of the same order and on one scale."""
    found = face.explanation
    count, size = found.x0.shape[0], found.x0.shape[-1]
    columns = math.ceil(math.sqrt(count / 1.2))
    rows = -(-count // columns)
    limit = common_scale(found.x0, found.x1)
    figure = Figure(figsize=(15.2, 7.2 * rows / columns * 0.98 + 1.05), layout="constrained", facecolor="white")
    crop, before, after = figure.subplots(1, 3, width_ratios=[0.14, 1, 1])
    crop.imshow(face.pixels)
    crop.set_title("crop", fontsize=11, color=INK)
    crop.set_anchor("N")
    drawn = None
    titles = (
        f"(a) X0, before the graph convolution: {(found.x0 == 0).mean():.0%} of all values are 0",
        f"(b) X1, after it: {(found.x1 == 0).mean():.0%} are 0",
    )
    for axes, features, title in zip((before, after), (found.x0, found.x1), titles, strict=True):
        drawn = axes.imshow(_mosaic(features, columns), cmap=_on_white(), vmin=0, vmax=limit, interpolation="nearest")
        axes.set_title(title, fontsize=12, color=INK, loc="left")
    for axes in (crop, before, after):
        _bare(axes)
    assert drawn is not None
    bar = figure.colorbar(drawn, ax=[before, after], shrink=0.6, aspect=30, pad=0.01)
    bar.ax.tick_params(labelsize=9, colors=INK)
    bar.outline.set_visible(False)
    figure.supxlabel(
        f"{face.title}; {count} channels of {size} x {size} pixels in the order of the network; one scale, which ends "
        "at the 99.9th percentile of the larger",
        fontsize=9,
        color=GREY,
    )
    return figure


def draw_eigenvectors(faces: Sequence[FigureFace]) -> Figure:
    """Figure 6: a row for each face, its crop and then the eigenvector map of every AU; blank maps are 0 everywhere."""
    names = faces[0].explanation.eigenvector_names
    figure, grid = _grid(faces, names)
    for i, face in enumerate(faces):
        found = face.explanation
        shares = found.shares()
        for m, axes in enumerate(grid[i][1:]):
            peak = float(found.phi[m].max())
            if peak > 0:
                axes.imshow(found.phi[m], cmap=SEQUENTIAL, vmin=0, vmax=peak, interpolation="bilinear")
                _outline(axes, face)
            else:
                axes.imshow(np.ones((*found.phi[m].shape, 3)), interpolation="nearest")
            text = f"λ {_number(found.eigenvalues[m])} · {shares[m]:.0%}"
            axes.set_xlabel(text, fontsize=7.5, color=GREY, labelpad=2)
            if face.present is not None and names[m] in face.present:
                _mark(axes)
    figure.supxlabel(
        "each map on its own scale, white: 0 everywhere; below it λ and the eigenvector's share of the similarity"
        + (", red frame: the AU occurs" if any(face.present is not None for face in faces) else ""),
        fontsize=9,
        color=GREY,
    )
    return figure


def draw_roi_maps(faces: Sequence[FigureFace]) -> Figure:
    """The network's ROI maps of the same faces, all on one scale."""
    codes = faces[0].explanation.au_codes
    limit = full_colour_value([roi_map for face in faces for roi_map in face.explanation.roi_maps])
    figure, grid = _grid(faces, codes)
    drawn = None
    for i, face in enumerate(faces):
        for k, axes in enumerate(grid[i][1:]):
            maps = face.explanation.roi_maps
            drawn = axes.imshow(maps[k], cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="bilinear")
            _outline(axes, face, INK)
            if face.present is not None and codes[k] in face.present:
                _mark(axes)
    assert drawn is not None
    bar = figure.colorbar(drawn, ax=[axes for row in grid for axes in row], shrink=0.8, aspect=25, pad=0.01)
    bar.ax.tick_params(labelsize=8, colors=INK)
    bar.outline.set_visible(False)
    figure.supxlabel(
        "red: occurred, blue: absent"
        + ("; red frame: the AU occurs by its label" if any(face.present is not None for face in faces) else ""),
        fontsize=9,
        color=GREY,
    )
    return figure


def _grid(faces: Sequence[FigureFace], names: Sequence[str]) -> tuple[Figure, list[list[Axes]]]:
    """A row of axes for each face, its crop in the first; the names above."""
    columns = 1 + len(names)
    figure = Figure(figsize=(1.06 * columns + 0.4, 1.22 * len(faces) + 0.75), layout="constrained", facecolor="white")
    axes = figure.subplots(len(faces), columns, squeeze=False)
    for i, face in enumerate(faces):
        axes[i, 0].imshow(face.pixels)
        for one in axes[i]:
            _bare(one)
    for m, name in enumerate(names):
        axes[0, 1 + m].set_title(name, fontsize=10, color=INK, pad=4)
    return figure, [list(row) for row in axes]


def _mosaic(features: npt.NDArray[np.float32], columns: int) -> npt.NDArray[np.float32]:
    """(C, H, H) as one picture; NaN between and after the channels."""
    count, size, _ = features.shape
    rows, step = -(-count // columns), size + _GAP
    sheet = np.full((rows * step - _GAP, columns * step - _GAP), np.nan, np.float32)
    for c in range(count):
        top, left = c // columns * step, c % columns * step
        sheet[top : top + size, left : left + size] = features[c]
    return sheet


def _on_white() -> Colormap:
    """The sequential colours with white for what is no pixel."""
    return colormaps[SEQUENTIAL].with_extremes(bad="white")


def _outline(axes: Axes, face: FigureFace, colour: str = "white") -> None:
    """The face's landmarks as thin lines."""
    points = face.landmarks_map
    size = face.explanation.roi_maps.shape[-1]
    for stroke in STROKES:
        path = points[list(stroke)]
        axes.plot(path[:, 0], path[:, 1], color=colour, linewidth=0.5, alpha=0.55)
    axes.set_xlim(-0.5, size - 0.5)
    axes.set_ylim(size - 0.5, -0.5)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _mark(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color("#{:02x}{:02x}{:02x}".format(*POSITIVE_RGB))
        spine.set_linewidth(1.8)


def _number(value: float) -> str:
    return f"{value:.2f}" if value >= 0.005 else f"{value:.0e}".replace("e-0", "e-")
