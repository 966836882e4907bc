"""The report of a study: each cell beside the paper's column, with the spread over seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from training.loop import run_identity
from training.protocol.ablation import CellResult, difference
from training.protocol.cautions import NOISE_FLOOR, TITLES, cautions
from training.protocol.paper import PublishedTable, published
from training.protocol.people import People
from training.protocol.plots import GREY, INK, LIGHT, PAPER, save_figure, tidy
from training.protocol.results import plain
from training.protocol.runner import REPORT_NAME, RESULTS_NAME, write_text
from training.protocol.studies import Study
from training.protocol.tables import markdown_table, number, percent

CELL_COLOURS = ("#a0aec0", "#63b3ed", "#3182ce", "#2a4365")


def write_study(out: Path, study: Study, people: People, results: Sequence[CellResult]) -> Path:
    """Write report.md, results.json and f1.png; returns the first.

    Raises:
        OSError: the folder cannot be written.
    """
    save_figure(draw_study(study, people, results), out / "f1.png")
    write_text(out / RESULTS_NAME, json.dumps(study_json(study, people, results), indent=1) + "\n")
    write_text(out / REPORT_NAME, study_markdown(study, people, results))
    return out / REPORT_NAME


def study_cautions(study: Study, people: People, results: Sequence[CellResult]) -> list[str]:
    """What a reader must know before comparing the cells with each other or with the paper."""
    found = cautions(people, results[0].scores[0], study.varied)
    if study.paper_dataset and study.paper_dataset != people.dataset:
        found.append(
            f"The paper did this on {TITLES[study.paper_dataset]}; its numbers stand beside for orientation and are of "
            "other faces."
        )
    if len(results[0].seeds) < 3:
        found.append("Fewer than three seeds: how much chance there is in training is hardly known.")
    return found


def _with_spread(mean: float, around: float) -> str:
    return percent(mean) if math.isnan(around) else f"{percent(mean)} ± {percent(around)}"


def study_markdown(study: Study, people: People, results: Sequence[CellResult]) -> str:
    """The whole report."""
    table = published(study.name)
    measures = results[0].by_seed[0]
    seeds = ", ".join(map(str, results[0].seeds))
    folds = ", ".join(fold.name for fold in measures.folds)
    lines = [f"# {study.title}: {TITLES[people.dataset]}", ""]
    lines += [f"> **Mind:** {caution}\n>" for caution in study_cautions(study, people, results)]
    lines += ["", f"F1 in percent, mean of the folds ({folds}), then of the AUs; mean ± standard deviation over the "]
    lines[-1] += f"seeds {seeds}. All cells have the same faces, folds, steps, batches and seeds."
    lines += ["", *_overview(study, results, table), "", "![F1 by AU](f1.png)", "", "## By Action Unit", ""]
    lines += [*_by_au(results, table), "", "## By seed", "", *_by_seed(results), "", "## How it was made", ""]
    lines += [*_origin(people, results), "", "## How to read it", "", f"* {NOISE_FLOOR}"]
    lines += [
        "* A difference between cells is worth something where it is larger than its own spread over seeds, and still "
        "belongs to this data set alone.",
        "* Compare ROC-AUC as well: F1 at a fixed rule moves with the rate at which a network says yes.",
        "",
    ]
    return "\n".join(lines)


def _overview(study: Study, results: Sequence[CellResult], table: PublishedTable | None) -> list[str]:
    baseline = next(result for result in results if result.cell.name == study.baseline)
    rows = []
    for result in results:
        row = [result.cell.title, _with_spread(*result.overall("f1"))]
        row.append("" if result is baseline else _signed(*difference(result, baseline)))
        row += [percent(result.overall("f1_always")[0]), _with_spread(*result.overall("auc"))]
        row.append(_with_spread(*result.overall("f1_threshold")))
        row += [f"{table.printed_mean[result.cell.name]:.1f}"] if table else []
        rows.append(row)
    headings = ["", "F1", f"difference to {baseline.cell.name}", "floor", "ROC-AUC", "F1 at threshold"]
    return markdown_table([*headings, *(["paper's F1"] if table else [])], rows)


def _signed(mean: float, around: float) -> str:
    text = _with_spread(mean, around)
    return text if text.startswith("-") or math.isnan(mean) else f"+{text}"


def _by_au(results: Sequence[CellResult], table: PublishedTable | None) -> list[str]:
    codes = results[0].by_seed[0].au_codes
    columns = [result.per_au("f1") for result in results]
    rows = []
    for k, code in enumerate(codes):
        row = [code, *(_with_spread(mean[k], around[k]) for mean, around in columns)]
        row += [number(table.f1(result.cell.name, code), 1) for result in results] if table else []
        rows.append(row)
    mean_row = ["mean", *(_with_spread(*result.overall("f1")) for result in results)]
    mean_row += [f"{table.printed_mean[result.cell.name]:.1f}" for result in results] if table else []
    names = [result.cell.name for result in results]
    return markdown_table(["AU", *names, *(f"paper: {name}" for name in names if table)], [*rows, mean_row])


def _by_seed(results: Sequence[CellResult]) -> list[str]:
    rows = [
        [str(seed), *(percent(result.means("f1")[s]) for result in results)] for s, seed in enumerate(results[0].seeds)
    ]
    return markdown_table(["seed", *(result.cell.name for result in results)], rows)


def _origin(people: People, results: Sequence[CellResult]) -> list[str]:
    one = results[0].scores[0][0]
    config = one.trial.config
    return [
        f"{people.dataset} in `{people.folder.name}`, recipe `{config.name}` ({config.network.backbone} at "
        f"{config.network.input_size} px, {config.optimiser.name}, rate {config.optimiser.lr}, batch "
        f"{config.optimiser.batch}, {one.steps} steps in the first fold), {one.faces[0]} faces to train on, "
        f"{one.faces[2]} to test in the first fold; last step, nothing chosen on the test part; "
        + ", ".join(f"{key} {value}" for key, value in one.made_with.items())
        + "."
    ]


def study_json(study: Study, people: People, results: Sequence[CellResult]) -> dict[str, Any]:
    """The same numbers for programs; shares of 1, undefined ones null."""
    codes = results[0].by_seed[0].au_codes
    table = published(study.name)
    return {
        "format_version": 1,
        "study": study.name,
        "dataset": people.dataset,
        "cautions": study_cautions(study, people, results),
        "au_codes": list(codes),
        "seeds": list(results[0].seeds),
        "cells": {
            result.cell.name: {
                "title": result.cell.title,
                **{
                    name: {
                        "mean": plain(result.overall(name)[0]),
                        "spread": plain(result.overall(name)[1]),
                        "by_seed": [plain(value) for value in result.means(name)],
                        "per_au": {code: [plain(v) for v in result.values(name)[:, k]] for k, code in enumerate(codes)},
                    }
                    for name in ("f1", "f1_always", "f1_threshold", "auc", "pr_auc")
                },
                "published_mean_f1_percent": table.printed_mean[result.cell.name] if table else None,
                "config": json.loads(run_identity(result.scores[0][0].trial.config)),
            }
            for result in results
        },
    }


def draw_study(study: Study, people: People, results: Sequence[CellResult]) -> Figure:
    """F1 by AU and cell, a dot for each seed, with the paper's numbers."""
    table = published(study.name)
    names = [*results[0].by_seed[0].au_codes, "mean"]
    x = np.arange(len(names), dtype=float)
    x[-1] += 0.6
    width = 0.8 / len(results)
    figure = Figure(figsize=(max(8.0, 0.2 * len(names) * len(results) + 2.5), 4.6), layout="constrained")
    axes = figure.subplots()
    for i, result in enumerate(results):
        where = x - 0.4 + (i + 0.5) * width
        values = np.concatenate([result.values("f1"), result.means("f1")[:, None]], axis=1) * 100
        mean = np.append(result.per_au("f1")[0], result.overall("f1")[0]) * 100
        axes.bar(where, np.nan_to_num(mean), width=width * 0.92, color=CELL_COLOURS[i % 4], label=result.cell.title)
        for s, row in enumerate(values):
            label = "single seeds" if i == s == 0 else None
            axes.scatter(where, row, s=9, color="white", edgecolors=INK, linewidths=0.7, zorder=3, label=label)
        if table is not None:
            paper = [table.f1(result.cell.name, code) for code in names[:-1]] + [table.printed_mean[result.cell.name]]
            label = f"the paper's, {TITLES[study.paper_dataset]}" if i == 0 else None
            axes.scatter(where, paper, marker="D", s=14, color=PAPER, zorder=4, label=label)
    floor = np.append(results[0].per_au("f1_always")[0], results[0].overall("f1_always")[0]) * 100
    axes.hlines(floor, x - 0.45, x + 0.45, colors=GREY, linestyles="dotted", linewidth=1.6, label="always yes (floor)")
    axes.axvline(x[-1] - 0.8, color=LIGHT, linewidth=1)
    axes.set_xticks(x, names)
    axes.set_ylim(0, 100)
    axes.set_ylabel("F1 (%)", color=INK)
    axes.set_title(f"{study.title}: {TITLES[people.dataset]}", loc="left", fontsize=11, color=INK)
    tidy(axes)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure
