"""`roigcn figures`. Nothing heavy is imported until it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.terminal import PANEL, ThreadsOption, clear_errors, fail, out, progress_bar, say

if TYPE_CHECKING:
    from training.figures.faces import FigureFace, Measures
    from training.subjects import Subject

app = typer.Typer(no_args_is_help=True)


@app.command(rich_help_panel=PANEL)
def figures(
    source: Annotated[Path, typer.Argument(help="Folder of a run or of a published checkpoint.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the pictures and figures.md.")],
    data: Annotated[Path | None, typer.Option("--data", help="Folder of shards (`roigcn render`, `prepare`).")] = None,
    part: Annotated[str, typer.Option(help="Part of the data folder to take faces from.")] = "test",
    faces: Annotated[
        str,
        typer.Option(help="Numbers of faces, as 3,17,40; default: a few that show most AUs, each another person's."),
    ] = "",
    count: Annotated[int, typer.Option(min=1, max=20, help="How many faces to choose.")] = 4,
    image: Annotated[
        list[Path] | None, typer.Option(help="Pictures in place of shards, their largest faces; give it several times.")
    ] = None,
    measured: Annotated[int, typer.Option(min=0, help="Faces of the part to measure on; 0 for none.")] = 200,
    threads: ThreadsOption = 1,
) -> None:
    """Draw the paper's Figures 5 and 6 for a network: what is inside it before and after the graph convolution.

    Writes figure5_channels.png (every feature channel before and after), figure6_eigenvectors.png (a row of eigenvector
    maps for each face), roi_maps.png, and figures.md with the measures behind them. For one face and one AU see
    `roigcn explain`.

        roigcn figures model/checkpoints/w18s-rendered/6 --data shards --out figures

        roigcn figures runs/small --data shards --faces 3,17,40 --out figures

        roigcn figures runs/small --image smile.jpg --image frown.jpg --out figures
    """
    if (data is None) == (not image):
        fail("give either --data SHARDS or --image PICTURE")
    with clear_errors():
        import torch

        from model.explanation import ExplanationError, check_explainable
        from training.subjects import open_subject

        torch.set_num_threads(max(1, threads))
        subject = open_subject(source)
        try:
            check_explainable(subject.network.config.variant)
        except ExplanationError as error:
            fail(f"{source}: {error}")
        if data is not None:
            found, chosen_by, measures = _of_shards(subject, data, part, _numbers(faces), count, measured)
        else:
            from training.figures.faces import faces_of_pictures

            found, chosen_by, measures = faces_of_pictures(subject, image or []), "The faces are those given.", None
        _write(out_dir, source, found, chosen_by, measures)


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        fail(f"--faces takes numbers with commas between them, as 3,17,40; got {text!r}")


def _of_shards(
    subject: Subject, data: Path, part: str, numbers: list[int], count: int, measured: int
) -> tuple[list[FigureFace], str, Measures | None]:
    from training.data.shards import FaceShards, find_shards
    from training.figures.faces import faces_of_shards, measure, telling_faces

    shards = FaceShards(find_shards(data, part), subject.reading.au_codes)
    chosen = numbers or telling_faces(shards, count)
    how = (
        f"The faces are numbers {', '.join(map(str, chosen))} of the part `{part}`, given by hand."
        if numbers
        else f"The faces are of the part `{part}`: one after the other the one that adds most Action Units to those "
        "shown, each of another person."
    )
    found = faces_of_shards(subject, shards, chosen)
    if not measured:
        return found, how, None
    total = min(measured, len(shards))
    spread = [round(i * (len(shards) - 1) / max(total - 1, 1)) for i in range(total)]
    with progress_bar("faces") as bar:
        task = bar.add_task("measuring", total=total)
        return found, how, measure(subject, shards, spread, lambda done: bar.advance(task, done))


def _write(out_dir: Path, source: Path, found: list[FigureFace], chosen_by: str, measures: Measures | None) -> None:
    from training.figures.page import CHANNELS, EIGENVECTORS, ROI_MAPS, figures_page
    from training.figures.plots import draw_channels, draw_eigenvectors, draw_roi_maps
    from training.protocol.plots import save_figure

    out_dir.mkdir(parents=True, exist_ok=True)
    name, caution = _named(source)
    drawn = (
        (CHANNELS, draw_channels(found[0])),
        (EIGENVECTORS, draw_eigenvectors(found)),
        (ROI_MAPS, draw_roi_maps(found)),
    )
    for file, figure in drawn:
        save_figure(figure, out_dir / file)
    page = out_dir / "figures.md"
    page.write_text(figures_page(name, caution, chosen_by, found, measures), encoding="utf-8")
    say(f"{len(found)} faces" + (f", measured on {measures.faces}" if measures is not None else ""))
    out.print(str(page), highlight=False, soft_wrap=True)


def _named(source: Path) -> tuple[str, str]:
    """What to call the network, and what to keep in mind."""
    from model.checkpoint import MANIFEST_NAME, read_manifest

    if not (source / MANIFEST_NAME).exists():
        return f"the run {source.name}", "A run that is not published: its training data are named in its own folder."
    manifest = read_manifest(source)
    caution = "Trained on rendered faces only: what it does to real faces may mean little."
    return manifest.ref, caution if manifest.training.synthetic_only else ""
