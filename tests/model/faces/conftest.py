"""One finder for all tests of this folder, the photo, and pictures and clips made of it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import skimage.data

from model.faces.finder import FaceFinder
from model.values import UInt8Array

HEAD = 160  # side of the pictures that `heads` gives and `Stage.put` pastes


@pytest.fixture(scope="session")
def finder() -> FaceFinder:
    return FaceFinder(threads=1)


@pytest.fixture(scope="session")
def photo() -> UInt8Array:
    """(512, 512, 3): one smiling face, the mesh spans x 179 to 271 and y 69 to 178."""
    picture = np.asarray(skimage.data.astronaut())
    picture.setflags(write=False)
    return picture


@pytest.fixture(scope="session")
def heads(photo: UInt8Array) -> tuple[UInt8Array, UInt8Array]:
    """Two people: the astronaut, and someone mirrored, with a longer face, darker skin and white hair."""
    one = cv2.resize(photo[20:240, 112:332], (HEAD, HEAD), interpolation=cv2.INTER_AREA)
    other = cv2.resize(np.ascontiguousarray(one[:, ::-1]), (HEAD, HEAD + 16))[:HEAD]
    other = np.clip(other * [0.62, 0.52, 0.5], 0, 255).astype(np.uint8)
    hair = np.zeros((HEAD, HEAD, 1))
    cv2.ellipse(hair, (HEAD // 2, 76), (58, 76), 0, 0, 360, (1,), -1)
    cv2.ellipse(hair, (HEAD // 2, 92), (42, 60), 0, 0, 360, (0,), -1)
    hair = cv2.GaussianBlur(hair, (9, 9), 0)[..., None]
    other = (other * (1 - hair) + 235 * hair).astype(np.uint8)
    return one, other


class Stage:
    """Frames of 480 x 320 with heads pasted on a photo of a thing."""

    def __init__(self, heads: tuple[UInt8Array, UInt8Array]) -> None:
        self._heads = heads
        self.backgrounds = tuple(
            np.asarray(cv2.resize(picture, (480, 320)), np.uint8)
            for picture in (skimage.data.coffee(), np.ascontiguousarray(skimage.data.chelsea()[::-1]))
        )
        yy, xx = np.mgrid[:HEAD, :HEAD] / (HEAD - 1) * 2 - 1
        self._mask = np.clip(12 * (1 - np.hypot(xx / 0.85, yy)), 0, 1)[..., None]

    def frame(self, *placed: tuple[int, float, float], background: int = 0) -> UInt8Array:
        """A frame with heads (person, left, top); later ones stand in front."""
        canvas = np.pad(self.backgrounds[background], ((HEAD, HEAD), (HEAD, HEAD), (0, 0)), mode="edge")
        for person, left, top in placed:
            x, y = round(left) + HEAD, round(top) + HEAD
            spot = canvas[y : y + HEAD, x : x + HEAD]
            spot[:] = (spot * (1 - self._mask) + self._heads[person] * self._mask).astype(np.uint8)
        return np.ascontiguousarray(canvas[HEAD:-HEAD, HEAD:-HEAD])


@pytest.fixture(scope="session")
def stage(heads: tuple[UInt8Array, UInt8Array]) -> Stage:
    return Stage(heads)


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Counts the processes that `model.faces.sources` starts, and starts none."""
    calls = []

    def refuse(*args: object, **options: object) -> None:
        calls.append(args)
        raise AssertionError("pip was called")

    monkeypatch.setattr("model.faces.sources.subprocess.run", refuse)
    return lambda: len(calls)
