"""`neutral=JOB`: a picture of the person at rest that others are held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import httpx
import numpy as np
import pytest

from model.analyzer import Analyzer
from model.image import read_image
from tests.service.kit import Server, Store, assert_problem, clip, jpeg
from worker.rest import against_neutral
from worker.store.jobs import JobRepository

FACES = Path(__file__).parents[2] / "examples" / "faces"


def send(client: httpx.Client, picture: Path, **params: object) -> dict[str, object]:
    response = client.post("/detect", files={"image": picture.read_bytes()}, params=params)  # type: ignore[arg-type]
    assert response.status_code == 200, response.text
    body: dict[str, object] = response.json()
    return body


def chances(body: dict[str, object]) -> list[float]:
    (face,) = body["faces"]  # type: ignore[misc]
    return [au["probability"] for au in face["aus"]]


def test_a_picture_is_held_against_the_neutral_one(caller: httpx.Client, tiny_analyzer: Analyzer) -> None:
    neutral = send(caller, FACES / "neutral.jpg", roi="none")
    plain, held = (send(caller, FACES / "surprise.jpg", **more) for more in ({}, {"neutral": neutral["job"]}))
    ((_, at_rest),) = tiny_analyzer.analyze(read_image(FACES / "neutral.jpg"))
    assert at_rest.measures is not None
    ((_, expected),) = against_neutral(
        tiny_analyzer, tiny_analyzer.analyze(read_image(FACES / "surprise.jpg")), at_rest.measures
    )
    assert chances(held) == pytest.approx(expected.probability.tolist(), abs=0.02)
    assert abs(chances(held)[0] - chances(plain)[0]) > 0.1, "AU1 is measured"
    assert chances(held)[1:] == pytest.approx(chances(plain)[1:]), "the others are not"
    job = caller.get(held["links"]["job"]).json()  # type: ignore[index]
    assert job["options"]["rest"] == pytest.approx(at_rest.measures.tolist(), abs=1e-3)
    itself = send(caller, FACES / "neutral.jpg", neutral=neutral["job"])
    reading = tiny_analyzer.checkpoint.landmark_reading()
    assert reading is not None
    assert chances(itself)[0] == pytest.approx(
        1 / (1 + np.exp(-2 * at_rest.score[0] - 0.1 * reading.logits(_landmarks(itself))[0, 0])), abs=0.02
    ), "nothing has moved"


def _landmarks(body: dict[str, object]) -> np.ndarray:
    return np.array([face["landmarks"] for face in body["faces"]])  # type: ignore[attr-defined]


def test_a_short_clip_is_held_against_it_too(
    caller: httpx.Client, tmp_path: Path, write_clip: Callable[..., Path]
) -> None:
    """Twelve frames are too few to know how somebody rests; a neutral picture knows."""
    neutral = send(caller, FACES / "neutral.jpg", roi="none")["job"]
    short = write_clip(tmp_path / "short.mp4", [read_image(FACES / "surprise.jpg")] * 12)
    found = {}
    for name, params in (("plain", {}), ("held", {"neutral": neutral})):
        job = caller.post("/jobs", files={"video": short.read_bytes()}, params=params).json()
        events = caller.get(f"{job['links']['events']}").text
        assert "event: succeeded" in events
        page = caller.get(f"/jobs/{job['id']}/timeline").json()
        found[name] = np.array(page["faces"]["probability"])[:, 0]
        assert page["own_rest"] == ([] if name == "plain" else [0])
    assert len(found["held"]) == 12
    assert (np.abs(found["held"] - found["plain"]) > 0.1).all()


@pytest.mark.parametrize("path", ["/detect", "/jobs"])
def test_what_is_no_neutral_picture_is_refused(client: httpx.Client, store: Store, path: str) -> None:
    field = "image" if path == "/detect" else "video"

    def answer(job: object) -> httpx.Response:
        picture = jpeg(np.zeros((8, 8, 3), np.uint8))
        return client.post(path, params={"neutral": str(job)}, files={field: picture})

    before = store.count()
    assert "There is no job" in str(assert_problem(answer(uuid4()), 404, "not-found")["detail"])
    clips = store.finished(clip(3))
    assert "names a video" in str(assert_problem(answer(clips.id), 422, "validation")["detail"])
    assert store.count() == before + 1, "nothing was queued"
    assert answer("me").status_code == 422


@pytest.mark.parametrize(("faces", "words"), [(0, "shows no face"), (1, "were not measured"), (2, "were not measured")])
def test_a_picture_that_tells_no_rest_is_refused(client: httpx.Client, store: Store, faces: int, words: str) -> None:
    (frame,) = clip(1, max(faces, 1))
    neutral = store.picture(frame if faces else replace(frame, faces=()))
    answer = client.post("/jobs", params={"neutral": str(neutral.id)}, files={"video": b"\0\0\0\x18ftypisom"})
    assert words in str(assert_problem(answer, 422, "validation")["detail"])


def test_the_rest_reaches_the_job(client: httpx.Client, store: Store, server: Server) -> None:
    ((face, prediction),) = clip(1)[0].faces
    rest = np.linspace(0.1, 0.7, 7).astype(np.float32)
    held = replace(clip(1)[0], faces=((face, replace(prediction, measures=rest)),))
    neutral = store.picture(held)
    answer = client.post("/jobs", params={"neutral": str(neutral.id)}, files={"video": b"\0\0\0\x18ftypisom"})
    assert answer.status_code == 202
    with server.engine.connect() as connection:
        job = JobRepository(connection).get_or_raise(store.tenant, answer.json()["id"])
    assert job.options.rest == pytest.approx(rest.tolist())
