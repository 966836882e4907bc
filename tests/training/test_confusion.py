from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.confusion import Confusion
from training.metrics import f1_score, precision_recall

MEASURES = ("f1", "precision", "recall", "accuracy", "balanced_accuracy", "mcc", "f1_always")


def counts(hits: float, false_alarms: float, misses: float, rejections: float) -> Confusion:
    return Confusion(*(np.array([float(value)]) for value in (hits, false_alarms, misses, rejections)))


@pytest.mark.parametrize(
    ("confusion", "wanted"),
    [
        (
            counts(6, 2, 3, 9),
            (12 / 17, 6 / 8, 6 / 9, 15 / 20, (6 / 9 + 9 / 11) / 2, 48 / np.sqrt(8 * 12 * 9 * 11), 18 / 29),
        ),
        (counts(5, 0, 0, 5), (1, 1, 1, 1, 1, 1, 10 / 15)),
        (counts(0, 5, 5, 0), (0, 0, 0, 0, 0, -1, 10 / 15)),
        (counts(0, 0, 4, 6), (0, np.nan, 0, 0.6, 0.5, 0, 8 / 14)),  # nothing was said
        (counts(0, 2, 0, 8), (np.nan, 0, np.nan, 0.8, np.nan, np.nan, np.nan)),  # it never occurred
        (counts(4, 0, 0, 0), (1, 1, 1, 1, np.nan, np.nan, 1)),  # it always occurred
        (counts(0, 0, 0, 0), (np.nan,) * 7),
    ],
)
def test_measures(confusion: Confusion, wanted: tuple[float, ...]) -> None:
    found = [float(getattr(confusion, name)[0]) for name in MEASURES]
    assert found == pytest.approx(list(wanted), nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.integers(0, 3)), max_size=30))
def test_counting_agrees_with_the_plain_formulas(rows: list[tuple[bool, bool, bool, int]]) -> None:
    table = np.array(rows, int).reshape(-1, 4)
    truth, said, counted = (table[:, i : i + 1].astype(bool) for i in range(3))
    total = Confusion.by_group(truth, said, counted, table[:, 3]).total()
    kept = counted[:, 0]
    np.testing.assert_equal(float(total.f1[0]), f1_score(truth[kept, 0], said[kept, 0]))
    precision, recall = precision_recall(truth[kept, 0], said[kept, 0])
    np.testing.assert_equal([float(total.precision[0]), float(total.recall[0])], [precision, recall])
    np.testing.assert_equal(float(total.f1_always[0]), f1_score(truth[kept, 0], np.ones(kept.sum(), bool)))


def test_redrawing_each_once_is_the_total() -> None:
    rng = np.random.default_rng(0)
    truth, said, group = rng.random((50, 3)) < 0.4, rng.random((50, 3)) < 0.5, rng.integers(0, 5, 50)
    groups = Confusion.by_group(truth, said, np.ones_like(truth), group)
    once, twice = np.ones((1, 5)), np.eye(5)[:1] * 2
    np.testing.assert_allclose(groups.redrawn(once).f1[0], groups.total().f1)
    np.testing.assert_allclose(groups.redrawn(twice).hits[0], 2 * groups.hits[0])
