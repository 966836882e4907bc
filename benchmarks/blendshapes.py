"""MediaPipe's blendshape net, to compare Action Units with; the product neither needs nor runs it.

It reads 146 points of the face mesh and gives 52 movements, 0 to 1. Some of them measure the same muscle movements as
Action Units and, on real faces, well enough to be followed over the frames of a clip; others are dead (cheekSquint) or
weak. Order of points and names: MediaPipe's `face_blendshapes_graph.cc` (Apache-2.0); on the same points the 52 values
equal those of the mediapipe package 0.10.21 to four digits.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model.faces.assets import AssetError, asset_paths
from model.openvino_core import shared_core
from model.values import Float32Array

# fmt: off
POINTS = np.array([
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80, 81,
    82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153, 154,
    155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263,
    267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321,
    323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387,
    388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
])
"""The 146 points of the 478 that the net reads."""
NAMES = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)
"""The 52 movements, in the net's order; left and right are the person's."""
# fmt: on

GOOD = {
    1: "browInnerUp",
    2: "browOuterUp",
    4: "browDown",
    7: "eyeSquint",
    10: "mouthUpperUp",
    12: "mouthSmile",
    26: "jawOpen",
}
"""AU number to the movement that follows it well on real faces; two sides are averaged."""
OTHERS = {
    6: "cheekSquint",
    9: "noseSneer",
    14: "mouthDimple",
    15: "mouthFrown",
    17: "mouthShrugLower",
    23: "mouthRollLower",
    24: "mouthPress",
    25: "mouthLowerDown",
}
"""AU number to the nearest movement, less sure: jaw and lips for AU25, one of several lip movements for AU23."""
ALL = dict(sorted((GOOD | OTHERS).items()))


class Blendshapes:
    """The net, opened once."""

    def __init__(self, assets_dir: Path | None = None, threads: int | None = None) -> None:
        """Open it.

        Raises:
            AssetError: if its file is not in the cache folder.
        """
        path = asset_paths(assets_dir).blendshapes
        if path is None:
            raise AssetError("face_blendshapes.tflite is missing; run `roigcn assets --optional` to fetch it")
        # In bfloat16, OpenVINO's own choice on some processors, movements come out wrong by up to 0.1.
        config: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        self._request = shared_core().compile_model(path, "CPU", config).create_infer_request()

    def run(self, meshes: Float32Array) -> Float32Array:
        """Movements of faces.

        Args:
            meshes: (N, 478, 2) points in pixels, see `FaceFinder.meshes`.

        Returns:
            (N, 52) in the order of `NAMES`.
        """
        found = np.empty((len(meshes), len(NAMES)), np.float32)
        for row, mesh in zip(found, meshes, strict=True):
            # Our points have pixel centres at whole numbers, the net's have pixel edges there.
            self._request.infer([mesh[None, POINTS] + np.float32(0.5)])
            row[:] = self._request.get_output_tensor(0).data
        return found


def movement(found: Float32Array, name: str) -> Float32Array:
    """(N,) one movement of (N, 52), the mean of both sides where it has two.

    Example:
        >>> movement(np.ones((3, 52), np.float32), "mouthSmile")
        array([1., 1., 1.], dtype=float32)
    """
    columns = [k for k, known in enumerate(NAMES) if known in (name, f"{name}Left", f"{name}Right")]
    if not columns:
        raise KeyError(f"no movement is called {name}")
    return found[..., columns].mean(axis=-1)
