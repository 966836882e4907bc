"""From stored rows to what is answered: pure shaping."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np

from model.action_units import CATALOGUE
from model.geometry import CROP_SCALE
from model.values import Float32Array
from service.results.placing import map_to_image
from service.results.schemas import ActionUnitAnswer, Affine, Box, CheckpointBlock, FaceAnswer, FrameAnswer, RoiMap
from service.rounding import MS_DIGITS, PIXEL_DIGITS, SCORE_DIGITS, rounded
from worker.store.records import CheckpointRecord, FaceRow, FrameRow

SYNTHETIC_NOTE = (
    "Trained on rendered faces only: good to try every step with, not to be trusted on real faces before it is "
    "replaced by a checkpoint that was trained and measured on them."
)


def checkpoint_block(record: CheckpointRecord) -> CheckpointBlock:
    """Which network, and what to keep in mind about it."""
    training = record.manifest.get("training")
    synthetic_only = bool(training.get("synthetic_only")) if isinstance(training, dict) else False
    return CheckpointBlock(
        name=record.name,
        version=record.version,
        synthetic_only=synthetic_only,
        note=SYNTHETIC_NOTE if synthetic_only else None,
    )


def face_answer(
    row: FaceRow, au_codes: Sequence[str], roi_maps: Float32Array | None = None, crop_scale: float = CROP_SCALE
) -> FaceAnswer:
    """A stored face as it is answered.

    Args:
        row: the face; its arrays have K entries.
        au_codes: the K codes of its checkpoint.
        roi_maps: (K, H, W) to put into the answer, None to leave them out.
        crop_scale: of the checkpoint, which places the maps.
    """
    left, top, right, bottom = rounded(row.box_xyxy, PIXEL_DIGITS)
    amplitudes = (
        [[None, None]] * len(au_codes) if row.roi_amplitude is None else rounded(row.roi_amplitude, SCORE_DIGITS)
    )
    centres = [None] * len(au_codes) if row.roi_centres is None else rounded(row.roi_centres, PIXEL_DIGITS)
    scores, probabilities = rounded(row.au_score, SCORE_DIGITS), rounded(row.au_probability, SCORE_DIGITS)
    affine = None if roi_maps is None else map_to_image(row.landmarks, roi_maps.shape[1], crop_scale)
    to_image = None if affine is None else rounded(affine, 4)
    aus = [
        ActionUnitAnswer(
            au=code,
            name=CATALOGUE[code].name if code in CATALOGUE else code,
            score=scores[k],
            probability=probabilities[k],
            active=bool(row.au_active[k]),
            left=amplitudes[k][0],
            right=amplitudes[k][1],
            roi=centres[k],
            roi_map=None if roi_maps is None else _inline(roi_maps[k], to_image),
        )
        for k, code in enumerate(au_codes)
    ]
    return FaceAnswer(
        box=Box(x=left, y=top, width=round(right - left, PIXEL_DIGITS), height=round(bottom - top, PIXEL_DIGITS)),
        score=round(float(row.face_score), SCORE_DIGITS),
        presence=round(float(row.presence), SCORE_DIGITS),
        track=row.track,
        landmarks=rounded(row.landmarks, PIXEL_DIGITS),
        aus=aus,
    )


def frame_answer(row: FrameRow, au_codes: Sequence[str]) -> FrameAnswer:
    """A stored frame as it is answered."""
    return FrameAnswer(
        frame=row.frame, pts_ms=round(row.pts_ms, MS_DIGITS), faces=[face_answer(face, au_codes) for face in row.faces]
    )


def _inline(roi_map: Float32Array, to_image: Affine | None) -> RoiMap:
    height, width = roi_map.shape
    data = base64.b64encode(np.ascontiguousarray(roi_map, "<f4").tobytes()).decode()
    return RoiMap(height=height, width=width, dtype="<f4", to_image=to_image, data=data)
