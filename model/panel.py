"""The text and the bars of `model.draw`: cards of probabilities, their layout beside a picture, the colour scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from model.values import UInt8Array

RGB = tuple[int, int, int]
AnyFont = ImageFont.FreeTypeFont | ImageFont.ImageFont

PAPER: RGB = (250, 250, 248)
INK: RGB = (28, 28, 30)
GREY: RGB = (115, 115, 120)
TRACK: RGB = (226, 226, 228)
IDLE: RGB = (168, 172, 178)

# Dark enough for white text on them, apart also for most colour-blind people (after Okabe and Ito).
_PALETTE: tuple[RGB, ...] = (
    (0, 95, 160), (190, 80, 0), (0, 125, 90), (165, 75, 130), (110, 90, 0), (60, 60, 60), (20, 125, 160), (150, 30, 40),
)  # fmt: skip

_SMALLEST, _LARGEST = 13, 56
_HEADER, _ROW, _PADDING, _WIDTH = 2.0, 1.5, 0.7, 20.0  # of a card, in font sizes


@dataclass(frozen=True, slots=True)
class Card:
    """One face's bars.

    Attributes:
        number: the face's.
        colour: of its heading and its active bars.
        rows: (code, name, probability or None where it could not be read, active) of each AU.
    """

    number: int
    colour: RGB
    rows: Sequence[tuple[str, str, float | None, bool]]


@lru_cache(maxsize=64)
def font(size: int) -> AnyFont:
    """Pillow's own font at a size in pixels; it needs no file of the system."""
    return ImageFont.load_default(size=max(size, 6))


def card_colour(number: int) -> RGB:
    """A face's colour, the same wherever it appears."""
    return _PALETTE[number % len(_PALETTE)]


def layout_cards(picture: UInt8Array, cards: Sequence[Card]) -> UInt8Array:
    """The picture with the cards to its right, from top to bottom and then in further columns.

    The font is the largest with which the cards take no more width than the picture and no more height; many faces
    make it smaller, and below the smallest readable size the sheet grows downwards instead.
    """
    if not cards:
        return picture.copy()
    height, width = picture.shape[:2]
    rows = max(len(card.rows) for card in cards)
    room = max(width, height)  # a narrow picture may well have a wider panel
    size = int(np.clip(height / (_card_height(rows, 1.0) + 0.5), _SMALLEST, _LARGEST))
    while size > _SMALLEST and _columns(len(cards), rows, size, height) * _WIDTH * size > room:
        size -= 1
    columns = min(_columns(len(cards), rows, size, height), max(1, int(room / (_WIDTH * size))))
    per_column = -(-len(cards) // columns)
    card_width, card_height = round(_WIDTH * size), round(_card_height(rows, size))
    sheet = Image.new("RGB", (width + columns * card_width, max(height, per_column * card_height)), PAPER)
    sheet.paste(Image.fromarray(picture), (0, 0))
    pen = ImageDraw.Draw(sheet)
    for i, card in enumerate(cards):
        corner = width + (i // per_column) * card_width, (i % per_column) * card_height
        _draw_card(pen, card, corner, size)
    return np.asarray(sheet).copy()


def draw_legend(picture: UInt8Array, negative: RGB, positive: RGB, limit: float) -> UInt8Array:
    """A copy with the signed colours' scale in the lower left corner; nothing where there is no room for it."""
    size = int(np.clip(picture.shape[0] / 36, 12, 40))
    bar_width, bar_height = 9 * size, max(6, round(0.7 * size))
    margin = size // 2
    texts = f"absent -{limit:g}", f"+{limit:g} occurred"
    sheet = Image.fromarray(picture)
    pen = ImageDraw.Draw(sheet)
    before, after = (round(pen.textlength(text, font=font(size))) for text in texts)
    total = before + bar_width + after + 4 * margin
    if total > picture.shape[1] or 4 * size > picture.shape[0]:
        return picture.copy()
    top = picture.shape[0] - round(1.7 * size)
    pen.rectangle((0, top, total, picture.shape[0]), fill=PAPER)
    middle = (top + picture.shape[0]) / 2
    pen.text((margin, middle), texts[0], fill=negative, font=font(size), anchor="lm")
    pen.text((3 * margin + before + bar_width, middle), texts[1], fill=positive, font=font(size), anchor="lm")
    scale = np.linspace(-1, 1, bar_width, dtype=np.float32)[None, :, None]
    colours = np.where(scale > 0, np.asarray(positive, np.float32), np.asarray(negative, np.float32))
    strip = 255 * (1 - np.abs(scale)) + colours * np.abs(scale)
    bar = np.repeat(np.rint(strip).astype(np.uint8), bar_height, axis=0)
    sheet.paste(Image.fromarray(bar), (2 * margin + before, round(middle - bar_height / 2)))
    return np.asarray(sheet).copy()


def text_on(
    pen: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, ink: RGB, size: int, width: float
) -> None:
    """A text that is shortened, with an ellipsis, to a width in pixels."""
    chosen = font(size)
    shown = text
    while shown and pen.textlength(shown, font=chosen) > width:
        shown = shown[:-2].rstrip() + "…" if len(shown) > 2 else ""
    pen.text(corner, shown, fill=ink, font=chosen)


def _card_height(rows: int, size: float) -> float:
    return (_HEADER + _ROW * rows + 2 * _PADDING) * size


def _columns(count: int, rows: int, size: int, height: int) -> int:
    return -(-count // max(1, int(height / _card_height(rows, size))))


def _draw_card(pen: ImageDraw.ImageDraw, card: Card, corner: tuple[int, int], size: int) -> None:
    left, top = corner[0] + _PADDING * size, corner[1] + _PADDING * size
    right = corner[0] + (_WIDTH - _PADDING) * size
    pen.rectangle((left, top, right, top + 1.5 * size), fill=card.colour)
    pen.text((left + 0.5 * size, top + 0.75 * size), f"face {card.number}", fill=PAPER, font=font(size), anchor="lm")
    active = [code for code, _, _, on in card.rows if on]
    said = f"{len(active)} active" if active else "none active"
    pen.text((right - 0.5 * size, top + 0.75 * size), said, fill=PAPER, font=font(round(0.85 * size)), anchor="rm")
    bar_left, bar_right = left + 11.9 * size, right - 2.3 * size
    for i, (code, name, chance, on) in enumerate(card.rows):
        y = top + (_HEADER + _ROW * i) * size
        pen.text((left, y), code, fill=card.colour if on else INK, font=font(size))
        text_on(pen, (left + 2.9 * size, y + 0.1 * size), name, INK if on else GREY, round(0.85 * size), 8.8 * size)
        low, high = y + 0.2 * size, y + 1.05 * size
        pen.rectangle((bar_left, low, bar_right, high), fill=TRACK)
        if chance is None:
            pen.text((right, y), "-", fill=GREY, font=font(size), anchor="ra")
            continue
        filled = bar_left + (bar_right - bar_left) * float(np.clip(chance, 0, 1))
        if filled > bar_left + 0.5:
            pen.rectangle((bar_left, low, filled, high), fill=card.colour if on else IDLE)
        pen.text((right, y), f"{chance:.2f}", fill=card.colour if on else GREY, font=font(size), anchor="ra")
