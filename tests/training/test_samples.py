from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from model.geometry import apply_affine
from model.landmarks import FLIP_68
from model.roi import roi_centres
from tests.training.conftest import face_landmarks
from training.config import AugmentSection, TrainConfig
from training.data.augment import EFFECTS, augment_photo, restyle
from training.data.hand import paint_hand
from training.data.samples import (
    RunOrder,
    TrainingSamples,
    balance_weights,
    collate,
    evaluation_crop,
    hidden_aus,
    jittered_affine,
    noisy_landmarks,
    normalise,
)
from training.data.shards import FaceShards, find_shards

STRONG = AugmentSection(rotation_degrees=25, zoom=(0.85, 1.2), shift=0.04, flip=0.5)
CORNERS = [36, 45, 30, 48, 54]


def marked_picture(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Black, with a differently coloured disc on each of five landmarks."""
    rgb = np.zeros((size, size, 3), np.uint8)
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]
    for index, colour in zip(CORNERS, colours, strict=True):
        cv2.circle(rgb, np.round(landmarks[index] * 16).astype(int), 3 * 16, colour, -1, cv2.LINE_AA, 4)
    return rgb


@pytest.mark.parametrize("seed", range(8))
def test_picture_and_landmarks_move_together(seed: int) -> None:
    size, crop_size = 192, 128
    landmarks = face_landmarks(size)
    affine, mirrored = jittered_affine(landmarks, crop_size, np.random.default_rng(seed), STRONG)
    crop = cv2.warpAffine(marked_picture(landmarks, size), affine, (crop_size, crop_size), flags=cv2.INTER_LINEAR)
    points = apply_affine(affine, landmarks)
    assert (np.linalg.det(affine[:, :2]) < 0) == mirrored
    for index in CORNERS:
        x, y = np.round(points[index]).astype(int)
        source = marked_picture(landmarks, size)[tuple(np.round(landmarks[index]).astype(int)[::-1])]
        assert np.abs(crop[y, x].astype(int) - source).max() < 40
    if mirrored:  # renumbered, the left eye is again on the left
        renamed = points[FLIP_68]
        assert renamed[36, 0] < renamed[45, 0]
    else:
        assert points[36, 0] < points[45, 0]


def test_without_jitter_the_affine_is_that_of_inference() -> None:
    from model.geometry import crop_affine

    landmarks = face_landmarks(96)
    still = AugmentSection(rotation_degrees=0, flip=0)
    affine, mirrored = jittered_affine(landmarks, 64, np.random.default_rng(0), still)
    assert not mirrored
    np.testing.assert_allclose(affine, crop_affine(landmarks, 64), atol=1e-9)


def test_landmark_noise_has_the_size_asked_for() -> None:
    landmarks = face_landmarks(96).astype(np.float64)
    still = noisy_landmarks(landmarks, np.random.default_rng(0), AugmentSection())
    np.testing.assert_allclose(still, landmarks)
    rng, scale = np.random.default_rng(0), np.linalg.norm(landmarks[39] - landmarks[42])
    config = AugmentSection(point_noise=0.02, brow_shift=0.1, centre_shift=0.03)
    moved = np.stack([noisy_landmarks(landmarks, rng, config) - landmarks for _ in range(300)]) / scale
    assert np.hypot(0.02, 0.03) == pytest.approx(moved[:, 48, 0].std(), rel=0.2)
    brows = moved[:, 17:27, 1].mean(1) - moved[:, 48:68, 1].mean(1)
    assert 0.03 < brows.std() < 0.09
    assert np.abs(brows).max() < 0.13


@pytest.mark.parametrize("effect", sorted({e for _, kinds in EFFECTS for e in kinds}, key=lambda e: e.__name__))
@pytest.mark.parametrize("size", [32, 128])
def test_effects_change_pictures_and_leave_their_input(effect, size: int) -> None:
    landmarks = face_landmarks(size)
    changed = 0
    for seed in range(6):
        before = np.random.default_rng(100).uniform(0.02, 0.18, (size, size, 3)).astype(np.float32)
        kept = before.copy()
        done = effect(before, landmarks, np.random.default_rng(seed))
        after, covered = done if isinstance(done, tuple) else (done, np.zeros((size, size), np.float32))
        assert covered.shape == (size, size)
        assert 0 <= covered.min() <= covered.max() <= 1
        np.testing.assert_array_equal(before, kept)
        assert after.shape == before.shape
        assert after.dtype == np.float32
        assert np.isfinite(after).all()
        changed += bool(np.abs(after - before).max() > 1e-3)
    assert changed >= 2


def test_photo_augmentation_is_a_function_of_the_seed_and_off_at_zero() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    landmarks = face_landmarks(64)
    assert augment_photo(rgb, landmarks, np.random.default_rng(1), 0.0)[0] is rgb
    one, two, other = (augment_photo(rgb, landmarks, np.random.default_rng(s))[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
    assert one.dtype == np.uint8


@pytest.mark.parametrize("shift", [-1000.0, 1e4])
def test_effects_survive_landmarks_outside_the_picture(shift: float) -> None:
    rgb = np.full((32, 32, 3), 120, np.uint8)
    for seed in range(20):
        out, _ = augment_photo(rgb, face_landmarks(32) + shift, np.random.default_rng(seed))
        assert out.shape == rgb.shape


def test_what_stands_before_both_regions_hides_the_label() -> None:
    centres = np.array([[[10, 10], [50, 10]], [[10, 50], [50, 50]], [[-9, 50], [50, 50]]])
    covered = np.zeros((64, 64), np.float32)
    assert not hidden_aus(covered, centres).any()
    covered[40:, 30:] = 1
    assert not hidden_aus(covered, centres).any()
    covered[40:] = 1
    assert hidden_aus(covered, centres).tolist() == [False, True, False]
    assert hidden_aus(covered, centres[:0]).shape == (0,)


def test_a_hand_hides_the_mouth_it_lies_on_and_nothing_far_from_it() -> None:
    landmarks = face_landmarks(128)
    centres = roi_centres(landmarks, ("AU2", "AU25"))
    hidden = []
    for seed in range(60):
        picture = np.full((128, 128, 3), 0.5, np.float32)
        painted, covered = paint_hand(picture, landmarks, np.random.default_rng(seed))
        hidden.append(hidden_aus(covered, centres))
        assert np.abs(painted - picture)[covered == 1].mean() > 0.01
    assert np.mean(hidden, axis=0)[1] > np.mean(hidden, axis=0)[0]
    assert 0.05 < np.mean(hidden, axis=0)[1] < 0.8


@pytest.mark.parametrize(
    ("balance", "wanted"),
    [
        ("none", [[1, 1], [1, 1]]),
        ("sign", [[0.5 / 0.75, 0.5 / 0.5], [0.5 / 0.25, 0.5 / 0.5]]),
        ("au", [[4 / 3, 2 / 3], [4 / 3, 2 / 3]]),
    ],
)
def test_balance_weights(balance: str, wanted: list[list[float]]) -> None:
    labels = np.array([[1, 1], [0, 0], [0, 1], [0, 0], [1, 1]], np.float32)
    weights = np.array([[1, 1], [1, 1], [1, 1], [1, 1], [0, 0]], np.float32)
    np.testing.assert_allclose(balance_weights(labels, weights, balance), wanted, rtol=1e-6)


def test_an_au_that_never_occurs_takes_no_weight_from_the_others() -> None:
    """Table 4: with its clipped rate of one in a thousand it would have nearly all of the loss."""
    labels = np.zeros((200, 3), np.float32)
    labels[:40, 0], labels[:10, 1] = 1, 1
    table = balance_weights(labels, np.ones_like(labels), "au")
    np.testing.assert_allclose(table[0], [2 / 5, 8 / 5, 1], rtol=1e-5)
    np.testing.assert_allclose(balance_weights(labels * 0, np.ones_like(labels), "au"), 1)


def test_a_sample_that_shrinks_is_averaged_as_inference_does(tmp_path: Path, tiny_config: TrainConfig) -> None:
    """From large pictures a small network would else be trained on crops far sharper than those it is asked about."""
    photo = np.asarray(data.astronaut(), np.uint8)
    landmarks = face_landmarks(photo.shape[0]).astype(np.float32)
    codes = tiny_config.network.au_codes
    arrays = {
        "images": photo[None],
        "landmarks": landmarks[None],
        "labels": np.zeros((1, len(codes)), np.int8),
        "au_codes": np.array(codes),
        "identities": np.zeros(1, np.int64),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    still = tiny_config.model_copy(update={"augment": AugmentSection(rotation_degrees=0, flip=0)})
    size = still.network.input_size
    wanted = normalise(evaluation_crop(photo, landmarks, size)[0])
    samples = TrainingSamples(FaceShards([tmp_path / "a.npz"], codes), still)
    inside = np.s_[:, size // 8 : -size // 8, size // 8 : -size // 8]
    for position in range(12):  # both borders
        picture = samples[position, 0][0].numpy()
        np.testing.assert_allclose(picture[inside], wanted[inside], atol=0.03)


def test_balance_is_bounded_where_an_au_never_occurs() -> None:
    table = balance_weights(np.zeros((50, 2), np.float32), np.ones((50, 2), np.float32), "sign")
    assert np.isfinite(table).all()
    assert table.max() <= 10


def test_run_order_is_the_same_from_any_step_and_covers_every_epoch() -> None:
    whole = list(RunOrder(10, 4, 0, 10, seed=3))
    assert list(RunOrder(10, 4, 6, 10, seed=3)) == whole[6:]
    positions, faces = zip(*(address for batch in whole for address in batch), strict=True)
    assert positions == tuple(range(40))
    for epoch in range(4):
        assert sorted(faces[epoch * 10 : epoch * 10 + 10]) == list(range(10))
    assert faces[:10] != faces[10:20]
    halves = [list(RunOrder(10, 4, 0, 10, 3, rank, 2)) for rank in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*halves, strict=True)] == whole
    assert len(RunOrder(10, 4, 6, 10, seed=3)) == 4


def test_samples_depend_on_their_number_alone(toy_data, tiny_config: TrainConfig) -> None:
    codes = tiny_config.network.au_codes
    samples = TrainingSamples(FaceShards(find_shards(toy_data, "train"), codes), tiny_config)
    once, again, other = samples[5, 2], samples[5, 2], samples[6, 2]
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not torch.equal(once[0], other[0])
    batch = collate([once, other])
    assert batch.pictures.shape == (2, 3, 32, 32)
    assert batch.pictures.is_contiguous(memory_format=torch.channels_last)
    assert batch.targets.shape == (2, 3, 8, 8)
    signs = batch.targets.flatten(2).sum(2).sign()
    torch.testing.assert_close(signs, batch.labels * 2 - 1)


def test_unknown_labels_weigh_nothing(toy_data, tiny_config: TrainConfig) -> None:
    faces = FaceShards(find_shards(toy_data, "train"), tiny_config.network.au_codes)
    faces.weights[4, 1] = 0
    weights = TrainingSamples(faces, tiny_config)[0, 4][3]
    assert weights[1] == 0
    assert (weights[[0, 2]] > 0).all()


def test_restyling_keeps_light_contrast_and_shapes_and_changes_colours_and_textures() -> None:
    rgb = np.asarray(data.astronaut()[:256, 96:352], np.float32) / 255
    picture = cv2.resize(rgb, (128, 128), interpolation=cv2.INTER_AREA)
    landmarks, alike, spread = face_landmarks(128), [], []
    for seed in range(40):
        styled = restyle(picture, landmarks, np.random.default_rng(seed))
        assert styled.mean() == pytest.approx(picture.mean(), abs=1e-3)
        assert 0.3 < styled.std() / picture.std() < 1.01  # opposites of the mixture may cancel
        edges = [np.hypot(*np.gradient(cv2.GaussianBlur(p.mean(-1), (0, 0), 2))) for p in (picture, styled)]
        alike.append(np.corrcoef(edges[0].ravel(), edges[1].ravel())[0, 1])
        spread.append(float(np.abs(styled - picture).mean()))
    assert np.median(alike) > 0.7
    assert np.median(spread) > 0.05
