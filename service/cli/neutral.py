"""`--neutral`: a picture of the person at rest, for the commands that analyse on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.output import Exit, fail, unreadable

if TYPE_CHECKING:
    from model.analyzer import Analyzer
    from model.values import Float32Array

NeutralPicture = Annotated[
    Path | None,
    typer.Option(
        "--neutral",
        help="A picture of the same person at rest: brows and lids (AU1, 2, 4, 7) of the largest face, in a clip of "
        "the face seen most, are held against it.",
        exists=True,
        dir_okay=False,
        readable=True,
    ),
]


def rest_of(picture: Path, analyzer: Analyzer) -> Float32Array:
    """How brows and lids of its largest face rest, or the end of the command with what is wrong with it."""
    from model.image import ImageError, read_image

    try:
        found = analyzer.analyze(read_image(picture))
    except (ImageError, OSError) as error:
        fail(f"--neutral: {unreadable(picture, error)}")
    if not found:
        fail(f"--neutral: {picture} shows no face; give a picture that shows the person's resting face")
    measures = found[0][1].measures
    if measures is None:
        fail(
            f"--neutral: {analyzer.checkpoint.ref} as it is set (ROIGCN_READING) measures no brows and lids; "
            "leave it out, or choose another checkpoint or reading",
            Exit.USAGE,
        )
    return measures
