"""What a notebook shows of answers: the picture of a detection, the state of a job."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from roigcn.errors import RoigcnError

if TYPE_CHECKING:
    from roigcn.records import Detection, Face, Job

_PERCENT = 100.0


class Showing:
    """An answer that can be asked for its picture. The picture is fetched when it is looked at, and once."""

    def show_with(self, fetch: Callable[[], bytes]) -> None:
        """Let the picture come from there."""
        # No field of the dataclass: neither `asdict` nor pickle may carry the key that fetches the picture.
        self.__dict__["_fetch"] = fetch

    def _repr_png_(self) -> bytes | None:
        fetch: Callable[[], bytes] | None = self.__dict__.get("_fetch")
        if "_png" not in self.__dict__ and fetch is not None:
            with contextlib.suppress(RoigcnError):  # a server that is gone leaves the words
                self.__dict__["_png"] = fetch()
        return self.__dict__.get("_png")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_fetch"}


def detection_html(detection: Detection, png: bytes | None) -> str:
    """The picture with what to keep in mind about it; a table of numbers where there is no picture."""
    count = len(detection.faces)
    faces = "no face" if not count else f"{count} face{'s' if count > 1 else ''}"
    words = f"{faces} · {detection.checkpoint.ref}"
    if detection.checkpoint.note:
        words += f" · {detection.checkpoint.note}"
    body = _tables(detection.faces) if png is None else _image(png, f"Face with Action Units: {faces}")
    return f'<figure style="margin:0">{body}<figcaption>{escape(words)}</figcaption></figure>'


def job_html(job: Job) -> str:
    """Name, state and a progress bar."""
    done, total = job.progress.frames_done, job.progress.frames_total
    name = (job.media.name if job.media else None) or job.id
    value = 1.0 if job.state == "succeeded" else job.progress.fraction
    filled = "" if value is None else f' value="{value:.4f}"'
    bar = f'<progress max="1"{filled}></progress>'
    frames = f"{done} frames" if total is None else f"{done} of {total} frames"
    notes = [*([job.error.detail] if job.error else []), *job.warnings]
    if job.checkpoint and job.checkpoint.note:
        notes.append(job.checkpoint.note)
    lines = "".join(f"<br><small>{escape(note)}</small>" for note in notes)
    return (
        f"<div><b>{escape(name)}</b> {escape(job.state)} {bar} {frames}<br><code>{escape(job.id)}</code>{lines}</div>"
    )


def _image(png: bytes, alt: str) -> str:
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(alt)}" style="max-width:100%" src="data:image/png;base64,{data}">'


def _tables(faces: tuple[Face, ...]) -> str:
    if not faces:
        return ""
    heads = "".join(f"<th>face {face.track}</th>" for face in faces)
    rows = "".join(
        f"<tr><td>{escape(unit.au)}</td><td>{escape(unit.name)}</td>{''.join(_cell(face, k) for face in faces)}</tr>"
        for k, unit in enumerate(faces[0].aus)
    )
    return f"<table><tr><th>AU</th><th>name</th>{heads}</tr>{rows}</table>"


def _cell(face: Face, index: int) -> str:
    unit = face.aus[index]
    if unit.probability is None:
        return "<td>not visible</td>"
    text = f"{unit.probability * _PERCENT:.0f} %"
    return f"<td><b>{text}</b></td>" if unit.active else f"<td>{text}</td>"
