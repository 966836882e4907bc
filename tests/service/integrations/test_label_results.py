"""Faces as results: every kind of control, in per cent, under the project's own names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.integrations.label_studio.config import parse_config
from service.integrations.label_studio.interactive import picked_face
from service.integrations.label_studio.results import Picture, certainty, needs_maps, picture_results
from service.integrations.label_studio.shapes import Mask, encode_mask, mask, polygons
from service.integrations.label_studio.validate import problems_of
from tests.service.integrations.kit import FOREIGN, face_row, picture, roi_maps

CONFIG = parse_config(FOREIGN)


def results_of(found: Picture, xml: str = FOREIGN, **options: Any) -> list[dict[str, Any]]:
    config = parse_config(xml)
    results = picture_results(config, config.media[0], found, range(len(found.faces)), "p", **options)
    assert problems_of(config, results) == []
    return results


def by_control(results: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        found.setdefault(result["from_name"], []).append(result)
    return found


def test_every_control_is_filled_in_under_its_own_name() -> None:
    found = by_control(results_of(picture(face_row())))
    (box,) = found["kasten"]
    assert box["to_name"] == "bild"
    assert (box["original_width"], box["original_height"], box["image_rotation"]) == (200, 120, 0)
    assert box["value"] == {
        "x": 10.25,
        "y": 17.0833,
        "width": 40.0,
        "height": 75.0,
        "rotation": 0,
        "rectanglelabels": ["Person"],
    }
    assert box["score"] == 0.95
    for name, key, value in (
        ("bewegung", "choices", ["Lächeln"]),
        ("eine", "choices", ["AU12"]),
        ("baum", "taxonomy", [["Unten", "Mund", "AU12"]]),
        ("au12_wert", "number", 0.9),
        ("AU6_prozent", "number", 40.0),
    ):
        (result,) = found[name]
        assert result["id"] == box["id"], "it belongs to the box"
        assert result["value"][key] == value
        assert result["value"]["x"] == box["value"]["x"]
    (whole,) = found["ganzes"]
    assert whole["value"] == {"choices": ["AU12"]}
    assert whole["id"] != box["id"]
    assert "AU12_intensity" not in found, "0 to 5 asks for an intensity, which is not estimated"
    points = [(point["value"]["x"], point["value"]["y"]) for point in found["orte"]]
    assert points == [(22.75, 75.4167), (37.75, 75.4167)]
    assert {point["value"]["keypointlabels"][0] for point in found["orte"]} == {"AU12"}
    assert len(found["umriss"]) == 1
    assert len(found["pinsel"]) == 1
    ids = [result["id"] for name in ("kasten", "orte", "umriss", "pinsel", "ganzes") for result in found[name]]
    assert len(set(ids)) == len(ids)


def test_a_picture_without_a_face_has_no_results() -> None:
    assert results_of(picture()) == []
    assert certainty([]) == 0.0


def test_an_au_that_could_not_be_read_is_left_out() -> None:
    row = face_row(probability=(0.1, 0.4, float("nan")), active=(False, False, False))
    found = by_control(results_of(picture(row)))
    assert "au12_wert" not in found
    assert "bewegung" not in found
    assert certainty([row]) == pytest.approx((0.9 + 0.6) / 2, abs=1e-3)


def test_a_checkpoint_without_the_au_leaves_its_controls_empty() -> None:
    xml = FOREIGN.replace("AU12", "AU17").replace("au12", "au17").replace("lip corner puller", "")
    found = by_control(results_of(picture(face_row()), xml))
    assert set(found) == {"kasten", "AU6_prozent"}


@pytest.mark.parametrize(
    ("threshold", "said"),
    [
        (None, ["Lächeln"]),
        ("0.05", ["Lächeln", "brauen", "Cheek Raiser"]),
        ("0.4", ["Lächeln", "Cheek Raiser"]),
        ("1", []),
    ],
)
def test_a_control_may_have_a_threshold_of_its_own(threshold: str | None, said: list[str]) -> None:
    attribute = "" if threshold is None else f' model_score_threshold="{threshold}"'
    xml = FOREIGN.replace('name="bewegung"', f'name="bewegung"{attribute}')
    found = by_control(results_of(picture(face_row()), xml))
    assert [result["value"]["choices"] for result in found.get("bewegung", [])] == ([said] if said else [])


def test_a_face_below_the_boxes_threshold_has_no_box_and_nothing_that_hangs_on_it() -> None:
    xml = FOREIGN.replace('name="kasten"', 'name="kasten" model_score_threshold="0.99"')
    found = by_control(results_of(picture(face_row()), xml))
    assert set(found) == {"orte", "umriss", "pinsel", "ganzes"}


def test_one_choice_is_the_most_probable() -> None:
    row = face_row(probability=(0.2, 0.97, 0.8), active=(False, True, True))
    found = by_control(results_of(picture(row)))
    assert found["eine"][0]["value"]["choices"] == ["AU06"]
    assert found["ganzes"][0]["value"]["choices"] == ["AU6", "AU12"]


def test_faces_keep_apart_and_the_largest_speaks_for_the_picture() -> None:
    other = face_row(1, (120, 30, 180, 90), (0.9, 0.1, 0.1), (True, False, False))
    found = by_control(results_of(picture(face_row(), other)))
    assert [result["value"]["choices"] for result in found["bewegung"]] == [["Lächeln"], ["brauen"]]
    assert len({result["id"] for result in found["kasten"]}) == 2
    assert [result["value"]["choices"] for result in found["ganzes"]] == [["AU12"]]
    assert "ganzes" not in by_control(results_of(picture(face_row(), other), whole=False))


def test_boxes_and_points_stay_on_the_picture() -> None:
    row = face_row(box=(-30, -10, 250, 130))
    centres = np.array(row.roi_centres)
    centres[2, 0] = (-5, 90)
    outside = face_row(box=(-30, -10, 250, 130))
    object.__setattr__(outside, "roi_centres", centres)
    found = by_control(results_of(picture(outside)))
    value = found["kasten"][0]["value"]
    assert (value["x"], value["y"], value["width"], value["height"]) == (0, 0, 100, 100)
    assert len(found["orte"]) == 1


def test_maps_are_asked_for_only_where_they_are_shown() -> None:
    medium = CONFIG.media[0]
    assert needs_maps(CONFIG, medium)
    plain = parse_config(FOREIGN.replace("BrushLabels", "X").replace("PolygonLabels", "X"))
    assert not needs_maps(plain, plain.media[0])
    assert {"umriss", "pinsel"}.isdisjoint(by_control(results_of(picture(face_row(), maps=False))))


def test_outline_and_mask_lie_where_the_map_is_high() -> None:
    row = face_row()
    (outline,) = polygons(roi_maps()[0], row.landmarks, 2.6)
    found = mask(roi_maps()[0], row.landmarks, 2.6, 200, 120)
    assert found is not None
    y, x = np.nonzero(found.pixels)
    assert outline.mean(axis=0) == pytest.approx((x.mean() + found.left, y.mean() + found.top), abs=1.0)
    # The map's centre is the crop's, and that is the middle of eyes, nose and mouth.
    assert outline.mean(axis=0) == pytest.approx((60, 70), abs=5)
    shoelace = np.dot(outline[:, 0], np.roll(outline[:, 1], 1)) - np.dot(outline[:, 1], np.roll(outline[:, 0], 1))
    assert abs(shoelace) / 2 == pytest.approx(found.pixels.sum(), rel=0.15)


@pytest.mark.parametrize("shift", [(-400, 0), (0, 400)])
def test_a_shape_beside_the_picture_is_none(shift: tuple[int, int]) -> None:
    assert mask(roi_maps()[0], face_row().landmarks + np.array(shift, np.float32), 2.6, 200, 120) is None


def test_a_map_that_says_absent_everywhere_has_no_shape() -> None:
    flat = np.full((16, 16), -1, np.float32)
    assert polygons(flat, face_row().landmarks, 2.6) == []
    assert mask(flat, face_row().landmarks, 2.6, 200, 120) is None


def decode(code: list[int]) -> np.ndarray[Any, Any]:
    """Label Studio's run-length code, read from its description bit by bit."""
    bits = "".join(f"{byte:08b}" for byte in code)
    position = 0

    def read(count: int) -> int:
        nonlocal position
        position += count
        return int(bits[position - count : position], 2)

    count, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        run = read(1)
        length = read(sizes[read(2)]) + 1
        values += [read(word)] * length if run else [read(word) for _ in range(length)]
    assert len(bits) - position < 8
    return np.array(values, np.uint8)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_masks_survive_the_run_length_code(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 30))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    seed = data.draw(st.integers(0, 1000))
    pixels = np.random.default_rng(seed).random((height - top, width - left)) < data.draw(st.floats(0, 1))
    whole = np.zeros((height, width), np.uint8)
    whole[top:, left:] = pixels * np.uint8(255)
    rgba = decode(encode_mask(Mask(pixels, left, top), width, height)).reshape(height, width, 4)
    assert (rgba == whole[..., None]).all()


def test_long_runs_are_split() -> None:
    empty = decode(encode_mask(Mask(np.ones((1, 1), bool), 299, 199), 300, 200))
    assert (len(empty), empty.sum()) == (300 * 200 * 4, 255 * 4)


BOXES = [face_row(0, (20, 20, 100, 110)), face_row(1, (60, 60, 90, 100)), face_row(2, (150, 20, 190, 60))]


def click(x: float, y: float, **more: Any) -> dict[str, Any]:
    value = {"x": x / 2, "y": y / 1.2, "width": 0.5, "keypointlabels": ["face"]}
    return {"result": [{"type": "keypointlabels", "is_positive": 1, "value": value} | more]}


@pytest.mark.parametrize(
    ("context", "chosen"),
    [
        (click(30, 30), 0),
        (click(75, 80), 1),
        (click(170, 40), 2),
        (click(195, 40), 2),
        (click(125, 5), None),
        (click(30, 30, is_positive=0), None),
        ({"result": []}, None),
        ({}, None),
        ({"result": [{"type": "keypointlabels", "value": {"x": "a", "y": 1}}]}, None),
        ({"result": [{"type": "keypointlabels"}, "nonsense"]}, None),
        ({"result": [*click(170, 40)["result"], *click(75, 80)["result"]]}, 1),
        ({"result": [{"type": "rectanglelabels", "value": {"x": 10, "y": 17, "width": 40, "height": 75}}]}, 0),
        ({"result": [{"type": "rectanglelabels", "value": {"x": 30, "y": 50, "width": 15, "height": 34}}]}, 1),
        ({"result": [{"type": "rectanglelabels", "value": {"x": 1, "y": 1, "width": 3, "height": 3}}]}, None),
    ],
)
def test_what_an_annotator_means(context: dict[str, Any], chosen: int | None) -> None:
    assert picked_face(context, BOXES, 200, 120) == chosen
    assert picked_face(context, [], 200, 120) is None


def spoilt() -> Iterator[Any]:
    """Each way to spoil a result, with the words of the problem."""
    for name, change, words in (
        ("kasten", {"from_name": "box"}, "no control 'box'"),
        ("kasten", {"to_name": "image"}, "works on 'bild'"),
        ("kasten", {"type": "rectangle"}, "type 'rectanglelabels'"),
        ("kasten", {"id": ""}, "no id"),
        ("kasten", {"value": None}, "no value"),
        ("kasten", {"value": {"x": -1, "rectanglelabels": ["Person"]}}, "x is -1"),
        ("kasten", {"value": {"rectanglelabels": ["face"]}}, "no label 'face'"),
        ("bewegung", {"value": {"choices": []}}, "no choices"),
        ("eine", {"value": {"choices": ["AU06", "AU12"]}}, "one choice"),
        ("baum", {"value": {"taxonomy": [["Unten", "AU12"]]}}, "no label 'Unten / AU12'"),
        ("au12_wert", {"value": {"number": 2}}, "outside"),
        ("au12_wert", {"value": {"number": float("nan")}}, "no number"),
        ("orte", {"value": {"x": 101, "y": 1, "width": 1, "keypointlabels": ["AU12"]}}, "x is 101"),
        ("umriss", {"value": {"points": [[1, 1]], "polygonlabels": ["AU12"]}}, "three points"),
        ("umriss", {"value": {"points": [[1, 1], [2, 2], [3, 300]], "polygonlabels": ["AU12"]}}, "outside"),
        ("pinsel", {"value": {"format": "png", "rle": [1], "brushlabels": ["AU12"]}}, "format 'rle'"),
    ):
        yield pytest.param(name, change, words, id=words)


@pytest.mark.parametrize(("name", "change", "words"), list(spoilt()))
def test_what_does_not_fit_the_project_is_found(name: str, change: dict[str, Any], words: str) -> None:
    result = by_control(results_of(picture(face_row())))[name][0]
    problems = problems_of(CONFIG, [result | change])
    assert any(words in problem for problem in problems), problems
