"""The stored picture of a face: the network's crop with a margin, so that augmentation finds pixels around it.

Training cuts the crop of METHOD 6.4 from the stored picture and turns it by up to 30 degrees. A square that is turned
by 30 degrees needs cos 30 + sin 30 = 1.37 times its side; with 1.375 every turned crop is filled by the camera's own
pixels. At 352 = 1.375 * 256 pixels the network's 256-pixel crop keeps its resolution. Only where the face lies at the
border of the camera's picture is there fill, in the colour that inference uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model.geometry import CROP_SCALE, extract_crop
from model.image import ImageError
from model.values import Crop, UInt8Array
from training.prepare.landmarks import fit_picture
from training.prepare.source import BROKEN_PICTURE, NO_FACE, USELESS_LANDMARKS, Sample

if TYPE_CHECKING:
    from model.faces.finder import FaceFinder

MARGIN = 1.375
SIZE = 352
REDETECTED = "detected"


@dataclass(frozen=True)
class StoredFace:
    """A face as it goes into a shard.

    Attributes:
        sample: frame, task and labels.
        crop: (S, S, 3) picture and landmarks in its pixels.
        origin: where the landmarks come from, "dataset", "detected" or another word.
    """

    sample: Sample
    crop: Crop
    origin: str


@dataclass
class Cutter:
    """Cuts stored pictures; looks for faces where landmarks are missing, if it may.

    Attributes:
        size: side of the stored picture, pixels.
        redetect: whether a face is looked for where landmarks are missing.
    """

    size: int
    redetect: bool
    _finder: FaceFinder | None = None

    def cut(self, sample: Sample) -> StoredFace | str:
        """The face of a sample, or the reason why there is none."""
        if sample.read is None or (sample.landmarks is None and not self.redetect):
            return sample.missing
        try:
            rgb = sample.read()
        except (ImageError, ValueError, OSError):
            return BROKEN_PICTURE
        points, origin, why = sample.landmarks, sample.origin, sample.missing
        if points is not None and not fit_picture(points, rgb.shape[1], rgb.shape[0]):
            points, why = None, USELESS_LANDMARKS
        if points is None:
            if not self.redetect:
                return why
            points, origin = self._largest_face(rgb), REDETECTED
        if points is None:
            return NO_FACE
        return StoredFace(sample, extract_crop(rgb, points, self.size, CROP_SCALE * MARGIN), origin)

    def _largest_face(self, rgb: UInt8Array) -> npt.NDArray[np.float64] | None:
        if self._finder is None:
            from model.faces.finder import FaceFinder

            self._finder = FaceFinder(threads=1)
        faces = self._finder.find(rgb)
        return np.asarray(faces[0].landmarks, np.float64) if faces else None
