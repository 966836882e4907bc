"""What a format is: its names, what it fits, and the pure function that writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from service.exports.recording import ExportFrame, Recording
from worker.store.records import JobKind

Exporter = Callable[[Iterable[ExportFrame], Recording], Iterator[bytes]]
"""Frames in order and what is known of them, to the bytes of one file, piece by piece; pure."""

IMAGE = frozenset({JobKind.IMAGE})
VIDEO = frozenset({JobKind.VIDEO})
BOTH = IMAGE | VIDEO


class Need(StrEnum):
    """What a format takes beyond the frames."""

    EVENTS = "events"  # it holds AU events, so the event options apply
    SIZE = "size"  # it holds the pictures' width and height


@dataclass(frozen=True, slots=True)
class Format:
    """A format in which results leave.

    Attributes:
        name: how it is asked for.
        title: two or three words for a person, for buttons and lists.
        summary: what it is, one line.
        media_type: of the file.
        suffix: ending of the file's name, with a dot; it replaces the clip's own.
        kinds: what it can hold.
        write: the function that writes it.
        needs: what it takes beyond the frames.
        whole: the kinds of which nothing is written before the last frame was read; others stream.
    """

    name: str
    title: str
    summary: str
    media_type: str
    suffix: str
    kinds: frozenset[JobKind]
    write: Exporter
    needs: frozenset[Need] = frozenset()
    whole: frozenset[JobKind] = frozenset()

    def misfit(self, recording: Recording) -> str | None:
        """Why the format cannot hold the recording, a sentence; None where it can."""
        if recording.kind not in self.kinds:
            fitting = " and ".join(f"{kind.value}s" for kind in sorted(self.kinds))
            return f"{self.name} holds {fitting} only, and this is {_WITH_ARTICLE[recording.kind]}."
        return None

    def file_name(self, recording: Recording) -> str:
        """A file name for the export, after the clip's or picture's own."""
        return f"{recording.stem}{self.suffix}"


_WITH_ARTICLE = {JobKind.IMAGE: "an image", JobKind.VIDEO: "a video"}
