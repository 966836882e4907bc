from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from model.checkpoint import load_checkpoint
from model.engines.base import open_engine
from training.cli import _starting_point, app
from training.config import TrainConfig
from training.data.origin import Origin, origin_of
from training.data.shards import FaceShards, find_shards, write_shard
from training.evaluate import Reading, predict, predict_maps
from training.export import averaged, read_run
from training.loop import Run
from training.preview import draw_predictions, signed_colours
from training.state import TrainingError
from training.subjects import open_subject

runner = CliRunner()


@pytest.fixture(scope="module")
def run_folder(toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run made with the command line."""
    root = tmp_path_factory.mktemp("runs")
    recipe = root / "toy.toml"
    recipe.write_text(
        """
        name = "toy"
        summary = "a toy"
        [network]
        backbone = "hrnet_w18_small"
        input_size = 32
        aus = ["AU4", "AU12", "AU25"]
        [target]
        half_width = 1
        sigma = 0.8
        [data]
        workers = 0
        [optimiser]
        name = "adamw"
        lr = 3e-3
        schedule = "cosine"
        batch = 8
        steps = 40
        loss_scale = 100
        ema = 0.9
        [log]
        every = 20
        evaluate_every = 20
        evaluate_faces = 8
        """
    )
    out = root / "run"
    result = runner.invoke(
        app, ["train", "--data", str(toy_data), "--config", str(recipe), "--out", str(out), "--accelerator", "cpu"]
    )
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def checkpoint_folder(run_folder: Path, toy_data: Path) -> Path:
    root = run_folder.parent / "checkpoints"
    result = runner.invoke(
        app,
        [
            *("publish", str(run_folder), "--data", str(toy_data), "--root", str(root)),
            *("--name", "toy", "--version", "1", "--described-as", "toy faces"),
        ],
    )
    assert result.exit_code == 0, result.output
    return root / "toy" / "1"


def test_training_leaves_pictures_and_scores(run_folder: Path) -> None:
    assert [path.name for path in sorted(run_folder.glob("*.jpg"))] == [
        "predictions-000020.jpg",
        "predictions-000040.jpg",
    ]
    assert "test_auc" in (run_folder / "metrics.csv").read_text()


def test_the_manifest_says_what_was_measured(checkpoint_folder: Path, toy_data: Path) -> None:
    manifest = load_checkpoint(checkpoint_folder).manifest
    assert manifest.training.synthetic_only
    assert (manifest.training.images, manifest.training.steps) == (80, 40)
    assert (manifest.map_size, manifest.roi.half_width) == (8, 1)
    assert set(manifest.metrics.per_au) == {"AU4", "AU12", "AU25"}
    assert manifest.metrics.protocol.startswith("40 rendered faces (toy head) of 10 identities")
    assert manifest.licence == "Apache-2.0"
    assert set(manifest.calibration) == set(manifest.thresholds) == set(manifest.au_codes)
    subject = open_subject(checkpoint_folder)
    faces = FaceShards(find_shards(toy_data, "test"), manifest.au_codes)
    found = predict(subject.network, faces, subject.reading)
    from training.evaluate import table_of

    again = table_of(found, manifest.au_codes, subject.calibrator).mean
    assert manifest.metrics.mean["auc"] == pytest.approx(again.auc, abs=1e-3)
    assert manifest.metrics.mean["f1"] == pytest.approx(again.f1, abs=0.05)


def test_the_model_card_tells_the_same(checkpoint_folder: Path) -> None:
    card = (checkpoint_folder / "MODEL_CARD.md").read_text()
    manifest = load_checkpoint(checkpoint_folder).manifest
    assert card.startswith("# toy:1\n")
    assert f"| AU12 | Lip Corner Puller | {int(manifest.metrics.per_au['AU12'].model_extra['positives'])} |" in card
    assert "rendered faces only" in card
    assert "nan" not in card.lower().replace("finance", "")


@pytest.fixture(scope="module")
def prepared_data(toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy faces, laid out as if BP4D had been prepared."""
    folder = tmp_path_factory.mktemp("prepared")
    parts = {}
    for number, part in enumerate(("train", "calibration", "test")):
        subject = f"F00{number + 1}"
        with np.load(find_shards(toy_data, part)[0]) as arrays:
            write_shard(folder / f"{subject}-000.npz", {**arrays, "subject": np.array([subject])})
            codes = arrays["au_codes"].tolist()
        parts[part] = [subject]
    subjects = [subject for (subject,) in parts.values()]
    about = {"format_version": 1, "dataset": "bp4d", "au_codes": codes, "size": 48, "subjects": subjects}
    (folder / "dataset.json").write_text(json.dumps(about))
    (folder / "parts.json").write_text(json.dumps(parts))
    return folder


def test_a_checkpoint_of_people_does_not_speak_of_rendered_faces(
    run_folder: Path, prepared_data: Path, tmp_path: Path
) -> None:
    arguments = ["publish", str(run_folder), "--data", str(prepared_data), "--root", str(tmp_path), "--name", "lab"]
    result = runner.invoke(app, [*arguments, "--version", "1", "--described-as", "faces of BP4D"])
    assert result.exit_code == 0, result.output
    manifest = load_checkpoint(tmp_path / "lab" / "1").manifest
    assert not manifest.training.synthetic_only
    assert re.match(r"\d+ faces of BP4D, people who were held out \(1\)", manifest.metrics.protocol)
    assert "licence of BP4D" in manifest.licence
    card = (tmp_path / "lab" / "1" / "MODEL_CARD.md").read_text()
    assert "rendered" not in card
    assert "calibrated at the rates of BP4D" in card


@pytest.mark.parametrize(
    ("about", "wanted"),
    [
        (None, Origin("unknown")),
        ("{", Origin("unknown")),
        ("[]", Origin("unknown")),
        ('{"head": "toy"}', Origin("rendered", "toy head")),
        ('{"head": "face pack"}', Origin("rendered")),
        ('{"dataset": "disfa"}', Origin("people", "DISFA")),
        ('{"dataset": "csv"}', Origin("people", "the data set lab_clips")),
    ],
)
def test_where_faces_come_from(tmp_path: Path, about: str | None, wanted: Origin) -> None:
    folder = tmp_path / "lab_clips"
    place = folder / "test" if wanted.kind == "rendered" else folder
    place.mkdir(parents=True)
    if about is not None:
        (place / "dataset.json").write_text(about)
    assert origin_of(folder) == wanted
    for part in (wanted.test_protocol(10, 2, 5), *wanted.limits(), wanted.licence()):
        assert ("render" in part or part == "Apache-2.0") == (wanted.kind == "rendered")


@pytest.mark.parametrize("kind", ["torch", "openvino"])
def test_engines_give_the_maps_that_were_measured(
    checkpoint_folder: Path, toy_data: Path, tmp_path: Path, kind: str
) -> None:
    from training.data.samples import evaluation_crop

    checkpoint = load_checkpoint(checkpoint_folder)
    faces = FaceShards(find_shards(toy_data, "test"), checkpoint.manifest.au_codes)
    crops = np.stack([evaluation_crop(*faces.face(i), 32)[0] for i in range(4)])
    wanted = predict_maps(checkpoint.load_network(), crops)
    engine = open_engine(checkpoint, kind, threads=1, cache_dir=tmp_path)
    np.testing.assert_allclose(engine.run(crops), wanted, atol=1e-3)
    engine.close()


def test_evaluate_prints_a_table_for_runs_and_checkpoints(
    run_folder: Path, checkpoint_folder: Path, toy_data: Path
) -> None:
    table = runner.invoke(app, ["evaluate", str(run_folder), "--data", str(toy_data)])
    assert table.exit_code == 0, table.output
    assert "mean AUC, 95 % over identities" in table.output
    rows = runner.invoke(app, ["evaluate", str(checkpoint_folder), "--data", str(toy_data), "--csv"])
    assert rows.exit_code == 0, rows.output
    lines = rows.output.strip().splitlines()
    assert lines[0].startswith("au,positives,faces,auc")
    assert [line.split(",")[0] for line in lines[1:]] == ["AU4", "AU12", "AU25", "mean"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "--data", "nowhere", "--out", "x"], "no such folder"),
        (["train", "--data", "nowhere", "--config", "none", "--out", "x"], "no configuration named"),
        (["evaluate", "nowhere", "--data", "nowhere"], "holds no training state"),
        (["publish", "nowhere", "--data", "d", "--name", "n", "--version", "1", "--described-as", "t"], "no training"),
    ],
)
def test_mistakes_end_in_one_clear_line(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    assert says in result.output
    assert "Traceback" not in result.output


def test_a_published_version_is_not_overwritten(run_folder: Path, checkpoint_folder: Path, toy_data: Path) -> None:
    before = (checkpoint_folder / "manifest.json").read_text()
    result = runner.invoke(
        app,
        [
            *("publish", str(run_folder), "--data", str(toy_data), "--root", str(checkpoint_folder.parents[1])),
            *("--name", "toy", "--version", "1", "--described-as", "toy faces"),
        ],
    )
    assert result.exit_code == 1
    assert "exists" in result.output
    assert (checkpoint_folder / "manifest.json").read_text() == before


def test_fine_tuning_begins_with_the_weights_given_and_keeps_their_history(
    run_folder: Path, checkpoint_folder: Path, toy_data: Path, tmp_path: Path
) -> None:
    from_run, from_checkpoint = _starting_point(run_folder), _starting_point(checkpoint_folder)
    assert from_run is not None
    assert from_checkpoint is not None
    assert set(from_run.weights) - set(from_checkpoint.weights) == {"supervision.weight", "supervision.bias"}
    for key, value in from_checkpoint.weights.items():
        np.testing.assert_allclose(value, from_run.weights[key], atol=2e-3, rtol=1e-3)
    assert from_run.history == from_checkpoint.history
    earlier = read_run(run_folder)
    config = earlier.config.model_copy(update={"name": "tuned"})
    faces = FaceShards(find_shards(toy_data, "train"), config.network.au_codes)
    run = Run(config, faces, tmp_path, from_run, accelerator="cpu", devices=1)
    for key, value in earlier.all_weights.items():
        assert torch.equal(run.network.state_dict()[key], value)
    run.save()
    assert [part["name"] for part in read_run(tmp_path).lineage] == ["toy", "tuned"]
    assert [part["samples"] for part in read_run(tmp_path).lineage] == [320, 0]


def test_a_missing_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="holds no training state"):
        read_run(tmp_path)


def test_configuration_of_a_run_is_kept(run_folder: Path) -> None:
    run = read_run(run_folder)
    assert isinstance(run.config, TrainConfig)
    assert run.config.optimiser.steps == 40
    assert json.loads(run.config.model_dump_json())["network"]["input_size"] == 32


def test_preview_shows_crop_targets_prediction_and_names(run_folder: Path, toy_data: Path) -> None:
    subject = open_subject(run_folder)
    faces = FaceShards(find_shards(toy_data, "test"), subject.reading.au_codes)
    picture = draw_predictions(subject.network, faces, Reading.of_config(read_run(run_folder).config), [0, 3])
    assert picture.shape == (320, 3 * 160 + 240, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(
        signed_colours(np.array([[0.0, 1, -1]])), [[[255, 255, 255], [200, 30, 30], [30, 60, 200]]]
    )


def test_the_mean_of_two_runs_on_one_path(run_folder: Path) -> None:
    run = read_run(run_folder)
    mean = averaged(run, {key: value * 3 for key, value in run.all_weights.items()})
    for key, value in run.state.items():
        torch.testing.assert_close(mean.state[key], value * 2 if value.is_floating_point() else value)
    key = next(key for key, value in run.state.items() if value.ndim > 1)
    for foreign in ({"head.bias": torch.zeros(3)}, run.state | {key: run.state[key][:1]}):
        with pytest.raises(TrainingError, match="different architectures"):
            averaged(run, foreign)


@pytest.mark.parametrize("earlier", ["run", "checkpoint"])
def test_publishing_the_mean_with_an_earlier_run_or_checkpoint(
    run_folder: Path, checkpoint_folder: Path, toy_data: Path, tmp_path: Path, earlier: str
) -> None:
    result = runner.invoke(
        app,
        [
            *("publish", str(run_folder), "--data", str(toy_data), "--root", str(tmp_path)),
            *("--name", "mean", "--version", "1", "--described-as", "toy faces"),
            *("--average-with", str(run_folder if earlier == "run" else checkpoint_folder)),
        ],
    )
    assert result.exit_code == 0, result.output
    own, mean = (load_checkpoint(folder).state() for folder in (checkpoint_folder, tmp_path / "mean" / "1"))
    assert own.keys() == mean.keys()
    for key, value in own.items():  # a mean with itself, rounded to half precision
        np.testing.assert_allclose(mean[key], value, rtol=2e-3, atol=1e-6)
