"""`roigcn prepare bp4d`, `disfa`, `csv` and `parts`: real data sets made ready for `roigcn train` and `protocol`.

Nothing heavy is imported until a command runs: every start of `roigcn` loads this file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.markdown import Markdown
from rich.markup import escape

from training.terminal import INTERRUPTED, err, out, progress_bar

if TYPE_CHECKING:
    from training.prepare.source import Source

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Make labelled pictures of real people ready for training: BP4D, DISFA, or a table of your own.",
    epilog="A stopped run goes on where it was when you give the same command again.",
)
FAILED, WRONG_USAGE, UNAVAILABLE = 1, 2, 3

RootArgument = Annotated[Path, typer.Argument(metavar="ROOT", help="Folder that the data set was unpacked into.")]
OutArgument = Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to; a started one is finished.")]
SizeOption = Annotated[
    int,
    typer.Option(
        min=44, help="Side of the stored pictures in pixels: 1.375 times the network's input keeps all detail."
    ),
]
WorkersOption = Annotated[int, typer.Option(min=1, help="Processes; each works on one subject.")]
RedetectOption = Annotated[
    bool, typer.Option("--redetect", help="Find the face where the data set has no usable landmarks (else: skip).")
]
ShardOption = Annotated[int, typer.Option(min=1, help="Faces in a file at most; a process holds so many in memory.")]
LabelsOption = Annotated[Path | None, typer.Option(help="Folder of the labels, if it is not where it usually is.")]
LandmarksOption = Annotated[Path | None, typer.Option(help="Folder of the landmarks, likewise.")]
PicturesOption = Annotated[Path | None, typer.Option(help="Folder of the pictures (F001/T1/...), likewise.")]
VideosOption = Annotated[Path | None, typer.Option(help="Folder of the clips of the left camera, likewise.")]
AusOption = Annotated[str, typer.Option("--aus", help="A set (bp4d, disfa, faces15) or AU codes: 1,2,5,AU12.")]
WORKERS = max(1, (os.cpu_count() or 1) - 1)
SIZE, SHARD_FACES = 352, 1000


@app.command()
def bp4d(
    root: RootArgument,
    out_dir: OutArgument,
    aus: AusOption = "bp4d",
    size: SizeOption = SIZE,
    redetect: RedetectOption = False,
    workers: WorkersOption = WORKERS,
    labels: LabelsOption = None,
    pictures: PicturesOption = None,
    landmarks: LandmarksOption = None,
    shard_faces: ShardOption = SHARD_FACES,
) -> None:
    """Prepare BP4D (about 54 GB at the default size).

    ROOT holds `AUCoding/AU_OCC`, `Sequences(2D+3D)` and `2DFeatures`.

        roigcn prepare bp4d /data/BP4D /data/bp4d-352

        roigcn prepare bp4d /data/BP4D /data/bp4d-176 --size 176 --aus 1,2,4,5,6,12 --redetect
    """
    with _clear_errors():
        from training.prepare.bp4d import Bp4d

        source = Bp4d.find(root, _codes(aus), labels, pictures, landmarks)
        _prepare(source, out_dir, size, redetect, shard_faces, workers)


@app.command()
def disfa(
    root: RootArgument,
    out_dir: OutArgument,
    aus: AusOption = "disfa",
    size: SizeOption = SIZE,
    redetect: RedetectOption = False,
    workers: WorkersOption = WORKERS,
    labels: LabelsOption = None,
    drop_doubtful: Annotated[
        bool,
        typer.Option(
            "--drop-doubtful",
            help="Treat as missing the landmarks of 4670 frames that a public list names as bad; 126,145 remain.",
        ),
    ] = False,
    videos: VideosOption = None,
    landmarks: LandmarksOption = None,
    shard_faces: ShardOption = SHARD_FACES,
) -> None:
    """Prepare DISFA (about 49 GB at the default size). An AU occurred where its intensity is 2 or more.

    ROOT holds `ActionUnit_Labels`, `Videos_LeftCamera` and `Landmark_Points`.

        roigcn prepare disfa /data/DISFA /data/disfa-352 --redetect
    """
    with _clear_errors():
        from training.prepare.disfa import Disfa

        source = Disfa.find(root, _codes(aus), labels, videos, landmarks, drop_doubtful)
        _prepare(source, out_dir, size, redetect, shard_faces, workers)


@app.command("csv")
def table(
    table_file: Annotated[Path, typer.Argument(metavar="TABLE", help="CSV file: image, subject, AU1, AU2 ...")],
    out_dir: OutArgument,
    aus: Annotated[
        str | None, typer.Option("--aus", help="AU codes to keep, 1,2,AU12; default: every AU column of the table.")
    ] = None,
    size: SizeOption = SIZE,
    first_pixel: Annotated[
        int, typer.Option(min=0, max=1, help="Number of the first pixel in the table's landmarks; MATLAB's are 1.")
    ] = 0,
    workers: WorkersOption = WORKERS,
    shard_faces: ShardOption = SHARD_FACES,
) -> None:
    """Prepare your own FACS-coded pictures.

    TABLE has a row for each face: `image` (a path relative to the table), `subject`, a column for each AU with 1
    occurred, 0 absent, 9 or nothing unknown. Optional: `frame`, `task`, and landmarks x_0, y_0, x_1 ... of 49, 66 or 68
    points; where a row has none, the largest face of the picture is found.

        roigcn prepare csv coded.csv prepared

        roigcn prepare parts prepared --test P3,P7 --calibration P2

        roigcn train --data prepared --config my.toml --out runs/own

    my.toml is a copy of training/configs/scratch_small_64.toml whose aus are those of your table.
    """
    with _clear_errors():
        from training.prepare.table import Table

        source = Table.read(table_file, None if aus is None else _codes(aus), first_pixel)
        _prepare(source, out_dir, size, True, shard_faces, workers)


@app.command()
def parts(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="A folder of `roigcn prepare`.")],
    test: Annotated[str, typer.Option(help="Subjects to test on, between commas.")],
    calibration: Annotated[str, typer.Option(help="Subjects for calibration and thresholds.")] = "",
    train: Annotated[str, typer.Option(help="Subjects to train on; default: all others.")] = "",
) -> None:
    """Choose which subjects `roigcn train`, `evaluate` and `publish` use as train, calibration and test.

    roigcn prepare parts /data/disfa-352 --test SN003,SN004 --calibration SN001
    """
    with _clear_errors():
        from training.prepare.parts import choose_parts

        given = {"train": train, "calibration": calibration, "test": test}
        chosen = choose_parts(folder, {part: _names(text) for part, text in given.items()})
        for part, subjects in chosen.items():
            out.print(f"{part}: {', '.join(subjects)}", highlight=False)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _codes(aus: str) -> tuple[str, ...]:
    from model.action_units import resolve

    try:
        return resolve(aus)
    except ValueError as error:
        _stop(str(error), WRONG_USAGE)


def _prepare(source: Source, out_dir: Path, size: int, redetect: bool, shard_faces: int, workers: int) -> None:
    from training.prepare.run import Options, prepare

    if redetect:
        from model.faces.assets import asset_paths

        asset_paths()  # missing nets are told now, not an hour later
    counts = source.subjects()
    _warn_of_space(out_dir, sum(counts.values()), size)
    with progress_bar("frames") as bar:
        task = bar.add_task("preparing", total=sum(counts.values()))

        def advance(subject: str, frames: int) -> None:
            bar.update(task, advance=frames, description=subject)

        report = prepare(source, out_dir, Options(size, redetect, shard_faces, workers), advance)
    if out.is_terminal:
        out.print(Markdown(report.markdown()))
    else:
        out.print(report.markdown(), markup=False, highlight=False, soft_wrap=True)
    err.print(f"report: {out_dir / 'report.md'}", highlight=False, soft_wrap=True)
    if report.failures:
        _stop(
            f"{len(report.failures)} of {len(counts)} subjects could not be prepared (above); mend their files and run "
            "the same command again",
            FAILED,
        )
    if not report.prepared:
        _stop(f"{out_dir}: no face could be prepared; the report says why", FAILED)


def _warn_of_space(out_dir: Path, frames: int, size: int) -> None:
    there = next(folder for folder in (out_dir, *out_dir.absolute().parents) if folder.is_dir())
    used = sum(path.stat().st_size for path in out_dir.glob("*.npz")) if out_dir.is_dir() else 0
    needed, free = frames * size * size * 3 - used, shutil.disk_usage(there).free
    if needed > free:
        err.print(
            f"[yellow]up to {needed / 1e9:.1f} GB will be written, {free / 1e9:.1f} GB are free in "
            f"{escape(str(there))}; a smaller --size needs less[/]",
            highlight=False,
            soft_wrap=True,
        )


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Turn the errors that a user can mend into a message and an exit code; torch is not needed for it."""
    from model.faces.assets import AssetError
    from training.data.shards import ShardError
    from training.prepare.source import PrepareError

    try:
        yield
    except AssetError as error:
        _stop(str(error), UNAVAILABLE)
    except (PrepareError, ShardError) as error:
        _stop(str(error), FAILED)
    except OSError as error:
        _stop(f"{error.filename or 'file'}: {error.strerror or error}", FAILED)
    except KeyboardInterrupt:
        _stop("stopped; the same command goes on from here", INTERRUPTED)


def _stop(message: str, code: int) -> NoReturn:
    err.print(f"[red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(code)
