"""The display matrix of a clip: how stored pictures become upright."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from av.sidedata.sidedata import Type

from model.values import UInt8Array

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


@dataclass(frozen=True, slots=True)
class Orientation:
    """Turn clockwise by `degrees` (0, 90, 180 or 270), then mirror left to right if `mirrored`."""

    degrees: int = 0
    mirrored: bool = False

    @property
    def transposed(self) -> bool:
        """Whether width and height change places."""
        return self.degrees in (90, 270)

    def apply(self, rgb: UInt8Array) -> UInt8Array:
        """The upright picture, contiguous."""
        turned = np.rot90(rgb, -(self.degrees // 90)) if self.degrees else rgb
        return np.ascontiguousarray(turned[:, ::-1] if self.mirrored else turned)


def orientation_of(picture: VideoFrame) -> Orientation:
    """Read the display matrix, 16.16 fixed point: (x, y) goes to (a x + c y, b x + d y), y down.

    Matrices that are no multiple of a quarter turn are rounded to one, as players do.
    """
    data = cast("Mapping[Type, bytes]", picture.side_data).get(Type.DISPLAYMATRIX)
    if data is None:
        return Orientation()
    a, b, _, c, d = struct.unpack_from("<5i", bytes(data))
    mirrored = a * d - b * c < 0
    angle = math.degrees(math.atan2(b, -a if mirrored else a))
    return Orientation(round(angle / 90) * 90 % 360, mirrored)
