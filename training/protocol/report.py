"""The report of a protocol: Markdown for people, JSON for programs. Numbers in tables are percent where they say F1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from training.config import ConfigError, TrainConfig, load_config
from training.data.folds import PART_NAMES, missing_subjects
from training.protocol.measure import COUNTED, RANKED, Interval, ProtocolMeasures, nanmean
from training.protocol.paper import OURS, PublishedTable, published
from training.protocol.people import People
from training.protocol.tables import markdown_table, number, percent, percent_range
from training.protocol.trial import TrialScores

TITLES = {"bp4d": "BP4D", "disfa": "DISFA", "csv": "Your own faces", "rendered": "Rendered faces"}
NOISE_FLOOR = (
    "Repeated subject splits of BP4D+ move the average F1 by ±6.5 points (Hinduja et al.): "
    "differences of a few points between methods, or between this report and the paper, lie inside that."
)


def cautions(people: People, scores: Sequence[TrialScores]) -> list[str]:
    """What a reader must know before comparing the numbers with the paper's."""
    config, dataset = scores[0].trial.config, people.dataset
    found = []
    done = [one.trial.fold.name for one in scores]
    if len(done) < len(PART_NAMES):
        found.append(f"Only {', '.join(done)} of the three folds are in this report.")
    if dataset == "rendered":
        found.append(
            "These are rendered faces. Their figures say that the network learns, not how well it reads people. "
            "Identities are held out between folds; skins of the renderer are not."
        )
    absent = missing_subjects(dataset, [subject for part in people.parts.values() for subject in part])
    if absent:
        total = len(absent) + sum(len(part) for part in people.parts.values())
        shown = ", ".join(absent[:8]) + (" ..." if len(absent) > 8 else "")
        found.append(
            f"{len(absent)} of {total} people of {TITLES[dataset]} are missing ({shown}): the figures are of another "
            "test set than the paper's."
        )
    if published(dataset) is not None:
        if config.network.backbone_weights is None:
            found.append(
                "The backbone began with random weights; the paper's began with ImageNet's (`--backbone-weights`)."
            )
        changed = departures(config, dataset)
        if changed:
            found.append(f"The recipe departs from the paper's: {', '.join(changed)}.")
        held_out = len(scores[0].trial.fold.held_out)
        if held_out:
            found.append(
                f"{held_out} of the training people of each fold are held out for calibration, so the network saw "
                "fewer people than the paper's (`--hold-out 0` trains on all, without calibration)."
            )
    unreadable = sum(int(((one.test.weights > 0) & ~np.isfinite(one.test.score)).sum()) for one in scores)
    if unreadable:
        found.append(
            f"{unreadable} labels lie on faces whose regions are outside the picture: decided absent, and left out of "
            "AUC, Brier and ECE."
        )
    return found


def departures(config: TrainConfig, dataset: str) -> list[str]:
    """Keys of a recipe that differ from the paper's for the data set, with their values."""
    try:
        paper = load_config(f"paper_{dataset}")
    except ConfigError:
        return []
    left_out = {"name", "summary", "seed", "data", "log"}
    mine, theirs = (c.model_dump(mode="json", exclude=left_out) for c in (config, paper))
    different = []
    for section, values in theirs.items():
        for key, value in values.items():
            if mine[section][key] != value and (section, key) != ("network", "backbone_weights"):
                different.append(f"`{section}.{key}` {mine[section][key]} instead of {value}")
    return different


def markdown(people: People, scores: Sequence[TrialScores], measures: ProtocolMeasures) -> str:
    """The whole report."""
    table = published(people.dataset)
    title = f"{TITLES[people.dataset]}: three folds of people, {len(measures.au_codes)} Action Units"
    lines = [f"# {title}", ""]
    lines += [f"> **Mind:** {caution}\n>" for caution in cautions(people, scores)]
    lines += ["", *_summary(table, measures), "", "## F1", "", *_f1(table, measures), "", "![F1 by AU](f1.png)", ""]
    lines += ["## By fold", "", *_by_fold(scores, measures), "", "## Other measures", "", *_others(measures), ""]
    lines += ["![ROC curves](roc.png)", ""]
    if any(one.held_out is not None for one in scores):
        lines += ["![Reliability of the probabilities](reliability.png)", ""]
    lines += ["## How it was made", "", *_origin(people, scores), "", "## How to read it", "", *_reading(), ""]
    return "\n".join(lines)


def _summary(table: PublishedTable | None, measures: ProtocolMeasures) -> list[str]:
    interval, pooled = measures.mean_f1_interval, measures.mean_pooled_interval
    rows = [
        ["F1, mean of the folds, then of the AUs", percent(measures.mean("f1")), _range(interval)],
        ["F1, counts pooled over the folds, then mean of the AUs", percent(measures.mean_pooled_f1), _range(pooled)],
        ["F1 of always saying yes (the floor), fold mean", percent(measures.mean("f1_always")), ""],
        ["F1 at thresholds chosen on held-out people, fold mean", percent(measures.mean("f1_threshold")), ""],
        ["ROC-AUC, fold mean", percent(measures.mean("auc")), _range(measures.mean_auc_interval)],
    ]
    if table is not None:
        rows.append([f"F1 that the paper prints ({table.title})", f"{table.printed_mean[OURS]:.1f}", ""])
    return markdown_table(("percent", "value", "95 % over people"), rows)


def _range(interval: Interval) -> str:
    return percent_range(float(interval.low), float(interval.high))


def _f1(table: PublishedTable | None, measures: ProtocolMeasures) -> list[str]:
    headings = ["AU", "fold mean", "95 % of it", "pooled", "95 % of it", "floor"]
    columns = list(table.columns) if table else []
    columns = [OURS, *(name for name in columns if name != OURS)] if table else []
    headings += ["floor, published rate"] * bool(table)
    headings += [f"**{name}**" if name == OURS else name for name in columns]
    rows = []
    for k, code in enumerate(measures.au_codes):
        row = [
            code,
            f"**{percent(measures.fold_mean['f1'][k])}**" + _missing(int(measures.undefined["f1"][k])),
            percent_range(measures.f1_interval.low[k], measures.f1_interval.high[k]),
            percent(float(measures.pooled.f1[k])),
            percent_range(measures.pooled_interval.low[k], measures.pooled_interval.high[k]),
            percent(measures.fold_mean["f1_always"][k]),
        ]
        if table:
            row.append(number(table.floor(code), 1))
            row += [number(table.f1(name, code), 1) for name in columns]
        rows.append(row)
    mean = [
        "mean",
        f"**{percent(measures.mean('f1'))}**",
        _range(measures.mean_f1_interval),
        percent(measures.mean_pooled_f1),
        _range(measures.mean_pooled_interval),
        percent(measures.mean("f1_always")),
    ]
    if table:
        mean.append(number(nanmean([table.floor(code) for code in measures.au_codes]), 1))
        mean += [f"{table.printed_mean[name]:.1f}" for name in columns]
    rows.append(mean)
    lines = markdown_table(headings, rows)
    lines += ["", "F1 in percent at the decoder's own rule. *Floor*: always saying yes."]
    if table:
        lines[-1] += (
            f" From *{OURS}* on: {table.title} of the paper, {OURS} being the paper's own method; the others as the "
            "paper prints them."
        )
    empty = int((measures.undefined["f1"] > 0).sum())
    if empty:
        cases = int(measures.undefined["f1"].sum())
        lines += [
            "",
            f"{empty} AUs never occur in the test part of a fold ({cases} cases, marked †): F1 is undefined there and "
            "left out of the means.",
        ]
    return lines


def _missing(folds: int) -> str:
    return "†" * folds


def _by_fold(scores: Sequence[TrialScores], measures: ProtocolMeasures) -> list[str]:
    rows = []
    for one, fold in zip(scores, measures.folds, strict=True):
        row = [fold.name, str(len(one.trial.fold.train)), str(one.faces[0]), str(fold.people), str(fold.faces)]
        row += [str(int(np.isnan(fold.values["f1"]).sum())), percent(nanmean(fold.values["f1"]))]
        row += [percent(nanmean(fold.values["f1_always"])), percent(nanmean(fold.values["auc"]))]
        rows.append(row)
    headings = (
        "fold",
        "people trained on",
        "faces trained on",
        "people tested",
        "faces tested",
        "AUs that never occur",
    )
    return markdown_table((*headings, "F1", "floor", "ROC-AUC"), rows)


def _others(measures: ProtocolMeasures) -> list[str]:
    names = {
        "auc": "ROC-AUC",
        "pr_auc": "PR-AUC",
        "f1_threshold": "F1 at threshold",
        "precision": "precision",
        "recall": "recall",
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "mcc": "MCC",
        "brier": "Brier",
        "ece": "ECE",
    }
    rows = []
    for k, code in enumerate(measures.au_codes):
        rates = measures.pooled
        rate = float(rates.positives[k] / rates.faces[k]) if rates.faces[k] else float("nan")
        row = [code, f"{int(rates.faces[k])}", percent(rate)]
        rows.append(
            row + [number(measures.fold_mean[name][k]) + _missing(int(measures.undefined[name][k])) for name in names]
        )
    rows.append(["mean", "", "", *(number(measures.mean(name)) for name in names)])
    lines = markdown_table(("AU", "labels", "positive %", *names.values()), rows)
    return [
        *lines,
        "",
        "Means over the folds. Precision, recall, accuracy, balanced accuracy and MCC at the decoder's own rule; "
        "Brier and ECE of the probability calibrated on people held out of training; *F1 at threshold*: at the "
        "threshold with the best F1 on the held-out people. † for each fold in which a measure is undefined.",
    ]


def _origin(people: People, scores: Sequence[TrialScores]) -> list[str]:
    config, trial = scores[0].trial.config, scores[0].trial
    weights = config.network.backbone_weights
    rows = [
        ["data", f"{people.dataset} in `{people.folder.name}`"],
        ["recipe", f"`{config.name}`: {config.summary}"],
        [
            "network",
            f"{config.network.backbone}, variant `{config.network.variant}`, {config.network.input_size} px, "
            f"maps of {config.map_size} px, backbone from {f'`{weights.name}`' if weights else 'random weights'}",
        ],
        [
            "regions",
            f"rule `{config.target.rule}`, σ {config.target.sigma}, windows of "
            f"{2 * config.target.half_width + 1} px, decoder `{trial.reading.decoder}`",
        ],
        [
            "training",
            f"{config.optimiser.name}, rate {config.optimiser.lr}, batch {config.optimiser.batch}, "
            f"{', '.join(str(one.steps) for one in scores)} steps, {config.optimiser.precision}, seed {config.seed}, "
            "last step, nothing chosen on the test part",
        ],
        ["made with", ", ".join(sorted({f"{k} {v}" for one in scores for k, v in one.made_with.items()}))],
    ]
    lines = markdown_table(("", ""), rows)
    lines[1] = "| --- | --- |"
    if people.dataset != "rendered":
        for one in scores:
            fold = one.trial.fold
            lines += [
                "",
                f"* **{fold.name}** tests {' '.join(fold.test)}; held out of training: "
                f"{' '.join(fold.held_out) or 'nobody'}; trained on {' '.join(fold.train)}.",
            ]
    return lines


def _reading() -> list[str]:
    return [
        "* The paper's rule (an AU occurred if the mean of its map over either region is above 0) is not calibrated: "
        "a network that learned little stands near the AU's rate, below the floor. ROC-AUC does not depend on it.",
        "* Folds are averaged first, then AUs; *pooled* sums the counts of all folds first. The two differ, and papers "
        "seldom say which they print.",
        "* The intervals redraw the tested people of each fold, 95 %; they do not contain the chance of training.",
        f"* {NOISE_FLOOR}",
        "* Scores are presence, not FACS intensity.",
    ]


def as_json(people: People, scores: Sequence[TrialScores], measures: ProtocolMeasures) -> dict[str, Any]:
    """The same numbers for programs; shares of 1, undefined ones null."""
    table = published(people.dataset)
    per_au = {}
    for k, code in enumerate(measures.au_codes):
        entry: dict[str, Any] = {name: plain(measures.fold_mean[name][k]) for name in measures.fold_mean}
        entry["undefined_folds"] = {name: int(v[k]) for name, v in measures.undefined.items() if v[k]}
        entry["f1_interval"] = [plain(measures.f1_interval.low[k]), plain(measures.f1_interval.high[k])]
        entry["auc_interval"] = [plain(measures.auc_interval.low[k]), plain(measures.auc_interval.high[k])]
        entry["f1_pooled"] = plain(measures.pooled.f1[k])
        entry["f1_pooled_interval"] = [plain(measures.pooled_interval.low[k]), plain(measures.pooled_interval.high[k])]
        entry["positives"], entry["labels"] = int(measures.pooled.positives[k]), int(measures.pooled.faces[k])
        if table:
            entry["published_f1_percent"] = {name: plain(table.f1(name, code)) for name in table.columns}
        per_au[code] = entry
    return {
        "format_version": 1,
        "dataset": people.dataset,
        "cautions": cautions(people, scores),
        "au_codes": list(measures.au_codes),
        "mean": {
            **{name: plain(measures.mean(name)) for name in measures.fold_mean},
            "f1_interval": [plain(measures.mean_f1_interval.low), plain(measures.mean_f1_interval.high)],
            "f1_pooled": plain(measures.mean_pooled_f1),
            "f1_pooled_interval": [plain(measures.mean_pooled_interval.low), plain(measures.mean_pooled_interval.high)],
            "auc_interval": [plain(measures.mean_auc_interval.low), plain(measures.mean_auc_interval.high)],
        },
        "per_au": per_au,
        "folds": {
            fold.name: {
                "people": fold.people,
                "faces": fold.faces,
                "unreadable": fold.unreadable,
                "steps": one.steps,
                "train": list(one.trial.fold.train),
                "held_out": list(one.trial.fold.held_out),
                "test": list(one.trial.fold.test),
                **{name: [plain(v) for v in fold.values[name]] for name in (*COUNTED, *RANKED, "f1_threshold")},
            }
            for one, fold in zip(scores, measures.folds, strict=True)
        },
        "config": scores[0].trial.config.model_dump(mode="json"),
    }


def plain(value: Any) -> float | None:
    """A number as JSON has it, rounded; NaN becomes null."""
    return None if math.isnan(float(value)) else round(float(value), 5)
