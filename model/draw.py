"""Pictures of what the network found: boxes, ROI maps over the face, bars of probabilities, the grid of a face's maps.

ROI maps are drawn in signed colours: red where the network says that the AU occurred (+1), blue where it says that it
is absent (-1), as opaque as the value is large. Inputs are never changed. Sizes follow the picture and its faces, so
that text stays readable on a thumbnail and on a 40-megapixel group photo.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from model.action_units import CATALOGUE
from model.geometry import CROP_SCALE, compose, crop_affine, invert_affine
from model.panel import GREY, INK, PAPER, Card, card_colour, draw_legend, font, layout_cards, text_on
from model.values import AuPrediction, Crop, Face, Float32Array, Float64Array, UInt8Array

POSITIVE_RGB = (214, 39, 40)
NEGATIVE_RGB = (31, 100, 200)
MAX_ALPHA = 0.75
MAP_TO_CROP = np.array([[4.0, 0.0, 1.5], [0.0, 4.0, 1.5]])
"""Map pixels to crop pixels as an affine, see `geometry.map_to_crop`."""

_MIN_SIDE, _MAX_SIDE = 480, 2400


def overlay(
    rgb: UInt8Array,
    faces: Sequence[Face],
    predictions: Sequence[AuPrediction] = (),
    au_codes: Sequence[str] = (),
    *,
    roi: bool = True,
    panel: bool = True,
    crop_scale: float = CROP_SCALE,
) -> UInt8Array:
    """A picture with its faces boxed and numbered, their active AUs' ROI maps, and a card of bars for each beside it.

    Args:
        rgb: (H, W, 3) uint8.
        faces: as the finder gives them; each is drawn under its `track` number.
        predictions: one for each face, or none at all (boxes alone are drawn).
        au_codes: the K Action Units of the predictions.
        roi: draw the ROI maps of active AUs.
        panel: add the cards; without, the picture keeps its proportions.
        crop_scale: of the checkpoint's crops (`manifest.crop.scale`), which places the maps on the faces.

    Returns:
        (H', W', 3) uint8: the picture, enlarged if its longer side is below 480 pixels and reduced if above 2400, and
        the cards to its right, below each other and in as many columns as it takes.

    Raises:
        ValueError: as many predictions as faces are wanted, or the codes do not fit them.
    """
    _check(rgb)
    if predictions and len(predictions) != len(faces):
        raise ValueError(f"{len(predictions)} predictions for {len(faces)} faces")
    if any(len(prediction.score) != len(au_codes) for prediction in predictions):
        raise ValueError(f"the predictions have another number of AUs than the {len(au_codes)} codes")
    picture, zoom = _display_size(rgb)
    drawn = [(face, _strongest(p)) for face, p in zip(faces, predictions, strict=False) if roi and p.active.any()]
    limit = full_colour_value([values for _, values in drawn])
    for face, values in drawn:
        to_crop = crop_affine(face.landmarks, 4 * len(values), crop_scale)
        to_picture = compose(_scaling(zoom), compose(invert_affine(to_crop), MAP_TO_CROP))
        _blend_into(picture, to_picture, values / limit)
    boxed = _boxes(picture, faces, zoom)
    if drawn:
        boxed = draw_legend(boxed, NEGATIVE_RGB, POSITIVE_RGB, limit)
    if not panel or not predictions:
        return boxed
    cards = [
        Card(face.track, card_colour(face.track), _rows(prediction, au_codes))
        for face, prediction in zip(faces, predictions, strict=True)
    ]
    return layout_cards(boxed, cards)


def roi_overlay(
    rgb: UInt8Array, to_image: npt.ArrayLike, roi_map: Float32Array, *, limit: float | None = None, legend: bool = True
) -> UInt8Array:
    """One ROI map over the picture, in signed colours.

    Args:
        rgb: (H, W, 3) uint8.
        to_image: (2, 3) affine from crop pixels to picture pixels (`Crop.to_image`).
        roi_map: (h, w) float32; its side is a quarter of the crop's.
        limit: value of full colour; default: `full_colour_value` of this map.
        legend: a small colour scale in the lower left corner, where the picture has room for it.

    Returns:
        (H, W, 3) uint8.
    """
    _check(rgb)
    if roi_map.ndim != 2:
        raise ValueError(f"one ROI map (h, w) is wanted, not an array of shape {roi_map.shape}")
    limit = limit or full_colour_value([roi_map])
    picture = _blend(rgb, compose(to_image, MAP_TO_CROP), roi_map / limit)
    return draw_legend(picture, NEGATIVE_RGB, POSITIVE_RGB, limit) if legend else picture


def full_colour_value(maps: Sequence[Float32Array]) -> float:
    """The value to draw in full colour: the largest size in the maps, rounded up, between 0.2 and 1.

    Networks that are unsure give small values, which would hardly be seen on a scale up to 1; noise stays pale.
    """
    largest = max((float(np.abs(values[np.isfinite(values)]).max(initial=0)) for values in maps), default=0.0)
    return min(1.0, max(0.2, math.ceil(largest * 20 - 1e-4) / 20))


def roi_grid(
    crop: Crop | UInt8Array,
    prediction: AuPrediction,
    au_codes: Sequence[str],
    *,
    columns: int = 5,
    tile: int = 192,
) -> UInt8Array:
    """All ROI maps of one face side by side, each over the crop, with code, name, probability and decision.

    Args:
        crop: the crop, or its pixels (S, S, 3) uint8.
        prediction: its prediction.
        au_codes: the K Action Units.
        columns: tiles in a row.
        tile: side of a tile in pixels.

    Returns:
        (H, W, 3) uint8; a legend at the bottom.
    """
    pixels = crop.pixels if isinstance(crop, Crop) else crop
    _check(pixels)
    if len(prediction.roi_maps) != len(au_codes):
        raise ValueError(f"{len(prediction.roi_maps)} maps for {len(au_codes)} AUs")
    columns = max(1, min(columns, len(au_codes)))
    tile = max(tile, 96)
    line = max(14, tile // 9)
    gap, label = max(4, tile // 32), int(2.5 * line)
    rows = -(-len(au_codes) // columns)
    sheet = Image.new("RGB", (columns * (tile + gap) + gap, rows * (tile + label + gap) + gap + 2 * line), PAPER)
    pen = ImageDraw.Draw(sheet)
    limit = full_colour_value(list(prediction.roi_maps))
    face = cv2.resize(pixels, (tile, tile), interpolation=cv2.INTER_AREA if tile < len(pixels) else cv2.INTER_CUBIC)
    for k, code in enumerate(au_codes):
        left, top = gap + (k % columns) * (tile + gap), gap + (k // columns) * (tile + label + gap)
        roi_map = prediction.roi_maps[k]
        zoom = tile / len(roi_map)
        # Map pixels to tile pixels, centre on centre.
        affine = np.array([[zoom, 0.0, (zoom - 1) / 2], [0.0, zoom, (zoom - 1) / 2]])
        sheet.paste(Image.fromarray(_blend(np.asarray(face, np.uint8), affine, roi_map / limit)), (left, top))
        active, valid = bool(prediction.active[k]), bool(prediction.valid[k])
        if active:
            width = max(2, tile // 64)
            pen.rectangle((left, top, left + tile - 1, top + tile - 1), outline=POSITIVE_RGB, width=width)
        chance = f"{prediction.probability[k]:.2f}" if valid else "not seen"
        ink = POSITIVE_RGB if active else INK
        pen.text((left, top + tile + 2), code, fill=ink, font=font(line))
        pen.text((left + tile, top + tile + 2), chance, fill=ink, font=font(line), anchor="ra")
        name = CATALOGUE[code].name if code in CATALOGUE else ""
        text_on(pen, (left, top + tile + 2 + int(1.15 * line)), name, GREY, int(0.8 * line), tile)
    return draw_legend(np.asarray(sheet), NEGATIVE_RGB, POSITIVE_RGB, limit)


def au_bars(prediction: AuPrediction, au_codes: Sequence[str], *, title: int = 0, height: int = 480) -> UInt8Array:
    """The bars of one face alone: code, name and probability of each AU, active ones in colour.

    Args:
        prediction: of the face.
        au_codes: the K Action Units.
        title: the face's number.
        height: of the picture in pixels; small ones are enlarged to what can be read.
    """
    blank = np.full((max(height, 64), 1, 3), 255, np.uint8)
    return layout_cards(blank, [Card(title, card_colour(title), _rows(prediction, au_codes))])[:, 1:]


def _check(rgb: UInt8Array) -> None:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise ValueError(f"a picture (H, W, 3) of uint8 is wanted, not {rgb.dtype} of shape {rgb.shape}")


def _rows(prediction: AuPrediction, au_codes: Sequence[str]) -> list[tuple[str, str, float | None, bool]]:
    """(code, name, probability or None, active) of each AU."""
    return [
        (
            code,
            CATALOGUE[code].name if code in CATALOGUE else "",
            float(prediction.probability[k]) if prediction.valid[k] else None,
            bool(prediction.active[k]),
        )
        for k, code in enumerate(au_codes)
    ]


def _display_size(rgb: UInt8Array) -> tuple[UInt8Array, float]:
    """A copy of a size that people look at, and its zoom."""
    longer = max(rgb.shape[:2])
    zoom = min(max(1.0, _MIN_SIDE / longer), _MAX_SIDE / longer)
    if zoom == 1.0:
        return rgb.copy(), 1.0
    size = max(1, round(rgb.shape[1] * zoom)), max(1, round(rgb.shape[0] * zoom))
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, size, interpolation=method), np.uint8), zoom


def _scaling(zoom: float) -> Float64Array:
    """Affine of a resize by `zoom`, pixel centres on whole numbers."""
    shift = (zoom - 1) / 2
    return np.array([[zoom, 0.0, shift], [0.0, zoom, shift]])


def _strongest(prediction: AuPrediction) -> Float32Array:
    """At each pixel the value of largest size among the maps of active AUs, (h, w); there must be one."""
    maps = prediction.roi_maps[prediction.active]
    winner = np.abs(maps).argmax(axis=0)
    return np.asarray(np.take_along_axis(maps, winner[None], axis=0)[0], np.float32)


def _blend(rgb: UInt8Array, map_to_picture: Float64Array, signed: Float32Array) -> UInt8Array:
    """A copy of the picture under a map of values -1 to 1."""
    result = rgb.copy()
    _blend_into(result, map_to_picture, signed)
    return result


def _blend_into(picture: UInt8Array, map_to_picture: Float64Array, signed: Float32Array) -> None:
    """Draws a map of values -1 to 1 on a picture of this module's own, where the map covers it."""
    size = signed.shape[1], signed.shape[0]
    corners = np.array([[-0.5, -0.5], [size[0] - 0.5, -0.5], [-0.5, size[1] - 0.5], [size[0] - 0.5, size[1] - 0.5]])
    reach = corners @ map_to_picture[:, :2].T + map_to_picture[:, 2]
    low = np.clip(np.floor(reach.min(axis=0)), 0, [picture.shape[1], picture.shape[0]]).astype(int)
    high = np.clip(np.ceil(reach.max(axis=0)) + 1, 0, [picture.shape[1], picture.shape[0]]).astype(int)
    if (high <= low).any():
        return
    local = map_to_picture.copy()
    local[:, 2] -= low
    values = np.nan_to_num(np.asarray(signed, np.float32), posinf=1, neginf=-1)
    warped = cv2.warpAffine(values, local, (int(high[0] - low[0]), int(high[1] - low[1])), flags=cv2.INTER_LINEAR)
    alpha = MAX_ALPHA * np.clip(np.abs(warped), 0, 1)[..., None]
    colour = np.where(warped[..., None] > 0, np.asarray(POSITIVE_RGB, np.float32), np.asarray(NEGATIVE_RGB, np.float32))
    part = picture[low[1] : high[1], low[0] : high[0]]
    part[...] = np.rint(part * (1 - alpha) + colour * alpha).astype(np.uint8)


def _boxes(picture: UInt8Array, faces: Sequence[Face], zoom: float) -> UInt8Array:
    """Boxes with the faces' numbers; small faces get thin lines and a tag outside of their box."""
    sheet = Image.fromarray(picture)
    pen = ImageDraw.Draw(sheet)
    for face in sorted(faces, key=lambda face: -float(np.ptp(face.box_xyxy[[0, 2]]))):  # small ones on top
        left, top, right, bottom = (float(value) * zoom for value in face.box_xyxy)
        side = max(right - left, bottom - top)
        colour = card_colour(face.track)
        pen.rectangle(
            (left, top, max(right, left), max(bottom, top)), outline=colour, width=int(np.clip(side / 45, 1, 6))
        )
        size = int(np.clip(side / 7, 11, max(14, max(picture.shape[:2]) / 30)))
        label = str(face.track)
        width = pen.textlength(label, font=font(size)) + 0.7 * size
        above = top - 1.3 * size if top >= 1.3 * size else top
        x = float(np.clip(left, 0, max(0.0, picture.shape[1] - width)))
        pen.rectangle((x, above, x + width, above + 1.3 * size), fill=colour)
        pen.text((x + width / 2, above + 0.65 * size), label, fill=(255, 255, 255), font=font(size), anchor="mm")
    return np.asarray(sheet).copy()
