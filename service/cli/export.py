"""What the local commands that write files share: the formats' options, and the file that is written."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model.events import Baseline, EventOptions
from model.manifest import decision_thresholds
from service.cli.output import Exit, atomic_path, fail

if TYPE_CHECKING:
    from model.analyzer import Analyzer
    from service.exports.formats import Format
    from service.exports.recording import ExportFrame, Recording
    from worker.store.records import JobKind

FormatName = Annotated[
    str | None,
    typer.Option("--format", "-f", help="Format to write; default by the ending of --out. `roigcn formats` lists all."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]

EVENTS_PANEL = "AU events (for the formats that hold events)"
On = Annotated[
    float | None,
    typer.Option(
        "--on",
        help="An event begins at this probability; default each AU's own threshold.",
        rich_help_panel=EVENTS_PANEL,
    ),
]
Off = Annotated[
    float | None,
    typer.Option("--off", help="It lasts at or above this; default 0.7 times --on.", rich_help_panel=EVENTS_PANEL),
]
MinMs = Annotated[
    float, typer.Option("--min-ms", help="Shorter events are dropped, milliseconds.", rich_help_panel=EVENTS_PANEL)
]
GapMs = Annotated[
    float, typer.Option("--gap-ms", help="Gaps up to this are closed, milliseconds.", rich_help_panel=EVENTS_PANEL)
]
BaselineName = Annotated[
    Baseline,
    typer.Option(
        "--baseline", help="median: rise of the probability above the face's own median.", rich_help_panel=EVENTS_PANEL
    ),
]


def event_options(
    on: float | None, off: float | None, min_ms: float, gap_ms: float, baseline: Baseline
) -> EventOptions:
    """The options, or the end of the command with what is wrong with them."""
    try:
        return EventOptions(on, off, min_ms, gap_ms, baseline)
    except ValueError as error:
        fail(f"AU events: {error}", Exit.USAGE)


def choose_format(name: str | None, out: Path | None, kind: JobKind) -> Format:
    """The format that was asked for by name or by a file's ending, or the end of the command with what there is."""
    from service.exports import registry

    fitting = [known.name for known in registry.FORMATS.values() if kind in known.kinds]
    try:
        chosen = registry.find(name) if name else registry.for_file(out) if out else registry.FORMATS["native"]
    except ValueError as error:
        fail(f"--format: {error}", Exit.USAGE)
    if chosen is None:
        fail(f"the ending of {out} names no format; give --format, one of {', '.join(fitting)}", Exit.USAGE)
    if kind not in chosen.kinds:
        fail(f"{chosen.name} does not hold {kind.value}s; formats that do: {', '.join(fitting)}", Exit.USAGE)
    return chosen


def check_target(target: Path, overwrite: bool) -> None:
    """Find out before the work, not after it, that its file cannot be written."""
    if target.exists() and not overwrite:
        fail(f"{target} exists; give --overwrite to replace it, or another --out", Exit.USAGE)
    if not target.parent.is_dir():
        fail(f"the folder {target.parent} does not exist; make it first", Exit.USAGE)


def recording_of(analyzer: Analyzer, kind: JobKind, name: str, events: EventOptions) -> Recording:
    """What is known before the first frame."""
    from service.exports.recording import Recording

    manifest = analyzer.checkpoint.manifest
    return Recording(
        kind=kind,
        name=name,
        au_codes=tuple(analyzer.au_codes),
        checkpoint=analyzer.checkpoint.ref,
        made_at=datetime.now(UTC),
        synthetic_only=manifest.training.synthetic_only,
        thresholds=decision_thresholds(manifest.model_dump(mode="json"), analyzer.decides_by),
        events=events,
    )


def write_file(target: Path, chosen: Format, frames: Iterable[ExportFrame], recording: Recording) -> None:
    """Write the file; it appears only when it is whole."""
    with atomic_path(target) as partial, partial.open("wb") as file:
        for piece in chosen.write(frames, recording):
            file.write(piece)
