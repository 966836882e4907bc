"""A real clip through the whole service: what every export holds is what `GET /jobs/{id}/frames` answers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow.parquet as pq
import pytest
from pycocotools.coco import COCO
from pympi import Eaf

from model.events import ClipSignals
from tests.system.running import Served

EXAMPLE = Path(__file__).parents[2] / "examples" / "clips" / "two_faces.mp4"
Face = dict[str, Any]


class Stored:
    """The job, and its frames as the service answers them."""

    def __init__(self, served: Served, job: str) -> None:
        self.served, self.job = served, job
        self.frames = served.frames(job)

    def export(self, name: str) -> bytes:
        with self.served.client() as client:
            answer = client.get(f"/jobs/{self.job}/export", params={"format": name})
        assert answer.status_code == 200, answer.text
        return answer.content

    def get(self, path: str) -> Any:
        with self.served.client() as client:
            return client.get(f"/jobs/{self.job}/{path}").json()

    def rows(self) -> Iterator[tuple[dict[str, Any], Face | None]]:
        """A frame and a face at a time; a frame without a face once."""
        for frame in self.frames:
            yield from ((frame, face) for face in frame["faces"] or [None])


@pytest.fixture(scope="module")
def stored(served: Served) -> Stored:
    job = served.submit(EXAMPLE)
    assert served.wait(job, seconds=300)["state"] == "succeeded"
    found = Stored(served, job)
    assert {len(frame["faces"]) for frame in found.frames} >= {0, 2}, "the example has both"
    return found


def table(data: bytes, separator: str = ",") -> list[dict[str, str]]:
    head, _, body = data.decode().partition("\n")
    return list(csv.DictReader(io.StringIO(body, newline=""), head.split(separator)))


def number(cell: Any) -> float | None:
    return None if cell in ("", None) else float(cell)


def box(face: Face) -> list[float]:
    return [face["box"][edge] for edge in ("x", "y", "width", "height")]


def test_native(stored: Stored) -> None:
    rows = table(stored.export("native"))
    for row, (frame, face) in zip(rows, stored.rows(), strict=True):
        assert (int(row["frame"]), float(row["time_ms"])) == (frame["frame"], frame["pts_ms"])
        if face is None:
            assert row["face"] == row["AU12_score"] == ""
            continue
        assert (int(row["face"]), float(row["face_score"])) == (face["track"], face["score"])
        assert [float(row[name]) for name in ("box_x", "box_y", "box_width", "box_height")] == box(face)
        for au in face["aus"]:
            assert number(row[f"{au['au']}_score"]) == au["score"]
            assert number(row[f"{au['au']}_probability"]) == au["probability"]
            assert row[f"{au['au']}_active"] == ("" if au["score"] is None else str(int(au["active"])))


def test_parquet(stored: Stored) -> None:
    read = pq.read_table(io.BytesIO(stored.export("parquet")))
    for row, (frame, face) in zip(read.to_pylist(), stored.rows(), strict=True):
        assert (row["frame"], row["time_ms"]) == (frame["frame"], frame["pts_ms"])
        assert row["face"] == (face and face["track"])
        for au in face["aus"] if face else ():
            assert row[f"{au['au']}_probability"] == pytest.approx(au["probability"], abs=1e-6)
    assert read.schema.metadata[b"roigcn.file"] == b"two_faces.mp4"


def test_ndjson(stored: Stored) -> None:
    assert [json.loads(line) for line in stored.export("ndjson").splitlines()] == stored.frames


def test_openface(stored: Stored) -> None:
    rows = table(stored.export("openface"), ", ")
    for row, (frame, face) in zip(rows, stored.rows(), strict=True):
        assert int(row["frame"]) == frame["frame"] + 1
        assert float(row["timestamp"]) == pytest.approx(frame["pts_ms"] / 1000, abs=1e-9)
        assert (row["success"], row["AU12_r"]) == (str(int(face is not None)), "")
        if face is None:
            continue
        assert (int(row["face_id"]), float(row["confidence"])) == (face["track"], face["score"])
        assert [[float(row[f"x_{n}"]), float(row[f"y_{n}"])] for n in range(68)] == face["landmarks"]
        for au in face["aus"]:
            name = f"AU{int(au['au'][2:]):02d}"
            assert number(row[f"{name}_p"]) == au["probability"]
            assert row[f"{name}_c"] == ("" if au["score"] is None else str(int(au["active"])))


def test_pyfeat(stored: Stored) -> None:
    rows = table(stored.export("pyfeat"))
    for row, (frame, face) in zip(rows, stored.rows(), strict=True):
        assert (int(row["frame"]), float(row["time_ms"])) == (frame["frame"], frame["pts_ms"])
        if face is None:
            assert row["FaceRectX"] == row["Identity"] == ""
            continue
        rect = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight")
        assert [float(row[name]) for name in rect] == box(face)
        assert row["Identity"] == f"face_{face['track']}"
        for au in face["aus"]:
            assert number(row[f"AU{int(au['au'][2:]):02d}"]) == au["probability"]


def test_coco(stored: Stored, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_bytes(stored.export("coco"))
    read = COCO(str(tmp_path / "c.json"))
    assert len(read.getImgIds()) == len(stored.frames)
    for frame in stored.frames:
        (image,) = read.loadImgs([frame["frame"] + 1])
        assert image["time_ms"] == frame["pts_ms"]
        annotations = read.loadAnns(read.getAnnIds(imgIds=[image["id"]]))
        for annotation, face in zip(annotations, frame["faces"], strict=True):
            assert annotation["bbox"] == box(face)
            assert annotation["attributes"]["track_id"] == face["track"]
            points = annotation["keypoints"]
            assert [[points[k], points[k + 1]] for k in range(0, len(points), 3)] == face["landmarks"]
            for au in face["aus"]:
                assert annotation["attributes"].get(f"{au['au']}_probability") == au["probability"]
                assert annotation["attributes"].get(f"{au['au']}_score") == au["score"]
                assert annotation["attributes"].get(au["au"]) == (None if au["score"] is None else au["active"])


def test_cvat(stored: Stored) -> None:
    root = ET.fromstring(stored.export("cvat"))
    seen = {
        (int(element.get("frame", "")), int(track.get("id", ""))): element
        for track in root.iter("track")
        for element in track.iter("box")
        if element.get("outside") == "0"
    }
    faces = {(frame["frame"], face["track"]): face for frame in stored.frames for face in frame["faces"]}
    assert seen.keys() == faces.keys()
    for place, face in faces.items():
        left, top, width, height = box(face)
        edges = [float(seen[place].get(name, "")) for name in ("xtl", "ytl", "xbr", "ybr")]
        assert edges == pytest.approx([left, top, left + width, top + height], abs=0.0051)
        values = {attribute.get("name"): attribute.text for attribute in seen[place]}
        for au in face["aus"]:
            assert values[au["au"]] == ("true" if au["active"] else "false")
            assert number(values[f"{au['au']}_probability"]) == au["probability"]


def test_events_are_those_of_the_frames(stored: Stored) -> None:
    answer = stored.get("au-events")
    codes = [au["au"] for au in next(frame for frame in stored.frames if frame["faces"])["faces"][0]["aus"]]
    signals = ClipSignals(codes)
    for frame in stored.frames:
        faces = [
            (face["track"], *(np.array([au[name] for au in face["aus"]], float) for name in ("probability", "score")))
            for face in frame["faces"]
        ]
        signals.add(frame["frame"], frame["pts_ms"], faces)
    thresholds = {code: both["on"] for code, both in answer["thresholds"].items()}
    expected = signals.events(thresholds=thresholds)
    assert [(e["au"], e["track"], e["onset_frame"], e["offset_frame"]) for e in answer["events"]] == [
        (e.au, e.track, e.onset_frame, e.offset_frame) for e in expected
    ]
    chance = {
        (frame["frame"], face["track"], au["au"]): au["probability"]
        for frame in stored.frames
        for face in frame["faces"]
        for au in face["aus"]
    }
    for event, other in zip(answer["events"], expected, strict=True):
        # Frames come with five digits: where several are 1.00000 another one may be the highest of those stored.
        highest = chance[other.apex_frame, other.track, other.au]
        assert chance[event["apex_frame"], event["track"], event["au"]] == pytest.approx(highest, abs=1e-5)
    assert answer["events"], "the rendered people smile"
    assert {event["au"] for event in answer["events"]} <= set(codes)


def test_decisions_are_those_of_the_thresholds_that_are_told(stored: Stored) -> None:
    with stored.served.client() as client:
        (active,) = [entry for entry in client.get("/checkpoints").json()["checkpoints"] if entry["active"]]
    assert active["reads_landmarks"]
    events = stored.get("au-events")["thresholds"]
    assert {code: both["on"] for code, both in events.items()} == pytest.approx(active["thresholds"], abs=1e-5)
    for frame in stored.frames:
        for face in frame["faces"]:
            for au in face["aus"]:
                beyond = au["probability"] - active["thresholds"][au["au"]]
                assert au["active"] == (beyond >= 0) or abs(beyond) < 2e-5


def test_elan(stored: Stored, tmp_path: Path) -> None:
    (tmp_path / "e.eaf").write_bytes(stored.export("elan"))
    read = Eaf(str(tmp_path / "e.eaf"))
    answer = stored.get("au-events")
    for track in answer["tracks"]:
        for code in answer["thresholds"]:
            mine = [event for event in answer["events"] if (event["track"], event["au"]) == (track, code)]
            assert [span[:2] for span in read.get_annotation_data_for_tier(f"face{track}:{code}")] == [
                (round(event["onset_ms"]), round(event["offset_ms"])) for event in mine
            ]


def test_boris(stored: Stored) -> None:
    rows = table(stored.export("boris"))
    for row, event in zip(rows, stored.get("au-events")["events"], strict=True):
        assert (row["Subject"], row["Behavior"]) == (f"face{event['track']}", event["au"])
        assert float(row["Start (s)"]) == pytest.approx(event["onset_ms"] / 1000, abs=6e-4)
        assert float(row["Stop (s)"]) == pytest.approx(event["offset_ms"] / 1000, abs=6e-4)


def test_no_format_is_left_out(stored: Stored) -> None:
    with stored.served.client() as client:
        listed = {made["name"] for made in client.get("/exports").json()["formats"]}
    compared = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    missing = listed - compared - {"label-studio"}  # compared where its project's labels are known
    assert not missing, f"compare {missing} with the frames here"
