"""The backend under the real Label Studio: connected, asked, clicked, pushed to, and every result judged by its SDK."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from model.action_units import AU_SETS, CATALOGUE
from model.registry import BUILTIN_ROOT, Registry
from service.integrations.label_studio.template import label_config
from tests.platforms.kit import ROOT, Backend, LabelStudioServer, sdk_errors
from tests.service.integrations.kit import FOREIGN

FACES = sorted((ROOT / "examples" / "faces").glob("*.jpg"))
CLIP = ROOT / "examples" / "clips" / "two_faces.mp4"
FACES15 = AU_SETS["faces15"]
IMAGE = label_config("image", FACES15, maps=True, probabilities=True)
VIDEO = label_config("video", FACES15)
BRUSH = IMAGE.replace("PolygonLabels", "BrushLabels")
SECONDS = 300.0


@pytest.mark.parametrize(
    "config",
    [
        *(label_config("image", aus, maps=maps, probabilities=maps) for aus in (FACES15, ("AU12",)) for maps in (0, 1)),
        label_config("image", tuple(CATALOGUE), maps=True, probabilities=True),
        label_config("video", tuple(CATALOGUE)),
        label_config("video", ("AU1", "AU12")),
    ],
)
def test_our_configurations_are_accepted_by_server_and_sdk(ls: LabelStudioServer, config: str) -> None:
    assert ls.project(config) > 0
    assert sdk_errors(config, []) == []


@pytest.fixture(scope="module")
def pictures(ls: LabelStudioServer, backend: Backend) -> tuple[int, dict[str, int], dict[str, Any]]:
    """A project with the example faces as tasks, connected: its id, tasks by name, the connection."""
    project = ls.project(IMAGE)
    tasks = {path.stem: ls.upload(project, path) for path in FACES}
    return project, tasks, backend.connect(ls, project)


def test_the_backend_connects(pictures: tuple[int, dict[str, int], dict[str, Any]]) -> None:
    _, _, connection = pictures
    assert (connection["state"], connection["readable_state"]) == ("CO", "Connected")
    assert connection["model_version"].startswith(f"roigcn {Registry([BUILTIN_ROOT]).active().ref} ")


def test_a_wrong_key_is_refused(ls: LabelStudioServer, backend: Backend) -> None:
    wrong = Backend(backend.url, "roigcn_" + "A" * 43, backend.log)
    with pytest.raises(AssertionError, match="401"):
        wrong.connect(ls, ls.project(IMAGE))


def test_a_project_without_use_is_refused_at_once(ls: LabelStudioServer, backend: Backend) -> None:
    config = '<View><Image name="i" value="$i"/><Choices name="c" toName="i"><Choice value="happy"/></Choices></View>'
    with pytest.raises(AssertionError, match="incompatible with the current labeling configuration"):
        backend.connect(ls, ls.project(config))


def test_predictions_are_retrieved(ls: LabelStudioServer, pictures: tuple[int, dict[str, int], dict[str, Any]]) -> None:
    project, tasks, connection = pictures
    ls.retrieve(project)
    for name, task in tasks.items():
        (prediction,) = ls.predictions(task)
        assert prediction["model_version"] == connection["model_version"], name
        assert sdk_errors(IMAGE, [prediction]) == [[]], name
        kinds = [result["type"] for result in prediction["result"]]
        assert kinds.count("rectanglelabels") == 1, f"{name} shows one face"
        assert kinds.count("number") == len(FACES15), name
    (smile,) = ls.predictions(tasks["smile"])
    (chosen,) = [result["value"]["choices"] for result in smile["result"] if result["type"] == "choices"]
    assert {"AU12", "AU25"} <= set(chosen)
    shapes = {result["value"]["polygonlabels"][0] for result in smile["result"] if result["type"] == "polygonlabels"}
    assert "AU12" in shapes


def test_a_second_retrieval_changes_nothing(
    ls: LabelStudioServer, pictures: tuple[int, dict[str, int], dict[str, Any]]
) -> None:
    project, tasks, _ = pictures
    ls.retrieve(project)
    before = {task: [prediction["id"] for prediction in ls.predictions(task)] for task in tasks.values()}
    ls.retrieve(project)
    assert {task: [prediction["id"] for prediction in ls.predictions(task)] for task in tasks.values()} == before


def test_a_changed_configuration_brings_new_predictions(
    ls: LabelStudioServer, pictures: tuple[int, dict[str, int], dict[str, Any]]
) -> None:
    project, tasks, connection = pictures
    ls.retrieve(project)
    changed = BRUSH.replace('<Choices name="aus"', '<Choices name="aus" model_score_threshold="0.2"')
    ls.call("PATCH", f"/api/projects/{project}", json={"label_config": changed})
    try:
        ls.retrieve(project)
        predictions = ls.predictions(tasks["smile"])
        assert len({prediction["model_version"] for prediction in predictions}) == 2
        new = next(p for p in predictions if p["model_version"] != connection["model_version"])
        assert sdk_errors(changed, [new]) == [[]]
        assert any(result["type"] == "brushlabels" for result in new["result"])
    finally:
        ls.call("PATCH", f"/api/projects/{project}", json={"label_config": IMAGE})


def test_a_click_picks_the_face(ls: LabelStudioServer, pictures: tuple[int, dict[str, int], dict[str, Any]]) -> None:
    _, tasks, connection = pictures

    def click(x: float, y: float) -> list[dict[str, Any]]:
        value = {"x": x, "y": y, "width": 0.5, "keypointlabels": ["face"]}
        drawn = {
            "type": "keypointlabels",
            "original_width": 512,
            "original_height": 512,
            "is_positive": 1,
            "value": value,
        }
        body = {"task": tasks["smile"], "context": {"result": [drawn]}}
        answer = ls.call("POST", f"/api/ml/{connection['id']}/interactive-annotating", json=body)
        assert "errors" not in answer, answer
        assert sdk_errors(IMAGE, [answer["data"]]) == [[]]
        results: list[dict[str, Any]] = answer["data"]["result"]
        return results

    assert [result["type"] for result in click(50, 50)].count("rectanglelabels") == 1
    assert click(1, 1) == []


def test_a_project_in_other_words(ls: LabelStudioServer, backend: Backend) -> None:
    config = FOREIGN.replace('<Text name="text" value="$text"/>', "").replace(
        '<Choices name="stimmung" toName="text"><Choice value="AU12"/></Choices>', ""
    )
    project = ls.project(config)
    task = ls.upload(project, ROOT / "examples" / "faces" / "smile.jpg")
    backend.connect(ls, project)
    ls.retrieve(project)
    (prediction,) = ls.predictions(task)
    assert sdk_errors(config, [prediction]) == [[]]
    said = {result["from_name"]: result["value"] for result in prediction["result"]}
    assert said["kasten"]["rectanglelabels"] == ["Person"]
    assert "Lächeln" in said["bewegung"]["choices"]
    assert ["Unten", "Mund", "AU12"] in said["baum"]["taxonomy"]
    assert {"umriss", "pinsel", "orte", "ganzes", "au12_wert"} <= said.keys()
    assert "AU12_intensity" not in said


def test_a_clip_is_pushed_when_it_is_done(ls: LabelStudioServer, backend: Backend) -> None:
    project = ls.project(VIDEO)
    task = ls.upload(project, CLIP)
    data = next(found["data"] for found in ls.tasks(project) if found["id"] == task)
    ls.call("PATCH", f"/api/tasks/{task}", json={"data": data | {"fps": 25}})
    connection = backend.connect(ls, project)
    ls.retrieve(project)
    ends = time.monotonic() + SECONDS
    while not (predictions := ls.predictions(task)):
        (push,) = backend.get("/integrations/label-studio/pushes")["pushes"]
        assert push["state"] != "failed", push
        assert time.monotonic() < ends, f"{push}\n{backend.log.read_text()[-3000:]}"
        time.sleep(0.5)
    (prediction,) = predictions
    assert prediction["model_version"] == connection["model_version"]
    assert sdk_errors(VIDEO, [prediction]) == [[]]
    regions = [result for result in prediction["result"] if result["type"] == "timelinelabels"]
    boxes = [result for result in prediction["result"] if result["type"] == "videorectangle"]
    assert len(boxes) == 2, "two faces"
    for box in boxes:
        assert box["value"]["framesCount"] == 125
        assert box["value"]["labels"] == ["face"]
    job = backend.get("/integrations/label-studio/pushes")["pushes"][0]["job"]
    events = backend.get(f"/jobs/{job}/au-events")["events"]
    expected = {(event["au"], event["track"], event["onset_frame"] + 1, event["offset_frame"] + 1) for event in events}
    shown = {
        (
            region["value"]["timelinelabels"][0],
            int(region["meta"]["text"][0].removeprefix("face ")),
            region["value"]["ranges"][0]["start"],
            region["value"]["ranges"][0]["end"],
        )
        for region in regions
    }
    assert shown == expected, "at the clip's own rate frame n of the player is picture n - 1"
    ls.retrieve(project)
    time.sleep(5)
    assert len(ls.predictions(task)) == 1


def test_media_needs_the_token(ls: LabelStudioServer, pictures: tuple[int, dict[str, int], dict[str, Any]]) -> None:
    """What the service does with its token is needed: the same address without it is refused."""
    project, _, _ = pictures
    address = ls.tasks(project)[0]["data"]["image"]
    assert address.startswith("/data/upload/")
    assert httpx.get(ls.url + address).status_code == 401


def test_examples_are_there() -> None:
    assert len(FACES) >= 6
    assert all(isinstance(path, Path) for path in FACES)
