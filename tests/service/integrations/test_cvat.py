"""CVAT's function, judged by cvat-sdk's own driver; the nuclio function, called as nuclio would."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cvat_sdk.auto_annotation as cvataa
import numpy as np
import pytest
import yaml
from cvat_cli._internal.common import FunctionLoader
from cvat_sdk import models
from cvat_sdk.auto_annotation.driver import _AnnotationMapper
from PIL import Image

from model.action_units import AU_SETS
from model.checkpoint import Checkpoint
from model.values import UInt8Array
from service.integrations.cvat.analysis import ServerAnalysis
from service.integrations.cvat.attributes import attributes_of, box_of, labels_json, values_of
from service.integrations.cvat.function import FaceFunction, create
from tests.service.kit import Server, jpeg

NUCLIO = Path(__file__).parents[3] / "docker" / "nuclio"
CODES = ("AU1", "AU12", "AU25")


def face(**changes: Any) -> dict[str, Any]:
    aus = [
        {"au": "AU1", "probability": 0.004, "active": False},
        {"au": "AU12", "probability": 0.956, "active": True},
        {"au": "AU25", "probability": None, "active": False},
    ]
    return {"box": {"x": -5.0, "y": 10.0, "width": 50.0, "height": 200.5}, "score": 0.8, "aus": aus} | changes


class Faces:
    """An analysis whose faces are given."""

    au_codes: Sequence[str] = CODES

    def __init__(self, *faces: dict[str, Any]) -> None:
        self._faces = list(faces)

    def faces(self, picture: Image.Image) -> list[Any]:
        return self._faces


class Context(cvataa.DetectionFunctionContext):
    """What cvat-sdk hands to a function."""

    def __init__(self, threshold: float | None = None) -> None:
        self._threshold = threshold

    @property
    def frame_name(self) -> str:
        return "frame_000000.jpg"

    @property
    def conf_threshold(self) -> float | None:
        return self._threshold

    @property
    def conv_mask_to_poly(self) -> bool:
        return False


def dataset_labels(codes: Sequence[str]) -> list[models.Label]:
    """The labels of a task that was made with `roigcn label-config --platform cvat`."""
    numbers = iter(range(1000, 2000))
    return [
        models.Label(
            name=label["name"],
            id=next(numbers),
            type=label["type"],
            attributes=[
                models.Attribute(
                    id=next(numbers),
                    name=attribute["name"],
                    mutable=attribute["mutable"],
                    input_type=models.InputTypeEnum(attribute["input_type"]),
                    values=attribute["values"],
                    default_value=attribute["default_value"],
                )
                for attribute in label["attributes"]
            ],
            sublabels=[],
        )
        for label in json.loads(labels_json(codes))
    ]


def mapped(function: FaceFunction, annotations: list[Any], codes: Sequence[str] = CODES) -> list[Any]:
    """The annotations as cvat-sdk would upload them to frame 7: it raises where they do not hold to its rules."""
    mapper = _AnnotationMapper(
        logging.getLogger(),
        function.spec.labels,
        dataset_labels(codes),
        allow_unmatched_labels=False,
        conv_mask_to_poly=False,
    )
    mapper.validate_and_remap(annotations, 7)
    return annotations


PICTURE = Image.new("RGB", (100, 150))


def test_a_face_is_a_rectangle_with_attributes_that_cvat_takes() -> None:
    function = FaceFunction(Faces(face()))
    (shape,) = mapped(function, function.detect(Context(), PICTURE))
    assert (shape.type.value, shape.frame, shape.points) == ("rectangle", 7, [0.0, 10.0, 45.0, 150.0])
    named = {attribute.id: attribute.name for attribute in dataset_labels(CODES)[0].attributes}
    assert {named[attribute.spec_id]: attribute.value for attribute in shape.attributes} == {
        "aus": "AU12 0.96",
        "face_percent": "80",
        "AU1": "false",
        "AU1_probability": "0.0040",
        "AU12": "true",
        "AU12_probability": "0.9560",
    }


@pytest.mark.parametrize(("threshold", "count"), [(None, 2), (0.0, 2), (0.5, 1), (0.8, 1), (0.81, 0), (1.0, 0)])
def test_the_confidence_threshold_is_honoured(threshold: float | None, count: int) -> None:
    function = FaceFunction(Faces(face(), face(score=0.3)))
    assert len(mapped(function, function.detect(Context(threshold), PICTURE))) == count


def test_a_picture_without_a_face_has_no_shapes() -> None:
    function = FaceFunction(Faces())
    assert mapped(function, function.detect(Context(), PICTURE)) == []


@pytest.mark.parametrize("codes", [CODES, AU_SETS["faces15"], ()], ids=["three", "fifteen", "none"])
def test_the_labels_are_the_functions(codes: tuple[str, ...]) -> None:
    analysis = Faces()
    analysis.au_codes = codes
    mapped(FaceFunction(analysis), [], codes)
    (label,) = json.loads(labels_json(codes))
    assert [attribute["name"] for attribute in label["attributes"]] == [a.name for a in attributes_of(codes)]
    for attribute in label["attributes"]:
        if attribute["input_type"] == "number":
            assert attribute["values"] == ["0", "100", "1"], "whole numbers: CVAT knows no others"


def test_aus_that_the_answer_lacks_have_no_value() -> None:
    assert values_of(face(aus=[]), CODES) == {"aus": "", "face_percent": "80"}
    assert box_of(face(), 1000, 1000) == [0.0, 10.0, 45.0, 210.5]


def load(parameters: dict[str, Any]) -> FaceFunction:
    """The function as `cvat-cli … --function-module … -p …` loads it."""
    function: FaceFunction = FunctionLoader("service.integrations.cvat.function", None, parameters).load()
    return function


def test_a_service_answers(served: Server, tenant: str, astronaut: UInt8Array) -> None:
    function = load({"server": served.url, "api_key": served.key(tenant)})
    shapes = mapped(function, function.detect(Context(), Image.fromarray(astronaut)))
    assert len(shapes) == 1
    left, _, right, _ = shapes[0].points
    assert 120 < (left + right) / 2 < 310, "she stands left of the middle"
    with served.client(tenant) as client:
        assert client.get("/jobs").json()["jobs"] == [], "nothing of it stays"


def test_the_network_runs_here_without_a_service(
    tiny_checkpoint: Checkpoint, tiny_analyzer: object, astronaut: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROIGCN_SERVER", raising=False)
    function = create(checkpoint="tiny", data_dir=str(tiny_checkpoint.path.parents[2]))
    assert len(mapped(function, function.detect(Context(), Image.fromarray(astronaut)))) == 1
    assert mapped(function, function.detect(Context(), Image.new("L", (64, 64)))) == []


@pytest.mark.parametrize("key", [None, "roigcn_" + "A" * 43])
def test_a_service_that_refuses_says_why(served: Server, tenant: str, key: str | None) -> None:
    served.key(tenant)
    with pytest.raises(RuntimeError, match="401"):
        ServerAnalysis(served.url, key)


def test_a_service_that_is_not_there_is_said() -> None:
    with pytest.raises(RuntimeError, match="does not answer"):
        ServerAnalysis("http://127.0.0.1:9")


def nuclio(server: str, key: str | None) -> Any:
    """The handler and a context as nuclio makes them."""
    found = importlib.util.spec_from_file_location("nuclio_main", NUCLIO / "main.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    context = SimpleNamespace(
        user_data=SimpleNamespace(),
        logger=logging.getLogger("nuclio"),
        Response=lambda **parts: SimpleNamespace(**parts),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROIGCN_SERVER", server)
        patch.setenv("ROIGCN_API_KEY", key or "")
        module.init_context(context)
    return lambda body: module.handler(context, SimpleNamespace(body=body))


def test_the_nuclio_function_answers_as_cvat_wants(served: Server, tenant: str, astronaut: UInt8Array) -> None:
    call = nuclio(served.url, served.key(tenant))
    picture = base64.b64encode(jpeg(astronaut)).decode()
    answer = call(json.dumps({"image": picture, "threshold": 0.2}).encode())
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    (shape,) = json.loads(answer.body)
    assert (shape["label"], shape["type"], len(shape["points"])) == ("face", "rectangle", 4)
    assert float(shape["confidence"]) > 0.2
    for attribute in shape["attributes"]:
        if attribute["name"] == "face_percent":
            assert attribute["value"].isnumeric(), "CVAT drops numbers with a point"
    assert json.loads(call({"image": picture, "threshold": 1.0}).body) == []
    file = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(file, "PNG")
    assert json.loads(call({"image": base64.b64encode(file.getvalue()).decode()}).body) == []


def test_the_nuclio_function_says_what_is_wrong(served: Server, tenant: str) -> None:
    served.key(tenant)
    assert nuclio(served.url, None)({"image": "AAAA"}).status_code == 502
    assert nuclio("http://127.0.0.1:9", None)({"image": "AAAA"}).status_code == 502


def test_the_nuclio_description_is_whole() -> None:
    description = yaml.safe_load((NUCLIO / "function.yaml").read_text())
    (label,) = json.loads(description["metadata"]["annotations"]["spec"])
    assert (label["id"], label["name"], label["type"]) == (0, "face", "rectangle")
    expected = attributes_of(AU_SETS["faces15"])
    assert [(a["name"], a["input_type"], tuple(a["values"])) for a in label["attributes"]] == [
        (attribute.name, attribute.kind, attribute.values) for attribute in expected
    ]
    module, _, function = description["spec"]["handler"].partition(":")
    assert (NUCLIO / f"{module}.py").read_text().count(f"def {function}(") == 1
    assert description["metadata"]["annotations"]["type"] == "detector"
