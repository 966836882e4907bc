from __future__ import annotations

import math

import numpy as np
import pytest

from training.metrics import (
    best_threshold,
    bootstrap_interval,
    brier_score,
    calibration_error,
    f1_score,
    pr_auc,
    precision_recall,
    roc_auc,
    score_table,
)

NAN = float("nan")


def bools(text: str) -> np.ndarray:
    return np.array([c == "1" for c in text], bool)


def same(found: float, wanted: float) -> bool:
    return math.isnan(found) if math.isnan(wanted) else found == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("truth", "decision", "f1", "precision", "recall"),
    [
        ("", "", NAN, NAN, NAN),
        ("000", "010", NAN, 0, NAN),
        ("000", "000", NAN, NAN, NAN),
        ("110", "000", 0, NAN, 0),
        ("1100", "1010", 0.5, 0.5, 0.5),
        ("1110", "1111", 6 / 7, 0.75, 1),
        ("101", "101", 1, 1, 1),
    ],
)
def test_decisions(truth: str, decision: str, f1: float, precision: float, recall: float) -> None:
    assert same(f1_score(bools(truth), bools(decision)), f1)
    found = precision_recall(bools(truth), bools(decision))
    assert same(found[0], precision)
    assert same(found[1], recall)


@pytest.mark.parametrize(
    ("truth", "score", "auc", "average_precision"),
    [
        ("", [], NAN, NAN),
        ("00", [0.1, 0.2], NAN, NAN),
        ("11", [0.1, 0.2], NAN, 1),
        ("0011", [0.1, 0.2, 0.3, 0.4], 1, 1),
        ("1100", [0.1, 0.2, 0.3, 0.4], 0, 5 / 12),
        ("0101", [0.1, 0.4, 0.35, 0.8], 1, 1),
        ("0011", [0.1, 0.4, 0.35, 0.8], 0.75, 5 / 6),
        ("0101", [0.5, 0.5, 0.5, 0.5], 0.5, 0.5),
        ("011", [0.5, 0.5, 0.9], 0.75, 0.5 + 0.5 * 2 / 3),
    ],
)
def test_rankings(truth: str, score: list[float], auc: float, average_precision: float) -> None:
    values = np.array(score, np.float64)
    assert same(roc_auc(bools(truth), values), auc)
    assert same(pr_auc(bools(truth), values), average_precision)


@pytest.mark.parametrize(
    ("truth", "probability", "brier", "ece"),
    [
        ("", [], NAN, NAN),
        ("01", [0.0, 1.0], 0, 0),
        ("01", [1.0, 0.0], 1, 1),
        ("0101", [0.5, 0.5, 0.5, 0.5], 0.25, 0),
        ("0001", [0.5, 0.5, 0.5, 0.5], 0.25, 0.25),
    ],
)
def test_probabilities(truth: str, probability: list[float], brier: float, ece: float) -> None:
    values = np.array(probability, np.float64)
    assert same(brier_score(bools(truth), values), brier)
    assert same(calibration_error(bools(truth), values), ece)


@pytest.mark.parametrize(
    ("truth", "score", "threshold"),
    [
        ("", [], NAN),
        ("000", [1, 2, 3], NAN),
        ("111", [1, 2, 3], NAN),
        ("0011", [1, 2, 3, 4], 2.5),
        ("0101", [1, 2, 2, 4], 1.5),
    ],
)
def test_best_threshold(truth: str, score: list[float], threshold: float) -> None:
    assert same(best_threshold(bools(truth), np.array(score, np.float64)), threshold)


def test_table_leaves_out_unknown_unreadable_and_undefined() -> None:
    labels = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, 0]], np.float32)
    weights = np.array([[1, 1, 1], [1, 1, 1], [0, 1, 1], [1, 1, 1]], np.float32)
    score = np.array([[0.9, 0.1, 0.2], [0.1, 0.2, NAN], [-5, 0.3, 0.1], [0.2, 0.4, 0.0]], np.float32)
    with np.errstate(invalid="ignore"):
        table = score_table(("AU1", "AU2", "AU4"), labels, weights, score, (score + 1) / 2, score > 0.15)
    one, two, four = table.rows
    assert (one.positives, one.faces, one.auc, one.f1) == (1, 3, 1, pytest.approx(2 / 3))
    assert (two.positives, two.faces) == (0, 4)
    assert math.isnan(two.auc)
    assert math.isnan(two.f1)
    assert four.faces == 3
    assert table.mean.auc == 1
    assert table.mean.f1 == pytest.approx((one.f1 + four.f1) / 2)


def test_an_empty_table_is_undefined_and_not_an_error() -> None:
    empty = np.zeros((0, 1), np.float32)
    row = score_table(("AU1",), empty, empty, empty, empty, empty > 0).rows[0]
    assert row.faces == 0
    assert math.isnan(row.auc)
    assert math.isnan(row.brier)


def test_bootstrap_draws_whole_subjects() -> None:
    values = np.repeat([0.0, 1.0, 2.0, 3.0], 5)
    subjects = np.repeat([7, 8, 9, 10], 5)
    seen = set()

    def measure(rows: np.ndarray) -> float:
        counts = np.bincount((values[rows]).astype(int), minlength=4)
        seen.update((counts % 5).tolist())
        return float(values[rows].mean())

    low, high = bootstrap_interval(measure, subjects, repeats=300)
    assert seen == {0}
    assert low < 1.0 < 2.0 < high
    assert bootstrap_interval(measure, subjects, repeats=300) == (low, high)


def test_bootstrap_without_subjects_or_measure_is_nan() -> None:
    nothing = bootstrap_interval(lambda _: 0.0, np.zeros(0, np.int64))
    undefined = bootstrap_interval(lambda _: NAN, np.arange(3))
    assert all(math.isnan(value) for value in (*nothing, *undefined))
