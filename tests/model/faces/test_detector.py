from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from model.faces.detector import OVERLAP, TILE, Detections, box_iou, decode, plan_levels, suppress
from model.faces.nets import split_batch


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (3, [2, 1]), (8, [8]), (11, [8, 2, 1]), (17, [8, 8, 1])]
)
def test_batches_hold_every_picture_and_no_more(count: int, sizes: list[int]) -> None:
    assert split_batch(count) == sizes


@pytest.mark.parametrize(
    ("width", "height", "min_size", "tiles"),
    [
        (512, 512, 40, [1, 1]),  # the whole is enough
        (1, 1, 40, [1, 1]),
        (1280, 720, 40, [1, 1, 6]),
        (1920, 1080, 40, [1, 1, 8]),
        (4000, 3000, 75, [1, 1, 6, 15]),
        (1920, 1080, None, [1, 1]),
        (10_000, 50, 40, [1, 1, 3, 8, 21]),
        (100, 100, 1, [1, 1]),  # never enlarged beyond the tile
    ],
)
def test_levels_get_finer_only_as_far_as_needed(
    width: int, height: int, min_size: float | None, tiles: list[int]
) -> None:
    assert [len(level.origins) for level in plan_levels(width, height, min_size)] == tiles


@pytest.mark.parametrize(("width", "height"), [(4000, 3000), (1921, 1083), (193, 5000), (1000, 999)])
def test_tiles_cover_their_level_and_overlap(width: int, height: int) -> None:
    for level in plan_levels(width, height, 40):
        for side, length in enumerate((level.width, level.height)):
            starts = sorted({origin[side] for origin in level.origins})
            assert starts[0] <= 0
            assert starts[-1] + TILE >= length
            assert all(b - a <= TILE - OVERLAP for a, b in pairwise(starts))


def test_decoding_an_ideal_answer() -> None:
    offsets, logits = np.zeros((2304, 16), np.float32), np.full(2304, -9.0, np.float32)
    cell = 30 * 48 + 10  # its centre: x = 42, y = 122 of 192
    offsets[cell, :4] = 2, -2, 40, 20
    offsets[cell, 4:6] = -7, 3
    logits[cell] = 2
    found = decode(offsets.ravel(), logits, 0.5)
    np.testing.assert_allclose(found.boxes, [[24, 110, 64, 130]])
    np.testing.assert_allclose(found.keypoints[0, 0], [35, 125])
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp(-2)))
    assert len(decode(offsets.ravel(), np.full(2304, -500.0, np.float32), 0.5)) == 0


def _found(boxes: list[list[float]], scores: list[float]) -> Detections:
    array = np.array(boxes, np.float64).reshape(-1, 4)
    return Detections(array, np.repeat(array[:, None, :2], 6, axis=1), np.array(scores, np.float64))


def test_suppression_averages_by_score_and_keeps_others() -> None:
    merged = suppress(_found([[0, 0, 10, 10], [50, 50, 60, 60], [1, 0, 11, 10]], [0.6, 0.9, 0.3]))
    np.testing.assert_allclose(merged.boxes, [[50, 50, 60, 60], [1 / 3, 0, 10 + 1 / 3, 10]])
    np.testing.assert_allclose(merged.scores, [0.9, 0.6])
    np.testing.assert_allclose(merged.keypoints[1, 3], [1 / 3, 0])


def test_suppression_of_nothing_and_of_empty_boxes() -> None:
    assert len(suppress(_found([], []))) == 0
    assert len(suppress(_found([[5, 5, 5, 5], [5, 5, 5, 5]], [0.5, 0.4]))) == 2


@pytest.mark.parametrize(
    ("box", "iou"), [([0, 0, 2, 2], 1.0), ([1, 0, 3, 2], 1 / 3), ([2, 0, 4, 2], 0.0), ([5, 5, 5, 5], 0.0)]
)
def test_iou(box: list[float], iou: float) -> None:
    assert box_iou(np.array([0.0, 0, 2, 2]), np.array(box, np.float64)) == pytest.approx(iou)
