"""Bytes of a picture to upright RGB, and what its header says before anything is decoded.

The format is told from the content, never from a name. JPEG, PNG, WebP, BMP, TIFF and GIF (the first frame) are read.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from model.values import UInt8Array

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
MAX_PIXELS = 64 * 2**20
MAX_SIDE = 65_500
"""Longest side that a JPEG can have; longer pictures are strips that no decoder after this one is made for."""

ImageSlug = Literal["media-unreadable", "media-too-large", "unsupported-media"]

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
)
_FOREIGN = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"<", "text (HTML, SVG or XML)"),
)
_FOREIGN_BRANDS = {
    b"heic": "a HEIC picture",
    b"heix": "a HEIC picture",
    b"mif1": "a HEIF picture",
    b"avif": "an AVIF picture",
}
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


class ImageError(Exception):
    """A picture that cannot be used.

    Attributes:
        slug: the problem's type: `media-unreadable` (empty, truncated, damaged), `media-too-large` (more pixels than
            allowed) or `unsupported-media` (not a picture, or of a kind that is not read).
        detail: one sentence for the person who sent it.
    """

    def __init__(self, slug: ImageSlug, detail: str) -> None:
        super().__init__(detail)
        self.slug: ImageSlug = slug
        self.detail = detail


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a picture's header says.

    Attributes:
        format: one of `FORMATS`.
        width: pixels of the upright picture.
        height: pixels of the upright picture.
    """

    format: str
    width: int
    height: int


def probe_image(data: bytes, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """Format and size from the header, without decoding.

    Raises:
        ImageError: for an empty or damaged header, another kind of file, or more than `max_pixels` pixels. A picture
            that breaks off after a good header passes here and fails in `read_image`.
    """
    kind = _format_of(data)
    with _decoder_errors(kind), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return _info(image, kind, max_pixels)


def read_image(source: bytes | Path | str, max_pixels: int = MAX_PIXELS) -> UInt8Array:
    """Decode a picture.

    Greyscale and palettes become RGB, 16-bit values are scaled to 8, transparent parts are laid on white, and the EXIF
    orientation is applied. Colour profiles are not.

    Args:
        source: the file's bytes, or its path.
        max_pixels: largest number of pixels to decode.

    Returns:
        (H, W, 3) uint8 RGB, upright, contiguous and writable.

    Raises:
        ImageError: see its slugs.
        OSError: if a path cannot be opened.
    """
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    kind = _format_of(data)
    with _decoder_errors(kind), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _info(image, kind, max_pixels)
        image.load()
        return np.array(_to_rgb(ImageOps.exif_transpose(image)), dtype=np.uint8, order="C")


def _format_of(data: bytes) -> str:
    if not data:
        raise ImageError("media-unreadable", "The picture is empty (0 bytes).")
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    what = next((name for signature, name in _FOREIGN if data.lstrip()[:8].startswith(signature)), None)
    if data[4:8] == b"ftyp":
        what = _FOREIGN_BRANDS.get(data[8:12], "a video (MP4 or QuickTime)")
    detail = f"This is {what}, not a picture that can be read" if what else "This is not a known picture format"
    raise ImageError("unsupported-media", f"{detail}; send JPEG, PNG, WebP, BMP, TIFF or GIF.")


def _info(image: Image.Image, kind: str, max_pixels: int) -> ImageInfo:
    width, height = image.size
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise ImageError(
            "media-too-large",
            f"The picture has {width} x {height} pixels; at most {max_pixels / 1e6:.1f} million and {MAX_SIDE} a side "
            "are accepted. Send a smaller copy.",
        )
    if width == 0 or height == 0:
        raise ImageError("media-unreadable", "The picture has no pixels.")
    # Pillow swaps the sides of a TIFF by itself, and would decode a whole PNG to look for a late EXIF block.
    in_header = kind != "TIFF" and (kind != "PNG" or "exif" in image.info)
    if in_header and image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS:
        width, height = height, width
    return ImageInfo(kind, width, height)


@contextmanager
def _decoder_errors(kind: str) -> Iterator[None]:
    """Turn whatever Pillow raises into an `ImageError`."""
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ImageError("media-too-large", f"The picture is too large to decode: {error}") from error
    except Exception as error:  # decoders answer hostile bytes with any exception: struct, zlib, index, syntax ...
        reason = str(error) or type(error).__name__
        raise ImageError("media-unreadable", f"The {kind} picture is damaged or incomplete: {reason}.") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode == "RGB":
        return image
    if mode in ("I", "F") or mode.startswith("I;16"):
        return Image.fromarray(_to_8_bits(np.asarray(image))).convert("RGB")
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, layer).convert("RGB")
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise ImageError("unsupported-media", f"Pictures of colour mode {mode} are not read; send RGB.") from error


def _to_8_bits(values: npt.NDArray[Any]) -> UInt8Array:
    """Wide greyscale to 8 bits: by the range of its type or, where that is open, the least usual one that holds it."""
    wide = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    top = float(wide.max())
    whites: tuple[float, ...]
    if values.dtype.kind == "f":
        whites = (1.0, 255.0, 65535.0)
    else:
        whites = (65535.0,) if values.dtype.itemsize == 2 else (255.0, 65535.0)
    white = next((white for white in whites if top <= white), top)
    return np.clip(np.rint(wide * (255.0 / white)), 0, 255).astype(np.uint8)
