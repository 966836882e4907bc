"""The picture of an explanation: one face's crop, its features before and after the graph convolution, the eigenvector
maps and the ROI maps of every AU, and for one AU where its context comes from.

Features and similarities are drawn in a sequential scale (viridis), eigenvector maps in one orange over the grey face,
ROI maps in the signed colours of `model.draw`. Features before and after share one scale. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from model.action_units import CATALOGUE
from model.draw import NEGATIVE_RGB, POSITIVE_RGB, full_colour_value
from model.explanation import Explanation, common_scale, telling_channels
from model.geometry import crop_to_map
from model.manifest import Manifest
from model.panel import GREY, INK, PAPER, RGB, font, text_on
from model.roi import roi_centres
from model.values import BoolArray, Crop, Float32Array, Float64Array, UInt8Array

EIGENVECTOR_RGB: RGB = (217, 95, 2)
LINE_RGB = (255, 255, 255)
CHANNELS, CHANNEL_COLUMNS = 24, 6
STROKES = (range(17), range(17, 22), range(22, 27), range(27, 31), range(31, 36), (*range(36, 42), 36),
           (*range(42, 48), 42), (*range(48, 60), 48), (*range(60, 68), 60))  # fmt: skip
"""Landmarks to join by lines: jaw, brows, nose, eyes, lips."""

_WIDTH, _MARGIN, _GAP = 1480, 28, 6
_TITLE, _HEAD, _TEXT, _SMALL = 30, 20, 16, 14
_BIG = 228  # side of the pictures of the first row
_FULL_SUM = 0.25  # contexts whose weights sum to less are drawn the paler, the less it is
_NOTHING = 0.005  # a sum of weights below it would be drawn as context where there is none


@dataclass(frozen=True, slots=True)
class ExplainedFace:
    """A face with what is drawn of it.

    Attributes:
        crop: what the network saw.
        explanation: what it did with it.
        rule: of the ROI centres (`manifest.roi.rule`).
        probability: (K,) as predicted, NaN where the AU could not be read.
        active: (K,) decisions.
        note: of the checkpoint, drawn at the bottom, e.g. that it knows rendered faces only.
    """

    crop: Crop
    explanation: Explanation
    rule: str
    probability: Float32Array
    active: BoolArray
    note: str = ""

    @property
    def centres_map(self) -> Float64Array:
        """(K, 2, 2) ROI centres in map pixels; NaN where a landmark is missing."""
        stride = len(self.crop.pixels) / self.explanation.roi_maps.shape[-1]
        return crop_to_map(roi_centres(self.crop.landmarks, self.explanation.au_codes, self.rule), stride)

    @property
    def landmarks_map(self) -> Float64Array:
        """(68, 2) landmarks in map pixels."""
        return crop_to_map(self.crop.landmarks, len(self.crop.pixels) / self.explanation.roi_maps.shape[-1])


def explain_panel(face: ExplainedFace, au: str) -> UInt8Array:
    """The whole picture for one face.

    Args:
        face: whose it is.
        au: the AU whose context and channels are shown.

    Returns:
        (H, 1480, 3) uint8.

    Raises:
        ValueError: an AU that the network does not know.
    """
    codes = face.explanation.au_codes
    if au not in codes:
        raise ValueError(f"the network knows no {au}; it knows {', '.join(codes)}")
    k = codes.index(au)
    parts = [
        _title(face, k),
        _first_row(face, k),
        _channels(face, k),
        _per_au(face, k),
        _footer(face),
    ]
    return np.concatenate(parts)


def checkpoint_note(manifest: Manifest) -> str:
    """What to write below a picture of this checkpoint's network."""
    trained = ", trained on rendered faces only: what it does to real faces may mean little"
    both = " The probabilities also come from the landmarks, which are not explained here."
    return (
        f"Network: {manifest.ref}{trained if manifest.training.synthetic_only else ''}."
        f"{both if manifest.landmark_opinion is not None else ''}"
    )


def sequential(values: npt.NDArray[np.floating], limit: float) -> UInt8Array:
    """(H, W) values from 0 to `limit` and beyond as RGB (viridis)."""
    grey = np.rint(255 * np.clip(np.nan_to_num(values) / max(limit, 1e-12), 0, 1)).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS)[..., ::-1], np.uint8)


def over_face(
    pixels: UInt8Array, values: npt.NDArray[np.floating], side: int, colours: tuple[RGB, RGB], limit: float
) -> UInt8Array:
    """A map over the greyed crop: the first colour below 0, the second above, as opaque as the value is large.

    Args:
        pixels: (S, S, 3) the crop.
        values: (H, H).
        side: of the picture in pixels.
        colours: for values below and above 0.
        limit: value of full colour.
    """
    grey = cv2.cvtColor(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    base = np.repeat((0.62 * grey[..., None].astype(np.float32) + 88), 3, axis=2)  # pale, so that colours stand out
    larger = cv2.resize(np.asarray(values, np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    strength = np.clip(np.abs(larger) / max(limit, 1e-12), 0, 1)[..., None]
    ink = np.where(larger[..., None] > 0, np.asarray(colours[1], np.float32), np.asarray(colours[0], np.float32))
    alpha = 0.92 * strength**0.8
    return np.rint(base * (1 - alpha) + ink * alpha).astype(np.uint8)


def channel_tiles(
    features: Float32Array, chosen: Sequence[int], limit: float, landmarks: Float64Array, tile: int
) -> list[UInt8Array]:
    """Feature channels as pictures of `tile` pixels, each with the face's landmarks as thin lines."""
    size = features.shape[-1]
    pictures = []
    for c in chosen:
        small = sequential(features[c], limit)
        larger = np.asarray(cv2.resize(small, (tile, tile), interpolation=cv2.INTER_NEAREST), np.uint8)
        pictures.append(_with_face(larger, landmarks, size))
    return pictures


def _with_face(picture: npt.NDArray[np.uint8], landmarks: Float64Array, map_size: int) -> UInt8Array:
    """Landmarks as thin, half-transparent lines over a map's picture."""
    zoom = len(picture) / map_size
    points = np.asarray(landmarks, np.float64) * zoom + (zoom - 1) / 2
    lines = picture.copy()
    for stroke in STROKES:
        path = points[list(stroke)]
        if np.isfinite(path).all():
            scaled = np.rint(np.clip(path, -1e4, 1e4) * 16).astype(np.int32)  # sixteenths of a pixel
            cv2.polylines(lines, [scaled], False, LINE_RGB, 1, cv2.LINE_AA, shift=4)
    return np.asarray(cv2.addWeighted(lines, 0.45, picture, 0.55, 0), np.uint8)


class _Sheet:
    """A strip of the picture with a pen that knows the house's texts."""

    def __init__(self, height: int) -> None:
        self.image = Image.new("RGB", (_WIDTH, height), PAPER)
        self.pen = ImageDraw.Draw(self.image)

    def text(
        self, x: float, y: float, text: str, size: int = _TEXT, ink: RGB = INK, room: float = _WIDTH, anchor: str = "la"
    ) -> None:
        if anchor == "la":
            text_on(self.pen, (x, y), text, ink, size, room)
        else:
            self.pen.text((x, y), text, fill=ink, font=font(size), anchor=anchor)

    def paste(self, picture: UInt8Array, x: int, y: int) -> None:
        self.image.paste(Image.fromarray(np.ascontiguousarray(picture)), (x, y))

    def frame(self, x: int, y: int, side: int, ink: RGB, width: int = 3) -> None:
        self.pen.rectangle((x - width, y - width, x + side - 1 + width, y + side - 1 + width), outline=ink, width=width)

    def scale(self, right: int, y: int, colours: Callable[[Float32Array], UInt8Array], ends: tuple[str, str]) -> None:
        """A colour scale whose right end is at `right`, with a text at either end."""
        width, height = 120, 12
        after = round(self.pen.textlength(ends[1], font=font(_SMALL)))
        left = right - after - 8 - width
        self.text(left - 8, y + height / 2, ends[0], _SMALL, GREY, anchor="rm")
        self.paste(colours(np.repeat(np.linspace(0, 1, width, dtype=np.float32)[None], height, axis=0)), left, y)
        self.text(right, y + height / 2, ends[1], _SMALL, GREY, anchor="rm")

    def array(self) -> UInt8Array:
        return np.asarray(self.image).copy()


def _title(face: ExplainedFace, k: int) -> UInt8Array:
    sheet = _Sheet(92)
    code = face.explanation.au_codes[k]
    name = CATALOGUE[code].name if code in CATALOGUE else ""
    sheet.text(_MARGIN, 22, f"How the network reads {code} {name}".rstrip(), _TITLE)
    chance = float(face.probability[k])
    said = "could not be read" if not np.isfinite(chance) else f"probability {chance:.2f}"
    decision = "active" if face.active[k] else "not active"
    ink = POSITIVE_RGB if face.active[k] else GREY
    sheet.text(_MARGIN, 62, f"{said}, {decision}" if np.isfinite(chance) else said, _HEAD, ink)
    return sheet.array()


def _first_row(face: ExplainedFace, k: int) -> UInt8Array:
    """The crop, the AU's eigenvector map, what the graph finds alike to its two ROIs, and its ROI map."""
    found, pixels, code = face.explanation, face.crop.pixels, face.explanation.au_codes[k]
    sheet = _Sheet(_BIG + 84)
    step = (_WIDTH - 2 * _MARGIN - _BIG) / 4
    places = [round(_MARGIN + i * step) for i in range(5)]
    centres = face.centres_map[k]
    crop = cv2.resize(pixels, (_BIG, _BIG), interpolation=cv2.INTER_CUBIC)
    tiles: list[tuple[UInt8Array, str, str]] = [(np.asarray(crop, np.uint8), "Crop", f"with the two ROIs of {code}")]
    if len(found.phi) == len(found.au_codes):
        phi, share = found.phi[k], found.shares()[k]
        drawn = over_face(pixels, phi, _BIG, (EIGENVECTOR_RGB, EIGENVECTOR_RGB), _peak(phi))
        said = f"lambda {_number(found.eigenvalues[k])}, {share:.0%} of the similarity"
        tiles.append((drawn, f"Eigenvector map of {code}", said))
    for number, side in enumerate(_sides(centres)):
        row = _similar_to(found, centres[number])
        total = float(row.sum())
        said = f"subtracted in the ring, {total:.2f} in sum"
        if total < _NOTHING:
            row, said = np.zeros_like(row), "next to nothing is subtracted there"
        limit = _peak(row) * max(1.0, _FULL_SUM / max(total, _NOTHING))
        drawn = over_face(pixels, row, _BIG, (EIGENVECTOR_RGB, EIGENVECTOR_RGB), limit)
        tiles.append((drawn, f"Context of the {side} ROI", said))
    limit = full_colour_value([found.roi_maps[k]])
    drawn = over_face(pixels, found.roi_maps[k], _BIG, (NEGATIVE_RGB, POSITIVE_RGB), limit)
    tiles.append((drawn, f"ROI map of {code}", "red: occurred, blue: absent"))
    for place, (picture, heading, said) in zip(places[5 - len(tiles) :], tiles, strict=True):
        sheet.text(place, 6, heading, _HEAD, room=step - 8)
        sheet.paste(picture, place, 34)
        sheet.text(place, 34 + _BIG + 6, said, _SMALL, GREY, room=step - 8)
    first = places[5 - len(tiles)]
    rings = [(0, first), *((number + 2, places[number + 2]) for number in (0, 1))]
    for which, place in rings:
        for number in (0, 1):
            if which in (0, number + 2):
                _ring(sheet, centres[number], place, 34, _BIG / found.roi_maps.shape[-1])
    return sheet.array()


def _channels(face: ExplainedFace, k: int) -> UInt8Array:
    """The most telling channels of X0 and X1, side by side on one scale."""
    found = face.explanation
    half = (_WIDTH - 3 * _MARGIN) // 2
    tile = (half - (CHANNEL_COLUMNS - 1) * _GAP) // CHANNEL_COLUMNS
    limit = common_scale(found.x0, found.x1)
    count = min(CHANNELS, len(found.x0))
    rows = -(-count // CHANNEL_COLUMNS)
    label = _SMALL + 4
    sheet = _Sheet(78 + rows * (tile + label + _GAP))
    code = found.au_codes[k]
    texts = (
        ("Features before the graph convolution, X0", found.x0, found.weight_before),
        ("Features after it, X1", found.x1, found.weight_after),
    )
    for i, (heading, features, weights) in enumerate(texts):
        left = _MARGIN + i * (half + _MARGIN)
        chosen = telling_channels(features, weights, k, count)
        sheet.text(left, 6, heading, _HEAD)
        said = f"the {count} of {len(features)} channels that shape the map of {code} most; number and share of zeros"
        sheet.text(left, 34, said, _SMALL, GREY, room=half)
        if i == 1:
            ends = ("0", f"{limit:.2g}")
            sheet.scale(_WIDTH - _MARGIN, 11, lambda ramp: sequential(ramp, 1.0), ends)
        for n, picture in enumerate(channel_tiles(features, chosen.tolist(), limit, face.landmarks_map, tile)):
            x = left + n % CHANNEL_COLUMNS * (tile + _GAP)
            y = 60 + n // CHANNEL_COLUMNS * (tile + label + _GAP)
            sheet.paste(picture, x, y)
            empty = float((features[chosen[n]] == 0).mean())
            sheet.text(x, y + tile + 2, str(chosen[n]), _SMALL, GREY)
            sheet.text(x + tile, y + tile + 2, f"{empty:.0%}", _SMALL, GREY, anchor="ra")
    return sheet.array()


def _per_au(face: ExplainedFace, k: int) -> UInt8Array:
    """The eigenvector map and the ROI map of every AU, in the same order side by side."""
    found, pixels = face.explanation, face.crop.pixels
    half = (_WIDTH - 3 * _MARGIN) // 2
    columns = 4 if max(len(found.phi), len(found.roi_maps)) <= 12 else 5
    tile = (half - (columns - 1) * (_GAP + 4)) // columns
    label, rows = _TEXT + 8, -(-max(len(found.phi), len(found.roi_maps)) // columns)
    sheet = _Sheet(70 + rows * (tile + label + _GAP))
    right = _MARGIN + half + _MARGIN
    sheet.text(_MARGIN, 6, "Eigenvector maps", _HEAD)
    sheet.text(_MARGIN, 34, "each on its own scale; lambda and its share of the similarity", _SMALL, GREY, room=half)
    sheet.text(right, 6, "ROI maps", _HEAD)
    limit = full_colour_value(list(found.roi_maps))
    sheet.text(right, 34, "all on one scale; the probability, red where the AU is active", _SMALL, GREY, room=half)
    signed = (NEGATIVE_RGB, POSITIVE_RGB)
    sheet.scale(_WIDTH - _MARGIN, 11, _signed_ramp, (f"absent -{limit:g}", f"+{limit:g} occurred"))

    def place(left: int, n: int) -> tuple[int, int]:
        return left + n % columns * (tile + _GAP + 4), 60 + n // columns * (tile + label + _GAP)

    shares, one_each = found.shares(), len(found.phi) == len(found.au_codes)
    for m, name in enumerate(found.eigenvector_names):
        x, y = place(_MARGIN, m)
        orange = (EIGENVECTOR_RGB, EIGENVECTOR_RGB)
        sheet.paste(over_face(pixels, found.phi[m], tile, orange, _peak(found.phi[m])), x, y)
        chosen = one_each and m == k
        sheet.text(x, y + tile + 3, name, _TEXT, EIGENVECTOR_RGB if chosen else INK)
        number = f"{_number(found.eigenvalues[m])} · {shares[m]:.0%}"
        sheet.text(x + tile, y + tile + 4, number, _SMALL, GREY, anchor="ra")
        if chosen:
            sheet.frame(x, y, tile, EIGENVECTOR_RGB)
    for n, code in enumerate(found.au_codes):
        x, y = place(right, n)
        sheet.paste(over_face(pixels, found.roi_maps[n], tile, signed, limit), x, y)
        ink = POSITIVE_RGB if face.active[n] else INK
        sheet.text(x, y + tile + 3, code, _TEXT, ink)
        chance = float(face.probability[n])
        said = f"{chance:.2f}" if np.isfinite(chance) else "not seen"
        sheet.text(x + tile, y + tile + 4, said, _SMALL, ink if face.active[n] else GREY, anchor="ra")
        if n == k:
            sheet.frame(x, y, tile, INK)
    return sheet.array()


def _footer(face: ExplainedFace) -> UInt8Array:
    lines = [
        "A channel shapes the map of an AU by its weight times the standard deviation of its values. Channel numbers "
        "of X1 are not those of X0: theta mixes them.",
        "Eigenvector maps say where the graph gathers context, not why the AU was decided; a map at the crop's edge is "
        "an artifact of the border.",
    ]
    if face.note:
        lines.append(face.note)
    sheet = _Sheet(20 + 22 * len(lines) + 14)
    for i, line in enumerate(lines):
        ink = INK if face.note and i == len(lines) - 1 else GREY
        sheet.text(_MARGIN, 12 + 22 * i, line, _SMALL, ink, room=_WIDTH - 2 * _MARGIN)
    return sheet.array()


def _sides(centres: Float64Array) -> tuple[str, str]:
    """What to call the two ROIs: sides of the image, or lips."""
    apart = np.abs(centres[1] - centres[0])
    return ("upper", "lower") if apart[1] > apart[0] else ("left", "right")


def _similar_to(found: Explanation, centre: Float64Array) -> Float32Array:
    """The row of A for a ROI centre; zeros where it lies outside of the map."""
    size = found.phi.shape[-1]
    if not np.isfinite(centre).all():
        return np.zeros((size, size), np.float32)
    x, y = (round(float(value)) for value in centre)
    return found.similarity_row(x, y) if 0 <= x < size and 0 <= y < size else np.zeros((size, size), np.float32)


def _ring(sheet: _Sheet, centre: Float64Array, left: int, top: int, zoom: float) -> None:
    if not np.isfinite(centre).all():
        return
    x, y = left + (centre[0] + 0.5) * zoom, top + (centre[1] + 0.5) * zoom
    if not (left <= x < left + _BIG and top <= y < top + _BIG):
        return
    for radius, ink, width in ((11, INK, 4), (10, (255, 255, 255), 2)):
        sheet.pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=ink, width=width)


def _peak(values: Float32Array) -> float:
    return max(float(values.max(initial=0.0)), 1e-12)


def _number(value: float) -> str:
    """An eigenvalue; small ones keep their order of magnitude."""
    return f"{value:.2f}" if value >= 0.005 else f"{value:.0e}".replace("e-0", "e-")


def _signed_ramp(ramp: Float32Array) -> UInt8Array:
    signed = 2 * ramp[..., None] - 1
    colour = np.where(signed > 0, np.asarray(POSITIVE_RGB, np.float32), np.asarray(NEGATIVE_RGB, np.float32))
    return np.asarray(np.rint(255 * (1 - np.abs(signed)) + colour * np.abs(signed)), np.uint8)
