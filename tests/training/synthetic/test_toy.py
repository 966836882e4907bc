from __future__ import annotations

import numpy as np
import pytest

from model.landmarks import FLIP_68
from training.synthetic.pack import FacePack, Material
from training.synthetic.recipes import COUPLINGS, NUISANCES, RESTING_SHAPES, SHAPES_OF_AU
from training.synthetic.sampler import gaze

MOUTH_CORNERS, INNER_BROWS, OUTER_BROWS, LOWER_LIP, UPPER_LIDS = (
    [48, 54],
    [21, 22],
    [18, 25],
    [66, 57],
    [37, 38, 43, 44],
)


def _shape_names() -> set[str]:
    names = {shape for recipe in SHAPES_OF_AU.values() for shape in recipe}
    names |= {coupling.shape for coupling in COUPLINGS}
    return names | set(NUISANCES) | set(RESTING_SHAPES) | set(gaze(0.1, 0.1)) | set(gaze(-0.1, -0.1)) | {"eyeBlink"}


@pytest.mark.parametrize("shape", sorted(_shape_names()))
def test_the_toy_head_has_every_shape_that_the_recipes_use(toy: FacePack, shape: str) -> None:
    for row in toy.sides(shape):
        assert np.abs(toy.shapes[row]).max() > 0.05


def test_parts_fit_together(toy: FacePack) -> None:
    assert toy.triangles.max() < len(toy.vertices)
    assert toy.uv_triangles.max() < len(toy.uvs)
    assert len(toy.materials) == len(toy.triangles) == len(toy.uv_triangles)
    assert set(toy.materials) >= {Material.FACE, Material.BACK, Material.MOUTH, Material.TEETH, Material.SCLERA_LEFT}
    assert np.isfinite(toy.vertices).all()
    assert set(toy.held_out_skins).isdisjoint(toy.training_skins())


def test_landmarks_are_mirror_symmetric(toy: FacePack) -> None:
    points = toy.vertices[toy.landmarks]
    mirrored = points[FLIP_68] * [-1, 1, 1]
    np.testing.assert_allclose(points, mirrored, atol=1e-4)


@pytest.mark.parametrize(
    ("unit", "landmarks", "axis", "sign"),
    [
        (1, INNER_BROWS, 1, 1),
        (2, OUTER_BROWS, 1, 1),
        (4, INNER_BROWS, 1, -1),
        (5, UPPER_LIDS, 1, 1),
        (12, MOUTH_CORNERS, 1, 1),
        (15, MOUTH_CORNERS, 1, -1),
        (25, LOWER_LIP, 1, -1),
        (26, LOWER_LIP, 1, -1),
    ],
)
def test_units_move_the_landmarks_they_are_named_for(
    toy: FacePack, unit: int, landmarks: list[int], axis: int, sign: int
) -> None:
    move = sum(weight * toy.shapes[row] for shape, weight in SHAPES_OF_AU[unit].items() for row in toy.sides(shape))
    moved = np.asarray(move)[toy.landmarks[landmarks], axis]
    assert (moved * sign > 0.1).all(), moved
