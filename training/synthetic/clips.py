"""Clips of rendered faces whose expressions rise and fall in time, with exact labels for each frame."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
import numpy.typing as npt

from training.synthetic import camera
from training.synthetic.identity import Identity
from training.synthetic.noise import smooth_step
from training.synthetic.recipes import LABELLED
from training.synthetic.renderer import RenderedFace, Renderer
from training.synthetic.sampler import express
from training.synthetic.scene import Scene, plain_scene
from training.synthetic.seeds import stream

UInt8Array = npt.NDArray[np.uint8]
FRAMING = (0.0, -1.0, 27.0)  # a still camera on head and neck, in head units
FRAMES_AT_ONCE = 16
GRAIN = 0.006


@dataclass(frozen=True)
class Episode:
    """An expression that rises, stays and falls; times in seconds.

    Attributes:
        units: Action Unit -> intensity at the height.
        onset: when it begins to rise.
        apex: when it has risen.
        offset: when it begins to fall.
        end: when it is gone.
    """

    units: Mapping[int, float]
    onset: float
    apex: float
    offset: float
    end: float

    def level(self, seconds: float) -> float:
        """Return the share of the full expression at a time, 0 to 1."""
        rise = smooth_step(seconds, self.onset, self.apex)
        fall = smooth_step(seconds, self.end, self.offset)
        return float(rise * fall)


@dataclass(frozen=True)
class Actor:
    """A person in a clip.

    Attributes:
        identity: who it is.
        episodes: what the face does.
        sway: how far the head turns to and fro, degrees of yaw.
        blinks: times of the blinks, in seconds.
    """

    identity: Identity
    episodes: Sequence[Episode]
    sway: float = 8.0
    blinks: Sequence[float] = ()

    def units(self, seconds: float) -> dict[int, float]:
        """Return the intensity of each Action Unit at a time; episodes that overlap do not add up."""
        now: dict[int, float] = {}
        for episode in self.episodes:
            level = episode.level(seconds)
            for unit, intensity in episode.units.items():
                now[unit] = max(now.get(unit, 0.0), level * intensity)
        return now

    def blink(self, seconds: float) -> float:
        """Return how far the lids are closed, 0.05 to 1; a blink takes 0.3 seconds."""
        return max([0.05, *(1.0 - abs(seconds - time) / 0.15 for time in self.blinks)])

    def scene(self, seconds: float) -> Scene:
        """Return pose and light at a time."""
        phase = self.identity.number % 7
        return plain_scene(
            yaw=self.sway * float(np.sin(1.1 * seconds + phase)),
            pitch=0.35 * self.sway * float(np.sin(0.8 * seconds + 2 * phase)),
            roll=0.25 * self.sway * float(np.sin(0.6 * seconds + 3 * phase)),
            seed=self.identity.number,
        )


@dataclass(frozen=True)
class Clip:
    """Actors side by side.

    Attributes:
        actors: from left to right.
        seconds: length.
        frame_rate: frames per second.
        gap: from when to when nobody is there, in seconds.
    """

    actors: Sequence[Actor]
    seconds: float
    frame_rate: int = 25
    gap: tuple[float, float] | None = None

    @property
    def frames(self) -> int:
        """Return the number of frames."""
        return round(self.seconds * self.frame_rate)

    def empty(self, frame: int) -> bool:
        """Return whether a frame lies in the gap."""
        return self.gap is not None and self.gap[0] <= frame / self.frame_rate < self.gap[1]


def act(renderer: Renderer, actor: Actor, times: Sequence[float]) -> list[RenderedFace]:
    """Render an actor at times, seen by a camera that does not move."""
    person = renderer.paint(actor.identity)
    faces: list[RenderedFace] = []
    for start in range(0, len(times), FRAMES_AT_ONCE):
        part = times[start : start + FRAMES_AT_ONCE]
        expressions = [
            express(renderer.pack, actor.identity, actor.units(time), {"eyeBlink": actor.blink(time)}) for time in part
        ]
        scenes = [actor.scene(time) for time in part]
        faces += renderer.render(actor.identity, person, expressions, scenes, plain=True, framing=FRAMING)
    return faces


def render_clip(renderer: Renderer, clip: Clip, video: Path, labels: Path, quality: int = 24) -> None:
    """Render a clip and its labels.

    Args:
        renderer: its size is the height of the clip and the width of each actor's part.
        clip: what happens.
        video: an .mp4 file, H.264 (or MPEG-4 where the codec is missing).
        labels: a .csv file, see `write_labels`.
        quality: H.264 constant rate factor, lower is better.
    """
    shown = [frame for frame in range(clip.frames) if not clip.empty(frame)]
    times = [frame / clip.frame_rate for frame in shown]
    cast = [dict(zip(shown, act(renderer, actor, times), strict=True)) for actor in clip.actors]
    nobody = camera.to_bytes(camera.plain_background(renderer.size))
    pictures = [
        np.concatenate([faces[frame].pixels if frame in faces else nobody for faces in cast], 1)
        for frame in range(clip.frames)
    ]
    _write_video(video, pictures, clip.frame_rate, quality)
    write_labels(labels, cast, clip.frame_rate, renderer.size)


def write_labels(path: Path, cast: Sequence[Mapping[int, RenderedFace]], frame_rate: int, size: int) -> None:
    """Write one row per frame and face: frame, pts_ms, face (0 is the leftmost), then as in `write_table`.

    Args:
        path: a .csv file.
        cast: each actor's faces by frame, from left to right.
        frame_rate: frames per second.
        size: width of each actor's part of the picture, in pixels.
    """
    rows = [
        ([str(frame), f"{1000 * frame / frame_rate:.3f}", str(number)], _shifted(faces[frame], number * size))
        for frame in sorted(set().union(*cast))
        for number, faces in enumerate(cast)
        if frame in faces
    ]
    write_table(path, ["frame", "pts_ms", "face"], rows)


def write_table(path: Path, names: Sequence[str], rows: Sequence[tuple[Sequence[str], RenderedFace]]) -> None:
    """Write a table of faces: the columns `names`, then left, top, right, bottom (the landmarks' box in pixels), then
    `AU1` ... 1, 0 or empty where the picture does not decide it, and `AU1_intensity` ... 0 to 1.
    """
    codes = [f"AU{unit}" for unit in LABELLED]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, "left", "top", "right", "bottom", *codes, *(f"{code}_intensity" for code in codes)])
        writer.writerows([*values, *_columns(face)] for values, face in rows)


def _shifted(face: RenderedFace, right: int) -> RenderedFace:
    return replace(face, landmarks=face.landmarks + np.array([right, 0], np.float32))


def _columns(face: RenderedFace) -> list[str]:
    box = [f"{value:.1f}" for value in (*face.landmarks.min(0), *face.landmarks.max(0))]
    decided = zip(face.labels.occurrence.tolist(), face.labels.weight.tolist(), strict=True)
    occurrence = [str(seen) if weight else "" for seen, weight in decided]
    return [*box, *occurrence, *(f"{intensity:.3f}" for intensity in face.labels.intensity.tolist())]


def _write_video(path: Path, pictures: Sequence[UInt8Array], frame_rate: int, quality: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    codec: Literal["libx264", "mpeg4"] = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    options = {"crf": str(quality), "preset": "slow"} if codec == "libx264" else {"qscale": "4"}
    rng = stream(0, "clip")
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=Fraction(frame_rate), options=options)
        track.height, track.width = pictures[0].shape[:2]
        track.pix_fmt = "yuv420p"
        for picture in pictures:
            grainy = picture / np.float32(255) + rng.standard_normal(picture.shape[:2], np.float32)[..., None] * GRAIN
            frame = av.VideoFrame.from_ndarray(camera.to_bytes(grainy), format="rgb24")
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
