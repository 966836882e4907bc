"""Every format read back by its own reader where one can be installed beside roigcn, else by that reader's rules."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pympi import Eaf

from model.events import Baseline, EventOptions
from service.exports import boris, coco, cvat, elan, ndjson, openface, pyfeat
from service.exports.formats import Format
from service.exports.recording import ExportFrame, Recording, events_of
from service.results.schemas import FrameAnswer
from tests.service.exports.kit import AUS, CLIP, PICTURES, STEP_MS, face, frame, pictures, two_faces, without_faces


def made(format_: Format, frames: list[ExportFrame], recording: Recording = CLIP) -> bytes:
    return b"".join(format_.write(iter(frames), recording))


def table(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def eaf(path: Path, frames: list[ExportFrame], recording: Recording = CLIP) -> Eaf:
    path.write_bytes(made(elan.FORMAT, frames, recording))
    return Eaf(str(path))


def test_elan_by_pympi(tmp_path: Path) -> None:
    read = eaf(tmp_path / "a.eaf", two_faces())
    names = ["face0", "face0:AU4", "face0:AU12", "face3", "face3:AU4", "face3:AU12"]
    assert list(read.get_tier_names()) == names
    found = [read.get_annotation_data_for_tier(name) for name in names]
    assert found == [
        [(33, 200, "seen"), (234, 400, "seen")],
        [],
        [(67, 300, "0.74")],
        [(133, 234, "seen"), (334, 400, "seen")],
        [(133, 234, "0.80")],
        [],
    ]
    (media,) = read.get_linked_files()
    assert media["RELATIVE_MEDIA_URL"] == "./two & faces.mp4"
    assert ("roigcn.checkpoint", "tiny:1") in read.properties
    read.to_file(str(tmp_path / "b.eaf"))
    again = Eaf(str(tmp_path / "b.eaf"))
    assert again.get_annotation_data_for_tier("face0:AU12") == [(67, 300, "0.74")]


@pytest.mark.parametrize("frames", [[], without_faces()], ids=["empty", "without faces"])
def test_elan_without_a_face_is_a_valid_file(tmp_path: Path, frames: list[ExportFrame]) -> None:
    assert list(eaf(tmp_path / "a.eaf", frames).get_tier_names()) == []


def test_elan_follows_the_event_options(tmp_path: Path) -> None:
    def smiles(**options: Any) -> list[tuple[int, int, str]]:
        read = eaf(tmp_path / "a.eaf", two_faces(), replace(CLIP, events=EventOptions(**options)))
        spans: list[tuple[int, int, str]] = read.get_annotation_data_for_tier("face0:AU12")
        return spans

    assert smiles(gap_ms=0) == [(67, 200, "0.86")], "the second half, 0.6 and 0.4, is shorter than 100 ms"
    assert smiles(gap_ms=0, min_ms=0) == [(67, 200, "0.86"), (234, 300, "0.50")]
    assert smiles(on=0.99) == []
    assert smiles(baseline=Baseline.MEDIAN, gap_ms=0) == [(100, 200, "0.92")], "halfway from the median, 0.5, to 1"


def test_elan_obeys_the_schemas_references(tmp_path: Path) -> None:
    """What EAF 3.0's schema demands beyond the elements: unique ids, references that resolve, slots in order."""
    root = ET.fromstring(made(elan.FORMAT, two_faces()))
    slots = {slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE", "")) for slot in root.iter("TIME_SLOT")}
    assert list(slots.values()) == sorted(slots.values())
    annotations = list(root.iter("ALIGNABLE_ANNOTATION"))
    assert len({a.get("ANNOTATION_ID") for a in annotations}) == len(annotations)
    kinds = {kind.get("LINGUISTIC_TYPE_ID") for kind in root.iter("LINGUISTIC_TYPE")}
    assert {tier.get("LINGUISTIC_TYPE_REF") for tier in root.iter("TIER")} <= kinds
    assert [child.tag for child in root][:2] == ["HEADER", "TIME_ORDER"]
    for a in annotations:
        assert slots[a.get("TIME_SLOT_REF1")] < slots[a.get("TIME_SLOT_REF2")]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\+00:00|Z)", root.get("DATE", ""))


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.floats(0, 60), st.sampled_from([0.0, 0.2, 0.9, float("nan")]), st.booleans()), max_size=30)
)
def test_annotations_of_a_tier_never_overlap(clip: list[tuple[float, float, bool]]) -> None:
    """Also where frames are shorter than the millisecond that ELAN counts in."""
    times = np.cumsum([length for length, _, _ in clip])
    frames = [
        replace(frame(index, *([face(index, 0, (chance, 0.1))] if seen else [])), pts_ms=float(time))
        for index, (time, (_, chance, seen)) in enumerate(zip(times, clip, strict=True))
    ]
    root = ET.fromstring(made(elan.FORMAT, frames, replace(CLIP, events=EventOptions(min_ms=0, gap_ms=0))))
    slots = {slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE", "")) for slot in root.iter("TIME_SLOT")}
    for tier in root.iter("TIER"):
        last = 0
        for a in tier.iter("ALIGNABLE_ANNOTATION"):
            start, end = slots[a.get("TIME_SLOT_REF1")], slots[a.get("TIME_SLOT_REF2")]
            assert last <= start < end
            last = end


def coco_read(path: Path, frames: list[ExportFrame], recording: Recording) -> COCO:
    path.write_bytes(made(coco.FORMAT, frames, recording))
    return COCO(str(path))


def test_coco_by_pycocotools(tmp_path: Path) -> None:
    read = coco_read(tmp_path / "c.json", two_faces(), CLIP)
    assert len(read.getImgIds()) == 12, "frames without a face are images too"
    assert [cat["name"] for cat in read.loadCats(read.getCatIds())] == ["face"]
    (image,) = read.loadImgs([5])
    assert (image["file_name"], image["width"], image["height"]) == ("frame_000004.jpg", 640, 480)
    assert image["time_ms"] == pytest.approx(4 * STEP_MS, abs=1e-3)
    first, second = read.loadAnns(read.getAnnIds(imgIds=[5]))
    assert first["bbox"] == [10.0, 20.5, 100.0, 119.75]
    assert first["area"] == pytest.approx(11975)
    assert (len(first["keypoints"]), first["num_keypoints"]) == (3 * 68, 68)
    assert first["attributes"] == {
        "track_id": 0,
        "face_score": 0.875,
        "AU4": False,
        "AU4_probability": 0.05,
        "AU4_score": -0.9,
        "AU12": True,
        "AU12_probability": 0.95,
        "AU12_score": 0.9,
    }
    assert set(second["attributes"]) == {"track_id", "face_score", "AU4", "AU4_probability", "AU4_score"}
    assert read.getAnnIds(imgIds=[1]) == []
    names = read.loadCats(1)[0]["keypoints"]
    assert all(1 <= end <= len(names) for line in read.loadCats(1)[0]["skeleton"] for end in line)


def test_coco_of_pictures_and_of_nothing(tmp_path: Path) -> None:
    read = coco_read(tmp_path / "c.json", pictures(), PICTURES)
    assert [image["file_name"] for image in read.loadImgs(read.getImgIds())] == [
        "smile.jpg",
        'wall, "white" & <old>.png',
        "päar.jpg",
    ]
    assert coco_read(tmp_path / "c.json", [], CLIP).getImgIds() == []


def test_openface_by_the_rules_of_its_readers() -> None:
    """py-feat's `read_openface` and the R readers strip the names of the header and ask for columns by name."""
    data = made(openface.FORMAT, two_faces()).decode()
    head, *lines = data.splitlines()
    assert head.startswith("frame, face_id, timestamp, confidence, success, x_0, x_1, ")
    assert ", " not in "".join(lines), "a blank cell with a space in it would make its column text in pandas"
    names = [name.strip(" ") for name in head.split(",")]
    rows = [dict(zip(names, row, strict=True)) for row in csv.reader(lines)]
    numbers = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
    asked = [f"AU{n:02d}_r" for n in numbers] + [f"AU{n:02d}_c" for n in (*numbers, 28)]
    asked += [f"{axis}_{n}" for axis in "xy" for n in range(68)]
    assert set(asked) <= set(names)
    assert [int(row["frame"]) for row in rows] == [1, 2, 3, 4, 5, 5, 6, 6, 7, 8, 9, 10, 11, 11, 12, 12]
    assert (rows[0]["success"], rows[0]["confidence"], rows[0]["AU12_c"]) == ("0", "0", "")
    assert all(row["success"] == "1" for row in rows[1:])
    assert float(rows[1]["timestamp"]) == pytest.approx(STEP_MS / 1000, abs=1e-6)
    assert {row[name] for row in rows for name in names if name.endswith("_r")} == {""}, "never an intensity"
    assert [row["AU12_c"] for row in rows if row["face_id"] == "0"][1:5] == ["0", "1", "1", "1"]
    assert (rows[5]["AU12_c"], rows[5]["AU12_p"], rows[5]["AU04_c"], rows[5]["AU04_p"]) == ("", "", "1", "0.8")
    assert {row["AU45_c"] for row in rows} == {""}, "an AU that the checkpoint has not is not absent"


def test_openface_has_columns_for_aus_that_openface_lacks() -> None:
    names = openface.header(("AU24", "AU1"))
    assert names.index("AU24_c") == names.index("AU23_c") + 1
    assert names[-2:] == ["AU24_p", "AU01_p"]


def test_pyfeat_by_the_rules_of_read_feat() -> None:
    """`read_feat` takes every column whose name holds "AU" for an AU, and boxes and points by name."""
    rows = table(made(pyfeat.FORMAT, two_faces()))
    assert [name for name in rows[0] if "AU" in name] == ["AU04", "AU12"]
    boxes = {"FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore"}
    assert boxes | {f"{axis}_{n}" for axis in "xy" for n in range(68)} <= set(rows[0])
    assert (rows[0]["frame"], rows[0]["FaceRectX"], rows[0]["AU12"], rows[0]["Identity"]) == ("0", "", "", "")
    assert [row["Identity"] for row in rows[4:6]] == ["face_0", "face_3"]
    assert (rows[5]["AU04"], rows[5]["AU12"]) == ("0.8", "")
    assert {row["input"] for row in rows} == {CLIP.name}
    late = table(made(pyfeat.FORMAT, [replace(frame(0), pts_ms=3_725_040.5)]))[0]
    assert (late["approx_time"], late["time_ms"]) == ("62:05", "3725040.5")
    still = table(made(pyfeat.FORMAT, pictures(), PICTURES))
    assert [(row["input"], row["frame"], row["approx_time"]) for row in still][2:] == [("päar.jpg", "2", "")] * 2


def test_boris_rows_are_the_events() -> None:
    rows = table(made(boris.FORMAT, two_faces()))
    events, _, _ = events_of(two_faces(), CLIP)
    assert [(row["Subject"], row["Behavior"]) for row in rows] == [("face0", "AU12"), ("face3", "AU4")]
    for row, event in zip(rows, events, strict=True):
        assert row["Behavior type"] == "STATE"
        times = [float(row[name]) for name in ("Start (s)", "Stop (s)", "Duration (s)")]
        expected = [event.onset_ms, event.offset_ms, event.duration_ms]
        assert times == pytest.approx([ms / 1000 for ms in expected], abs=5e-4)
        assert (int(row["Image index start"]), int(row["Image index stop"])) == (event.onset_frame, event.offset_frame)
        assert row["Media file name"] == CLIP.name
    assert list(rows[0]) == list(boris.HEADER)
    assert table(made(boris.FORMAT, without_faces())) == []


def test_cvat_video_keeps_its_rules() -> None:
    """CVAT XML 1.1 for video: a box per frame and track; a stretch ends with an outside box unless the clip does."""
    root = ET.fromstring(made(cvat.FORMAT, two_faces()))
    assert root.findtext("version") == "1.1"
    assert root.findtext("meta/task/original_size/width") == "640"
    assert root.findtext("meta/task/stop_frame") == "11"
    described = [attribute.text for attribute in root.iterfind("meta/task/labels/label/attributes/attribute/name")]
    tracks = root.findall("track")
    assert [track.get("id") for track in tracks] == ["0", "3"]
    seen = defaultdict(list)
    for track in tracks:
        frames = [int(box.get("frame", "")) for box in track]
        assert frames == sorted(set(frames))
        for box in track:
            assert [attribute.get("name") for attribute in box] == described
            assert float(box.get("xtl", "")) < float(box.get("xbr", ""))
            seen[track.get("id")].append((int(box.get("frame", "")), box.get("outside")))
    assert [place for place in seen["0"] if place[1] == "1"] == [(6, "1")]
    assert seen["3"] == [(4, "0"), (5, "0"), (6, "0"), (7, "1"), (10, "0"), (11, "0")]
    outside = tracks[0].find("box[@frame='6']")
    before = tracks[0].find("box[@frame='5']")
    assert outside is not None
    assert before is not None
    assert outside.get("xtl") == before.get("xtl"), "the last box repeated"


def test_cvat_images_keep_their_rules() -> None:
    root = ET.fromstring(made(cvat.FORMAT, pictures(), PICTURES))
    images = root.findall("image")
    assert [image.get("name") for image in images] == ["smile.jpg", 'wall, "white" & <old>.png', "päar.jpg"]
    assert [len(image) for image in images] == [1, 0, 2]
    assert (images[0].get("width"), images[0].get("height")) == ("200", "180")
    values = {attribute.get("name"): attribute.text for attribute in images[2][0]}
    assert values == {"AU4": "true", "AU4_probability": "0.9", "AU12": "false", "AU12_probability": None}


def test_ndjson_is_what_the_service_answers() -> None:
    lines = made(ndjson.FORMAT, two_faces()).decode().splitlines()
    frames = [FrameAnswer.model_validate_json(line) for line in lines]
    assert [item.frame for item in frames] == list(range(12))
    assert [len(item.faces) for item in frames] == [0, 1, 1, 1, 2, 2, 1, 1, 1, 1, 2, 2]
    assert [au.au for au in frames[1].faces[0].aus] == list(AUS)
    assert frames[4].faces[1].aus[1].probability is None
    first = json.loads(made(ndjson.FORMAT, pictures(), PICTURES).decode().splitlines()[2])
    assert (first["file"], len(first["faces"])) == ("päar.jpg", 2)
