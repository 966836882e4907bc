"""Label Studio tasks with predictions, for its Import, named as `roigcn label-config` names labels and controls.

A task per picture, or one per clip. Label Studio takes media by address, and an export knows file names only: put each
task's `image` or `video` right before the import, or upload the files and let the backend fill them in instead. A
clip's `fps` is the rate that the frames of its timeline are counted with; leave it as it is. Without the picture's size
there are no boxes, since those are in per cent of it. ROI maps are not in an export.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from service.exports.formats import BOTH, VIDEO, Format, Need
from service.exports.recording import ExportFrame, Recording
from service.exports.text import pieces
from service.integrations.label_studio.config import DEFAULT_FRAMERATE, LabelConfig, parse_config
from service.integrations.label_studio.results import Picture, certainty, picture_results
from service.integrations.label_studio.template import label_config
from service.integrations.label_studio.video_results import Clip, clip_results
from worker.store.records import JobKind

_UNUSED_CROP_SCALE = 1.0  # places ROI maps, of which an export has none
_FPS_DIGITS = 5


def write(frames: Iterable[ExportFrame], recording: Recording) -> Iterator[bytes]:
    """The tasks; pictures as they come, a clip's once all of it is known."""
    return pieces(_clip(frames, recording) if recording.kind is JobKind.VIDEO else _pictures(frames, recording))


def _pictures(frames: Iterable[ExportFrame], recording: Recording) -> Iterator[str]:
    config = parse_config(label_config("image", recording.au_codes, probabilities=True))
    yield "["
    for number, frame in enumerate(frames):
        task = _task({"image": frame.name}, recording, certainty(frame.faces), _picture(config, frame, recording))
        yield f"{',' if number else ''}\n{json.dumps(task)}"
    yield "\n]\n"


def _picture(config: LabelConfig, frame: ExportFrame, recording: Recording) -> list[dict[str, Any]]:
    if frame.width is None or frame.height is None:
        return []
    picture = Picture(
        width=frame.width,
        height=frame.height,
        faces=frame.faces,
        maps=[None] * len(frame.faces),
        au_codes=recording.au_codes,
        crop_scale=_UNUSED_CROP_SCALE,
    )
    return picture_results(config, config.media[0], picture, range(len(frame.faces)), f"p{frame.frame}")


def _clip(frames: Iterable[ExportFrame], recording: Recording) -> Iterator[str]:
    config = parse_config(label_config("video", recording.au_codes))
    clip = Clip(
        width=recording.width or 0,
        height=recording.height or 0,
        duration_ms=recording.duration_ms,
        au_codes=recording.au_codes,
        thresholds=recording.thresholds,
    )
    for frame in frames:
        clip.add(frame.frame, frame.pts_ms, frame.faces)
    fps = round(recording.fps or DEFAULT_FRAMERATE, _FPS_DIGITS)
    results = clip_results(config, config.media[0], clip, fps, "c", recording.events)
    task = _task({"video": recording.name, "fps": fps}, recording, clip.certainty, results)
    yield f"[\n{json.dumps(task)}\n]\n"


def _task(data: dict[str, Any], recording: Recording, score: float, results: list[dict[str, Any]]) -> dict[str, Any]:
    prediction = {"model_version": f"roigcn {recording.checkpoint}", "score": score, "result": results}
    return {"data": data, "predictions": [prediction]}


FORMAT = Format(
    name="label-studio",
    title="Label Studio",
    summary="Label Studio tasks with predictions: boxes, choices, places; a clip's timeline and tracks",
    media_type="application/json",
    suffix=".label-studio.json",
    kinds=BOTH,
    write=write,
    needs=frozenset({Need.SIZE, Need.EVENTS}),
    whole=VIDEO,
)
