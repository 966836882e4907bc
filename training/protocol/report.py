"""The report of a protocol for people, in Markdown. F1 is in percent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.protocol.cautions import NOISE_FLOOR, TITLES, cautions
from training.protocol.measure import Interval, ProtocolMeasures, nanmean
from training.protocol.paper import OURS, PublishedTable, published
from training.protocol.people import People
from training.protocol.tables import markdown_table, number, percent, percent_range
from training.protocol.trial import TrialScores


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
        [
            f"F1 at thresholds chosen on held-out people, fold mean{_known(measures, 'f1_threshold')}",
            percent(measures.mean("f1_threshold")),
            "",
        ],
        ["ROC-AUC, fold mean", percent(measures.mean("auc")), _range(measures.mean_auc_interval)],
    ]
    if table is not None:
        rows.append([f"F1 that the paper prints ({table.title})", f"{table.printed_mean[OURS]:.1f}", ""])
    return markdown_table(("percent", "value", "95 % over people"), rows)


def _known(measures: ProtocolMeasures, name: str) -> str:
    """Of how many AUs a mean is, where it is not of all."""
    known = int((~np.isnan(measures.fold_mean[name])).sum())
    return "" if known == len(measures.au_codes) else f" ({known} of {len(measures.au_codes)} AUs)"


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
            "paper prints them, averages too (DRML's and EAC's do not follow from their own columns)."
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
