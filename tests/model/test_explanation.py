from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.explanation import (
    Explanation,
    ExplanationError,
    common_scale,
    default_au,
    explanation_bytes,
    read_explanation,
    telling_channels,
)
from model.graph import dense_graph_convolution

CODES = ("AU1", "AU4", "AU12")


@pytest.fixture
def explanation() -> Explanation:
    """Random maps of 6 x 6 with empty places in the eigenvector maps, as ReLU leaves them."""
    rng = np.random.default_rng(0)

    def maps(count: int) -> np.ndarray:
        return np.maximum(rng.normal(0, 1, (count, 6, 6)), 0).astype(np.float32)

    return Explanation(
        au_codes=CODES,
        x0=maps(8),
        x1=maps(8),
        phi=maps(3),
        eigenvalues=np.array([0.9, 0.2, 1e-6], np.float32),
        roi_maps=rng.uniform(-1, 1, (3, 6, 6)).astype(np.float32),
        weight_before=rng.normal(0, 1, (3, 8)).astype(np.float32),
        weight_after=rng.normal(0, 1, (3, 8)).astype(np.float32),
        epsilon=1e-6,
    )


@pytest.mark.parametrize(("x", "y"), [(0, 0), (3, 2), (5, 5)])
def test_a_similarity_row_is_what_the_graph_convolution_subtracts(explanation: Explanation, x: int, y: int) -> None:
    one_place = torch.zeros(1, 1, 36, dtype=torch.float64)
    one_place[0, 0, 6 * y + x] = 1
    phi = torch.from_numpy(explanation.phi.astype(np.float64)).reshape(1, 3, 36)
    eigenvalues = torch.from_numpy(explanation.eigenvalues.astype(np.float64))[None]
    kept = dense_graph_convolution(one_place, phi, eigenvalues, explanation.epsilon)
    subtracted = (one_place - kept).reshape(6, 6).numpy()
    assert np.allclose(explanation.similarity_row(x, y), subtracted, atol=1e-6)


@pytest.mark.parametrize(("x", "y"), [(-1, 0), (0, 6)])
def test_a_place_outside_is_refused(explanation: Explanation, x: int, y: int) -> None:
    with pytest.raises(ValueError, match="outside of maps of 6 x 6"):
        explanation.similarity_row(x, y)


def test_shares_count_a_small_eigenvalue_where_it_is_alone(explanation: Explanation) -> None:
    apart = np.zeros((2, 6, 6), np.float32)
    apart[0, :3], apart[1, 3:] = 1, 1
    alone = replace(explanation, phi=apart, eigenvalues=np.array([1.0, 1e-3], np.float32))
    assert alone.shares() == pytest.approx([0.5, 0.5], abs=0.01)
    together = replace(alone, phi=np.ones((2, 6, 6), np.float32))
    assert together.shares() == pytest.approx([1 / 1.001, 0.001 / 1.001], rel=1e-3)
    assert (replace(alone, phi=np.zeros((2, 6, 6), np.float32)).shares() == 0).all()


def test_eigenvectors_are_named_by_their_aus_or_numbered(explanation: Explanation) -> None:
    assert explanation.eigenvector_names == CODES
    assert replace(explanation, phi=explanation.phi[:2]).eigenvector_names == ("No. 1", "No. 2")


def test_the_most_telling_channels_have_weight_and_structure() -> None:
    rng = np.random.default_rng(1)
    features = np.stack([scale * rng.random((4, 4)) for scale in (1, 0, 3, 1)]).astype(np.float32)
    features[1] = 100  # constant: shapes nothing
    weights = np.array([[1, 1, 1, -9], [0, 5, 0.1, 0]], np.float32)
    assert telling_channels(features, weights, 0, 3).tolist() == [3, 2, 0]
    assert telling_channels(features, weights, 1, 1).tolist() == [2]
    assert telling_channels(features, weights, None, 9).tolist() == [3, 2, 0, 1]


def test_before_and_after_share_a_scale() -> None:
    small, large = np.full((2, 8, 8), 0.5, np.float32), np.full((2, 8, 8), 4.0, np.float32)
    assert common_scale(small, large) == common_scale(large, small) == pytest.approx(4)
    assert common_scale(np.zeros((1, 2, 2), np.float32)) > 0


@pytest.mark.parametrize(("half", "tolerance"), [(False, 0.0), (True, 2e-3)])
def test_a_file_gives_back_what_was_written(explanation: Explanation, half: bool, tolerance: float) -> None:
    again = read_explanation(explanation_bytes(explanation, half=half))
    assert again.au_codes == CODES
    assert again.epsilon == explanation.epsilon
    for name in ("x0", "x1"):
        assert getattr(again, name).dtype == np.float32
        assert np.allclose(getattr(again, name), getattr(explanation, name), rtol=tolerance, atol=0)
    for name in ("phi", "eigenvalues", "roi_maps", "weight_before", "weight_after"):
        assert np.array_equal(getattr(again, name), getattr(explanation, name))


def test_half_precision_does_not_overflow(explanation: Explanation) -> None:
    again = read_explanation(explanation_bytes(replace(explanation, x0=explanation.x0 * 1e6), half=True))
    assert np.isfinite(again.x0).all()


def test_foreign_files_are_refused(explanation: Explanation) -> None:
    whole = explanation_bytes(explanation)
    foreign = io.BytesIO()
    np.savez(foreign, x0=np.zeros(3))
    for data in (b"", b"not a file", whole[: len(whole) // 2], foreign.getvalue()):
        with pytest.raises(ExplanationError, match="ask for it again"):
            read_explanation(data)


@pytest.mark.parametrize(
    ("probability", "active", "au"),
    [
        ([0.9, 0.3, 0.5], [False, False, True], "AU12"),
        ([0.2, 0.6, 0.5], [False, False, False], "AU4"),
        ([np.nan, np.nan, 0.0], [False, False, False], "AU12"),
        ([np.nan, np.nan, np.nan], [False, False, False], "AU1"),
    ],
)
def test_the_au_to_explain_where_none_is_named(probability: list[float], active: list[bool], au: str) -> None:
    assert default_au(CODES, probability, active) == au
