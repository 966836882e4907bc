from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.checkpoint import Manifest, Training
from model.explain_panel import EIGENVECTOR_RGB, ExplainedFace, checkpoint_note, explain_panel, over_face, sequential
from model.explanation import Explanation
from model.manifest import LandmarkOpinion
from model.network_config import NetworkConfig
from model.values import Crop, Float64Array
from tests.model.conftest import random_manifest

CODES = ("AU1", "AU4", "AU12", "AU25")


@pytest.fixture
def explained(face: Float64Array) -> ExplainedFace:
    rng = np.random.default_rng(0)
    size, channels = 16, 30
    explanation = Explanation(
        au_codes=CODES,
        x0=rng.random((channels, size, size)).astype(np.float32),
        x1=rng.random((channels, size, size)).astype(np.float32),
        phi=rng.random((4, size, size)).astype(np.float32),
        eigenvalues=np.array([1.0, 0.5, 1e-7, 0.02], np.float32),
        roi_maps=rng.uniform(-1, 1, (4, size, size)).astype(np.float32),
        weight_before=rng.normal(0, 1, (4, channels)).astype(np.float32),
        weight_after=rng.normal(0, 1, (4, channels)).astype(np.float32),
        epsilon=1e-6,
    )
    crop = Crop(rng.integers(0, 255, (64, 64, 3), np.uint8), np.eye(2, 3), (face / 4).astype(np.float32))
    chance = np.array([0.1, np.nan, 0.9, 0.5], np.float32)
    return ExplainedFace(crop, explanation, "paper", chance, np.array([False, False, True, False]), "a note")


def test_a_panel_for_every_au(explained: ExplainedFace) -> None:
    panels = [explain_panel(explained, code) for code in CODES]
    for panel in panels:
        assert panel.shape == panels[0].shape
        assert panel.shape[1:] == (1480, 3)
        assert panel.dtype == np.uint8
    assert not np.array_equal(panels[0], panels[2])


def test_an_unknown_au_is_refused_with_those_that_are_known(explained: ExplainedFace) -> None:
    with pytest.raises(ValueError, match="no AU9; it knows AU1, AU4, AU12, AU25"):
        explain_panel(explained, "AU9")


@pytest.mark.parametrize("count", [1, 2, 7])
def test_eigenvectors_that_belong_to_no_au(explained: ExplainedFace, count: int) -> None:
    phi = np.random.default_rng(1).random((count, 16, 16)).astype(np.float32)
    other = replace(explained.explanation, phi=phi, eigenvalues=np.full(count, 0.5, np.float32))
    assert explain_panel(replace(explained, explanation=other), "AU12").shape[1] == 1480


def test_empty_maps_and_missing_landmarks_are_drawn_all_the_same(explained: ExplainedFace) -> None:
    found = explained.explanation
    empty = replace(found, x0=found.x0 * 0, x1=found.x1 * 0, phi=found.phi * 0, roi_maps=found.roi_maps * 0)
    lost = replace(explained.crop, landmarks=np.full((68, 2), np.nan, np.float32))
    outside = replace(explained.crop, landmarks=explained.crop.landmarks + 500)
    for crop in (explained.crop, lost, outside):
        assert explain_panel(replace(explained, explanation=empty, crop=crop), "AU1").size
        assert explain_panel(replace(explained, crop=crop), "AU1").size


def test_rois_lie_where_the_landmarks_say(explained: ExplainedFace) -> None:
    corners = explained.crop.landmarks[[48, 54]]  # AU12 has its ROIs at the corners of the mouth
    assert np.allclose(explained.centres_map[2], (corners + 0.5) / 4 - 0.5, atol=1e-4)


def test_features_are_brighter_the_larger_they_are() -> None:
    ramp = sequential(np.linspace(0, 2, 50)[None], limit=1.0).astype(int).sum(axis=-1)[0]
    assert (np.diff(ramp[:25]) >= 0).all()
    assert ramp[24] > ramp[0]
    assert (ramp[25:] == ramp[-1]).all(), "values beyond the limit have the last colour"


def test_a_map_colours_the_face_only_where_it_has_values() -> None:
    pixels = np.full((32, 32, 3), 100, np.uint8)
    values = np.zeros((8, 8), np.float32)
    values[2, 2], values[6, 6] = 1, -1
    drawn = over_face(pixels, values, 64, ((0, 0, 255), EIGENVECTOR_RGB), 1.0).astype(int)
    assert drawn[20, 20, 0] > drawn[20, 20, 2] + 100, "above 0 the second colour"
    assert drawn[52, 52, 2] > drawn[52, 52, 0] + 100, "below 0 the first"
    assert np.ptp(drawn[2, 60]) == 0, "elsewhere the face stays grey"
    assert np.ptp(over_face(pixels, values * 0, 64, ((0, 0, 255), (255, 0, 0)), 1.0)[..., 0]) == 0


def test_the_note_tells_of_rendered_faces() -> None:
    manifest: Manifest = random_manifest(NetworkConfig(num_aus=4, input_size=64), CODES)
    assert "rendered" not in checkpoint_note(manifest)
    rendered = manifest.model_copy(update={"training": Training(data="renders", synthetic_only=True)})
    assert "rendered faces only" in checkpoint_note(rendered)
    assert "landmarks" not in checkpoint_note(rendered)
    both = manifest.model_copy(update={"landmark_opinion": LandmarkOpinion.model_construct()})
    assert "landmarks, which are not explained" in checkpoint_note(both)
