"""The numbers of a protocol's report for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from training.loop import run_identity
from training.protocol.cautions import cautions
from training.protocol.measure import COUNTED, RANKED, ProtocolMeasures
from training.protocol.paper import published
from training.protocol.people import People
from training.protocol.trial import TrialScores


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
        "config": json.loads(run_identity(scores[0].trial.config)),
    }


def plain(value: Any) -> float | None:
    """A number as JSON has it, rounded; NaN becomes null."""
    return None if math.isnan(float(value)) else round(float(value), 5)
