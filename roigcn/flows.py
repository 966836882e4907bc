"""Every operation of the client, once, as a flow of effects (see `effects`)."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID, uuid4

from pydantic import TypeAdapter

from roigcn.effects import Call, Close, Emit, Flow, Read, Sleep, Stream
from roigcn.errors import JobCancelledError, JobDeletedError, JobFailedError, NotFoundError
from roigcn.pictures import ImageLike, Picture, Upload, VideoLike, picture_file
from roigcn.reach import BROKEN, Contact, Patience, fetch, reach, unreachable
from roigcn.records import (
    CheckpointInfo,
    CheckpointList,
    Detection,
    Frame,
    Job,
    JobsPage,
)
from roigcn.wire import Events, Lines

if TYPE_CHECKING:
    import numpy as np

StrPath = str | os.PathLike[str]
JobLike = Job | Detection | UUID | str
"""Whatever stands for a job: itself, a stored detection, or an id."""

_DETECTION = TypeAdapter(Detection)
_JOB = TypeAdapter(Job)
_JOBS = TypeAdapter(JobsPage)
_FRAME = TypeAdapter(Frame)
_CHECKPOINTS = TypeAdapter(CheckpointList)

PAGE_JOBS = 200
_PING_SECONDS = 45.0  # the server sends a sign of life every 15 s


def job_id(job: JobLike) -> str:
    """The id of whatever stands for a job.

    Raises:
        ValueError: a detection that was not stored, or a string that is no id.
    """
    if isinstance(job, Job):
        return job.id
    if isinstance(job, Detection):
        if job.job is None:
            raise ValueError("this detection was not stored (store=False), so the server has nothing more of it")
        return job.job
    try:
        return str(UUID(str(job)))
    except ValueError:
        raise ValueError(f"{str(job)!r} is no job's id; ids look like 019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10") from None


def analysis(roi: str, faces: str, checkpoint: str | None, neutral: JobLike | None) -> dict[str, str | None]:
    """How a picture or clip is to be analysed, as query parameters.

    Raises:
        ValueError: as `job_id`.
    """
    rest = None if neutral is None else job_id(neutral)
    return {"roi": roi, "faces": faces, "checkpoint": checkpoint, "neutral": rest}


def detect(contact: Contact, image: ImageLike, options: Mapping[str, str | None], store: bool) -> Flow[Detection]:
    """`POST /detect`."""
    params = {**options, "store": "true" if store else "false"}
    # Not repeated when its answer is lost: the first one may be stored, and a second one would stand beside it.
    call = Call("POST", "/detect", params, files={"image": picture_file(image)}, repeatable=not store)
    return _DETECTION.validate_json((yield from fetch(contact, call)))


def submit(
    contact: Contact,
    video: VideoLike,
    options: Mapping[str, str | None],
    key: str | None,
    name: str | None,
    report: Callable[[int, int], None],
) -> Flow[Job]:
    """`POST /jobs`. A key of its own makes a repeated upload give one job."""
    headers = {"Idempotency-Key": key or uuid4().hex}
    with Upload(video, report) as file:
        call = Call("POST", "/jobs", options, headers, {"video": (name or file.file_name, file)})
        return _JOB.validate_json((yield from fetch(contact, call)))


def get_job(contact: Contact, job: str) -> Flow[Job]:
    """`GET /jobs/{id}`."""
    return _JOB.validate_json((yield from fetch(contact, Call("GET", f"/jobs/{job}"))))


def list_jobs(contact: Contact, state: str | None, kind: str | None, limit: int | None) -> Stream:
    """`GET /jobs`, page after page."""
    size = min(limit or PAGE_JOBS, PAGE_JOBS)
    call = Call("GET", "/jobs", {"state": state, "kind": kind, "limit": size})
    count = 0
    while True:
        page = _JOBS.validate_json((yield from fetch(contact, call)))
        for job in page.jobs:
            yield Emit(job)
            count += 1
            if count == limit:
                return
        if page.next is None or not page.jobs:
            return
        call = replace(call, params={**call.params, "after": page.jobs[-1].id})


def cancel(contact: Contact, job: str) -> Flow[Job]:
    """`POST /jobs/{id}/cancel`; a second one changes nothing."""
    return _JOB.validate_json((yield from fetch(contact, Call("POST", f"/jobs/{job}/cancel"))))


def delete(contact: Contact, job: str) -> Flow[None]:
    """`DELETE /jobs/{id}`."""
    yield from fetch(contact, Call("DELETE", f"/jobs/{job}"))


def checkpoints(contact: Contact) -> Flow[tuple[CheckpointInfo, ...]]:
    """`GET /checkpoints`."""
    return _CHECKPOINTS.validate_json((yield from fetch(contact, Call("GET", "/checkpoints")))).checkpoints


def follow(contact: Contact, job: str) -> Stream:
    """`GET /jobs/{id}/events`: the job at each change, to its end; connects again as often as it takes."""
    events = Events()
    last: Job | None = None
    while True:
        headers = {"Last-Event-ID": events.last_id} if events.last_id else {}
        call = Call("GET", f"/jobs/{job}/events", headers=headers, read_seconds=_PING_SECONDS)
        try:
            answer = yield from reach(contact, call)
        except NotFoundError:
            if last is None:
                raise
            raise _deleted(job) from None
        lines = Lines()
        try:
            while chunk := (yield Read(answer)):
                for event in filter(None, map(events.feed, lines.feed(chunk))):
                    if event.name == "deleted":
                        raise _deleted(job)
                    last = _JOB.validate_json(event.data)
                    yield Emit(last)
                    if last.final:
                        return
        except BROKEN:
            pass
        # The stream broke, or a proxy ended it: ask plainly, which also rides out a restart, and connect again.
        yield Close(answer)
        events = Events(events.last_id, events.retry_seconds)
        yield Sleep(events.retry_seconds)
        try:
            now = yield from get_job(contact, job)
        except NotFoundError:
            raise _deleted(job) from None
        if last is None or (now.state, now.progress) != (last.state, last.progress):
            last = now
            yield Emit(now)
        if now.final:
            return


def _deleted(job: str) -> JobDeletedError:
    return JobDeletedError(f"job {job} was deleted while it was followed")


def ended_well(job: Job) -> Job:
    """The job, if it succeeded.

    Raises:
        JobFailedError, JobCancelledError: it did not.
    """
    if job.state == "failed":
        raise JobFailedError(f"job {job.id} failed: {job.error.detail if job.error else 'no reason given'}", job)
    if job.state == "cancelled":
        raise JobCancelledError(f"job {job.id} was cancelled after {job.progress.frames_done} frames", job)
    return job


def frames(contact: Contact, job: str, after: int | None, *, as_lines: bool = False) -> Stream:
    """`GET /jobs/{id}/frames` as NDJSON; goes on after the last whole frame when the connection breaks.

    Args:
        contact: the server.
        job: its id.
        after: number of the last frame that is not wanted any more.
        as_lines: emit each line's bytes, without its end, rather than a `Frame`.
    """
    patience = Patience(contact)
    while True:
        answer = yield from reach(contact, Call("GET", f"/jobs/{job}/frames", {"format": "ndjson", "after": after}))
        lines = Lines()
        try:
            while chunk := (yield Read(answer)):
                for line in lines.feed(chunk):
                    frame = _FRAME.validate_json(line)
                    after = frame.frame
                    yield Emit(line if as_lines else frame)
                    patience = Patience(contact)
        except BROKEN as error:
            yield Close(answer)
            pause = patience.pause()
            if not patience.allows(pause):
                raise unreachable(contact, error) from error
            yield Sleep(pause)
            continue
        yield Close(answer)
        yield from get_job(contact, job)  # a job that was deleted meanwhile ends the stream without a word
        return


def overlay(contact: Contact, job: str, frame: int, face: int, au: str | None, crop: bool) -> Flow[Picture]:
    """`GET …/frames/{n}/overlay`, or one Action Unit's map with `au`."""
    if au is None:
        return Picture((yield from fetch(contact, Call("GET", f"/jobs/{job}/frames/{frame}/overlay"))))
    call = Call("GET", _roi_path(job, frame, face, au), {"format": "crop" if crop else "overlay"})
    return Picture((yield from fetch(contact, call)))


def roi_map(contact: Contact, job: str, frame: int, face: int, au: str) -> Flow[np.ndarray[Any, np.dtype[np.float32]]]:
    """`GET …/roi/{au}?format=npy`."""
    import numpy as np

    data = yield from fetch(contact, Call("GET", _roi_path(job, frame, face, au), {"format": "npy"}))
    return np.asarray(np.load(io.BytesIO(data), allow_pickle=False), np.float32)


def _roi_path(job: str, frame: int, face: int, au: str) -> str:
    return f"/jobs/{job}/frames/{frame}/faces/{face}/roi/{quote(au, safe='')}"


def table_notes(job: Job) -> dict[str, str]:
    """What a job's table says of itself."""
    notes = {"job": job.id}
    if job.checkpoint is not None:
        notes |= {"checkpoint": job.checkpoint.ref, "synthetic_only": str(job.checkpoint.synthetic_only).lower()}
    if job.media is not None and job.media.name:
        notes["file"] = job.media.name
    return notes


def au_codes(installed: Iterable[CheckpointInfo], notes: Mapping[str, str]) -> tuple[str, ...]:
    """The Action Units of the checkpoint that the notes name; none where it is no longer installed."""
    return next((info.au_codes for info in installed if info.ref == notes.get("checkpoint")), ())
