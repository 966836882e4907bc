"""The example pictures and clips that the documentation and the tests use: `roigcn render-examples` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training.synthetic.clips import Actor, Clip, Episode, render_clip, write_table
from training.synthetic.contact import save_picture
from training.synthetic.identity import draw_identity
from training.synthetic.pack import FacePack
from training.synthetic.renderer import RenderedFace, Renderer
from training.synthetic.sampler import express
from training.synthetic.scene import plain_scene

PICTURE_SIZE = 512
CLIP_SIZE = 320
SEED = 0


@dataclass(frozen=True)
class Portrait:
    """An example picture: who, what the face does and how far the head is turned."""

    person: int
    units: Mapping[int, float]
    yaw: float


PORTRAITS: Mapping[str, Portrait] = {
    "neutral": Portrait(20, {}, 6.0),
    "smile": Portrait(47, {6: 0.8, 12: 0.9, 25: 0.7}, -8.0),
    "surprise": Portrait(31, {1: 0.9, 2: 0.9, 5: 0.6, 25: 0.7, 26: 0.8}, 5.0),
    "anger": Portrait(41, {4: 1.0, 7: 0.8, 23: 0.8}, 10.0),
    "disgust": Portrait(7, {4: 0.5, 9: 1.0, 10: 0.6, 25: 0.3}, -5.0),
    "sadness": Portrait(44, {1: 0.9, 4: 0.6, 15: 0.9, 17: 0.5}, 0.0),
}
LEFT_PERSON, RIGHT_PERSON = 45, 31


def two_faces(pack: FacePack) -> Clip:
    """Return the clip of two people, five seconds long, between 2.4 and 3.0 seconds nobody is there."""
    left = Actor(
        draw_identity(pack, SEED, "train", LEFT_PERSON),
        (
            Episode({6: 0.8, 12: 0.95, 25: 0.7}, 0.3, 0.9, 1.5, 2.2),
            Episode({4: 1.0, 7: 0.8, 9: 0.6}, 3.2, 3.7, 4.2, 4.8),
        ),
        blinks=(0.15, 3.1),
    )
    right = Actor(
        draw_identity(pack, SEED, "train", RIGHT_PERSON),
        (
            Episode({1: 0.95, 2: 0.95, 5: 0.5, 25: 0.7, 26: 0.8}, 0.7, 1.1, 1.6, 2.1),
            Episode({15: 1.0, 17: 0.9}, 3.2, 3.8, 4.3, 4.9),
        ),
        sway=10.0,
        blinks=(0.4, 2.3),
    )
    return Clip((left, right), seconds=5.0, gap=(2.4, 3.0))


def render_portraits(pack: FacePack, folder: Path, size: int = PICTURE_SIZE, raster: str = "auto") -> list[Path]:
    """Render the example pictures and a table of their labels into `folder` and return the paths."""
    renderer = Renderer(pack, size, raster)
    faces: dict[str, RenderedFace] = {}
    for name, portrait in PORTRAITS.items():
        identity = draw_identity(pack, SEED, "train", portrait.person)
        expression = express(pack, identity, portrait.units, {"eyeBlink": 0.05})
        scene = plain_scene(yaw=portrait.yaw, seed=portrait.person)
        (face,) = renderer.render(identity, renderer.paint(identity), [expression], [scene], plain=True)
        faces[name] = face
    written = [folder / f"{name}.jpg" for name in faces]
    for path, face in zip(written, faces.values(), strict=True):
        save_picture(path, face.pixels, quality=88)
    write_table(
        folder / "labels.csv",
        ["picture"],
        [([path.name], face) for path, face in zip(written, faces.values(), strict=True)],
    )
    return [*written, folder / "labels.csv"]


def render_clips(pack: FacePack, folder: Path, size: int = CLIP_SIZE, raster: str = "auto") -> list[Path]:
    """Render the example clip and its labels into `folder` and return their paths."""
    video, labels = folder / "two_faces.mp4", folder / "two_faces.csv"
    render_clip(Renderer(pack, size, raster), two_faces(pack), video, labels)
    return [video, labels]
