"""Results for other tools, and AU events: what the service says of them, and how they are asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, overload
from urllib.parse import unquote

from pydantic import TypeAdapter

from roigcn.effects import Call, Close, Flow, Read, Sleep
from roigcn.reach import BROKEN, Contact, Patience, fetch, reach, unreachable
from roigcn.records import CheckpointRef

if TYPE_CHECKING:
    import pandas as pd

StrPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class EventRule:
    """When an Action Unit counts as an event (`docs/numbers.md`).

    Attributes:
        on: it begins at this probability; None for the checkpoint's own threshold of each.
        off: it lasts while at least this; None for 0.7 times `on`.
        min_ms: shorter ones are dropped.
        gap_ms: gaps up to this are closed.
        baseline: `none`, or `median` for the rise above the face's own median.
    """

    on: float | None = None
    off: float | None = None
    min_ms: float = 100.0
    gap_ms: float = 100.0
    baseline: str = "none"


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format in which a job's results can be had: for clips (`video`), pictures (`image`) or both."""

    name: str
    title: str
    media_type: str
    suffix: str
    kinds: tuple[str, ...]
    events: bool


@dataclass(frozen=True, slots=True)
class AuEvent:
    """One Action Unit from onset to offset on one face of a clip. When it was seen, not how strong it was.

    Attributes:
        au: FACS code.
        track: number of the face.
        onset_ms: time of the first frame.
        apex_ms: time of the frame at which the network is surest; not the strongest contraction.
        offset_ms: when the last frame stops being shown.
        onset_frame: number of the first frame; `apex_frame` and `offset_frame` likewise, the last one being part of it.
        peak_probability: over the event's frames; the mean and both of the score likewise.
        frames: in which the Action Unit could be read.
    """

    au: str
    track: int
    onset_ms: float
    apex_ms: float
    offset_ms: float
    onset_frame: int
    apex_frame: int
    offset_frame: int
    peak_probability: float
    mean_probability: float
    peak_score: float
    mean_score: float
    frames: int


@dataclass(frozen=True, slots=True)
class Thresholds:
    """An event begins at `on` and lasts while at least `off`."""

    on: float
    off: float


@dataclass(frozen=True, slots=True, repr=False)
class AuEvents(Sequence[AuEvent]):
    """The AU events of a clip, by face, then AU, then time, and what they were found with.

    Attributes:
        job: id of the clip's job.
        state: of the job; of a running one these are the events in the frames so far.
        checkpoint: the network; None until a worker has taken the job up.
        baseline: `none` or `median`.
        min_ms: shorter events were dropped.
        gap_ms: gaps up to this were closed.
        thresholds: by Action Unit.
        frames: that were read.
        tracks: numbers of the faces.
        events: the events themselves.
    """

    job: str
    state: str
    checkpoint: CheckpointRef | None
    baseline: str
    min_ms: float
    gap_ms: float
    thresholds: dict[str, Thresholds]
    frames: int
    tracks: tuple[int, ...]
    events: tuple[AuEvent, ...]

    @overload
    def __getitem__(self, index: int) -> AuEvent: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[AuEvent, ...]: ...
    def __getitem__(self, index: int | slice) -> AuEvent | tuple[AuEvent, ...]:
        return self.events[index]

    def __len__(self) -> int:
        return len(self.events)

    def __repr__(self) -> str:
        return f"<AuEvents of job {self.job}: {len(self.events)} events on {len(self.tracks)} faces>"

    def to_pandas(self) -> pd.DataFrame:
        """One row per event, under the names of `AuEvent`."""
        from roigcn.tables import pandas

        names = [known.name for known in fields(AuEvent)]
        return pandas().DataFrame([astuple(event) for event in self.events], columns=names)

    def _repr_html_(self) -> str | None:
        try:
            table: str = self.to_pandas()._repr_html_()
        except ImportError:  # the words will do
            return None
        return table


@dataclass(frozen=True, slots=True)
class FormatList:
    """The body of `GET /exports`."""

    formats: tuple[ExportFormat, ...]


_FORMATS = TypeAdapter(FormatList)
_EVENTS = TypeAdapter(AuEvents)


def formats(contact: Contact) -> Flow[tuple[ExportFormat, ...]]:
    """`GET /exports`."""
    return _FORMATS.validate_json((yield from fetch(contact, Call("GET", "/exports")))).formats


def au_events(contact: Contact, job: str, rule: EventRule) -> Flow[AuEvents]:
    """`GET /jobs/{id}/au-events`."""
    return _EVENTS.validate_json((yield from fetch(contact, Call("GET", f"/jobs/{job}/au-events", asdict(rule)))))


def export(
    contact: Contact, job: str, name: str, to: StrPath | None, rule: EventRule, partial: bool, overwrite: bool
) -> Flow[Path]:
    """`GET /jobs/{id}/export` into a file, which appears when it is whole."""
    params = {**asdict(rule), "format": name, "partial": "true" if partial else None}
    patience = Patience(contact)
    while True:
        answer = yield from reach(contact, Call("GET", f"/jobs/{job}/export", params))
        target = _export_target(to, answer.response.headers.get("Content-Disposition", ""), overwrite)
        waiting = target.with_name(f".{target.name}.part{os.getpid()}")
        try:
            with waiting.open("wb") as file:
                while chunk := (yield Read(answer)):
                    file.write(chunk)
            yield Close(answer)
            waiting.replace(target)
        except BROKEN as error:
            yield Close(answer)
            pause = patience.pause()
            if not patience.allows(pause):
                raise unreachable(contact, error) from error
            yield Sleep(pause)
        else:
            return target
        finally:
            waiting.unlink(missing_ok=True)


def _export_target(to: StrPath | None, disposition: str, overwrite: bool) -> Path:
    """The file itself, or the server's name for it in a folder.

    Raises:
        FileExistsError: it is there: an ELAN file may hold somebody's coding by now.
    """
    target = Path.cwd() if to is None else Path(to)
    if target.is_dir():
        given = unquote(disposition.partition("filename*=UTF-8''")[2])
        target /= PurePosixPath(given.replace("\\", "/")).name or "export"
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; give overwrite=True to replace it")
    return target
