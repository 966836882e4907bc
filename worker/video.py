"""Clips to frames with PyAV: upright RGB pictures with the container's own time stamps.

A clip is hostile input. It is opened as a plain local file: only the `file` protocol and only container formats that
hold their own data (no playlists, no concatenation scripts, no image sequences, no devices), so that no file can make
the worker read another file or the network.

Presentation times are those of the container in milliseconds, relative to the start of the video stream, never n/fps.
Pictures are upright (display matrix applied) and have square pixels, as a player shows them.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, cast

import av
import av.error
from av.stream import Disposition

from model.values import Frame, UInt8Array
from worker.errors import VideoError
from worker.orientation import orientation_of

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,ogg,flv,asf,gif,mxf,ivf,nut,dv,m4v,h264,hevc,mpegvideo,wtv"
)
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
_SEEK_FROM_FRAME = 200  # nearer frames are reached sooner by decoding from the start
_SEEK_MARGIN_SECONDS = 1
_KNOWN_DURATION_SLACK = (1000.0, 0.05)  # sound may outlast the pictures by so many ms plus so large a share


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What is known of a clip before it is decoded.

    Attributes:
        width: of the upright picture with square pixels.
        height: of the same.
        rotation: degrees clockwise by which the stored pictures are turned to be upright: 0, 90, 180 or 270.
        frames: the container's count, or an estimate from duration and rate; None when neither is known.
        duration_ms: None when the container does not say.
        fps: average rate; None when unknown. Times never come from it.
        codec: FFmpeg's name, "h264".
        container: FFmpeg's name, "mov,mp4,m4a,3gp,3g2,mj2".
    """

    width: int
    height: int
    rotation: int
    frames: int | None
    duration_ms: float | None
    fps: float | None
    codec: str
    container: str


def probe_video(path: Path, *, max_seconds: float | None = None, max_pixels: int | None = None) -> VideoInfo:
    """Open a clip and decode its first picture.

    Raises:
        VideoError: as `VideoReader`.
    """
    with VideoReader(path, max_seconds=max_seconds, max_pixels=max_pixels) as reader:
        return reader.info


class VideoReader:
    """An open clip; use it in a `with` block.

    Attributes:
        info: what is known of the clip.
        warnings: after `frames` has ended: what was wrong with the file though it could be read, for the client.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_seconds: float | None = None,
        max_pixels: int | None = None,
        threads: int = 0,
    ) -> None:
        """Open it and decode the first picture.

        Args:
            path: a local file.
            max_seconds: longer clips are refused, by the container's word at once, else when the time is reached.
            max_pixels: larger pictures are refused.
            threads: decoder threads, 0 for one per core.

        Raises:
            VideoError: `media-unreadable` (damaged, empty, no clip at all), `unsupported-media` (a format that is
                not accepted, no video stream), `media-too-large` (pictures), `media-too-long`.
        """
        self._path = path
        self._max_seconds, self._max_pixels, self._threads = max_seconds, max_pixels, threads
        self.warnings: list[str] = []
        self._ends_ms = 0.0
        self._container: InputContainer | None = None
        try:
            self._open()
            first = next(self._decoded(), None)
            if first is None:
                raise VideoError("media-unreadable", "no picture of the clip can be decoded; the file is damaged")
            self._orientation = orientation_of(first)
            self.info = self._describe(first)
            self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def frames(
        self,
        start: int = 0,
        last_pts_ms: float | None = None,
        on_activity: Callable[[], None] = lambda: None,
    ) -> Iterator[Frame]:
        """The pictures from number `start` on, to be called once.

        A file that breaks off or holds damaged pieces gives what can be decoded, and `warnings` says so afterwards.

        Args:
            start: number of the first picture wanted; numbers count decoded pictures from 0, whatever `start` is.
            last_pts_ms: `Frame.pts_ms` of picture `start - 1` from an earlier run. With it a far start is reached by
                a seek, where that provably gives the same pictures; without it by decoding what comes before.
            on_activity: called for every picture, those before `start` included.

        Raises:
            VideoError: the clip is longer or larger than allowed.
        """
        pictures: Iterator[VideoFrame] | None = None
        index = 0
        if start >= _SEEK_FROM_FRAME and last_pts_ms is not None:
            pictures = self._seek_past(last_pts_ms)
            if pictures is not None:
                index, self._ends_ms = start, last_pts_ms + self._frame_ms
        for picture in pictures if pictures is not None else self._decoded():
            pts_ms = self._pts_ms(picture)
            if self._max_seconds is not None and pts_ms > self._max_seconds * 1000:
                raise _too_long(self._max_seconds)
            if index >= start:
                yield Frame(index, pts_ms, self._upright(picture))
            index += 1
            on_activity()
            self._ends_ms = max(self._ends_ms, pts_ms + self._frame_ms)
        self._judge_end(index)

    def _open(self) -> None:
        self.close()
        try:
            self._container = av.open(str(self._path.absolute()), options=dict(_OPTIONS))
        except av.error.ArgumentError as error:  # a demuxer outside the white list
            raise VideoError(
                "unsupported-media",
                "this kind of file is not accepted as a clip; pictures go to `roigcn detect` or POST /detect",
            ) from error
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise VideoError("media-unreadable", f"the file cannot be opened as a clip: {_reason(error)}") from error
        streams = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            raise VideoError("unsupported-media", "the file holds no video stream")
        best = self._container.streams.best("video")
        self._stream: VideoStream = next((s for s in streams if s is best), streams[0])
        self._check_limits(self._stream)
        context = self._stream.codec_context
        context.thread_type = "AUTO"
        context.thread_count = self._threads
        self._time_base = self._stream.time_base or Fraction(1, 1000)
        self._origin = self._stream.start_time
        rate = self._stream.average_rate or self._stream.guessed_rate
        self._frame_ms = float(1000 / rate) if rate else 40.0
        self._ends_ms = 0.0
        self._damaged = 0
        self._discarded = 0
        self._broke_off = ""
        self._untimed_ms = -self._frame_ms

    def _check_limits(self, stream: VideoStream) -> None:
        context = stream.codec_context
        if self._max_pixels is not None:
            context.options = {"max_pixels": str(self._max_pixels)}  # the decoder's own limit, for streams that lie
            if context.width * context.height > self._max_pixels:
                size = f"{context.width} x {context.height}"
                raise VideoError("media-too-large", f"the pictures are larger ({size}) than allowed")
        duration_ms = self._duration_ms(stream)
        if self._max_seconds is not None and duration_ms is not None and duration_ms > self._max_seconds * 1000:
            raise _too_long(self._max_seconds)

    def _decoded(self) -> Iterator[VideoFrame]:
        """All pictures that can be decoded, from where the container stands."""
        assert self._container is not None, "the reader is closed"
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                self._broke_off = _reason(error)
                packet = None
            if packet is None:
                break
            self._discarded += packet.is_discard
            self._damaged += packet.is_corrupt
            try:
                pictures = packet.decode()
            except av.error.EOFError:
                break
            except (av.error.FFmpegError, ValueError):
                self._damaged += 1
                continue
            yield from pictures
        if self._broke_off:
            with contextlib.suppress(av.error.FFmpegError):
                yield from self._stream.decode(None)  # what the decoder still holds

    def _seek_past(self, last_pts_ms: float) -> Iterator[VideoFrame] | None:
        """The pictures after the one at `last_pts_ms`, by a seek; None (from the start) where it is not sure.

        Sure means: a key picture at or before that one was decoded after the seek (later pictures do not depend on
        anything before it), and the picture itself came by with exactly its time stamp.
        """
        assert self._container is not None, "the reader is closed"
        last = round(Fraction(last_pts_ms) / 1000 / self._time_base) + (self._origin or 0)
        target = max(last - math.ceil(_SEEK_MARGIN_SECONDS / self._time_base), 0)
        try:
            self._container.seek(target, stream=self._stream, backward=True)
            pictures = self._decoded()
            seen_key = False
            for picture in pictures:
                if picture.pts is None or picture.pts > last:
                    break
                seen_key = seen_key or picture.key_frame
                if picture.pts == last and seen_key and self._pts_ms(picture) == last_pts_ms:
                    return pictures
        except (av.error.FFmpegError, OSError):
            pass
        self._open()
        return None

    def _pts_ms(self, picture: VideoFrame) -> float:
        if picture.pts is None:  # a raw stream without time stamps: the nominal rate is all there is
            self._untimed_ms += self._frame_ms
            return self._untimed_ms
        if self._origin is None:
            self._origin = picture.pts
        self._untimed_ms = float((picture.pts - self._origin) * self._time_base * 1000)
        return self._untimed_ms

    def _upright(self, picture: VideoFrame) -> UInt8Array:
        """The picture as a player shows it, at the size that `info` says even if the stream changes its size."""
        size = (self.info.width, self.info.height)
        width, height = size[::-1] if self._orientation.transposed else size
        flat = picture.reformat(width=width, height=height, format="rgb24")
        return self._orientation.apply(cast(UInt8Array, flat.to_ndarray()))

    def _describe(self, first: VideoFrame) -> VideoInfo:
        stream = self._stream
        aspect = stream.sample_aspect_ratio
        wide = float(aspect) if aspect and 0.2 < aspect < 5 else 1.0
        width, height = max(round(first.width * wide), 1), first.height
        if self._orientation.transposed:
            width, height = height, width
        duration_ms = self._duration_ms(stream)
        rate = stream.average_rate or stream.guessed_rate
        estimate = round(duration_ms / 1000 * rate) if duration_ms and rate else None
        assert self._container is not None
        return VideoInfo(
            width=width,
            height=height,
            rotation=self._orientation.degrees,
            frames=stream.frames or estimate,
            duration_ms=duration_ms,
            fps=float(rate) if rate else None,
            codec=stream.codec_context.name,
            container=self._container.format.name,
        )

    def _duration_ms(self, stream: VideoStream) -> float | None:
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base * 1000)
        assert self._container is not None
        return None if self._container.duration is None else self._container.duration / 1000  # microseconds

    def _judge_end(self, frames: int) -> None:
        """Say what was wrong with the file, once all that can be decoded has been."""
        announced = self._stream.frames - self._discarded
        slack_ms, slack_share = _KNOWN_DURATION_SLACK
        if self._broke_off:
            self.warnings.append(f"the file breaks off after {frames} pictures ({self._broke_off})")
        elif 0 < frames < announced and self._discarded == 0:
            self.warnings.append(f"the file announces {announced} pictures, {frames} could be decoded")
        elif self.info.duration_ms and self.info.duration_ms * (1 - slack_share) - slack_ms > self._ends_ms:
            seconds, end = self.info.duration_ms / 1000, self._ends_ms / 1000
            self.warnings.append(f"the file announces {seconds:.1f} s, its pictures end at {end:.1f} s")
        if self._damaged:
            self.warnings.append(f"{self._damaged} damaged pieces of the file were passed over")


def _too_long(max_seconds: float) -> VideoError:
    return VideoError("media-too-long", f"the clip is longer than the {max_seconds:g} s allowed")


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return str(text).lower()
