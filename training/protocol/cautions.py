"""What a reader must know before comparing a report with the paper."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from training.config import ConfigError, TrainConfig, load_config
from training.data.folds import PART_NAMES, missing_subjects
from training.protocol.paper import published
from training.protocol.people import People
from training.protocol.trial import TrialScores

TITLES = {"bp4d": "BP4D", "disfa": "DISFA", "csv": "Your own faces", "rendered": "Rendered faces"}
NOISE_FLOOR = (
    "Repeated subject splits of BP4D+ move the average F1 by ±6.5 points (Hinduja et al.): "
    "differences of a few points between methods, or between this report and the paper, lie inside that."
)


def cautions(people: People, scores: Sequence[TrialScores], varied: Collection[str] = ()) -> list[str]:
    """What a reader must know before comparing the numbers with the paper's.

    Args:
        people: whose faces.
        scores: of the folds.
        varied: keys of the recipe ("section.key") that a study varies on purpose.
    """
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
        changed = departures(config, dataset, varied)
        if changed:
            found.append(f"The recipe departs from the paper's: {', '.join(changed)}.")
        held_out = len(scores[0].trial.fold.held_out)
        if held_out:
            found.append(
                f"Of each fold's training people some ({held_out} in {done[0]}) are held out for calibration, so the "
                "network saw fewer people than the paper's (`--hold-out 0` trains on all, without calibration)."
            )
    unreadable = sum(int(((one.test.weights > 0) & ~np.isfinite(one.test.score)).sum()) for one in scores)
    if unreadable:
        found.append(
            f"{unreadable} labels lie on faces whose regions are outside the picture: decided absent, and left out of "
            "AUC, PR-AUC, Brier, ECE and F1 at the fitted threshold, which so counts fewer faces than the F1 beside it."
        )
    return found


def departures(config: TrainConfig, dataset: str, varied: Collection[str] = ()) -> list[str]:
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
            named = f"{section}.{key}"
            if mine[section][key] != value and named not in ("network.backbone_weights", *varied):
                different.append(f"`{named}` {mine[section][key]} instead of {value}")
    return different
