from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from model.image import FORMATS, ImageError, ImageInfo, probe_image, read_image
from model.values import UInt8Array

ORIENTATION = 0x0112


def _encode(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _slug(data: bytes, **options: Any) -> str:
    """The slug with which reading fails."""
    with pytest.raises(ImageError) as caught:
        read_image(data, **options)
    assert caught.value.detail == str(caught.value)
    assert caught.value.detail.endswith(".")
    return caught.value.slug


@pytest.fixture(scope="module")
def rgb() -> UInt8Array:
    """(40, 60, 3) of the photo: soft enough for lossy formats."""
    return np.asarray(Image.fromarray(skimage.data.astronaut()[20:260, 60:420]).resize((60, 40)))


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}, 20),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 20),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_deflate", "big_tiff": True}, 0),
    ],
)
def test_formats(rgb: UInt8Array, kind: str, options: dict[str, Any], tolerance: int) -> None:
    data = _encode(Image.fromarray(rgb), kind, **options)
    assert probe_image(data) == ImageInfo(kind, 60, 40)
    read = read_image(data)
    assert (read.shape, read.dtype, read.flags.c_contiguous, read.flags.writeable) == (rgb.shape, np.uint8, True, True)
    assert np.abs(read.astype(int) - rgb).max() <= tolerance


def test_the_first_frame_of_a_gif(rgb: UInt8Array) -> None:
    frames = [Image.fromarray(picture).quantize(64) for picture in (rgb, 255 - rgb)]
    data = _encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert probe_image(data) == ImageInfo("GIF", 60, 40)
    assert np.abs(read_image(data).astype(int) - rgb).mean() < 8


def test_two_pictures_in_a_jpeg(rgb: UInt8Array) -> None:
    picture = Image.fromarray(rgb)
    data = _encode(picture, "MPO", save_all=True, append_images=[picture.rotate(180)], quality=95)
    assert probe_image(data) == ImageInfo("JPEG", 60, 40)
    assert np.abs(read_image(data).astype(int) - rgb).mean() < 4


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_come_out_upright(rgb: UInt8Array, kind: str, orientation: int) -> None:
    # What the camera stored, given how it was held.
    stored = {
        1: rgb,
        2: rgb[:, ::-1],
        3: rgb[::-1, ::-1],
        4: rgb[::-1],
        5: rgb.transpose(1, 0, 2),
        6: np.rot90(rgb),
        7: rgb[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(rgb, -1),
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    data = _encode(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)
    assert probe_image(data) == ImageInfo(kind, 60, 40)
    assert np.abs(read_image(data).astype(int) - rgb).mean() < 4


def test_orientations_that_do_not_exist(rgb: UInt8Array) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 77
    assert read_image(_encode(Image.fromarray(rgb), "JPEG", exif=exif)).shape == rgb.shape


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("L", "PNG"), ("1", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("L", "JPEG"), ("CMYK", "TIFF")],
)
def test_colour_modes(rgb: UInt8Array, mode: str, kind: str) -> None:
    picture = Image.fromarray(rgb).convert(mode)
    read = read_image(_encode(picture, kind, quality=95))
    wanted = np.asarray(picture.convert("RGB"))
    assert np.abs(read.astype(int) - wanted).max() <= (12 if kind == "JPEG" else 1)


def test_cmyk_jpegs(rgb: UInt8Array) -> None:
    read = read_image(_encode(Image.fromarray(rgb).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(read.astype(int) - rgb).mean() < 8


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_lie_on_white(rgb: UInt8Array, mode: str) -> None:
    alpha = np.full((40, 60), 255, np.uint8)
    alpha[:, :30] = 0
    picture = Image.fromarray(rgb).convert("RGBA")
    picture.putalpha(Image.fromarray(alpha))
    data = _encode(picture.quantize(32) if mode == "P" else picture.convert(mode), "PNG")
    read = read_image(data)
    assert (read[:, :30] == 255).all()
    assert np.abs(read[:, 30:].astype(int) - rgb[:, 30:]).mean() < 60
    assert (read[:, 30:] != 255).any()


@pytest.mark.parametrize(
    ("values", "kind", "wanted"),
    [
        (np.array([[0, 32768, 65535]], np.uint16), "PNG", [0, 128, 255]),
        (np.array([[0, 200, 257]], np.uint16), "PNG", [0, 1, 1]),  # a dark picture stays dark
        (np.array([[0, 32768, 65535]], np.uint16), "TIFF", [0, 128, 255]),
        (np.array([[0, 128, 255]], np.int32), "TIFF", [0, 128, 255]),
        (np.array([[0, 500, 1_000_000]], np.int32), "TIFF", [0, 0, 255]),
        (np.array([[-1, 0.5, 1, np.nan, np.inf]], np.float32), "TIFF", [0, 128, 255, 0, 0]),
        (np.array([[0, 127.6, 255]], np.float32), "TIFF", [0, 128, 255]),
    ],
)
def test_wide_greyscale(values: np.ndarray[Any, Any], kind: str, wanted: list[int]) -> None:
    read = read_image(_encode(Image.fromarray(values), kind))
    np.testing.assert_array_equal(read[0], np.repeat(np.array(wanted)[:, None], 3, axis=1))


def test_from_a_file_whatever_its_name(rgb: UInt8Array, tmp_path: Path) -> None:
    path = tmp_path / "really.png.txt"
    path.write_bytes(_encode(Image.fromarray(rgb), "BMP"))
    np.testing.assert_array_equal(read_image(path), rgb)
    np.testing.assert_array_equal(read_image(str(path)), rgb)
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "absent.png")


def test_empty() -> None:
    assert _slug(b"") == "media-unreadable"
    with pytest.raises(ImageError, match="0 bytes"):
        probe_image(b"")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated(kind: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8))
    data = _encode(noise, kind)
    assert _slug(data[: max(int(len(data) * share), 12)]) == "media-unreadable"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", FORMATS)
def test_random_damage_never_raises_anything_else(rgb: UInt8Array, kind: str) -> None:
    data = _encode(Image.fromarray(rgb), kind)
    rng = np.random.default_rng(5)
    for _ in range(40):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), 6):
            broken[place] = rng.integers(0, 256)
        for read in (probe_image, read_image):
            with suppress(ImageError):
                read(bytes(broken))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"hello world, this is text", "not a known picture format"),
        (b"<!doctype html><html></html>", "HTML"),
        (b"\n <svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"PK\x03\x04" + bytes(60), "zip"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(60), "video"),
        (b"\x00\x00\x00\x20ftypheic" + bytes(60), "HEIC"),
        (b"\x00\x00\x00\x20ftypavif" + bytes(60), "AVIF"),
        (b"\x1aE\xdf\xa3" + bytes(60), "WebM"),
        (bytes(100), "not a known picture format"),
    ],
)
def test_other_kinds_of_files(data: bytes, what: str) -> None:
    assert _slug(data) == "unsupported-media"
    with pytest.raises(ImageError, match=what):
        probe_image(data)


def test_formats_of_pillow_that_are_not_ours(rgb: UInt8Array) -> None:
    assert _slug(_encode(Image.fromarray(rgb), "PPM")) == "unsupported-media"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    "signature", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\x00", b"RIFF\0\0\0\0WEBP"]
)
def test_a_signature_alone_is_no_picture(signature: bytes) -> None:
    assert _slug(signature + b"nothing of the kind") == "media-unreadable"


def _png(width: int, height: int, rows: bytes | None = None) -> bytes:
    """A tiny PNG file that says it has that many grey pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = rows or zlib.compress(bytes(min(width, 9000) + 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height"), [(9000, 9000), (30_000, 30_000), (2**31 - 1, 2**31 - 1), (1, 65_501), (70_000, 2)]
)
def test_giants_are_refused_by_their_header(width: int, height: int) -> None:
    data = _png(width, height)
    assert _slug(data) == "media-too-large"
    with pytest.raises(ImageError) as caught:
        probe_image(data)
    assert caught.value.slug == "media-too-large"


def test_the_limit_is_the_callers(rgb: UInt8Array) -> None:
    data = _encode(Image.fromarray(rgb), "PNG")
    assert probe_image(data, max_pixels=2400) == ImageInfo("PNG", 60, 40)
    assert _slug(data, max_pixels=2399) == "media-too-large"
    with pytest.raises(ImageError, match="60 x 40 pixels"):
        probe_image(data, max_pixels=2399)


def test_probing_does_not_decode() -> None:
    data = _png(8000, 8000, b"no pixels")
    assert probe_image(data) == ImageInfo("PNG", 8000, 8000)
    assert _slug(data) == "media-unreadable"


def test_the_smallest_picture() -> None:
    np.testing.assert_array_equal(read_image(_png(1, 1)), [[[0, 0, 0]]])
