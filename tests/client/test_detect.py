"""Pictures of every kind to a real worker, and what comes back."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image

import roigcn
from model.values import UInt8Array
from service.exports.table import columns
from tests.client.conftest import Connect
from tests.service.kit import Server

GREY = np.full((64, 80, 3), 127, np.uint8)
CODES = ("AU1", "AU12", "AU25")


def plain(value: Any) -> Any:
    """As JSON would have it, without what an answer leaves out."""
    document = json.loads(json.dumps(dataclasses.asdict(value)))

    def lean(item: Any) -> Any:
        if isinstance(item, dict):
            optional = ("roi", "roi_map")
            return {key: lean(part) for key, part in item.items() if not (key in optional and part is None)}
        return [lean(part) for part in item] if isinstance(item, list) else item

    return lean(document)


def from_path(picture: UInt8Array, folder: Path) -> Path:
    Image.fromarray(picture).save(folder / "picture.png")
    return folder / "picture.png"


WAYS: dict[str, Callable[[UInt8Array, Path], Any]] = {
    "path": from_path,
    "text": lambda picture, folder: str(from_path(picture, folder)),
    "bytes": lambda picture, folder: from_path(picture, folder).read_bytes(),
    "array": lambda picture, _: picture,
    "strided": lambda picture, _: picture[:, ::-1][:, ::-1],
    "pillow": lambda picture, _: Image.fromarray(picture),
    "rgba": lambda picture, _: Image.fromarray(picture).convert("RGBA"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_picture_gives_what_the_service_answers(
    client: Any, served: Server, astronaut: UInt8Array, tmp_path: Path, way: str
) -> None:
    found = client.detect(WAYS[way](astronaut, tmp_path))
    with httpx.Client(headers=client_headers(client)) as http:
        frames = http.get(f"{served.url}/jobs/{found.job}/frames").json()
    assert [plain(face) for face in found.faces] == frames["frames"][0]["faces"]
    assert dataclasses.asdict(found.checkpoint) == frames["checkpoint"]
    assert (found.image.width, found.image.height) == (512, 512)
    (face,) = found.faces
    assert face.au_codes == CODES
    assert face["AU12"] is face.aus[1]
    assert set(face.active) == {unit.au for unit in face.aus if unit.active}
    with pytest.raises(KeyError, match="AU9 is not one of AU1, AU12, AU25"):
        face["AU9"]


def client_headers(client: Any) -> dict[str, str]:
    settings = getattr(client, "_client", client)
    return {"Authorization": f"Bearer {settings._key}"}


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        (np.zeros((8, 8, 3), np.float32), TypeError, r"float32 of shape \(8, 8, 3\)"),
        (np.zeros((8, 8, 4), np.uint8), TypeError, r"\(8, 8, 4\)"),
        (np.zeros((0, 8, 3), np.uint8), TypeError, "no pixels"),
        (7, TypeError, "not int"),
        ("nonesuch.jpg", FileNotFoundError, "nonesuch.jpg"),
    ],
    ids=["float", "channels", "empty", "number", "missing"],
)
def test_what_is_no_picture_is_not_sent(resting: Any, image: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        resting.detect(image)


def test_a_picture_without_a_face(client: Any) -> None:
    found = client.detect(GREY)
    assert found.faces == ()
    assert "no face" in found._repr_html_()
    Image.open(io.BytesIO(found._repr_png_())).verify()
    table = found.to_pandas()
    assert table["frame"].tolist() == [0]
    assert table["face"].isna().all()


def test_nothing_is_left_of_a_picture_that_is_not_stored(client: Any, portrait: bytes) -> None:
    found = client.detect(portrait, store=False)
    assert found.job is None
    roi_map = found.faces[0]["AU12"].roi_map.to_numpy()
    assert (roi_map.shape, roi_map.dtype) == ((16, 16), np.float32)
    assert found._repr_png_() is None
    assert "<table>" in found._repr_html_()
    assert list(client.jobs()) == []
    with pytest.raises(ValueError, match="not stored"):
        client.overlay(found)


def test_options_reach_the_service(client: Any, portrait: bytes) -> None:
    found = client.detect(portrait, roi="none", faces="largest")
    assert found.faces[0]["AU12"].roi is None
    job = client.job(found)
    assert job.options["roi"] == "none"
    assert job.options["faces"] == "largest"


def test_a_neutral_picture_reaches_the_service(client: Any, portrait: bytes) -> None:
    rest = client.detect(portrait, roi="none")
    held = client.detect(portrait, neutral=rest)
    assert len(client.job(held).options["rest"]) == 7
    assert "rest" not in client.job(rest).options
    assert client.detect(portrait, neutral=rest.job).faces == held.faces
    with pytest.raises(ValueError, match="no job's id"):
        client.detect(portrait, neutral="rest.jpg")
    with pytest.raises(roigcn.NotFoundError, match="neutral"):
        client.detect(portrait, neutral="019a1f3e-7a52-7c11-9e0b-5d1f6f1f2a10")


def test_a_map_is_the_array_that_the_service_has(client: Any, served: Server, portrait: bytes) -> None:
    found = client.detect(portrait)
    roi_map = client.roi_map(found, "AU25")
    path = f"{served.url}/jobs/{found.job}/frames/0/faces/0/roi/AU25?format=npy"
    expected = np.load(io.BytesIO(httpx.get(path, headers=client_headers(client)).content))
    np.testing.assert_array_equal(roi_map, expected)
    assert roi_map.dtype == np.float32


def test_overlays(client: Any, portrait: bytes, tmp_path: Path) -> None:
    found = client.detect(portrait)
    whole, one, crop = (
        client.overlay(found),
        client.overlay(found, au="AU12"),
        client.overlay(found, au="AU12", crop=True),
    )
    assert whole.to_numpy().shape[1] > 512, "with the panel of bars"
    assert one.to_numpy().shape == (512, 512, 3)
    assert crop.to_numpy().shape == (384, 384, 3)
    assert Image.open(whole.save(tmp_path / "whole.png")).size == whole.to_pil().size
    assert whole._repr_png_() == whole.png
    with pytest.raises(roigcn.NotFoundError, match="no face 7"):
        client.overlay(found, au="AU12", face=7)


def test_a_notebook_shows_the_overlay(client: Any, portrait: bytes) -> None:
    found = client.detect(portrait)
    shown, _ = InteractiveShell.instance().display_formatter.format(found)
    assert shown["image/png"] == client.overlay(found).png
    picture = Image.open(io.BytesIO(shown["image/png"]))
    picture.load()
    assert picture.width > 512
    assert "data:image/png;base64," in shown["text/html"]
    assert "rendered faces only" in shown["text/html"], "what the checkpoint is must be seen"
    assert "rendered faces only" in shown["text/plain"]
    assert len(shown["text/plain"]) < 400


def test_a_detection_is_shown_without_its_server(
    server: Server, connect: Connect, served: Server, portrait: bytes
) -> None:
    client = connect(served.url, served.key("gone"))
    found = client.detect(portrait)
    client.delete(found)
    assert found._repr_png_() is None
    assert "<table>" in found._repr_html_()


def test_the_key_does_not_leave_with_a_detection(client: Any, portrait: bytes) -> None:
    found = client.detect(portrait)
    key = client_headers(client)["Authorization"].split()[1]
    found._repr_png_()
    kept = pickle.dumps(found)
    assert key.encode() not in kept
    assert key not in repr(dataclasses.asdict(found)) + repr(found) + found._repr_html_()
    assert pickle.loads(kept) == found
    assert key not in repr(getattr(client, "_client", client))


def test_a_detection_as_a_table(client: Any, portrait: bytes) -> None:
    found = client.detect(portrait)
    table = found.to_pandas()
    assert list(table.columns) == [column.name for column in columns(CODES)]
    (row,) = table.to_dict("records")
    face = found.faces[0]
    assert (row["box_x"], row["box_width"], row["face"]) == (face.box.x, face.box.width, face.track)
    assert row["AU12_score"] == face["AU12"].score
    assert row["AU12_active"] == face["AU12"].active
    assert found.to_arrow().to_pylist() == [{**row, "time_ms": 0.0}]
