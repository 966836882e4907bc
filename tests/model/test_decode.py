from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from model.decode import DECODERS, LANDMARK_FREE, decode, find_peaks, probability, raw_probability
from model.geometry import crop_to_map
from model.roi import gaussians, roi_centres, target_maps, windows
from model.values import Float32Array, Float64Array

APART = np.array([[[12.0, 20.0], [40.0, 22.0]]])  # one AU, two ROIs that don't overlap
SIGNED = ("mask", "peak", "mean", "max")


def ideal(centres: Float64Array, labels: list[float], decoder: str, sigma: float = 1.0) -> Float32Array:
    maps, _ = target_maps(centres, labels, 64, sigma=sigma, positives_only=decoder == "positives")
    return maps


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("sigma", [1.0, 1.5])
def test_ideal_maps_score_one(decoder: str, label: int, sigma: float) -> None:
    found = decode(ideal(APART, [label], decoder, sigma), APART, decoder=decoder, sigma=sigma)
    sign = 2 * label - 1
    assert found.decision.tolist() == [label == 1]
    assert found.valid.tolist() == [True]
    np.testing.assert_allclose(found.score, [sign], atol=1e-5)
    np.testing.assert_allclose(found.amplitude, [[sign, sign]], atol=1e-5)
    if not (decoder == "positives" and label == 0):
        np.testing.assert_allclose(found.centres_map, APART)


@pytest.mark.parametrize("decoder", LANDMARK_FREE)
def test_landmark_free_decoders_find_the_rois(decoder: str) -> None:
    found = decode(ideal(APART, [0], decoder), None, decoder=decoder)
    np.testing.assert_allclose(found.centres_map, APART)
    np.testing.assert_allclose(found.amplitude, [[-1, -1]], atol=1e-5)


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_keeps_shapes_and_types(face: Float64Array, decoder: str) -> None:
    centres = crop_to_map(roi_centres(np.stack([face, face + 3]), "faces15"))
    maps = np.random.default_rng(0).normal(size=(2, 15, 64, 64))
    found = decode(maps, centres, decoder=decoder)
    assert (found.score.shape, found.score.dtype) == ((2, 15), np.float32)
    assert (found.decision.shape, found.decision.dtype) == ((2, 15), np.bool_)
    assert (found.valid.shape, found.valid.dtype) == ((2, 15), np.bool_)
    assert (found.amplitude.shape, found.amplitude.dtype) == ((2, 15, 2), np.float32)
    assert (found.centres_map.shape, found.centres_map.dtype) == ((2, 15, 2, 2), np.float32)
    assert found.valid.all()
    one = decode(maps[1], centres[1], decoder=decoder)
    np.testing.assert_array_equal(one.score, found.score[1])
    np.testing.assert_array_equal(one.decision, found.decision[1])
    empty = decode(maps[:0], centres[:0], decoder=decoder)
    assert empty.amplitude.shape == (0, 15, 2)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_whole_faces_targets_decode_to_their_labels(face: Float64Array, decoder: str, label: float) -> None:
    codes = ("AU1", "AU2", "AU4", "AU6", "AU7", "AU12", "AU17")
    centres = crop_to_map(roi_centres(face, codes))
    labels = [label, 1 - label] * 3 + [label]
    found = decode(ideal(centres, labels, decoder), centres, decoder=decoder)
    assert found.decision.tolist() == [value == 1 for value in labels]
    # The chin's windows are clipped by the lower border, which costs the whole map's mean a third.
    np.testing.assert_allclose(found.score, 2 * np.array(labels) - 1, atol=0.35 if decoder == "mean" else 0.1)


@given(
    x1=st.floats(-2, 65),
    y1=st.floats(-2, 65),
    x2=st.floats(-2, 65),
    y2=st.floats(-2, 65),
    level=st.floats(-1, 1).filter(lambda level: abs(level) > 1e-3),
)
def test_amplitude_is_the_level_wherever_the_rois_lie(x1: float, y1: float, x2: float, y2: float, level: float) -> None:
    centres = np.array([[[x1, y1], [x2, y2]]])
    bumps = gaussians(centres, 64)
    for roi in (0, 1):  # one bump alone: the other ROI may see a part of it
        found = decode(level * bumps[:, roi], centres)
        assert found.amplitude[0, roi] == pytest.approx(level, abs=1e-4)
    assert decode(level * bumps.max(axis=1), centres).decision[0] == (level > 0)


def test_the_paper_decides_by_the_windows_mean_and_scores_by_amplitude() -> None:
    maps = np.full((1, 64, 64), 0.01, np.float32)
    maps[0, 20, 12] = maps[0, 22, 40] = -0.2  # bump negative, window mean positive
    found = decode(maps, APART)
    masks = windows(APART, 64)[0]
    assert maps[0][masks[0]].mean() > 0
    assert found.decision.tolist() == [True]
    assert found.score[0] < 0


def test_either_roi_is_enough_unless_averaged() -> None:
    left, right = gaussians(APART, 64)[0]
    maps = (0.4 * left - 0.9 * right)[None]
    either, average = decode(maps, APART), decode(maps, APART, combine="mean")
    assert either.decision.tolist() == [True]
    assert average.decision.tolist() == [False]
    np.testing.assert_allclose(either.amplitude, [[0.4, -0.9]], atol=1e-6)
    assert either.score[0] == pytest.approx(0.4)
    assert average.score[0] == pytest.approx(-0.25)


def test_a_tie_is_absent() -> None:
    for decoder in DECODERS:
        found = decode(np.zeros((1, 64, 64)), APART, decoder=decoder)
        assert found.decision.tolist() == [False]
        assert found.valid.tolist() == [True]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_broken_maps_are_invalid(decoder: str, value: float) -> None:
    found = decode(np.full((1, 64, 64), value), APART, decoder=decoder)
    assert found.decision.tolist() == [False]
    assert found.valid.tolist() == [False]
    assert np.isnan(found.score).all()


@pytest.mark.parametrize("decoder", ["mask", "positives"])
def test_windows_outside_are_invalid(decoder: str) -> None:
    maps = np.ones((3, 64, 64))
    centres = np.array([[[-4, 5], [5, 67]], [[-4, 5], [67, 60]], [[np.nan, 5], [5, 5]]])
    found = decode(maps, centres, decoder=decoder)
    assert found.valid.tolist() == [False, False, True]
    assert found.decision.tolist() == [False, False, True]
    assert np.isnan(found.score).tolist() == [True, True, False]
    assert np.isnan(found.amplitude[2]).tolist() == [True, False]


def test_clipped_windows_use_the_pixels_inside() -> None:
    centres = np.array([[[-3.0, 30.0], [-30.0, 30.0]]])  # one column of the first window is inside
    maps = np.full((1, 64, 64), -1.0)
    maps[0, 27:34, 0] = 0.5
    found = decode(maps, centres)
    assert found.decision.tolist() == [True]
    gauss = np.exp(-((np.arange(-3, 4)) ** 2) / 2) * np.exp(-9 / 2)  # at x = 0, three pixels from the centre
    assert found.score[0] == pytest.approx(0.5 * gauss.sum() / (gauss**2).sum(), rel=1e-5)


def test_an_ideal_window_has_a_mean_of_an_eighth() -> None:
    # METHOD 2.5: so the positives-only threshold of 0.5 can't be one on the mean.
    bump = gaussians(APART, 64)[0, 0]
    assert bump[windows(APART, 64)[0, 0]].mean() == pytest.approx(0.128, abs=5e-4)
    assert decode(0.51 * bump[None], APART, decoder="positives").decision.tolist() == [True]
    below = decode(0.49 * bump[None], APART, decoder="positives")
    assert below.decision.tolist() == [False]
    np.testing.assert_allclose(below.amplitude, [[2 * 0.49 - 1, -1]], atol=1e-5)


def test_subpixel_amplitude() -> None:
    centres = np.array([[[12.3, 20.4], [40.0, 22.0]]])
    maps = gaussians(centres, 64, subpixel=True)[:, 0]
    assert decode(maps, centres, subpixel=True).amplitude[0, 0] == pytest.approx(1, abs=1e-5)
    assert decode(maps, centres).amplitude[0, 0] < 0.96


def test_peaks_of_merged_rois_stand_twice() -> None:
    centres = np.array([[[30.0, 30.0], [31.0, 30.0]]])
    maps = ideal(centres, [0], "peak")
    peaks = find_peaks(maps)
    np.testing.assert_array_equal(peaks[0, 0], peaks[0, 1])
    found = decode(maps, None, decoder="peak")
    assert found.decision.tolist() == [False]
    assert found.score[0] < -0.9


def test_peaks_survive_noise_and_name_the_left_one_first() -> None:
    rng = np.random.default_rng(3)
    centres = rng.uniform(5, 58, (40, 2, 2))
    centres = centres[np.abs(centres[:, 0] - centres[:, 1]).max(axis=1) > 8]
    centres = np.take_along_axis(centres, np.argsort(centres[:, :, :1], axis=1), axis=1)
    maps = ideal(centres, [0.0] * len(centres), "peak") * 0.8 + rng.normal(scale=0.05, size=(len(centres), 64, 64))
    assert len(centres) > 20
    assert np.abs(find_peaks(maps) - centres).max() < 2
    assert not decode(maps, None, decoder="peak").decision.any()


@given(arrays.arrays(np.float32, (2, 9, 11), elements=st.floats(-2, 2, width=32)))
def test_peaks_lie_on_the_map(maps: Float32Array) -> None:
    peaks = find_peaks(maps)
    assert peaks.shape == (2, 2, 2)
    assert ((peaks >= 0) & (peaks <= [10, 8])).all()
    assert (peaks[:, 0, 0] <= peaks[:, 1, 0]).all()


@pytest.mark.parametrize(
    ("maps", "centres", "options", "message"),
    [
        (np.zeros((1, 8, 8)), None, {}, "needs ROI centres; without landmarks use peak"),
        (np.zeros((1, 8, 8)), None, {"decoder": "positives"}, "needs ROI centres"),
        (np.zeros((1, 8, 8)), APART, {"decoder": "argmax"}, "unknown decoder 'argmax'"),
        (np.zeros((1, 8, 8)), APART, {"combine": "sum"}, "unknown combination 'sum'"),
        (np.zeros((2, 8, 8)), APART, {}, "don't fit maps"),
        (np.zeros((8, 8)), APART, {}, "expected ROI maps"),
        (np.zeros((1, 0, 8)), APART, {}, "expected ROI maps"),
    ],
)
def test_decode_refuses(
    maps: Float64Array, centres: Float64Array | None, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        decode(maps, centres, **options)


def test_probabilities() -> None:
    np.testing.assert_allclose(probability([0, 1, -1], 2.0, 0.5), 1 / (1 + np.exp([-0.5, -2.5, 1.5])), rtol=1e-6)
    per_au = probability(np.zeros((3, 2)), [1.0, 2.0], [0.0, -1.0])
    np.testing.assert_allclose(per_au, np.tile([0.5, 1 / (1 + np.e)], (3, 1)), rtol=1e-6)
    assert probability([1e6, -1e6], 1e6, 0).tolist() == [1, 0]
    assert np.isnan(probability([np.nan], 1, 0)).all()
    np.testing.assert_allclose(raw_probability([-3, -1, 0, 0.5, 2]), [0, 0, 0.5, 0.75, 1])
    assert np.isnan(raw_probability(np.nan))
