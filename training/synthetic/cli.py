"""`roigcn render` and `roigcn render-examples`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from training.terminal import PANEL

if TYPE_CHECKING:  # torch and OpenCV load only when something is rendered, so that `roigcn --help` stays quick
    from training.synthetic.generate import Recipe
    from training.synthetic.pack import FacePack

app = typer.Typer()
NOT_THERE, FAILED, WRONG_USAGE = 3, 1, 2

PackOption = Annotated[
    Path | None,
    typer.Option("--face-pack", envvar="ROIGCN_FACE_PACK", help="The head to render, an au_face_pack.npz."),
]
ToyOption = Annotated[bool, typer.Option("--toy", help="Render the built-in toy head instead of a face pack.")]
RasterOption = Annotated[str, typer.Option(help="auto, gl (graphics driver through EGL) or torch.")]


@app.command(rich_help_panel=PANEL)
def render(
    out: Annotated[
        Path,
        typer.Option(help="Folder for the shards; a started one is finished. Not used with --contact-sheet: give any."),
    ],
    face_pack: PackOption = None,
    toy: ToyOption = False,
    images: Annotated[int, typer.Option(min=1, help="How many pictures.")] = 1000,
    size: Annotated[int, typer.Option(min=32, help="Side of the pictures in pixels.")] = 160,
    split: Annotated[str, typer.Option(help="train, calibration or test: no person is in two of them.")] = "train",
    seed: Annotated[int, typer.Option(min=0, help="The same seed renders the same pictures.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    per_person: Annotated[int, typer.Option(min=1, help="Pictures of each person.")] = 10,
    shard_faces: Annotated[int, typer.Option(min=1, help="Pictures in a shard, a multiple of --per-person.")] = 500,
    raster: RasterOption = "auto",
    contact_sheet: Annotated[
        Path | None, typer.Option(help="Only render the first pictures (up to 64) into one PNG to look at.")
    ] = None,
) -> None:
    """Render faces with Action Unit labels into shards to train on."""
    from training.synthetic.generate import Recipe

    pack_path = _choose_pack(face_pack, toy)
    try:
        recipe = Recipe(pack_path, split, images, size, seed, per_person, shard_faces, raster)
    except ValueError as error:
        _stop(str(error), WRONG_USAGE)
    if contact_sheet is not None:
        _draw_sheet(recipe, contact_sheet)
        return
    _render_shards(recipe, out, workers)


@app.command("render-examples", rich_help_panel=PANEL)
def render_examples(
    out: Annotated[Path, typer.Option(help="Folder; `faces` and `clips` are made in it.")],
    face_pack: PackOption = None,
    toy: ToyOption = False,
    raster: RasterOption = "auto",
) -> None:
    """Render the example pictures and the example clip with its labels."""
    from training.synthetic import examples
    from training.synthetic.raster import RasterError

    pack = _open_pack(_choose_pack(face_pack, toy))
    try:
        written = examples.render_portraits(pack, out / "faces", raster=raster)
        written += examples.render_clips(pack, out / "clips", raster=raster)
    except (RasterError, ValueError, OSError) as error:
        _stop(str(error), FAILED)
    for path in written:
        typer.echo(f"{path} ({path.stat().st_size / 1000:.0f} kB)")


def _choose_pack(face_pack: Path | None, toy: bool) -> Path | None:
    """Return the pack's path, or None for the toy head."""
    from training.synthetic.pack import PackError, find_pack

    if toy:
        return None
    try:
        return find_pack(face_pack)
    except PackError as error:
        _stop(str(error), NOT_THERE)


def _open_pack(path: Path | None) -> FacePack:
    from training.synthetic.pack import PackError, load_pack
    from training.synthetic.toy import toy_pack

    try:
        return toy_pack() if path is None else load_pack(path)
    except PackError as error:
        _stop(str(error), NOT_THERE)


def _render_shards(recipe: Recipe, out: Path, workers: int) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from training.synthetic.generate import generate
    from training.synthetic.pack import PackError
    from training.synthetic.raster import RasterError
    from training.synthetic.shards import ShardError

    with Progress("rendering", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as progress:
        task = progress.add_task("faces", total=recipe.images)
        try:
            rendered = generate(recipe, out, workers, lambda faces: progress.advance(task, faces))
        except PackError as error:
            _stop(str(error), NOT_THERE)
        except (ShardError, RasterError, ValueError, OSError) as error:
            _stop(str(error), FAILED)
    typer.echo(f"{rendered} pictures rendered, {recipe.images} in {recipe.shards} shards under {out}")


def _draw_sheet(recipe: Recipe, path: Path) -> None:
    from training.synthetic.contact import save_picture, sheet, tile
    from training.synthetic.generate import render_faces
    from training.synthetic.raster import RasterError
    from training.synthetic.renderer import Renderer

    pack = _open_pack(recipe.face_pack)
    try:
        renderer = Renderer(pack, recipe.size, recipe.raster)
        faces = render_faces(renderer, recipe, 0, min(64, recipe.images))
        save_picture(path, sheet([tile(face) for face in faces]))
    except (RasterError, ValueError, OSError) as error:
        _stop(str(error), FAILED)
    typer.echo(f"{path}")


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)
