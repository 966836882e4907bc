from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from model.action_units import AU_SETS
from model.draw import au_bars, full_colour_value, overlay, roi_grid, roi_overlay
from model.geometry import apply_affine, crop_affine, crop_to_map, extract_crop, invert_affine
from model.roi import roi_centres, target_maps
from model.values import AuPrediction, Face, Float64Array, UInt8Array

CODES = AU_SETS["faces15"]


def picture(height: int = 300, width: int = 400) -> UInt8Array:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=-1).astype(np.uint8)


def a_face(landmarks: Float64Array, track: int = 0, scale: float = 1.0, shift: tuple[float, float] = (0, 0)) -> Face:
    points = (landmarks * scale + shift).astype(np.float32)
    box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    return Face(box, 0.9, points, track=track)


def prediction(landmarks: np.ndarray, codes: Sequence[str] = CODES, on: Sequence[str] = ("AU12",)) -> AuPrediction:
    """Ideal maps: +1 at the ROIs of AUs that are on, -1 at the others'."""
    affine = crop_affine(landmarks, 128)
    centres = crop_to_map(apply_affine(affine, roi_centres(landmarks, codes).reshape(-1, 2))).reshape(-1, 2, 2)
    active = np.array([code in on for code in codes])
    maps, _ = target_maps(centres, active.astype(np.float32), 32, 2)
    score = np.where(active, 1, -1).astype(np.float32)
    return AuPrediction(
        score=score,
        probability=np.where(active, 0.9, 0.1).astype(np.float32),
        active=active,
        valid=np.ones(len(codes), bool),
        roi_amplitude=np.repeat(score[:, None], 2, axis=1),
        roi_centres=roi_centres(landmarks, codes).astype(np.float32),
        roi_maps=maps.astype(np.float32),
    )


def redder(after: UInt8Array, before: UInt8Array, at: np.ndarray) -> int:
    """How much a pixel went from blue towards red."""
    x, y = np.rint(at).astype(int)
    now, then = after[y, x].astype(int), before[y, x].astype(int)
    return int((now[0] - now[2]) - (then[0] - then[2]))


def test_signed_colours_lie_on_the_rois(face: Float64Array) -> None:
    rgb = np.full((300, 400, 3), 128, np.uint8)
    found = prediction(face)
    crop = extract_crop(rgb, face, 128)
    for k, code in enumerate(CODES):
        drawn = roi_overlay(rgb, crop.to_image, found.roi_maps[k], legend=False)
        for centre in found.roi_centres[k]:
            change = redder(drawn, rgb, centre)
            assert (change > 80) if code == "AU12" else (change < -80), code
    assert (rgb == 128).all()


def test_overlay_shows_active_aus_alone(face: Float64Array) -> None:
    rgb = np.full((600, 700, 3), 128, np.uint8)
    found = prediction(face)
    drawn = overlay(rgb, [a_face(face)], [found], CODES, panel=False)
    assert drawn.shape == rgb.shape
    for centre in found.roi_centres[CODES.index("AU12")]:
        assert redder(drawn, rgb, centre) > 80
    assert redder(drawn, rgb, found.roi_centres[CODES.index("AU1"), 0]) == 0
    plain = overlay(rgb, [a_face(face)], [found], CODES, panel=False, roi=False)
    assert redder(plain, rgb, found.roi_centres[CODES.index("AU12"), 0]) == 0


def test_maps_follow_a_face_that_is_turned_moved_and_scaled(face: Float64Array) -> None:
    turn = np.deg2rad(25)
    moved = face @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * 0.8 + [150, 30]
    rgb = np.full((600, 700, 3), 128, np.uint8)
    found = prediction(moved)
    drawn = overlay(rgb, [a_face(moved)], [found], CODES, panel=False)
    for centre in found.roi_centres[CODES.index("AU12")]:
        assert redder(drawn, rgb, centre) > 80


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (12, 300), (90, 90), (480, 640), (2400, 300), (300, 5000), (1600, 2600)]
)
def test_pictures_of_any_size(height: int, width: int, face: Float64Array) -> None:
    rgb = picture(height, width)
    scale = min(height, width) / 256
    drawn = overlay(rgb, [a_face(face, scale=scale)], [prediction(face * scale)], CODES)
    assert drawn.dtype == np.uint8
    assert drawn.ndim == 3
    assert drawn.shape[0] >= 13 * 15  # room for fifteen lines of readable text
    assert drawn.shape[1] > 250
    np.testing.assert_array_equal(rgb, picture(height, width))


@pytest.mark.parametrize("count", [0, 1, 2, 7, 40])
def test_cards_of_many_faces_stay_apart(count: int, face: Float64Array) -> None:
    rgb = np.zeros((500, 800, 3), np.uint8)
    faces = [a_face(face, track=i, scale=0.3, shift=(70 * (i % 10), 90 * (i // 10))) for i in range(count)]
    drawn = overlay(rgb, faces, [prediction(face.landmarks) for face in faces], CODES)
    assert drawn.shape[1] <= 800 + max(800, 300)
    panel = drawn[:, 800:]
    if count == 0:
        np.testing.assert_array_equal(drawn, rgb)
        return
    # Every card has its own heading: coloured runs of rows in the columns where cards begin.
    dark = (panel.max(axis=2) < 200).mean(axis=1)
    assert dark.max() > 0.1
    assert drawn.shape[0] * panel.shape[1] >= count * 13 * 13 * 20 * 24.5  # no card is smaller than can be read


def test_boxes_alone(face: Float64Array) -> None:
    rgb = picture(500, 600)
    drawn = overlay(rgb, [a_face(face)])
    assert drawn.shape == rgb.shape
    assert (drawn != rgb).any()
    np.testing.assert_array_equal(overlay(rgb, []), rgb)


@pytest.mark.parametrize("shift", [(-200.0, 0.0), (500.0, 500.0), (-5000.0, -5000.0)])
def test_faces_outside_the_picture_do_no_harm(shift: tuple[float, float], face: Float64Array) -> None:
    outside = a_face(face, shift=shift)
    drawn = overlay(picture(), [outside], [prediction(outside.landmarks.astype(float))], CODES)
    assert drawn.shape[0] >= 300


def test_what_could_not_be_read(face: Float64Array) -> None:
    found = prediction(face)
    found.valid[:] = False
    found.active[:] = False
    found.probability[:] = np.nan
    found.roi_maps[:] = np.nan
    for drawn in (
        overlay(picture(), [a_face(face)], [found], CODES),
        roi_grid(picture(128, 128), found, CODES),
        au_bars(found, CODES),
        roi_overlay(picture(), [[1, 0, 0], [0, 1, 0]], found.roi_maps[0]),
    ):
        assert drawn.size > 0


@pytest.mark.parametrize("codes", [("AU1",), CODES[:4], CODES])
@pytest.mark.parametrize("tile", [10, 192])
def test_grid_has_a_tile_for_each_map(codes: tuple[str, ...], tile: int, face: Float64Array) -> None:
    crop = extract_crop(picture(), face, 128)
    found = prediction(face, codes, on=codes[:1])
    grid = roi_grid(crop, found, codes, tile=tile)
    columns, rows = min(5, len(codes)), -(-len(codes) // 5)
    side = max(tile, 96)
    assert side * columns < grid.shape[1] < (side + 30) * columns + 30
    assert side * rows < grid.shape[0]
    np.testing.assert_array_equal(roi_grid(crop.pixels, found, codes, tile=tile), grid)


def test_bars_grow_with_the_probability(face: Float64Array) -> None:
    low, high = prediction(face, on=()), prediction(face, on=CODES)
    assert (au_bars(high, CODES).mean(axis=2) < 150).sum() > 2 * (au_bars(low, CODES).mean(axis=2) < 150).sum()


@pytest.mark.parametrize(
    ("maps", "limit"),
    [([], 0.2), ([[0.01]], 0.2), ([[-0.41]], 0.45), ([[3.0]], 1.0), ([[np.nan]], 0.2), ([[0.1], [-0.6]], 0.6)],
)
def test_full_colour_follows_the_strongest_map(maps: list[list[float]], limit: float) -> None:
    assert full_colour_value([np.array([values], np.float32) for values in maps]) == pytest.approx(limit)


@pytest.mark.parametrize(
    "rgb",
    [np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3), np.float32)],
    ids=["empty", "grey", "float"],
)
def test_no_picture(rgb: UInt8Array) -> None:
    with pytest.raises(ValueError, match="a picture"):
        overlay(rgb, [])


def test_numbers_must_fit(face: Float64Array) -> None:
    found, one = prediction(face), a_face(face)
    with pytest.raises(ValueError, match="1 predictions for 2 faces"):
        overlay(picture(), [one, one], [found], CODES)
    with pytest.raises(ValueError, match="another number of AUs"):
        overlay(picture(), [one], [found], CODES[:3])
    with pytest.raises(ValueError, match="15 maps for 2 AUs"):
        roi_grid(picture(), found, CODES[:2])
    with pytest.raises(ValueError, match="one ROI map"):
        roi_overlay(picture(), invert_affine([[1, 0, 0], [0, 1, 0]]), found.roi_maps)
