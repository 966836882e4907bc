"""`roigcn explain`: what happens inside the network for one face of a picture, on this machine, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.detect import CheckpointName, DataDir
from service.cli.output import Exit, atomic_path, fail, out, say, unreadable, warn

if TYPE_CHECKING:
    from model.analyzer import Analyzer
    from model.explain import Explainer
    from model.explain_panel import ExplainedFace
    from model.values import Face, UInt8Array

_PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def explain(
    image: Annotated[Path, typer.Argument(help="A picture: JPEG, PNG, WebP, BMP, TIFF, GIF.", show_default=False)],
    au: Annotated[
        str | None, typer.Option("--au", help="The Action Unit to look at, e.g. AU12; default the likeliest one.")
    ] = None,
    face: Annotated[int, typer.Option("--face", min=0, help="Which face, from 0, largest first.")] = 0,
    result: Annotated[
        Path | None, typer.Option("--out", "-o", help="Picture to write, .png or .jpg; default IMAGE_explain.png.")
    ] = None,
    npz: Annotated[
        Path | None, typer.Option("--npz", help="Also write the arrays: features, eigenvector maps, ROI maps.")
    ] = None,
    checkpoint: CheckpointName = None,
    data_dir: DataDir = None,
) -> None:
    """Show what happens inside the network for one face, as Figures 5 and 6 of the paper do.

    The picture has, for one Action Unit (AU):

    * the face's crop, the AU's eigenvector map, where the graph convolution takes its context from, and the ROI map;

    * the feature channels that shape the AU's map most, before (X0) and after (X1) the graph convolution, on one scale;

    * the eigenvector maps with their eigenvalues, and the ROI maps, of all AUs.

    docs/explain.md says how to read it, and what must not be concluded from it.

    Exit code: 0 done, 1 the picture cannot be read or has no such face, 2 wrong use, also an AU that the checkpoint
    does not know, 3 face nets or checkpoint missing.

        roigcn explain portrait.jpg

        roigcn explain portrait.jpg --au AU12 --out smile.png --npz smile.npz

        python -c "import numpy; print(numpy.load('smile.npz')['x1'].shape)"
    """
    target = result or image.parent / f"{image.stem}_explain.png"
    if target.suffix.lower() not in _PICTURES:
        fail(f"--out must end in .png or .jpg, not {target.name!r}", Exit.USAGE)
    if npz is not None and npz.suffix.lower() != ".npz":
        fail(f"--npz must end in .npz, not {npz.name!r}", Exit.USAGE)
    for written in (target, npz):
        if written is not None and not written.parent.is_dir():  # found out before the work, not after it
            fail(f"the folder {written.parent} does not exist; make it first", Exit.USAGE)
    from PIL import Image

    from model.explain_panel import explain_panel
    from model.explanation import default_au, write_explanation
    from model.image import ImageError, read_image  # after the usage errors, which need no library

    try:
        rgb = read_image(image)
    except (ImageError, OSError) as error:
        fail(unreadable(image, error))
    analyzer, explainer = _open(checkpoint, data_dir)
    codes = analyzer.au_codes
    if au is not None and au.upper() not in codes:
        fail(f"{analyzer.checkpoint.ref} knows no {au}; it knows {', '.join(codes)}", Exit.USAGE)
    faces = analyzer.faces(rgb)
    if face >= len(faces):
        numbered = "; faces are numbered from 0" if faces else ""
        fail(f"{image}: {_count(len(faces))} found, so there is no face {face}{numbered}")
    shown = explained_face(analyzer, explainer, rgb, faces[face])
    chosen = au.upper() if au is not None else default_au(codes, shown.probability, shown.active)
    with atomic_path(target) as partial:
        Image.fromarray(explain_panel(shown, chosen)).save(partial)
    if npz is not None:
        with atomic_path(npz) as partial, partial.open("wb") as file:
            write_explanation(file, shown.explanation)
    say(f"{_count(len(faces))} found; shown is face {face} with {chosen}")
    for written in (target, npz):
        if written is not None:
            out.print(str(written), highlight=False, soft_wrap=True)


def explained_face(analyzer: Analyzer, explainer: Explainer, rgb: UInt8Array, face: Face) -> ExplainedFace:
    """One face of a picture with what the network did with it.

    Args:
        analyzer: on that explainer as its engine.
        explainer: the network.
        rgb: (H, W, 3) uint8, the picture.
        face: of the picture.
    """
    from model.explain_panel import ExplainedFace, checkpoint_note

    crop = analyzer.crop(rgb, face)
    (found,) = explainer.explain(crop.pixels[None])
    (prediction,) = analyzer.read_maps(found.roi_maps[None], [crop])
    manifest = analyzer.checkpoint.manifest
    return ExplainedFace(
        crop, found, manifest.roi.rule, prediction.probability, prediction.active, checkpoint_note(manifest)
    )


def _open(checkpoint: str | None, data_dir: Path | None) -> tuple[Analyzer, Explainer]:
    """The network and the finder, or the end of the command with what to do."""
    import os

    import torch

    from model.analyzer import Analyzer
    from model.checkpoint import CheckpointError, load_checkpoint
    from model.explain import Explainer
    from model.explanation import ExplanationError
    from model.faces.assets import AssetError
    from model.faces.finder import FaceFinder
    from model.registry import Registry
    from worker.settings import WorkerSettings

    settings = WorkerSettings() if data_dir is None else WorkerSettings(data_dir=data_dir)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    registry = Registry.open(settings.data_dir)
    try:
        if checkpoint is None:
            found = registry.active()
        elif os.sep in checkpoint or checkpoint.startswith("."):
            found = load_checkpoint(Path(checkpoint).expanduser())
        else:
            found = registry.get(checkpoint)
        explainer = Explainer(found)
        analyzer = Analyzer(found, explainer, FaceFinder(settings.assets_dir, threads=settings.threads))
    except ExplanationError as error:
        fail(f"{found.ref}: {error}")
    except (CheckpointError, AssetError) as error:
        fail(str(error), Exit.UNAVAILABLE)
    if found.manifest.training.synthetic_only:
        warn(f"{found.ref} was trained on rendered faces only: what it does to real faces may mean little.")
    return analyzer, explainer


def _count(faces: int) -> str:
    return "no face was" if faces == 0 else f"{faces} face{'s' if faces != 1 else ''}"
