"""The values that travel between the stages: frames, faces, crops and Action Unit predictions.

All coordinates are pixels of the upright image, origin at the top left corner, x to the right and y down, with the
centre of the first pixel at (0, 0). Arrays are never mutated once a value holds them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture.

    Attributes:
        index: number of the frame in decoding order, from 0.
        pts_ms: presentation time in milliseconds, from the container's time stamps.
        rgb: (H, W, 3) uint8, upright, RGB.
    """

    index: int
    pts_ms: float
    rgb: UInt8Array


@dataclass(frozen=True, slots=True)
class Face:
    """One face found in a picture.

    Attributes:
        box_xyxy: (4,) float32, left, top, right, bottom.
        score: detector confidence, 0 to 1.
        landmarks: (68, 2) float32, iBUG order.
        presence: probability, 0 to 1, that the landmark net saw a face in its crop.
        track: the number that a face keeps through a clip; 0, 1, 2 ... by size in a single picture.
        depth: (68,) float32 of each landmark, away from the camera, in pixels as x and y and from an origin of its own;
            None where a finder knows none.
    """

    box_xyxy: Float32Array
    score: float
    landmarks: Float32Array
    presence: float = 1.0
    track: int = 0
    depth: Float32Array | None = None


@dataclass(frozen=True, slots=True)
class Crop:
    """A square picture of one face, the input of an engine.

    Attributes:
        pixels: (S, S, 3) uint8 RGB.
        to_image: (2, 3) float64 affine from crop pixels to image pixels.
        landmarks: (68, 2) float32 in crop pixels.
        depth: (68,) float32 of the landmarks, in crop pixels, see `Face`; None where it is unknown.
    """

    pixels: UInt8Array
    to_image: Float64Array
    landmarks: Float32Array
    depth: Float32Array | None = None


@dataclass(frozen=True, slots=True)
class AuPrediction:
    """What the network says of one face; all arrays follow the checkpoint's `au_codes` (K Action Units).

    Attributes:
        score: (K,) float32, about -1 (absent) to 1 (occurred): the larger of the two ROI amplitudes (METHOD 2.4).
        probability: (K,) float32, calibrated, 0 to 1; NaN where the AU could not be read.
        active: (K,) bool, the decision (METHOD 2.3 or the checkpoint's threshold).
        valid: (K,) bool, False where no pixel of either ROI lies inside the crop.
        roi_amplitude: (K, 2) float32, least-squares amplitude at the first (image-left or upper) and second ROI.
        roi_centres: (K, 2, 2) float32, (x, y) of the two ROI centres in image pixels.
        roi_maps: (K, H, W) float32, the network's maps.
        measures: (Q,) float32 heights of brows and openings of lids (`model.brow_measures`), by which a clip's
            probabilities are later held against the person's own rest; None where they were not taken.
    """

    score: Float32Array
    probability: Float32Array
    active: BoolArray
    valid: BoolArray
    roi_amplitude: Float32Array
    roi_centres: Float32Array
    roi_maps: Float32Array
    measures: Float32Array | None = None
