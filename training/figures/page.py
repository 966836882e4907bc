"""The page beside the figures: what they show, how the faces were chosen, the measures behind them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.figures.faces import PLACES, FigureFace, Measures

CHANNELS, EIGENVECTORS, ROI_MAPS = "figure5_channels.png", "figure6_eigenvectors.png", "roi_maps.png"


def figures_page(
    subject: str, caution: str, chosen_by: str, faces: Sequence[FigureFace], measures: Measures | None
) -> str:
    """The Markdown of `figures.md`.

    Args:
        subject: what was looked into.
        caution: of its training, "" for none.
        chosen_by: how the faces were chosen, a sentence.
        faces: of the figures, the first of which is that of Figure 5.
        measures: over more faces; None without shards.
    """
    found = faces[0].explanation
    lines = [f"# Inside {subject}", ""]
    if caution:
        lines += [f"> **{caution}**", ""]
    lines += [
        f"Made with `roigcn figures`, after Figures 5 and 6 of Zhang, Wang and Yin (2020). {chosen_by}",
        "",
        "## Features before and after the graph convolution (the paper's Figure 5)",
        "",
        f"![All channels of X0 and X1]({CHANNELS})",
        "",
        f"{faces[0].title}: X0 are the backbone's {len(found.x0)} channels, X1 those after the graph convolution, in "
        "the network's order and on one scale. Channel numbers do not correspond: theta mixes them.",
        "",
    ]
    if measures is not None:
        lines += _features(measures)
    lines += [
        "## Eigenvector maps (the paper's Figure 6)",
        "",
        f"![Eigenvector maps of {len(faces)} faces]({EIGENVECTORS})",
        "",
        "A row for each face. A map says where the graph convolution gathers context for an AU, whether it occurs or "
        "not; it does not say why the AU was decided.",
        "",
    ]
    if measures is not None:
        lines += _eigenvectors(found.eigenvector_names, measures)
    lines += [
        "## ROI maps of the same faces",
        "",
        f"![ROI maps of {len(faces)} faces]({ROI_MAPS})",
        "",
        *_labels(faces),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _features(measures: Measures) -> list[str]:
    lines = [
        f"Mean over {measures.faces} faces and all channels. The paper sees far fewer activations inside the face in "
        "X1, dots at the ROIs, and an artifact at the border.",
        "",
        "| place | above 0 in X0 | in X1 | mean value in X0 | in X1 |",
        "| --- | --: | --: | --: | --: |",
    ]
    for place in PLACES:
        (before, after), (low, high) = measures.active[place], measures.height[place]
        lines.append(f"| {place} | {before:.1%} | {after:.1%} | {low:.3f} | {high:.3f} |")
    return [*lines, ""]


def _eigenvectors(names: Sequence[str], measures: Measures) -> list[str]:
    lines = [
        f"Mean over {measures.faces} faces. Share: of an eigenvector in the similarity matrix (the eigenvalue alone "
        "does not say it: the scale of a map is free). Inside: part of the map's sum inside the face, by the hull of "
        "its landmarks. Blank: share of faces whose map is 0 everywhere.",
        "",
        "| eigenvector | λ | share | inside | blank |",
        "| --- | --: | --: | --: | --: |",
    ]
    for m, name in enumerate(names):
        inside = "–" if np.isnan(measures.inside[m]) else f"{measures.inside[m]:.0%}"
        lines.append(
            f"| {name} | {measures.eigenvalue[m]:.3g} | {measures.share[m]:.1%} | {inside} | {measures.blank[m]:.0%} |"
        )
    return [*lines, ""]


def _labels(faces: Sequence[FigureFace]) -> list[str]:
    if all(face.present is None for face in faces):
        return []
    lines = ["| face | AUs that occur by its labels |", "| --- | --- |"]
    lines += [f"| {face.title} | {', '.join(face.present or ()) or 'none'} |" for face in faces]
    return [*lines, ""]
