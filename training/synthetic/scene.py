"""Where a face stands: pose, camera, light and the sensor's flaws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.synthetic.pack import FloatArray


@dataclass(frozen=True, eq=False)
class Scene:
    """One picture's surroundings.

    Attributes:
        yaw, pitch, roll: head angles in degrees; positive yaw turns the nose to the picture's right, positive pitch
            lowers it, positive roll turns the head anticlockwise in the picture.
        distance: camera to head centre in head units (about 1 cm), 40 to 130: near cameras widen the nose.
        lights: (2, 3) unit vectors from the face to the two lights.
        light_colours: (2, 3) linear RGB strengths.
        ambient: (3,) linear RGB strength of light from everywhere.
        seed: of background, grain and compression.
    """

    yaw: float
    pitch: float
    roll: float
    distance: float
    lights: FloatArray
    light_colours: FloatArray
    ambient: FloatArray
    seed: int


def draw_scene(rng: np.random.Generator, yaw_spread: float = 15.0) -> Scene:
    """Draw pose (yaw to 45 degrees), camera distance, two lights and ambient light."""
    main = _direction(rng.uniform(-75, 75), rng.uniform(-5, 60))
    fill = _direction(rng.uniform(-110, 110), rng.uniform(-20, 50))
    strength = rng.uniform(0.45, 1.1)
    tint = _tint(rng, 0.06)
    return Scene(
        yaw=float(np.clip(rng.normal(0, yaw_spread), -45, 45)),
        pitch=float(np.clip(rng.normal(0, 9), -24, 24)),
        roll=float(np.clip(rng.normal(0, 6), -25, 25)),
        distance=float(rng.uniform(42, 125)),
        lights=np.stack([main, fill]).astype(np.float32),
        light_colours=np.stack(
            [strength * tint, strength * rng.uniform(0.1, 0.55) * _tint(rng, 0.10)],
        ).astype(np.float32),
        ambient=(rng.uniform(0.26, 0.58) * _tint(rng, 0.03)).astype(np.float32),
        seed=int(rng.integers(1 << 31)),
    )


def plain_scene(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, seed: int = 0) -> Scene:
    """Return an evenly lit scene for contact sheets, examples and clips."""
    return Scene(
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        distance=80.0,
        lights=np.stack([_direction(-35, 35), _direction(60, 10)]).astype(np.float32),
        light_colours=np.array([[0.80, 0.78, 0.74], [0.22, 0.23, 0.26]], np.float32),
        ambient=np.full(3, 0.42, np.float32),
        seed=seed,
    )


def rotation(scene: Scene) -> FloatArray:
    """Return (3, 3) float32, the head's rotation: pitch about x, then yaw about y, then roll about z."""
    y, x, z = np.deg2rad([scene.yaw, scene.pitch, scene.roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x, np.float32)


def _direction(azimuth: float, elevation: float) -> FloatArray:
    a, e = np.deg2rad([azimuth, elevation])
    return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)], np.float32)


def _tint(rng: np.random.Generator, spread: float) -> FloatArray:
    """Return a colour on the line from warm to cool, of mean 1."""
    warm = rng.normal(0, spread)
    return np.array([1 + warm, 1.0, 1 - warm], np.float32)
