from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from model.analyzer import Analyzer
from model.checkpoint import Checkpoint, CheckpointError, load_checkpoint, write_checkpoint
from model.faces.finder import FaceFinder
from model.image import read_image
from model.landmark_reading import LandmarkReading
from tests.training.conftest import face_landmarks
from training.cli import app
from training.data.shards import FaceShards, write_shard
from training.landmark_opinion import check_faces
from training.landmark_reading import (
    CACHE_NAME,
    FitOptions,
    fit_joint,
    fit_reading,
    net_landmarks,
)
from training.metrics import roc_auc
from training.state import TrainingError

EXAMPLES = Path(__file__).parents[2] / "examples" / "faces"
SIDE = 160
AUS = ("AU4", "AU12", "AU25")
CODES = ("AU1", "AU12")
QUICK = FitOptions(members=2, hidden=16, epochs=15, batch=64, lr=1e-2)


def moving_mouths(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks whose lip corners rise where AU12 is labelled; nothing tells AU1."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, 2)) < 0.5).astype(np.float32)
    points = np.repeat(face_landmarks(SIDE)[None].astype(np.float32), count, axis=0)
    points[:, [48, 54], 1] -= 6 * labels[:, 1, None]
    return solid(points + rng.normal(0, 0.4, points.shape).astype(np.float32)), labels


def solid(flat: np.ndarray) -> np.ndarray:
    """(N, 68, 3): on an egg, so that there is a depth."""
    across = (flat[..., :1] - flat[..., :1].mean(axis=1, keepdims=True)) / SIDE
    return np.concatenate([flat, SIDE * 2 * across**2], axis=-1).astype(np.float32)


def fitted_on(points: np.ndarray, labels: np.ndarray) -> LandmarkReading:
    people = np.arange(len(points)) // 10
    return fit_reading(points, labels, np.ones_like(labels), people, CODES, QUICK)


def logits_of(fitted: LandmarkReading, points: np.ndarray) -> np.ndarray:
    return fitted.logits(points[..., :2]).astype(np.float64)


def test_it_learns_what_shapes_tell_and_nothing_else() -> None:
    points, labels = moving_mouths(600, 0)
    fitted = fitted_on(points, labels)
    unseen, truth = moving_mouths(300, 1)
    logits = logits_of(fitted, unseen)
    assert roc_auc(truth[:, 1] > 0.5, logits[:, 1]) > 0.95
    assert 0.35 < roc_auc(truth[:, 0] > 0.5, logits[:, 0]) < 0.65


def test_the_upper_face_is_not_read_from_the_mouth() -> None:
    points, labels = moving_mouths(600, 0)
    alike = np.repeat(labels[:, 1:], 2, axis=1)  # here AU1 always comes with AU12, whose mouth gives it away
    fitted = fitted_on(points, alike)
    unseen, truth = moving_mouths(300, 1)
    logits = logits_of(fitted, unseen)
    assert roc_auc(truth[:, 1] > 0.5, logits[:, 1]) > 0.95
    assert 0.35 < roc_auc(truth[:, 1] > 0.5, logits[:, 0]) < 0.65
    moved = unseen.copy()
    moved[:, 48:68] += 5
    moved[:, [8, 31, 32, 34, 35]] -= 5
    np.testing.assert_allclose(logits_of(fitted, moved)[:, 0], logits[:, 0], atol=1e-4)


def test_the_same_faces_give_the_same_weights() -> None:
    points, labels = moving_mouths(200, 0)
    first, second = (fitted_on(points, labels) for _ in range(2))
    np.testing.assert_array_equal(first.hidden_weight, second.hidden_weight)


def test_faces_that_the_net_missed_are_left_out_and_too_few_are_refused() -> None:
    points, labels = moving_mouths(100, 0)
    points[70:] = np.nan
    assert np.isfinite(fitted_on(points, labels).hidden_weight).all()
    points[:70] = np.nan
    with pytest.raises(ValueError, match="fewer than one batch"):
        fitted_on(points, labels)


@pytest.mark.parametrize("voice", [0.5, 0.7])
def test_both_readings_have_their_say(voice: float) -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((2000, 1)) < 0.4).astype(np.float32)
    score = labels * 2 - 1 + rng.normal(0, 1.0, labels.shape)
    logits = 3 * (labels * 2 - 1) + rng.normal(0, 3.0, labels.shape)  # as informative, on another scale
    joint = fit_joint(score, logits, labels, np.ones_like(labels), voice)
    np.testing.assert_allclose(joint.score / joint.landmarks, 3.0 * (1 - voice) / voice, rtol=0.15)
    assert joint.threshold[0] >= 0.5, "nothing is called present that is likelier absent"
    chance = joint.probability(score, logits)[:, 0]
    assert abs(chance.mean() - labels.mean()) < 0.02
    truth = labels[:, 0] > 0.5
    assert roc_auc(truth, chance) > max(roc_auc(truth, score[:, 0]), roc_auc(truth, logits[:, 0]))


def test_a_voice_of_nothing_or_all_leaves_one_reading() -> None:
    labels = (np.arange(200) % 2).astype(np.float32)[:, None]
    score, logits = labels + np.random.default_rng(0).normal(0, 1, (2, 200, 1))
    silent = fit_joint(score, logits, labels, np.ones_like(labels), 0.0)
    alone = fit_joint(score, logits, labels, np.ones_like(labels), 1.0)
    assert silent.landmarks[0] == alone.score[0] == 0
    assert silent.score[0] > 0 < alone.landmarks[0]


def test_joining_needs_faces_of_both_kinds() -> None:
    labels = np.zeros((50, 1), np.float32)
    with pytest.raises(ValueError, match="too few held-out faces"):
        fit_joint(np.zeros((50, 1)), np.zeros((50, 1)), labels, np.ones_like(labels))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of the example faces, moved a little: parts train, calibration and test."""
    finder = FaceFinder(threads=2)
    with (EXAMPLES / "labels.csv").open(encoding="utf-8") as file:
        shown = {row["picture"]: [row[code] == "1" for code in AUS] for row in csv.DictReader(file)}
    pictures = []
    for name, present in shown.items():
        rgb = np.ascontiguousarray(cv2.resize(read_image(EXAMPLES / name), (SIDE, SIDE), interpolation=cv2.INTER_AREA))
        (face,) = finder.find(rgb)
        pictures.append((rgb, face.landmarks, present))
    folder = tmp_path_factory.mktemp("rendered")
    rng = np.random.default_rng(0)
    for part, repeats in (("train", 50), ("calibration", 8), ("test", 4)):
        images, landmarks, labels = [], [], []
        for rgb, points, present in pictures * repeats:
            shift = rng.integers(-5, 6, 2)
            images.append(np.roll(rgb, shift, (1, 0)))
            landmarks.append(points + shift)
            labels.append(present)
        (folder / part).mkdir()
        write_shard(
            folder / part / "shard-00000.npz",
            {
                "images": np.stack(images),
                "landmarks": np.stack(landmarks).astype(np.float32),
                "labels": np.array(labels, np.int8),
                "au_codes": np.array(AUS),
                "identities": np.arange(len(images)) // len(pictures) % 4,  # four people who show all six
            },
        )
    return folder


def test_the_net_looks_once_and_agrees_with_itself(rendered: Path) -> None:
    faces = FaceShards([rendered / "test" / "shard-00000.npz"], AUS)
    points = net_landmarks(faces)
    assert points.shape == (len(faces), 68, 3)
    given = np.stack([faces.face(i)[1] for i in range(len(faces))])
    scale = np.linalg.norm(given[:, 39] - given[:, 42], axis=1).mean()
    assert np.linalg.norm(points[..., :2] - given, axis=-1).mean() < 0.1 * scale
    assert (points[:, 30, 2] < points[:, [0, 16], 2].min(axis=1) - 0.3 * scale).all(), "the nose is nearest"
    (cache,) = (rendered / "test").glob(CACHE_NAME.format(0).replace("00000000", "*"))
    written = cache.stat().st_mtime_ns
    np.testing.assert_array_equal(net_landmarks(faces), points)
    assert cache.stat().st_mtime_ns == written
    cache.write_bytes(b"broken")
    np.testing.assert_allclose(net_landmarks(faces), points, atol=1e-3)


@pytest.fixture(scope="module")
def published(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hardly trained network with a reading of landmarks."""
    root = tmp_path_factory.mktemp("published")
    recipe = root / "tiny.toml"
    recipe.write_text(
        f"""
        name = "tiny"
        [network]
        backbone = "hrnet_w18_small"
        input_size = 32
        aus = {list(AUS)}
        [target]
        half_width = 1
        [data]
        workers = 0
        [optimiser]
        batch = 8
        steps = 3
        [log]
        evaluate_every = 100
        """
    )
    common = ["--data", str(rendered)]
    for arguments in (
        ["train", *common, "--config", str(recipe), "--out", str(root / "run"), "--accelerator", "cpu"],
        [
            *("publish", str(root / "run"), *common, "--root", str(root / "checkpoints"), "--name", "tiny"),
            *("--version", "1", "--described-as", "example faces", "--landmark-opinion"),
        ],
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    return root / "checkpoints" / "tiny" / "1"


def test_a_published_reading_is_whole_and_told_in_the_card(published: Path) -> None:
    checkpoint = load_checkpoint(published)
    opinion = checkpoint.manifest.landmark_opinion
    assert opinion is not None
    assert set(opinion.fusion) == set(opinion.thresholds) == set(AUS)
    assert opinion.metrics.mean["auc"] > 0.95  # the six pictures of the test part were trained on, only moved
    reading = checkpoint.landmark_reading()
    assert reading is not None
    assert reading.au_count == len(AUS)
    assert not any(key.startswith("landmark_reading") for key in checkpoint.state())
    checkpoint.load_network()
    card = (published / "MODEL_CARD.md").read_text()
    assert "## With the landmarks' second opinion" in card
    assert f"{opinion.metrics.mean['auc']:.3f}" in card


def test_the_analyzer_joins_both_readings_or_leaves_the_network_alone(published: Path, tmp_path: Path) -> None:
    finder = FaceFinder(threads=2)
    rgb = read_image(EXAMPLES / "smile.jpg")
    predictions = {}
    for how in ("auto", "both", "network"):
        with Analyzer.open(str(published), "torch", finder=finder, cache_dir=tmp_path, reading=how) as analyzer:
            ((face, predictions[how]),) = analyzer.analyze(rgb)
            ((_, neutral),) = analyzer.analyze(read_image(EXAMPLES / "neutral.jpg"))
            assert how == "network" or not neutral.active[AUS.index("AU12")]
            manifest = analyzer.checkpoint.manifest
    for name in ("probability", "active"):
        np.testing.assert_array_equal(getattr(predictions["auto"], name), getattr(predictions["both"], name))
    np.testing.assert_array_equal(predictions["both"].score, predictions["network"].score)
    assert manifest.landmark_opinion is not None
    reading = load_checkpoint(published).landmark_reading()
    assert reading is not None
    fusion = [manifest.landmark_opinion.fusion[code] for code in AUS]
    logit = [
        f.score * s + f.landmarks * z + f.intercept
        for f, s, z in zip(fusion, predictions["both"].score, reading.logits(face.landmarks[None])[0], strict=True)
    ]
    np.testing.assert_allclose(predictions["both"].probability, 1 / (1 + np.exp(-np.array(logit))), atol=1e-4)
    slope, intercept = manifest.platt()
    alone = 1 / (1 + np.exp(-(slope * predictions["network"].score + intercept)))
    raw = np.clip((predictions["network"].score + 1) / 2, 0, 1)  # where scores of this hardly trained network mislead
    alone = np.where(np.isnan(slope), raw, alone)
    np.testing.assert_allclose(predictions["network"].probability, alone, atol=1e-5)
    assert predictions["both"].active[AUS.index("AU12")]
    assert not predictions["both"].active[AUS.index("AU4")]


def test_both_needs_a_reading(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    manifest = tiny_checkpoint.manifest.model_copy(update={"landmark_opinion": None})
    plain = write_checkpoint(tmp_path / "tiny" / "1", tiny_checkpoint.state(), manifest)
    with pytest.raises(CheckpointError, match="holds no reading of landmarks"):
        Analyzer.open(str(plain.path), "torch", cache_dir=tmp_path, reading="both")


def test_a_manifest_that_promises_a_reading_needs_its_tensors(published: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(published)
    copy = write_checkpoint(tmp_path / "tiny" / "1", checkpoint.state(), checkpoint.manifest)
    with pytest.raises(CheckpointError, match="no landmark_reading"):
        copy.landmark_reading()


def test_too_few_faces_of_a_kind_are_told_before_anything_is_measured(rendered: Path) -> None:
    faces = FaceShards([rendered / "train" / "shard-00000.npz"], AUS)
    check_faces(faces, AUS)
    absent = np.flatnonzero((faces.labels[:, 1] < 0.5) | (faces.weights[:, 1] == 0))
    with pytest.raises(TrainingError, match=rf"too few faces of {AUS[1]} \(0 with"):
        check_faces(faces.subset(absent), AUS)


def test_the_reading_of_another_checkpoint_joins_a_network_anew(
    published: Path, rendered: Path, tmp_path: Path
) -> None:
    def publish(version: str, *more: str) -> Result:
        run = published.parents[2] / "run"
        named = ("--name", "tiny", "--version", version, "--described-as", "example faces", "--root", str(tmp_path))
        return CliRunner().invoke(app, ["publish", str(run), "--data", str(rendered), *named, *more])

    assert publish("plain").exit_code == 0
    refused = publish("2", "--reading-of", str(tmp_path / "tiny" / "plain"))
    assert (refused.exit_code, "reads no landmarks" in refused.output) == (1, True), refused.output
    result = publish("2", "--reading-of", str(published))
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "tiny").iterdir()} == {"plain", "2"}
    before, after = load_checkpoint(published), load_checkpoint(tmp_path / "tiny" / "2")
    kept, own = after.landmark_reading(), before.landmark_reading()
    assert kept is not None
    assert own is not None
    for name, values in own.tensors().items():
        np.testing.assert_array_equal(kept.tensors()[name], values)
    assert after.manifest.landmark_opinion is not None
    assert after.manifest.landmark_opinion.training.endswith("(the reading of tiny:1)")
    assert before.manifest.landmark_opinion is not None
    for code, fusion in before.manifest.landmark_opinion.fusion.items():  # of the same network; kept in half precision
        joined = after.manifest.landmark_opinion.fusion[code].model_dump()
        assert joined == pytest.approx(fusion.model_dump(), rel=0.02, abs=0.02)
