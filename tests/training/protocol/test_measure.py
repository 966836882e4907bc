from __future__ import annotations

import numpy as np
import pytest

from tests.training.protocol.kit import predictions, random_predictions, scores
from training.config import TrainConfig
from training.metrics import roc_auc
from training.protocol.curves import reliability, roc_points
from training.protocol.measure import _auc_draws, measure, nanmean_rows


def config_of(tiny_config: TrainConfig, codes: list[str]) -> TrainConfig:
    values = tiny_config.model_dump()
    values["network"]["aus"] = codes
    return TrainConfig.model_validate(values)


def test_fold_mean_and_pooled_f1_differ_as_they_should(tiny_config: TrainConfig) -> None:
    config = config_of(tiny_config, ["AU1"])
    one = scores(config, "P1", predictions([[1], [1], [0], [0]], [[1], [-1], [-1], [-1]]))  # F1 2/3
    two = scores(config, "P2", predictions([[1], [0], [0]], [[1], [1], [1]]))  # F1 1/2
    found = measure([one, two])
    assert found.fold_mean["f1"][0] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found.mean("f1") == pytest.approx(7 / 12)
    assert found.pooled.f1[0] == pytest.approx(2 * 2 / (2 * 2 + 2 + 1))
    assert found.fold_mean["f1_always"][0] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found.folds[1].values["precision"][0] == pytest.approx(1 / 3)
    assert np.isnan(found.fold_mean["brier"]).all()  # nobody was held out
    assert np.isnan(found.fold_mean["f1_threshold"]).all()


def test_an_au_that_never_occurs_is_counted_and_left_out(tiny_config: TrainConfig) -> None:
    config = config_of(tiny_config, ["AU1", "AU2"])
    one = scores(config, "P1", predictions([[0, 1], [0, 1], [0, 0]], [[1, 1], [1, 1], [1, -1]]))
    two = scores(config, "P2", predictions([[1, 1], [1, 0], [0, 0]], [[1, 1], [1, -1], [-1, -1]]))
    found = measure([one, two])
    assert np.isnan(found.folds[0].values["f1"][0])
    assert list(found.undefined["f1"]) == [1, 0]
    assert found.fold_mean["f1"][0] == 1.0
    assert found.mean("f1") == 1.0
    never = measure([one])
    assert np.isnan(never.fold_mean["f1"][0])
    assert never.mean("f1") == 1.0
    assert not np.isnan(never.mean_pooled_f1)


def test_unknown_labels_are_left_out_and_unreadable_faces_decided_absent(tiny_config: TrainConfig) -> None:
    config = config_of(tiny_config, ["AU1"])
    test = predictions([[1], [1], [9], [0]], [[1], [float("nan")], [1], [-1]])
    found = measure([scores(config, "P1", test)])
    assert found.pooled.faces[0] == 3
    assert found.folds[0].unreadable == 1
    assert found.fold_mean["recall"][0] == pytest.approx(1 / 2)
    assert found.fold_mean["auc"][0] == 1.0  # of the readable faces


def test_intervals_hold_the_estimate_and_narrow_with_people(tiny_config: TrainConfig) -> None:
    few = measure([scores(tiny_config, "P1", random_predictions(0, people=5))])
    many = measure([scores(tiny_config, "P1", random_predictions(0, faces=2400, people=80))])
    for found in (few, many):
        assert (found.f1_interval.low <= found.fold_mean["f1"]).all()
        assert (found.f1_interval.high >= found.fold_mean["f1"]).all()
        assert found.mean_auc_interval.low < found.mean("auc") < found.mean_auc_interval.high
        assert found.mean_pooled_interval.low < found.mean_pooled_f1 < found.mean_pooled_interval.high
    width = [float(found.mean_f1_interval.high - found.mean_f1_interval.low) for found in (few, many)]
    assert width[1] < width[0]


def test_one_person_in_a_fold_gives_no_interval(tiny_config: TrainConfig) -> None:
    found = measure(
        [
            scores(tiny_config, "P1", random_predictions(0, people=1)),
            scores(tiny_config, "P2", random_predictions(1, people=9)),
        ]
    )
    for interval in (found.f1_interval, found.pooled_interval, found.auc_interval, found.mean_f1_interval):
        assert np.isnan(interval.low).all()
        assert np.isnan(interval.high).all()


def test_redrawn_auc_is_the_auc_of_the_redrawn_faces() -> None:
    test = random_predictions(3, faces=90, people=6)
    test = type(test)(np.round(test.score, 1), test.decision, test.labels, test.weights, test.identities)  # with ties
    times = np.array([[1, 1, 1, 1, 1, 1], [2, 0, 3, 0, 0, 1]], float)
    found = _auc_draws(test, times)
    for r, drawn in enumerate(times.astype(int)):
        rows = np.concatenate([np.repeat(np.flatnonzero(test.identities == p), n) for p, n in enumerate(drawn)])
        for k in range(3):
            wanted = roc_auc(test.labels[rows, k] > 0.5, test.score[rows, k].astype(float))
            assert found[r, k] == pytest.approx(wanted)


def test_calibration_comes_from_the_held_out_people(tiny_config: TrainConfig) -> None:
    test = random_predictions(1, faces=2000, people=20)
    found = measure([scores(tiny_config, "P1", test, random_predictions(2, faces=2000, people=20))])
    weak = measure([scores(tiny_config, "P1", test, random_predictions(2, faces=2000, people=20, skill=0.3))])
    misled = measure([scores(tiny_config, "P1", test, random_predictions(2, faces=2000, people=20, skill=-1.0))])
    assert (found.fold_mean["ece"] < 0.05).all()
    assert (found.fold_mean["brier"] < weak.fold_mean["brier"]).all()
    assert np.isnan(misled.fold_mean["brier"]).all(), "an AU whose scores mislead is not calibrated"
    # The paper's rule and the ranking do not depend on calibration.
    np.testing.assert_array_equal(found.fold_mean["f1"], misled.fold_mean["f1"])
    np.testing.assert_array_equal(found.fold_mean["auc"], misled.fold_mean["auc"])


def test_curves_agree_with_the_measures(tiny_config: TrainConfig) -> None:
    one = scores(tiny_config, "P1", random_predictions(1, faces=150), random_predictions(2, faces=900))
    found = measure([one])
    for k in range(3):
        points = roc_points(one, k)
        assert points is not None
        assert np.trapezoid(points[1], points[0]) == pytest.approx(found.fold_mean["auc"][k], abs=0.01)
        bins = reliability([one], k)
        assert bins is not None
        assert ((bins.observed >= 0) & (bins.observed <= 1)).all()
        assert bins.faces.sum() <= 150
    never = scores(tiny_config, "P1", predictions([[0, 0, 0]] * 4, [[0.1, 0.2, 0.3]] * 4))
    assert roc_points(never, 0) is None
    assert reliability([never], 0) is None


def test_means_without_any_number_are_nan() -> None:
    assert np.isnan(nanmean_rows(np.full((2, 1), np.nan))).all()
    np.testing.assert_array_equal(nanmean_rows(np.array([[1.0, np.nan], [3.0, 5.0]])), [2, 5])
