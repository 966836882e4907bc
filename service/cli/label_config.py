"""`roigcn label-config`: a label configuration for Label Studio."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from model.action_units import CATALOGUE, resolve
from service.cli.output import Exit, fail


class _Task(StrEnum):
    IMAGE = "image"
    VIDEO = "video"


def label_config(
    task: Annotated[_Task, typer.Option("--task", help="What is annotated: pictures (image) or clips (video).")],
    aus: Annotated[
        str, typer.Option("--aus", help="all, faces15, bp4d, disfa, or Action Units with commas between: AU1,AU12.")
    ] = "faces15",
    maps: Annotated[bool, typer.Option("--maps", help="Pictures: with polygons of the network's ROI maps.")] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Pictures: with the probability of each Action Unit, 0 to 1.")
    ] = False,
) -> None:
    """Print a label configuration for Label Studio.

    Paste it into the project under Settings, Labeling Interface, Code. Names may be changed afterwards: the backend
    reads them from the project. A clip's task needs its frame rate in `fps` beside the address in `video`.
    docs/label-studio.md has the way from there.

        roigcn label-config --task image

        roigcn label-config --task video --aus AU1,AU2,AU4,AU12 > config.xml
    """
    from service.integrations.label_studio.template import label_config as write

    if task is _Task.VIDEO and (maps or probabilities):
        fail("--maps and --probabilities are for pictures; clips have a timeline and boxes", Exit.USAGE)
    try:
        codes = tuple(CATALOGUE) if aus.strip().lower() == "all" else resolve(aus)
    except ValueError as error:
        fail(f"--aus: {error}", Exit.USAGE)
    typer.echo(write(task.value, codes, maps=maps, probabilities=probabilities), nl=False)
