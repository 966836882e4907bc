from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner, Result

from training.cli import app

RECIPE = """
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
steps = 4
loss_scale = 100
ema = 0.9
[log]
every = 1
save_every = 2
evaluate_every = 4
evaluate_faces = 8
"""


def roigcn(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text(RECIPE)
    return path


def check_pictures(folder: Path, *names: str) -> None:
    for name in names:
        picture = cv2.imread(str(folder / name))
        assert picture is not None, name
        assert picture.std() > 10  # something is drawn
        assert min(picture.shape[:2]) > 300


@pytest.mark.timeout(900)  # imports everything in a process of its own: slow on a busy machine
def test_a_killed_protocol_goes_on_and_ends_with_the_same_numbers(toy_data: Path, tmp_path: Path, recipe: Path) -> None:
    whole = roigcn("protocol", "rendered", toy_data, "--out", tmp_path / "whole", "--config", recipe)
    assert whole.exit_code == 0, whole.output
    check_pictures(tmp_path / "whole", "f1.png", "roc.png", "reliability.png")

    command = [sys.executable, "-m", "training.cli", "protocol", "rendered", toy_data, "--out", tmp_path / "killed"]
    program = "import sys; from training.cli import app; app(sys.argv[1:])"
    command = [sys.executable, "-c", program, *map(str, command[3:]), "--config", str(recipe)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("P2: step 3"):
                process.send_signal(signal.SIGKILL)
                break
    assert process.wait() == -signal.SIGKILL
    assert (tmp_path / "killed" / "P1" / "scores.npz").exists()
    assert not (tmp_path / "killed" / "P2" / "scores.npz").exists()

    again = roigcn("protocol", "rendered", toy_data, "--out", tmp_path / "killed", "--config", recipe)
    assert again.exit_code == 0, again.output
    assert "P1: done before" in again.output
    assert "P2: step 1 of" not in again.output
    results = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("whole", "killed")]
    assert results[0] == results[1]
    report = (tmp_path / "killed" / "report.md").read_text()
    assert report == (tmp_path / "whole" / "report.md").read_text()
    assert "rendered faces" in report
    assert "JAA" not in report  # the paper's columns are of BP4D and DISFA
    assert not list(tmp_path.rglob("*.writing*"))


def test_folds_done_one_by_one_meet_in_one_report(toy_data: Path, tmp_path: Path, recipe: Path) -> None:
    arguments = ("protocol", "rendered", toy_data, "--out", tmp_path / "out", "--config", recipe, "--hold-out", "0")
    first = roigcn(*arguments, "--folds", "P3")
    assert first.exit_code == 0, first.output
    assert "Only P3 of the three folds" in (tmp_path / "out" / "report.md").read_text()
    second = roigcn(*arguments, "--folds", "p1")
    assert second.exit_code == 0, second.output
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(results["folds"]) == ["P1", "P3"]
    assert results["mean"]["ece"] is None  # nobody was held out
    assert not (tmp_path / "out" / "reliability.png").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["--folds", "P4"], "the folds are P1, P2, P3"),
        (["--folds", ","], "the folds are P1, P2, P3"),
        (["--hold-out", "99"], "hold out fewer"),
        (["--config", "nonsense"], "no configuration named"),
        (["--backbone-weights", "nowhere.pth"], "nowhere.pth"),
        (["--accelerator", "abacus"], "cannot train on 1 devices of 'abacus'"),
        (["--precision", "8-bit"], "optimiser.precision"),
    ],
)
def test_mistakes_end_in_one_clear_line(
    toy_data: Path, tmp_path: Path, recipe: Path, changes: list[str], says: str
) -> None:
    base = [] if "--config" in changes else ["--config", recipe]
    result = roigcn("protocol", "rendered", toy_data, "--out", tmp_path / "out", *base, *changes)
    assert result.exit_code == 1
    assert says in result.output
    assert "Traceback" not in result.output


def test_other_data_and_another_recipe_are_refused(toy_data: Path, tmp_path: Path, recipe: Path) -> None:
    wrong = roigcn("protocol", "bp4d", toy_data, "--out", tmp_path / "out", "--config", recipe)
    assert wrong.exit_code == 1
    assert "roigcn prepare" in wrong.output
    assert not (tmp_path / "out").exists()
    arguments = ("protocol", "rendered", toy_data, "--out", tmp_path / "out", "--config", recipe, "--folds", "P1")
    assert roigcn(*arguments, "--steps", "1").exit_code == 0
    other = roigcn(*arguments, "--steps", "2")
    assert other.exit_code == 1
    assert "another recipe" in other.output
    beside = roigcn(*arguments[:-1], "P2", "--steps", "2")
    assert beside.exit_code == 1
    assert "another recipe" in beside.output
    assert not (tmp_path / "out" / "P2").exists(), "told before anything is trained"
    scores = tmp_path / "out" / "P1" / "scores.npz"
    scores.write_bytes(scores.read_bytes()[:300])
    broken = roigcn(*arguments, "--steps", "1")
    assert broken.exit_code == 1
    assert "remove it" in broken.output
    scores.unlink()
    assert roigcn(*arguments, "--steps", "1").exit_code == 0


def test_table3_compares_the_variants_over_seeds(toy_data: Path, tmp_path: Path, recipe: Path) -> None:
    out = tmp_path / "out"
    arguments = ("ablate", "table3", toy_data, "--out", out, "--config", recipe, "--folds", "P1", "--steps", "2")
    result = roigcn(*arguments, "--seeds", "0,1")
    assert result.exit_code == 0, result.output
    found = json.loads((out / "results.json").read_text())
    assert list(found["cells"]) == ["heatmap", "neg", "neg_gcn", "full"]
    for name, cell in found["cells"].items():
        assert cell["config"]["network"]["variant"] == name
        assert len(cell["auc"]["by_seed"]) == 2
        assert cell["published_mean_f1_percent"] in (62.0, 62.5, 62.8, 63.5)
    report = (out / "report.md").read_text()
    assert "paper's F1" in report
    assert "of other faces" in report
    assert "±" in report
    check_pictures(out, "f1.png")
    again = roigcn(*arguments, "--seeds", "0,1")
    assert again.output.count("done before") == 8
    assert "training" not in again.output


@pytest.mark.parametrize(
    ("study", "networks", "cells"),
    [
        ("table4", 2, {"weighted", "unweighted"}),
        ("decoders", 1, {"mask", "mean", "max", "peak"}),
        ("sigma", 3, {"sigma-x1", "sigma-x1.5", "sigma-x2"}),
        ("phi", 2, {"relu", "softplus"}),
    ],
)
def test_the_other_studies(
    toy_data: Path, tmp_path: Path, recipe: Path, study: str, networks: int, cells: set[str]
) -> None:
    out = tmp_path / "out"
    result = roigcn(
        *("ablate", study, toy_data, "--out", out, "--config", recipe, "--seeds", 3, "--folds", "P2", "--steps", 1)
    )
    assert result.exit_code == 0, result.output
    assert set(json.loads((out / "results.json").read_text())["cells"]) == cells
    assert len(list(out.rglob("state.ckpt"))) == networks
    assert len(list(out.rglob("scores*.npz"))) == len(cells)
    assert len(set(re.findall(r"seed-(\d)", result.output))) == 1


@pytest.mark.parametrize("seeds", ["", "a", "-1", "0.5"])
def test_seeds_are_whole_numbers(toy_data: Path, tmp_path: Path, recipe: Path, seeds: str) -> None:
    result = roigcn("ablate", "phi", toy_data, "--out", tmp_path / "out", "--config", recipe, f"--seeds={seeds}")
    assert result.exit_code == 1
    assert "whole numbers from 0" in result.output
