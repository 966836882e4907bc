"""`roigcn label-config`: labels for Label Studio or CVAT."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from model.action_units import CATALOGUE, resolve
from service.cli.output import Exit, fail


class _Task(StrEnum):
    IMAGE = "image"
    VIDEO = "video"


class _Platform(StrEnum):
    LABEL_STUDIO = "label-studio"
    CVAT = "cvat"


def label_config(
    task: Annotated[
        _Task, typer.Option("--task", help="What is annotated: pictures (image) or clips (video).")
    ] = _Task.IMAGE,
    aus: Annotated[
        str, typer.Option("--aus", help="all, faces15, bp4d, disfa, or Action Units with commas between: AU1,AU12.")
    ] = "faces15",
    maps: Annotated[bool, typer.Option("--maps", help="Pictures: with polygons of the network's ROI maps.")] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Pictures: with the probability of each Action Unit, 0 to 1.")
    ] = False,
    platform: Annotated[_Platform, typer.Option("--platform", help="Whose labels: Label Studio's or CVAT's.")] = (
        _Platform.LABEL_STUDIO
    ),
) -> None:
    """Print a label configuration for Label Studio, or the labels of a CVAT project.

    Label Studio: paste it into the project under Settings, Labeling Interface, Code. Names may be changed afterwards:
    the backend reads them from the project. A clip's task needs its frame rate in `fps` beside the address in `video`.
    CVAT: paste it into the project's labels under Raw. docs/label-studio.md and docs/cvat.md have the way from there.

        roigcn label-config --task image

        roigcn label-config --task video --aus AU1,AU2,AU4,AU12 > config.xml

        roigcn label-config --platform cvat > labels.json
    """
    from service.integrations.cvat.attributes import labels_json
    from service.integrations.label_studio.template import label_config as write

    if (task is _Task.VIDEO or platform is _Platform.CVAT) and (maps or probabilities):
        fail("--maps and --probabilities are for pictures in Label Studio", Exit.USAGE)
    try:
        codes = tuple(CATALOGUE) if aus.strip().lower() == "all" else resolve(aus)
    except ValueError as error:
        fail(f"--aus: {error}", Exit.USAGE)
    if platform is _Platform.CVAT:
        typer.echo(labels_json(codes), nl=False)
        return
    typer.echo(write(task.value, codes, maps=maps, probabilities=probabilities), nl=False)
