"""COCO JSON: an annotation per face with its box and 68 key points, AUs among its `attributes`.

`attributes` is the convention of CVAT and datumaro; COCO itself has no place for AUs. Each AU has the decision under
its code, the calibrated probability under `AU.._probability` and the score under `AU.._score`; an AU that could not be
read has none of the three. Boxes and points are pixels of the upright image. Frames of a clip are named
`frame_000000.jpg` and on, with numbers from 0, and carry their time in `time_ms`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from service.exports.formats import BOTH, Format, Need
from service.exports.recording import ExportFrame, Recording, box_xywh, decisions
from service.exports.text import pieces
from service.rounding import MS_DIGITS, PIXEL_DIGITS, SCORE_DIGITS, rounded
from worker.store.records import FaceRow, JobKind

_VISIBLE = 2
# Lines between the points of iBUG 68, numbered from 1 as COCO does.
_RUNS = ((1, 17), (18, 22), (23, 27), (28, 31), (32, 36), (37, 42), (43, 48), (49, 60), (61, 68))
CATEGORY: dict[str, Any] = {
    "id": 1,
    "name": "face",
    "supercategory": "face",
    "keypoints": [f"ibug_{point}" for point in range(68)],
    "skeleton": [[point, point + 1] for first, last in _RUNS for point in range(first, last)],
}


def write(frames: Iterable[ExportFrame], recording: Recording) -> Iterator[bytes]:
    """Annotations as they come, then the images, of which a line each is kept."""
    return pieces(_parts(frames, recording))


def _parts(frames: Iterable[ExportFrame], recording: Recording) -> Iterator[str]:
    info = {
        "description": f"roigcn: {recording.name}",
        "contributor": "roigcn",
        "date_created": recording.made_at.isoformat(timespec="seconds"),
        "checkpoint": recording.checkpoint,
        "synthetic_only": recording.synthetic_only,
    }
    yield f'{{"info": {json.dumps(info)},\n"licenses": [],\n"categories": {json.dumps([CATEGORY])},\n"annotations": ['
    images: list[str] = []
    number = 0
    for frame in frames:
        images.append(json.dumps(_image(frame, recording)))
        for face in frame.faces:
            number += 1
            yield f"{',' if number > 1 else ''}\n{json.dumps(_annotation(number, frame, face, recording))}"
    yield '\n],\n"images": [\n' + ",\n".join(images) + "\n]}\n"


def _image(frame: ExportFrame, recording: Recording) -> dict[str, Any]:
    clip = recording.kind is JobKind.VIDEO
    image = {
        "id": frame.frame + 1,
        "file_name": f"frame_{frame.frame:06d}.jpg" if clip else frame.name,
        "width": frame.width,
        "height": frame.height,
    }
    return {**image, "frame": frame.frame, "time_ms": round(frame.pts_ms, MS_DIGITS)} if clip else image


def _annotation(number: int, frame: ExportFrame, face: FaceRow, recording: Recording) -> dict[str, Any]:
    x, y, width, height = box_xywh(face)
    points = rounded(face.landmarks, PIXEL_DIGITS)
    return {
        "id": number,
        "image_id": frame.frame + 1,
        "category_id": 1,
        "bbox": [x, y, width, height],
        "area": round(width * height, PIXEL_DIGITS),
        "iscrowd": 0,
        "segmentation": [],
        "keypoints": [value for point in points for value in (*point, _VISIBLE)],
        "num_keypoints": len(points),
        "attributes": _attributes(face, recording),
    }


def _attributes(face: FaceRow, recording: Recording) -> dict[str, Any]:
    attributes: dict[str, Any] = {"track_id": face.track, "face_score": round(face.face_score, SCORE_DIGITS)}
    probabilities, scores = rounded(face.au_probability, SCORE_DIGITS), rounded(face.au_score, SCORE_DIGITS)
    read = zip(recording.au_codes, decisions(face), probabilities, scores, strict=True)
    for code, active, probability, score in read:
        if active is not None:
            attributes |= {code: active, f"{code}_probability": probability, f"{code}_score": score}
    return attributes


FORMAT = Format(
    name="coco",
    title="COCO",
    summary="COCO JSON: box and 68 key points per face, AUs as attributes",
    media_type="application/json",
    suffix=".coco.json",
    kinds=BOTH,
    write=write,
    needs=frozenset({Need.SIZE}),
)
