"""An auto-annotation function of CVAT (cvat-sdk 2.80): `cvat-cli task auto-annotate ID --function-module THIS`.

`create` makes it, with parameters that `-p` passes. It needs `cvat-cli` in the same environment as roigcn, and either
asks a running service or runs the network itself.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cvat_sdk.auto_annotation as cvataa
from cvat_sdk import models
from cvat_sdk.attributes import number_attribute_values
from PIL import Image

from service.integrations.cvat.analysis import Analysis, LocalAnalysis, ServerAnalysis
from service.integrations.cvat.attributes import LABEL, Attribute, attributes_of, box_of, confident, values_of

_LABEL_ID = 0


class FaceFunction:
    """Boxes of faces with their Action Units as attributes.

    Attributes:
        spec: the label and its attributes; the task's are matched to them by name.
    """

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        attributes = attributes_of(analysis.au_codes)
        self._ids = {attribute.name: number for number, attribute in enumerate(attributes)}
        self.spec = cvataa.DetectionFunctionSpec(
            labels=[
                cvataa.label_spec(
                    LABEL,
                    _LABEL_ID,
                    type="rectangle",
                    attributes=[_attribute_spec(attribute, self._ids[attribute.name]) for attribute in attributes],
                )
            ]
        )

    def detect(self, context: cvataa.DetectionFunctionContext, image: Image.Image) -> list[Any]:
        """The faces of a frame whose confidence is at least `context.conf_threshold`, if there is one."""
        faces = confident(self._analysis.faces(image), context.conf_threshold)
        return [
            cvataa.rectangle(
                _LABEL_ID,
                box_of(face, *image.size),
                attributes=[
                    models.AttributeValRequest(spec_id=self._ids[name], value=value)
                    for name, value in values_of(face, self._analysis.au_codes).items()
                ],
            )
            for face in faces
        ]


def create(
    server: str | None = None, api_key: str | None = None, checkpoint: str | None = None, data_dir: str | None = None
) -> FaceFunction:
    """Make the function.

    Args:
        server: address of a running service; default ROIGCN_SERVER; without either the network runs here.
        api_key: of that service; default ROIGCN_API_KEY.
        checkpoint: without a server: NAME or NAME:VERSION.
        data_dir: without a server: where further checkpoints lie.
    """
    address = server or os.environ.get("ROIGCN_SERVER")
    if address:
        return FaceFunction(ServerAnalysis(address, api_key or os.environ.get("ROIGCN_API_KEY")))
    return FaceFunction(LocalAnalysis(checkpoint, None if data_dir is None else Path(data_dir)))


def _attribute_spec(attribute: Attribute, number: int) -> Any:
    if attribute.kind == "number":
        low, high, step = (int(value) for value in attribute.values)
        return cvataa.number_attribute_spec(attribute.name, number, number_attribute_values(low, high, step))
    if attribute.kind == "checkbox":
        return cvataa.checkbox_attribute_spec(attribute.name, number)
    return cvataa.text_attribute_spec(attribute.name, number)
