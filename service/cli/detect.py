"""`roigcn detect`: Action Units of pictures, on this machine, without a server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table

from model.action_units import CATALOGUE
from model.values import AuPrediction, Face, Float32Array
from service.cli.neutral import NeutralPicture, rest_of
from service.cli.output import Exit, atomic_path, fail, is_terminal, out, progress_bar, unreadable, warn

if TYPE_CHECKING:
    from model.analyzer import Analyzer
    from service.exports.formats import Format

EngineName = Annotated[
    str, typer.Option("--engine", envvar="ROIGCN_ENGINE", help="auto, openvino (processors) or torch (GPUs).")
]
DeviceName = Annotated[str, typer.Option("--device", envvar="ROIGCN_DEVICE", help="auto, cpu, cuda, cuda:1 ...")]
CheckpointName = Annotated[
    str | None,
    typer.Option("--checkpoint", envvar="ROIGCN_CHECKPOINT", help="NAME or NAME:VERSION; default the active one."),
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", envvar="ROIGCN_DATA_DIR", help="Data folder.", file_okay=False)
]


def open_analyzer(checkpoint: str | None, engine: str, device: str, data_dir: Path | None) -> Analyzer:
    """The analyzer for a command, or the end of the command with what to do."""
    from model.analyzer import Analyzer  # loads the engine's library, which --help need not wait for
    from model.checkpoint import CheckpointError
    from model.engines.base import EngineError
    from model.faces.assets import AssetError
    from worker.settings import WorkerSettings

    settings = WorkerSettings() if data_dir is None else WorkerSettings(data_dir=data_dir)
    try:
        analyzer = Analyzer.open(
            checkpoint,
            engine=engine,
            device=device,
            data_dir=settings.data_dir,
            threads=settings.threads,
            cache_dir=settings.cache_dir,
            assets_dir=settings.assets_dir,
            reading=settings.reading,
        )
    except (CheckpointError, EngineError, AssetError) as error:
        fail(str(error), Exit.UNAVAILABLE)
    manifest = analyzer.checkpoint.manifest
    if manifest.training.synthetic_only:
        warn(f"{analyzer.checkpoint.ref} was trained on rendered faces only: read its numbers with care.")
    return analyzer


def detect(
    images: Annotated[list[Path], typer.Argument(help="Pictures: JPEG, PNG, WebP, BMP, TIFF, GIF.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document per picture and line.")] = False,
    overlay: Annotated[
        Path | None,
        typer.Option("--overlay", help="Write a picture with boxes, AU bars and ROI maps: a file, or a folder."),
    ] = None,
    largest: Annotated[bool, typer.Option("--largest", help="Only the largest face.")] = False,
    neutral: NeutralPicture = None,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", help="Write one file of all pictures in this format; `roigcn formats` lists all."
        ),
    ] = None,
    result: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file of --format; its ending can stand for the format.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    checkpoint: CheckpointName = None,
    engine: EngineName = "auto",
    device: DeviceName = "auto",
    data_dir: DataDir = None,
) -> None:
    """Detect Action Units in pictures.

    In a terminal the answer is a table per picture; in a pipe it is one tab-separated line per face and AU:
    file, face, AU, score, probability, 1 or 0. --json has everything: boxes, landmarks, both sides, ROI positions.

    --format or --out write one file of all pictures instead: a table, COCO, CVAT and others.

    Exit code: 0 all pictures read, 1 some could not be, 3 face nets or checkpoint missing.

        roigcn detect portrait.jpg --overlay portrait_aus.png

        roigcn detect *.jpg --json > aus.ndjson

        roigcn detect *.jpg --out faces.coco.json

        roigcn detect anna/*.jpg --neutral anna/neutral.jpg
    """
    _check_overlay(overlay, images)
    to_file = format_name is not None or result is not None
    if to_file:
        chosen, target = _check_file(format_name, result, images, overwrite, as_json)
    analyzer = open_analyzer(checkpoint, engine, device, data_dir)
    rest = None if neutral is None else rest_of(neutral, analyzer)
    pictures = _Pictures(images, analyzer, largest, overlay, rest)
    if to_file:
        _write_file(target, chosen, pictures, analyzer)
    else:
        for picture in pictures:
            _print(picture.path, picture.shape, picture.found, analyzer, as_json)
    if pictures.failed:
        raise typer.Exit(Exit.FAILED)


def _check_file(
    format_name: str | None, result: Path | None, images: Sequence[Path], overwrite: bool, as_json: bool
) -> tuple[Format, Path]:
    from service.cli.export import check_target, choose_format
    from worker.store.records import JobKind

    if as_json:
        fail("--json prints and --format writes a file; give one of them", Exit.USAGE)
    chosen = choose_format(format_name, result, JobKind.IMAGE)
    if result is None and len(images) > 1:
        fail(f"name the file for several pictures, such as --out pictures{chosen.suffix}", Exit.USAGE)
    target = result or images[0].with_suffix(chosen.suffix)
    check_target(target, overwrite)
    return chosen, target


def _write_file(target: Path, chosen: Format, pictures: _Pictures, analyzer: Analyzer) -> None:
    from model.events import EventOptions
    from service.cli.export import recording_of, write_file
    from service.exports.recording import ExportFrame, face_rows
    from worker.store.records import JobKind

    def frames() -> Iterator[ExportFrame]:
        number = 0
        for number, picture in enumerate(pictures, 1):
            rows = face_rows(number - 1, 0.0, picture.found)
            yield ExportFrame(number - 1, 0.0, rows, picture.path.name, picture.shape[1], picture.shape[0])
        if not number:
            fail("no picture could be read, so there is no file")

    one = pictures.paths[0] if len(pictures.paths) == 1 else None
    recording = recording_of(analyzer, JobKind.IMAGE, one.name if one else target.name, EventOptions())
    write_file(target, chosen, frames(), replace(recording, frames=1 if one else None))
    out.print(str(target), highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class _Picture:
    path: Path
    shape: tuple[int, ...]
    found: Sequence[tuple[Face, AuPrediction]]


class _Pictures:
    """Pictures, analysed as they are asked for; those that cannot be read are counted and left out."""

    def __init__(
        self,
        paths: Sequence[Path],
        analyzer: Analyzer,
        largest: bool,
        overlay: Path | None,
        rest: Float32Array | None,
    ) -> None:
        self.paths = paths
        self.failed = 0
        self._analyzer = analyzer
        self._largest = largest
        self._overlay = overlay
        self._rest = rest

    def __iter__(self) -> Iterator[_Picture]:
        from model.image import ImageError, read_image
        from worker.rest import against_neutral

        with progress_bar("pictures", len(self.paths), "pictures") as bar:
            for path in self.paths:
                try:
                    rgb = read_image(path)
                except (ImageError, OSError) as error:
                    warn(unreadable(path, error))
                    self.failed += 1
                    bar.advance(bar.task_ids[0])
                    continue
                found = self._analyzer.analyze(rgb)
                if self._rest is not None:
                    found = against_neutral(self._analyzer, found, self._rest)
                if self._largest:
                    found = found[:1]
                if self._overlay is not None:
                    target = _overlay_path(self._overlay, path, len(self.paths))
                    _write_overlay(target, rgb, found, self._analyzer.au_codes)
                yield _Picture(path, rgb.shape, found)
                bar.advance(bar.task_ids[0])


def _check_overlay(overlay: Path | None, images: Sequence[Path]) -> None:
    """Find out before the work, not after it, that its pictures cannot be written."""
    if overlay is None:
        return
    if len(images) > 1 and not overlay.is_dir():
        fail(f"--overlay must be an existing folder when there are several pictures; make {overlay}", Exit.USAGE)
    if not overlay.is_dir() and overlay.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        fail(f"--overlay must be a folder or end in .png or .jpg, not {overlay.name!r}", Exit.USAGE)


def _overlay_path(overlay: Path, image: Path, count: int) -> Path:
    return overlay / f"{image.stem}_aus.png" if overlay.is_dir() or count > 1 else overlay


def _write_overlay(
    path: Path, rgb: np.ndarray[Any, Any], found: Sequence[tuple[Face, AuPrediction]], au_codes: Sequence[str]
) -> None:
    from PIL import Image

    from model.draw import overlay

    picture = overlay(rgb, [face for face, _ in found], [prediction for _, prediction in found], au_codes)
    with atomic_path(path) as partial:
        Image.fromarray(picture).save(partial)


def _print(
    path: Path,
    shape: tuple[int, ...],
    found: Sequence[tuple[Face, AuPrediction]],
    analyzer: Analyzer,
    as_json: bool,
) -> None:
    if as_json:
        document = {
            "file": str(path),
            "width": shape[1],
            "height": shape[0],
            "checkpoint": analyzer.checkpoint.ref,
            "synthetic_only": analyzer.checkpoint.manifest.training.synthetic_only,
            "faces": [face_document(face, prediction, analyzer.au_codes) for face, prediction in found],
        }
        typer.echo(json.dumps(document))
    elif is_terminal():
        _table(path, found, analyzer.au_codes)
    else:
        for face, prediction in found:
            for index, code in enumerate(analyzer.au_codes):
                numbers = f"{prediction.score[index]:.4f}\t{prediction.probability[index]:.4f}"
                typer.echo(f"{path}\t{face.track}\t{code}\t{numbers}\t{int(prediction.active[index])}")


def face_document(face: Face, prediction: AuPrediction, au_codes: Sequence[str]) -> dict[str, Any]:
    """A face as the service's answers have it."""
    left, top, right, bottom = (round(float(edge), 2) for edge in face.box_xyxy)
    aus = [
        {
            "au": code,
            "name": CATALOGUE[code].name,
            "score": _finite(prediction.score[index]),
            "probability": _finite(prediction.probability[index]),
            "active": bool(prediction.active[index]),
            "left": _finite(prediction.roi_amplitude[index, 0]),
            "right": _finite(prediction.roi_amplitude[index, 1]),
            "roi": np.round(prediction.roi_centres[index].astype(float), 2).tolist(),
        }
        for index, code in enumerate(au_codes)
    ]
    return {
        "box": {"x": left, "y": top, "width": round(right - left, 2), "height": round(bottom - top, 2)},
        "score": round(float(face.score), 4),
        "presence": round(float(face.presence), 4),
        "track": face.track,
        "landmarks": np.round(face.landmarks.astype(float), 2).tolist(),
        "aus": aus,
    }


def _finite(value: np.floating[Any]) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _table(path: Path, found: Sequence[tuple[Face, AuPrediction]], au_codes: Sequence[str]) -> None:
    out.print(f"\n[bold]{path}[/]: {len(found)} face{'s' if len(found) != 1 else ''}", highlight=False)
    if not found:
        return
    table = Table("AU", "name", *(f"face {face.track}" for face, _ in found))
    for index, code in enumerate(au_codes):
        cells = [_cell(prediction, index) for _, prediction in found]
        table.add_row(code, CATALOGUE[code].name, *cells)
    out.print(table)


def _cell(prediction: AuPrediction, index: int) -> str:
    """Probability as a bar and in percent; bold where the AU is present."""
    probability = float(prediction.probability[index])
    if not np.isfinite(probability):
        return "[dim]not visible[/]"
    text = f"{'█' * round(probability * 10):<10} {probability:4.0%}"
    return f"[bold green]{text}[/]" if prediction.active[index] else f"[dim]{text}[/]"
