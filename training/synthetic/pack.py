"""The parametric head: mean shape, identity modes, expression shapes, materials, landmarks and skins.

One unit of length is 9.67 mm; x goes from the face's right to its left (image left to right), y up, z out of the face.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

ENVIRONMENT_VARIABLE = "ROIGCN_FACE_PACK"
REQUIRED_KEYS = ("base", "I", "E", "names", "tri", "trt", "vt", "tmat", "mats", "lm", "skin_jpg", "skin_len")
HELD_OUT_SKINS = (2, 8)  # one light and one dark skin of the pack that training never sees


class PackError(Exception):
    """The face pack is missing or is not one; the message says what to do."""


class Material(IntEnum):
    """What a triangle is made of."""

    FACE = 0
    BACK = 1
    GUMS = 2
    TEETH = 3
    SCLERA_LEFT = 4
    SCLERA_RIGHT = 5
    LASHES = 6
    MOUTH = 7


PACK_MATERIALS = {
    "M_Face": Material.FACE,
    "M_BackHead": Material.BACK,
    "M_GumsTongue": Material.GUMS,
    "M_Teeth": Material.TEETH,
    "M_ScleraLeft": Material.SCLERA_LEFT,
    "M_ScleraRight": Material.SCLERA_RIGHT,
    "M_EyeLashes": Material.LASHES,
}


@dataclass(frozen=True, eq=False)
class FacePack:
    """A head that can take any identity and expression.

    Attributes:
        name: "ict" for the real pack, "toy" for the head made by code.
        vertices: (V, 3) float32, the mean head.
        identity_modes: (M, V, 3) float32, weights drawn from N(0, 1).
        shapes: (E, V, 3) float32, displacement at weight 1.
        shape_names: E names in ARKit's manner, sides as suffix `_L` and `_R`.
        triangles: (T, 3) int64 vertex indices.
        uv_triangles: (T, 3) int64 indices into `uvs`.
        uvs: (U, 2) float32 texture coordinates, v up.
        materials: (T,) int64 values of `Material`.
        landmarks: (68,) int64, the vertex of each iBUG landmark.
        skins: (S, 512, 512, 3) uint8 RGB skin textures on the face chart.
        held_out_skins: indices of skins kept for testing.
        follow_net: move rendered landmarks to where a landmark net would set them, see `conventions`.
    """

    name: str
    vertices: FloatArray
    identity_modes: FloatArray
    shapes: FloatArray
    shape_names: tuple[str, ...]
    triangles: IntArray
    uv_triangles: IntArray
    uvs: FloatArray
    materials: IntArray
    landmarks: IntArray
    skins: npt.NDArray[np.uint8]
    held_out_skins: tuple[int, ...]
    follow_net: bool = False

    def shape_index(self, name: str) -> int:
        """Return the row of a shape in `shapes`."""
        return self.shape_names.index(name)

    def sides(self, name: str) -> tuple[int, ...]:
        """Return the rows of a shape: one if it is symmetric, left and right if it comes in two halves."""
        if name in self.shape_names:
            return (self.shape_index(name),)
        return (self.shape_index(f"{name}_L"), self.shape_index(f"{name}_R"))

    def training_skins(self) -> tuple[int, ...]:
        """Return the skins that are not held out."""
        return tuple(i for i in range(len(self.skins)) if i not in self.held_out_skins)

    def landmark_uvs(self) -> FloatArray:
        """Return (68, 2) float32, where each landmark lies on the face chart."""
        uv_of_vertex = np.zeros(len(self.vertices), np.int64)
        on_face = self.materials == Material.FACE
        uv_of_vertex[self.triangles[on_face].ravel()] = self.uv_triangles[on_face].ravel()
        return self.uvs[uv_of_vertex[self.landmarks]]


def find_pack(path: str | Path | None = None) -> Path:
    """Return the path of the face pack: the one given, else the one named by `ROIGCN_FACE_PACK`.

    Raises:
        PackError: when neither names an existing file.
    """
    named = path or os.environ.get(ENVIRONMENT_VARIABLE)
    if not named:
        raise PackError(
            f"No face pack: pass --face-pack PATH or set {ENVIRONMENT_VARIABLE}; --toy renders the built-in toy head."
        )
    found = Path(named).expanduser()
    if not found.is_file():
        raise PackError(f"Face pack {found} does not exist; check --face-pack or {ENVIRONMENT_VARIABLE}.")
    return found


def load_pack(path: str | Path | None = None) -> FacePack:
    """Read a face pack.

    Args:
        path: the .npz file; None takes `ROIGCN_FACE_PACK`.

    Raises:
        PackError: when the file is missing, unreadable or lacks a part.
    """
    found = find_pack(path)
    try:
        with np.load(found, allow_pickle=False) as archive:
            missing = [key for key in REQUIRED_KEYS if key not in archive.files]
            if missing:
                raise PackError(f"{found} is not a face pack: it lacks {', '.join(missing)}.")
            data = {key: archive[key] for key in REQUIRED_KEYS}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise PackError(f"{found} cannot be read as a face pack: {error}") from error
    return _from_arrays(data)


def _from_arrays(data: Mapping[str, npt.NDArray[Any]]) -> FacePack:
    vertices = data["base"].astype(np.float32)
    triangles = data["tri"].astype(np.int64)
    table = np.array([PACK_MATERIALS[str(name)] for name in data["mats"]], np.int64)
    return FacePack(
        name="ict",
        vertices=vertices,
        identity_modes=data["I"].astype(np.float32),
        shapes=data["E"].astype(np.float32),
        shape_names=tuple(str(name) for name in data["names"]),
        triangles=triangles,
        uv_triangles=data["trt"].astype(np.int64),
        uvs=data["vt"].astype(np.float32),
        materials=_mark_mouth(vertices, triangles, table[data["tmat"].astype(np.int64)]),
        landmarks=data["lm"].astype(np.int64),
        skins=_decode_skins(data["skin_jpg"], data["skin_len"]),
        held_out_skins=HELD_OUT_SKINS,
        follow_net=True,
    )


def _mark_mouth(vertices: FloatArray, triangles: IntArray, materials: IntArray) -> IntArray:
    """Tell the inside of the mouth from the back of the head: the pack gives both one material."""
    x, y, z = vertices[triangles].mean(1).T
    inside = (materials == Material.BACK) & (z > 2.0) & (y < 0.0) & (y > -7.0) & (np.abs(x) < 4.5)
    return np.where(inside, int(Material.MOUTH), materials)


def _decode_skins(stream: npt.NDArray[np.uint8], lengths: IntArray) -> npt.NDArray[np.uint8]:
    ends = np.cumsum(lengths)
    skins = []
    for start, end in zip(ends - lengths, ends, strict=True):
        picture = cv2.imdecode(stream[start:end], cv2.IMREAD_COLOR)
        if picture is None:
            raise PackError("A skin of the face pack is not a JPEG picture; the file is damaged.")
        skins.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    return np.stack(skins).astype(np.uint8)
