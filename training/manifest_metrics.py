"""A score table as a checkpoint's manifest holds it."""

from __future__ import annotations

from dataclasses import asdict

from model.manifest import AuMetrics, Metrics
from training.metrics import ScoreTable


def manifest_metrics(table: ScoreTable, protocol: str, plain_f1: float, interval: tuple[float, float]) -> Metrics:
    """A score table as the manifest holds it; numbers rounded to four places, undefined ones null."""
    rounded = [{key: round(value, 4) for key, value in asdict(row).items()} for row in (*table.rows, table.mean)]
    mean = {key: value for key, value in rounded[-1].items() if key not in ("positives", "faces")}
    mean |= {
        "f1_uncalibrated": round(plain_f1, 4),
        "auc_low": round(interval[0], 4),
        "auc_high": round(interval[1], 4),
    }
    per_au = {code: AuMetrics.model_validate(row) for code, row in zip(table.au_codes, rounded, strict=False)}
    return Metrics(protocol=protocol, per_au=per_au, mean=mean)
