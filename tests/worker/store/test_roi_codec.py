from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from worker.store import roi_codec


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=9),
        elements=st.floats(-100, 100, width=32),
    )
)
def test_error_is_at_most_half_a_level(maps: np.ndarray) -> None:
    decoded = roi_codec.decode(roi_codec.encode(maps))
    assert decoded.shape == maps.shape
    assert decoded.dtype == np.float32
    if maps.size:
        assert np.abs(decoded - maps).max() <= (np.ptp(maps) / 30) * 1.001 + 1e-4


@pytest.mark.parametrize("value", [0.0, -0.5, 1.0])
def test_constant_maps_are_exact(value: float) -> None:
    maps = np.full((2, 5, 5), value, np.float32)
    np.testing.assert_array_equal(roi_codec.decode(roi_codec.encode(maps)), maps)


def test_numbers_that_are_none_do_not_spoil_the_rest() -> None:
    maps = np.zeros((1, 2, 3), np.float32)
    maps[0] = [[np.nan, 0, 1], [np.inf, -np.inf, 0.5]]
    decoded = roi_codec.decode(roi_codec.encode(maps))
    np.testing.assert_allclose(decoded[0], [[0, 0, 1], [1, 0, 0.5]], atol=0.04)
    np.testing.assert_array_equal(roi_codec.decode(roi_codec.encode(np.full((1, 2, 2), np.nan, np.float32))), 0)


def test_smooth_maps_become_small() -> None:
    x = np.linspace(-3, 3, 64)
    bump = np.exp(-(x[:, None] ** 2 + x**2))
    rng = np.random.default_rng(0)
    maps = np.stack([bump * sign for sign in rng.uniform(-1, 1, 12)]).astype(np.float32)
    assert len(roi_codec.encode(maps)) < 5000


_GOOD = roi_codec.encode(np.random.default_rng(0).normal(size=(2, 8, 8)).astype(np.float32))


@pytest.mark.parametrize(
    "block", [b"", b"x" * 40, _GOOD[:14], _GOOD[:-5], _GOOD[:15] + b"\0" * 20, b"\1" + b"\xff" * 50]
)
def test_broken_blocks_are_refused(block: bytes) -> None:
    with pytest.raises(roi_codec.RoiCodecError):
        roi_codec.decode(block)


def test_unknown_codecs_and_shapes_are_refused() -> None:
    with pytest.raises(roi_codec.RoiCodecError, match="codec 9"):
        roi_codec.decode(_GOOD, 9)
    with pytest.raises(roi_codec.RoiCodecError, match=r"\(K, H, W\)"):
        roi_codec.encode(np.zeros((4, 4), np.float32))
