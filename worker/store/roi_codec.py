"""The stored form of ROI maps: 16 levels over the maps' own range, two pixels a byte, zstd.

An encoded block is self-contained: header (version, K, H, W, low, high as little-endian `<BHHHff`), then the zstd
frame of the 4-bit levels. The error is at most half a level, (high - low) / 30. Maps of 12 AUs at
64x64 take about 4 kB, at 32x32 about 1.5 kB.
"""

from __future__ import annotations

import struct
import threading

import numpy as np
import zstandard

from model.values import Float32Array

CODEC_ZSTD4 = 1  # value of `roi_maps.codec`
LEVELS = 16
_HEADER = struct.Struct("<BHHHff")
_MAX_PIXELS = 64 * 512 * 512
_local = threading.local()


class RoiCodecError(ValueError):
    """The block is no encoded set of ROI maps."""


def encode(maps: Float32Array, level: int = 3) -> bytes:
    """Encode (K, H, W) maps. NaN counts as the lowest value; an empty or constant set is exact."""
    maps = np.asarray(maps, np.float32)
    if maps.ndim != 3 or maps.size > _MAX_PIXELS or max(maps.shape, default=0) > 0xFFFF:
        raise RoiCodecError(f"ROI maps have shape (K, H, W), not {maps.shape}")
    finite = np.isfinite(maps)
    low, high = (float(maps.min(where=finite, initial=np.inf)), float(maps.max(where=finite, initial=-np.inf)))
    if not finite.any():
        low = high = 0.0
    step = (high - low) / (LEVELS - 1)
    levels = np.zeros(maps.size, np.uint8)
    if step > 0:
        scaled = (np.nan_to_num(maps, nan=low, posinf=high, neginf=low).ravel() - np.float32(low)) / np.float32(step)
        levels = np.clip(np.rint(scaled), 0, LEVELS - 1).astype(np.uint8)
    if levels.size % 2:
        levels = np.append(levels, np.uint8(0))
    packed = levels[0::2] | (levels[1::2] << 4)
    return _HEADER.pack(1, *maps.shape, low, high) + _compressor(level).compress(packed.tobytes())


def decode(data: bytes, codec: int = CODEC_ZSTD4) -> Float32Array:
    """Decode to (K, H, W) float32.

    Raises:
        RoiCodecError: unknown codec, truncated or foreign block.
    """
    if codec != CODEC_ZSTD4 or len(data) < _HEADER.size or data[0] != 1:
        raise RoiCodecError(f"unknown codec {codec} of ROI maps, or a foreign block of {len(data)} bytes")
    _, count, height, width, low, high = _HEADER.unpack_from(data)
    pixels = count * height * width
    if pixels > _MAX_PIXELS:
        raise RoiCodecError(f"a block of ROI maps claims {count} x {height} x {width} pixels")
    try:
        packed = zstandard.ZstdDecompressor().decompress(data[_HEADER.size :], max_output_size=(pixels + 1) // 2)
    except zstandard.ZstdError as error:
        raise RoiCodecError(f"broken block of ROI maps: {error}") from error
    pairs = np.frombuffer(packed, np.uint8)
    if pairs.size != (pixels + 1) // 2:
        raise RoiCodecError(f"a block of ROI maps holds {pairs.size} bytes, not {(pixels + 1) // 2}")
    levels = np.stack([pairs & 15, pairs >> 4], axis=1).ravel()[:pixels]
    values = np.float32(low) + levels.astype(np.float32) * np.float32((high - low) / (LEVELS - 1))
    return values.reshape(count, height, width)


def _compressor(level: int) -> zstandard.ZstdCompressor:
    """One compressor a thread: making one costs more than a small block does, and they are not thread-safe."""
    compressors: dict[int, zstandard.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
    if level not in compressors:
        compressors[level] = zstandard.ZstdCompressor(level=level)
    return compressors[level]
