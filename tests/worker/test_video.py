from __future__ import annotations

import os
import shutil
import struct
import wave
import zlib
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from model.values import UInt8Array
from worker.errors import VideoError
from worker.video import VideoReader, probe_video

WriteClip = Callable[..., Path]


def _pictures(count: int, height: int = 48, width: int = 64) -> list[UInt8Array]:
    """Pictures that tell their number by brightness, with a red top left and a blue top right corner."""
    pictures = []
    for number in range(count):
        rgb = np.full((height, width, 3), 40 + 5 * (number % 40), np.uint8)
        rgb[: height // 3, : width // 3] = (230, 20, 20)
        rgb[: height // 3, -(width // 3) :] = (20, 20, 230)
        pictures.append(rgb)
    return pictures


def _colour(rgb: UInt8Array, corner: str) -> str:
    rows = slice(2, 8) if "top" in corner else slice(-8, -2)
    columns = slice(2, 8) if "left" in corner else slice(-8, -2)
    red, _, blue = rgb[rows, columns].reshape(-1, 3).mean(axis=0)
    return "red" if red > blue + 60 else "blue" if blue > red + 60 else "grey"


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {}),
        ("a.mkv", "libx264", {"bf": "2", "preset": "fast"}),
        ("a.avi", "mpeg4", {}),
        ("a.webm", "libvpx-vp9", {"cpu-used": "8"}),
        ("a.mov", "libx265", {"x265-params": "log-level=none"}),
        ("a.ts", "libx264", {}),
    ],
)
def test_every_picture_with_its_time(
    tmp_path: Path, write_clip: WriteClip, name: str, codec: str, options: dict[str, str]
) -> None:
    path = write_clip(tmp_path / name, _pictures(30), codec=codec, options=options)
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        assert (reader.info.width, reader.info.height, reader.info.rotation) == (64, 48, 0)
        assert reader.info.fps == pytest.approx(25)
        assert reader.warnings == []
    assert [frame.index for frame in frames] == list(range(30))
    assert [frame.pts_ms for frame in frames] == pytest.approx([40 * n for n in range(30)], abs=0.51)
    for number, frame in enumerate(frames):
        assert frame.rgb.shape == (48, 64, 3)
        assert frame.rgb[40, 32].mean() == pytest.approx(40 + 5 * number, abs=6)
        assert (_colour(frame.rgb, "top left"), _colour(frame.rgb, "top right")) == ("red", "blue")


def test_a_variable_rate_keeps_its_times(tmp_path: Path, write_clip: WriteClip) -> None:
    times = [0, 10, 35, 300, 310, 1000, 1033]
    path = write_clip(tmp_path / "vfr.mp4", _pictures(7), pts_ms=times)
    with VideoReader(path) as reader:
        assert [frame.pts_ms for frame in reader.frames()] == times


def test_times_count_from_the_start_of_the_stream(tmp_path: Path, write_clip: WriteClip) -> None:
    path = write_clip(tmp_path / "late.mkv", _pictures(3), pts_ms=[5000, 5040, 5080])
    with VideoReader(path) as reader:
        assert [frame.pts_ms for frame in reader.frames()] == [0, 40, 80]


@pytest.mark.parametrize(
    ("rotation", "hflip", "size", "red", "blue"),
    [
        (0, False, (64, 48), "top left", "top right"),
        (90, False, (48, 64), "bottom left", "top left"),  # counter-clockwise
        (180, False, (64, 48), "bottom right", "bottom left"),
        (270, False, (48, 64), "top right", "bottom right"),
        (0, True, (64, 48), "top right", "top left"),
        (90, True, (48, 64), "bottom right", "top right"),
    ],
)
def test_pictures_are_upright(
    tmp_path: Path, write_clip: WriteClip, rotation: int, hflip: bool, size: tuple[int, int], red: str, blue: str
) -> None:
    path = write_clip(tmp_path / "turned.mp4", _pictures(2), rotation=rotation, hflip=hflip)
    with VideoReader(path) as reader:
        first = next(iter(reader.frames()))
        assert (reader.info.width, reader.info.height) == size == first.rgb.shape[1::-1]
        assert reader.info.rotation == (360 - rotation) % 360
    corners = [f"{row} {column}" for row in ("top", "bottom") for column in ("left", "right")]
    assert {corner: _colour(first.rgb, corner) for corner in corners} == dict.fromkeys(corners, "grey") | {
        red: "red",
        blue: "blue",
    }


def test_pixels_are_made_square(tmp_path: Path, write_clip: WriteClip) -> None:
    info = probe_video(write_clip(tmp_path / "wide.mp4", _pictures(2), aspect=Fraction(3, 2)))
    assert (info.width, info.height) == (96, 48)


@pytest.mark.parametrize(
    "options",
    [
        {"bf": "0", "g": "25"},
        {"bf": "3", "g": "30", "preset": "medium"},
        {"bf": "3", "preset": "medium", "x264-params": "keyint=30:open-gop=1:scenecut=0"},
        {"g": "1000"},
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_going_on_gives_the_same_pictures(
    tmp_path: Path, write_clip: WriteClip, name: str, options: dict[str, str]
) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (48, 64 + 400, 3), np.uint8)
    path = write_clip(tmp_path / name, (noise[:, n : n + 64] for n in range(400)), options=options)
    with VideoReader(path) as reader:
        whole = list(reader.frames())
    for start in (0, 1, 199, 230, 241, 399, 400):
        with VideoReader(path) as reader:
            last = whole[start - 1].pts_ms if start else None
            rest = list(reader.frames(start, last))
        assert [(f.index, f.pts_ms) for f in rest] == [(f.index, f.pts_ms) for f in whole[start:]]
        assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(rest, whole[start:], strict=True))


def test_a_clip_that_goes_on_at_its_very_end_is_not_called_cut_off(tmp_path: Path, write_clip: WriteClip) -> None:
    """The worker may have died after the last picture, before the job's end."""
    path = write_clip(tmp_path / "a.mp4", _pictures(300))
    with VideoReader(path) as reader:
        times = [frame.pts_ms for frame in reader.frames()]
        assert reader.warnings == []
    for last in (300, 298):
        with VideoReader(path) as reader:
            assert [frame.index for frame in reader.frames(last, times[last - 1])] == list(range(last, 300))
            assert reader.warnings == []


def test_a_wrong_time_is_no_way_to_go_on(tmp_path: Path, write_clip: WriteClip) -> None:
    path = write_clip(tmp_path / "a.mp4", _pictures(250), options={"g": "10"})
    with VideoReader(path) as reader:
        assert [frame.index for frame in reader.frames(220, last_pts_ms=219 * 40 + 13.0)] == list(range(220, 250))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_a_truncated_clip_gives_what_it_holds(tmp_path: Path, write_clip: WriteClip, name: str) -> None:
    rng = np.random.default_rng(0)
    pictures = (rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(100))
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    muxer = {"movflags": "faststart"} if name.endswith("mp4") else {}
    path = write_clip(tmp_path / name, pictures, codec=codec, options={"g": "10"}, container_options=muxer)
    os.truncate(path, path.stat().st_size * 6 // 10)
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        assert 40 <= len(frames) <= 70
        assert [frame.index for frame in frames] == list(range(len(frames)))
        if name != "a.ts":  # a transport stream announces nothing that could be missed
            assert reader.warnings


def test_damage_in_the_middle_is_passed_over(tmp_path: Path, write_clip: WriteClip) -> None:
    rng = np.random.default_rng(0)
    pictures = (rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(60))
    path = write_clip(tmp_path / "a.mp4", pictures, options={"g": "10"}, container_options={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20000] = bytes(20000)
    path.write_bytes(data)
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        assert 30 <= len(frames) <= 60
        assert reader.warnings
    assert all(first.pts_ms < second.pts_ms for first, second in pairwise(frames))


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(52))) + chunk(b"IEND", b"")
    )


def _playlist(target: Path) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{target}\n#EXT-X-ENDLIST\n".encode()


@pytest.mark.parametrize(
    ("name", "content", "slug"),
    [
        ("empty.mp4", b"", "media-unreadable"),
        ("noise.mp4", np.random.default_rng(0).bytes(20000), "media-unreadable"),
        ("text.mp4", b"hello world\n" * 100, "media-unreadable"),
        ("png.mp4", _png(), "unsupported-media"),
        ("list.ffconcat", b"ffconcat version 1.0\nfile 'secret.mp4'\n", "unsupported-media"),
    ],
    ids=["empty", "noise", "text", "png", "ffconcat"],
)
def test_what_is_no_clip_is_refused(tmp_path: Path, name: str, content: bytes, slug: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError) as caught:
        probe_video(tmp_path / name)
    assert caught.value.slug == slug
    assert str(tmp_path) not in caught.value.detail


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4"])
def test_a_playlist_cannot_name_another_file(tmp_path: Path, write_clip: WriteClip, name: str) -> None:
    secret = write_clip(tmp_path / "secret.ts", _pictures(5))
    (tmp_path / name).write_bytes(_playlist(secret))
    with pytest.raises(VideoError) as caught:
        probe_video(tmp_path / name)
    assert caught.value.slug in ("unsupported-media", "media-unreadable")


def test_sound_without_pictures_is_refused(tmp_path: Path) -> None:
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(VideoError, match="no video stream") as caught:
        probe_video(path)
    assert caught.value.slug == "unsupported-media"
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    with pytest.raises(VideoError):
        probe_video(tmp_path / "sound.wav")


def test_a_clip_without_its_index_is_refused(tmp_path: Path, write_clip: WriteClip) -> None:
    path = write_clip(tmp_path / "a.mp4", _pictures(50))  # the index of an ordinary MP4 is its tail
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(VideoError) as caught:
        probe_video(path)
    assert caught.value.slug == "media-unreadable"


def test_a_renamed_clip_is_read(tmp_path: Path, write_clip: WriteClip) -> None:
    path = write_clip(tmp_path / "a.mkv", _pictures(3))
    shutil.move(path, tmp_path / "a.jpg")
    assert probe_video(tmp_path / "a.jpg").container == "matroska,webm"


def test_limits(tmp_path: Path, write_clip: WriteClip) -> None:
    path = write_clip(tmp_path / "a.mp4", _pictures(50))
    assert probe_video(path, max_seconds=2, max_pixels=64 * 48).frames == 50
    with pytest.raises(VideoError) as caught:
        probe_video(path, max_seconds=1)
    assert caught.value.slug == "media-too-long"
    with pytest.raises(VideoError) as caught:
        probe_video(path, max_pixels=64 * 48 - 1)
    assert caught.value.slug == "media-too-large"


def test_a_clip_that_hides_its_length_is_stopped(tmp_path: Path, write_clip: WriteClip) -> None:
    path = write_clip(tmp_path / "a.h264", _pictures(100))  # a raw stream announces no duration
    with VideoReader(path, max_seconds=2) as reader, pytest.raises(VideoError) as caught:
        list(reader.frames())
    assert caught.value.slug == "media-too-long"
