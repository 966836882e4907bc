"""Real clips through the whole service: every frame once, the container's times, two faces, a gap, a killed worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from model.values import UInt8Array
from tests.system.running import Served

PORTRAIT = (slice(0, 300), slice(96, 352))  # the astronaut's head and shoulders, 300 x 256
EXAMPLE = Path(__file__).parents[2] / "examples" / "clips" / "two_faces.mp4"
WriteClip = Callable[..., Path]


def two_faces(portrait: UInt8Array, count: int, gap: range) -> Iterator[UInt8Array]:
    """Two portraits that drift, the second one mirrored; an empty room during the gap."""
    for index in range(count):
        picture = np.full((320, 640, 3), (84, 96, 104), np.uint8)
        if index not in gap:
            shift = round(12 * np.sin(index / 9))
            picture[10:310, 24 + shift : 280 + shift] = portrait
            picture[10:310, 360 - shift : 616 - shift] = portrait[:, ::-1]
        yield picture


def decoded_times(clip: Path) -> list[float]:
    """Presentation times in milliseconds, from the first picture on, as the container has them."""
    with av.open(str(clip)) as container:
        times = [float(frame.pts * frame.time_base) * 1000 for frame in container.decode(video=0)]
    return [time_ms - times[0] for time_ms in times]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, write_clip: WriteClip, astronaut: UInt8Array) -> Path:
    """Five seconds with two faces and one second without any, at a variable frame rate."""
    folder = tmp_path_factory.mktemp("clip")
    steps = np.where(np.arange(124) % 3 == 0, 52, 34)
    pts_ms = [0, *np.cumsum(steps).tolist()]
    pictures = two_faces(astronaut[PORTRAIT], 125, range(50, 75))
    return write_clip(folder / "two_faces.mp4", pictures, pts_ms=pts_ms)


def test_every_frame_is_stored_once_with_its_time(served: Served, clip: Path) -> None:
    job = served.submit(clip)
    answer = served.wait(job)
    assert answer["state"] == "succeeded", answer
    frames = served.frames(job)
    assert [frame["frame"] for frame in frames] == list(range(125))
    np.testing.assert_allclose([frame["pts_ms"] for frame in frames], decoded_times(clip), atol=0.51)
    assert answer["progress"]["frames_done"] == 125


def test_two_people_keep_their_numbers_through_a_gap(served: Served) -> None:
    """The rendered example: from 2.4 to 3.0 s nobody is there."""
    job = served.submit(EXAMPLE)
    assert served.wait(job)["state"] == "succeeded"
    frames = served.frames(job)
    assert len(frames) == len(decoded_times(EXAMPLE))
    counts = np.array([len(frame["faces"]) for frame in frames])
    gap = np.array([2400 <= frame["pts_ms"] < 3000 for frame in frames])
    assert (counts[gap][2:-2] == 0).all()
    assert (counts[~gap] == 2).mean() > 0.95
    for side in (0, 1):
        tracks = {
            face["track"]
            for frame in frames
            for face in frame["faces"]
            if int(face["box"]["x"] + face["box"]["width"] / 2 > 320) == side
        }
        assert len(tracks) == 1, f"side {side} changed its number: {tracks}"


def test_both_smile_and_their_maps_are_there(served: Served, clip: Path) -> None:
    job = served.submit(clip)
    assert served.wait(job)["state"] == "succeeded"
    smiles = [
        next(au for au in face["aus"] if au["au"] == "AU12")["active"]
        for frame in served.frames(job)
        for face in frame["faces"]
    ]
    assert np.mean(smiles) > 0.9
    with served.client() as client:
        answer = client.get(f"/jobs/{job}/frames/10/faces/1/roi/AU12", params={"format": "npy"})
    assert answer.status_code == 200


def test_a_rotated_file_is_analysed_upright(
    served: Served, tmp_path: Path, write_clip: WriteClip, astronaut: UInt8Array
) -> None:
    pictures = [np.rot90(picture).copy() for picture in two_faces(astronaut[PORTRAIT], 12, range(0))]
    job = served.submit(write_clip(tmp_path / "phone.mp4", pictures, rotation=-90))
    answer = served.wait(job)
    assert (answer["media"]["width"], answer["media"]["height"]) == (640, 320)
    assert all(len(frame["faces"]) == 2 for frame in served.frames(job))


def test_a_killed_worker_loses_and_doubles_nothing(
    served: Served, tmp_path: Path, write_clip: WriteClip, astronaut: UInt8Array
) -> None:
    long_clip = write_clip(tmp_path / "long.mp4", two_faces(astronaut[PORTRAIT], 900, range(400, 430)))
    job = served.submit(long_clip, roi="peaks")
    deadline = time.monotonic() + 90
    with served.client() as client:
        while client.get(f"/jobs/{job}").json()["progress"]["frames_done"] == 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        state = client.get(f"/jobs/{job}").json()
    assert state["state"] == "running", "killed while it runs"
    victim = served.worker("video")
    assert victim is not None
    victim.kill()
    answer = served.wait(job, seconds=200)
    assert answer["state"] == "succeeded", answer
    assert [frame["frame"] for frame in served.frames(job)] == list(range(900))
    replacement = served.worker("video")
    assert replacement is not None
    assert replacement.pid != victim.pid


def test_cancelling_stops_and_keeps_what_was_stored(
    served: Served, tmp_path: Path, write_clip: WriteClip, astronaut: UInt8Array
) -> None:
    job = served.submit(write_clip(tmp_path / "long.mp4", two_faces(astronaut[PORTRAIT], 1500, range(0))))
    with served.client() as client:
        client.post(f"/jobs/{job}/cancel")
        assert served.wait(job)["state"] == "cancelled"
        stored = served.frames(job)
        assert [frame["frame"] for frame in stored] == list(range(len(stored)))
        assert len(stored) < 1500
        assert client.delete(f"/jobs/{job}").status_code == 204
        assert client.get(f"/jobs/{job}").status_code == 404


def test_a_truncated_clip_fails_or_keeps_its_head(served: Served, clip: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with served.client() as client:
        answer = client.post("/jobs", files={"video": ("cut.mp4", cut.read_bytes())})
        if answer.status_code == 202:  # the index at the end is cut off: found out by the decoder, not by the upload
            job = served.wait(answer.json()["id"])
            assert (job["state"], job["error"]["type"]) == ("failed", "media-unreadable")
            return
    assert answer.json()["type"] == "media-unreadable"


@pytest.mark.parametrize(
    ("content", "slugs"),
    [
        (b"", {"media-unreadable"}),
        (b"no clip " * 1000, {"unsupported-media", "media-unreadable"}),
        (b"\x89PNG\r\n\x1a\n" + bytes(2000), {"unsupported-media", "media-unreadable"}),
    ],
    ids=["empty", "text", "renamed"],
)
def test_what_is_no_clip_is_told_so(served: Served, content: bytes, slugs: set[str]) -> None:
    with served.client() as client:
        answer = client.post("/jobs", files={"video": ("clip.mp4", content)})
        if answer.status_code == 202:
            job = served.wait(answer.json()["id"])
            assert job["state"] == "failed"
            assert job["error"]["type"] in slugs
            return
    assert answer.status_code in (415, 422)
    assert answer.json()["type"] in slugs
