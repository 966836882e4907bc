"""NDJSON: one line of JSON per frame, in the form in which the service answers `GET /jobs/{id}/frames`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from service.exports.formats import BOTH, Format
from service.exports.recording import ExportFrame, Recording
from service.exports.text import pieces
from service.results.answers import frame_answer
from worker.store.records import FrameRow, JobKind


def write(frames: Iterable[ExportFrame], recording: Recording) -> Iterator[bytes]:
    """Everything that is known of each frame; the line of a picture begins with its file name."""
    return pieces(_line(frame, recording) for frame in frames)


def _line(frame: ExportFrame, recording: Recording) -> str:
    answer = frame_answer(FrameRow(frame.frame, frame.pts_ms, frame.faces), recording.au_codes).model_dump_json()
    if recording.kind is JobKind.IMAGE:
        return f'{{"file":{json.dumps(frame.name)},{answer[1:]}\n'
    return answer + "\n"


FORMAT = Format(
    name="ndjson",
    title="Frames (NDJSON)",
    summary="One line of JSON per frame: boxes, landmarks, all AUs with both sides and ROI centres",
    media_type="application/x-ndjson",
    suffix=".ndjson",
    kinds=BOTH,
    write=write,
)
