from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.action_units import AU_SETS, CATALOGUE
from model.geometry import apply_affine, crop_to_map
from model.landmarks import convert, flip
from model.roi import gaussians, roi_centres, target_maps, whole_pixels, windows
from model.values import Float64Array

S = 52.0  # the face's inner-ocular distance
RULES = ("paper", "fgnet")


@pytest.mark.parametrize(
    ("au", "rule", "left", "down", "outward"),
    [
        ("AU1", "paper", [21], 0, 0),
        ("AU2", "paper", [18], 0, 0),
        ("AU2", "fgnet", [17], 0, 0),
        ("AU4", "paper", [19], 1 / 3, 0),
        ("AU4", "fgnet", [17, 18, 19, 20, 21], 0, 0),
        ("AU6", "paper", [41], 1, 0),
        ("AU6", "fgnet", [36, 37, 38, 39, 40, 41], 1, 0),
        ("AU7", "paper", [38], 0, 0),
        ("AU9", "paper", [32], -1 / 2, 0),
        ("AU9", "fgnet", [39], 0, 0),
        ("AU10", "paper", [61], 0, 0),
        ("AU10", "fgnet", [50], 0, 0),
        ("AU12", "paper", [48], 0, 0),
        ("AU14", "fgnet", [48], 0, 0),
        ("AU15", "paper", [48], 0, 0),
        ("AU17", "paper", [58], 1 / 2, 0),
        ("AU26", "paper", [58], 1 / 2, 0),
        ("AU26", "fgnet", [58], 0, 0),
        ("AU5", "paper", [37, 38], 0, 0),
        ("AU11", "paper", [31, 48], 0, 0),
        ("AU20", "paper", [48], 0, 1 / 4),
        ("AU27", "paper", [58], 3 / 4, 0),
        ("AU43", "paper", [36, 37, 38, 39, 40, 41], 0, 0),
    ],
)
def test_rules_of_the_method(
    face: Float64Array, au: str, rule: str, left: list[int], down: float, outward: float
) -> None:
    expected = face[left].mean(axis=0) + np.array([-outward * S, down * S])
    centres = roi_centres(face, [au], rule)
    np.testing.assert_allclose(centres[0, 0], expected, atol=1e-9)
    np.testing.assert_allclose(centres[0, 1], [256 - expected[0], expected[1]], atol=1e-9)  # the axis is x = 128


@pytest.mark.parametrize("au", ["AU18", "AU23", "AU24", "AU25", "AU28"])
@pytest.mark.parametrize("rule", RULES)
def test_lip_middles_are_upper_and_lower(face: Float64Array, au: str, rule: str) -> None:
    np.testing.assert_allclose(roi_centres(face, [au], rule)[0], face[[51, 57]])


@pytest.mark.parametrize("rule", RULES)
@given(angle=st.floats(-np.pi, np.pi), zoom=st.floats(0.05, 20), x=st.floats(-500, 500), y=st.floats(-500, 500))
def test_centres_turn_with_the_face(
    face: Float64Array, rule: str, angle: float, zoom: float, x: float, y: float
) -> None:
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    move = np.array([[cos, -sin, x], [sin, cos, y]])
    centres = roi_centres(face, list(CATALOGUE), rule)
    moved = roi_centres(apply_affine(move, face), list(CATALOGUE), rule)
    np.testing.assert_allclose(moved, apply_affine(move, centres), atol=1e-5 * max(1, zoom))


@pytest.mark.parametrize("rule", RULES)
@given(seed=st.integers(0, 2**32 - 1), angle=st.floats(-1, 1))
def test_centres_flip_with_the_face(face: Float64Array, rule: str, seed: int, angle: float) -> None:
    turn = np.array([[np.cos(angle), -np.sin(angle), 9], [np.sin(angle), np.cos(angle), -4]])
    uneven = apply_affine(turn, face + np.random.default_rng(seed).normal(scale=2, size=face.shape))
    codes = list(CATALOGUE)
    mirrored = roi_centres(flip(uneven, width=256), codes, rule)
    plain = roi_centres(uneven, codes, rule) * [-1, 1] + [255, 0]
    # Left and right change places, upper and lower (the lip middles) don't; channels never do.
    upright = [CATALOGUE[code].rules[rule].first == (51,) for code in codes]
    plain = np.where(np.array(upright)[:, None, None], plain, plain[:, ::-1])
    np.testing.assert_allclose(mirrored, plain, atol=1e-6)


def test_49_points_are_enough(face: Float64Array) -> None:
    codes = list(CATALOGUE)
    poor = convert(convert(face, "ibug68", "ibug49"), "ibug49")
    np.testing.assert_allclose(roi_centres(poor, codes), roi_centres(face, codes))


def test_a_missing_landmark_costs_its_own_centres_only(face: Float64Array) -> None:
    points = face.copy()
    points[54] = np.nan
    centres = roi_centres(points, AU_SETS["faces15"])
    lost = {code for code, lost in zip(AU_SETS["faces15"], np.isnan(centres).any((1, 2)), strict=True) if lost}
    assert lost == {"AU12", "AU14", "AU15"}
    assert not np.isnan(centres[:, 0]).any()
    points = face.copy()
    points[39] = np.nan  # no frame: centres without an offset survive
    lost = np.isnan(roi_centres(points, ["AU1", "AU4", "AU12", "AU17"])).any((1, 2))
    assert lost.tolist() == [False, True, False, True]


def test_batches_and_the_empty_one(face: Float64Array) -> None:
    batch = roi_centres(np.stack([[face, face + 5]] * 3), "disfa")
    assert batch.shape == (3, 2, 8, 2, 2)
    np.testing.assert_allclose(batch[2, 1], roi_centres(face, "disfa") + 5)
    assert roi_centres(np.zeros((0, 68, 2)), "bp4d").shape == (0, 12, 2, 2)


def test_centres_refuse(face: Float64Array) -> None:
    with pytest.raises(ValueError, match="unknown ROI rule 'jaa'"):
        roi_centres(face, "disfa", "jaa")
    with pytest.raises(ValueError, match="68, 2"):
        roi_centres(face[:49], "disfa")


@pytest.mark.parametrize(
    ("value", "pixel"), [(0.49, 0), (0.5, 1), (-0.5, 0), (-0.51, -1), (63.5, 64), (1e300, 1_000_000)]
)
def test_rounding(value: float, pixel: int) -> None:
    whole, known = whole_pixels([value, 3.0])
    assert whole.tolist() == [pixel, 3]
    assert known


def pair(x1: float, y1: float, x2: float, y2: float) -> Float64Array:
    return np.array([[[x1, y1], [x2, y2]]], dtype=float)


@pytest.mark.parametrize(
    ("centre", "area"),
    [((32, 32), 49), ((0, 0), 16), ((63, 0), 16), ((-3, 30), 7), ((-4, 30), 0), ((66.4, 67), 0), ((np.nan, 30), 0)],
)
def test_windows_are_clipped(centre: tuple[float, float], area: int) -> None:
    mask = windows(pair(*centre, 32, 32), 64)
    assert mask.shape == (1, 2, 64, 64)
    assert mask[0, 0].sum() == area
    assert mask[0, 1].sum() == 49
    assert (gaussians(pair(*centre, 32, 32), 64)[0, 0] > 0).sum() == area


def test_gaussian_is_the_papers() -> None:
    bump = gaussians(pair(20, 30, 50, 31), 64, sigma=1.5)[0, 0]
    assert bump.dtype == np.float32
    ys, xs = np.indices((64, 64))
    expected = np.exp(-((xs - 20) ** 2 + (ys - 30) ** 2) / (2 * 1.5**2))
    expected[(abs(xs - 20) > 3) | (abs(ys - 30) > 3)] = 0
    np.testing.assert_allclose(bump, expected, rtol=1e-5)


def test_subpixel_bumps_keep_the_fraction() -> None:
    whole = gaussians(pair(20.25, 30, 50, 31), 64)[0, 0]
    exact = gaussians(pair(20.25, 30, 50, 31), 64, subpixel=True)[0, 0]
    assert whole[30, 20] == 1
    assert exact[30, 20] == pytest.approx(np.exp(-(0.25**2) / 2))
    assert exact[30, 21] == pytest.approx(np.exp(-(0.75**2) / 2))
    assert ((whole > 0) == (exact > 0)).all()


@pytest.mark.parametrize(("sigma", "loss"), [(1.0, 0.00153), (1.5, 0.0034), (2.0, 0.0060)])
def test_loss_of_an_empty_prediction(sigma: float, loss: float) -> None:
    # METHOD 2.1: two separate bumps, mean over 64 x 64 pixels; it fixes sigma at 1.
    maps, _ = target_maps(pair(20, 30, 50, 30), [1], 64, sigma=sigma)
    assert np.square(maps.astype(float)).mean() == pytest.approx(loss, rel=0.02)


def test_targets_carry_the_sign() -> None:
    centres = np.concatenate([pair(20, 30, 40, 30)] * 3)
    maps, weights = target_maps(centres, [1, 0, np.nan], 64)
    bump = gaussians(centres[0], 64).max(axis=0)
    np.testing.assert_array_equal(maps[0], bump)
    np.testing.assert_array_equal(maps[1], -bump)
    assert not maps[2].any()
    assert weights.tolist() == [1, 1, 0]
    assert (maps.dtype, weights.dtype) == (np.float32, np.float32)
    positives, weights = target_maps(centres, [1, 0, np.nan], 64, positives_only=True)
    np.testing.assert_array_equal(positives[0], bump)
    assert not positives[1:].any()
    assert weights.tolist() == [1, 1, 0]


def test_overlapping_bumps_take_the_larger() -> None:
    centres = pair(30, 30, 32, 30)
    maps, _ = target_maps(centres, [1], 64)
    assert maps.max() == 1
    assert maps[0, 30, 31] == pytest.approx(np.exp(-0.5))


def test_an_au_outside_the_map_has_no_weight() -> None:
    centres = np.concatenate([pair(-20, 30, 99, 30), pair(-20, 30, 60, 30), pair(np.nan, 0, 0, np.nan)])
    maps, weights = target_maps(centres, [0, 0, 1], 64)
    assert weights.tolist() == [0, 1, 0]
    assert maps[1].min() == -1
    assert not maps[[0, 2]].any()


def test_targets_of_a_batch(face: Float64Array) -> None:
    centres = crop_to_map(roi_centres(np.stack([face, face + 9]), "faces15"))
    labels = np.tile([0.0, 1.0, np.nan], (2, 5))
    maps, weights = target_maps(centres, labels, 64)
    assert maps.shape == (2, 15, 64, 64)
    np.testing.assert_array_equal(maps[1], target_maps(centres[1], labels[1], 64)[0])
    np.testing.assert_array_equal(weights, np.tile([1, 1, 0], (2, 5)))
    assert target_maps(np.zeros((0, 15, 2, 2)), np.zeros((0, 15)), 32)[0].shape == (0, 15, 32, 32)


@pytest.mark.parametrize(
    ("labels", "message"), [([9], "labels must be 0"), ([0.5], "labels must be 0"), ([1, 1], "do not fit")]
)
def test_targets_refuse(labels: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        target_maps(pair(1, 2, 3, 4), labels, 64)
