"""From the data sets' own files to the report, with one command each."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner, Result

from tests.training.trees import make_bp4d, make_disfa
from training.cli import app

RECIPE = """
name = "tiny"
summary = "a few steps at 64 px"
[network]
backbone = "hrnet_w18_small"
input_size = 64
[target]
half_width = 1
sigma = 0.7
[data]
workers = 0
[optimiser]
name = "adamw"
lr = 2e-3
schedule = "constant"
batch = 4
steps = 2
loss_scale = 100
[log]
every = 1
save_every = 2
evaluate_every = 2
evaluate_faces = 4
"""
PEOPLE = {"bp4d": ("F001", "M001", "F003", "F004", "M003"), "disfa": ("SN001", "SN006", "SN011", "SN003")}


def roigcn(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("dataset", ["bp4d", "disfa"])
def test_from_the_tree_to_the_report(tmp_path: Path, dataset: str) -> None:
    if dataset == "bp4d":
        tree = make_bp4d(tmp_path / "tree", PEOPLE[dataset], frames=4)
    else:
        tree = make_disfa(tmp_path / "tree", PEOPLE[dataset], frames=6)
    (tmp_path / "tiny.toml").write_text(RECIPE)

    made = roigcn("prepare", dataset, tree.root, tmp_path / "set", "--size", 88, "--workers", 1)
    assert made.exit_code == 0, made.output
    out = tmp_path / "out"
    done = roigcn("protocol", dataset, tmp_path / "set", "--out", out, "--config", tmp_path / "tiny.toml")
    assert done.exit_code == 0, done.output

    results = json.loads((out / "results.json").read_text())
    assert list(results["folds"]) == ["P1", "P2", "P3"]
    for fold in results["folds"].values():
        groups = [set(fold[name]) for name in ("train", "held_out", "test")]
        assert sorted(subject for group in groups for subject in group) == sorted(PEOPLE[dataset])
        assert all(groups)
    assert results["folds"]["P1"]["test"][0] == PEOPLE[dataset][0]
    whole = {"bp4d": 41, "disfa": 27}[dataset]
    assert any(f"{whole - len(PEOPLE[dataset])} of {whole} people" in line for line in results["cautions"])
    assert any("random weights" in line for line in results["cautions"])
    assert any("`network.input_size` 64 instead of 256" in line for line in results["cautions"])
    first = results["per_au"]["AU1"]["published_f1_percent"]
    assert first["ROI-GCN"] == {"bp4d": 52.6, "disfa": 55.0}[dataset]
    assert len(results["per_au"]) == {"bp4d": 12, "disfa": 8}[dataset]

    report = (out / "report.md").read_text()
    for column in (
        "**ROI-GCN**",
        "JAA",
        "SRERL",
        "LP",
        "DRML",
        "EAC",
        "DSIN",
        "ARL",
        *(["JPML"] * (dataset == "bp4d")),
    ):
        assert column in report
    assert {"bp4d": "| 63.5 |", "disfa": "| 62.0 |"}[dataset] in report
    assert {"bp4d": "| 48.0 |", "disfa": "| 18.6 |"}[dataset] in report
    for name in ("f1.png", "roc.png", "reliability.png"):
        assert cv2.imread(str(out / name)) is not None

    again = roigcn("protocol", dataset, tmp_path / "set", "--out", out, "--config", tmp_path / "tiny.toml")
    assert again.output.count("done before") == 3


def test_one_fold_is_reported_where_the_people_make_no_other(tmp_path: Path) -> None:
    people = ("F001", "F002", "F003")
    tree = make_bp4d(tmp_path / "tree", people, frames=4, odd=False)
    (tmp_path / "tiny.toml").write_text(RECIPE)
    assert roigcn("prepare", "bp4d", tree.root, tmp_path / "set", "--size", 88, "--workers", 1).exit_code == 0
    arguments = ("protocol", "bp4d", tmp_path / "set", "--out", tmp_path / "out", "--config", tmp_path / "tiny.toml")
    refused = roigcn(*arguments, "--folds", "P1")
    assert refused.exit_code == 1
    assert "needs 2" in refused.output
    done = roigcn(*arguments, "--folds", "P2")
    assert done.exit_code == 0, done.output
    assert list(json.loads((tmp_path / "out" / "results.json").read_text())["folds"]) == ["P2"]


def test_the_papers_ablation_of_each_set(tmp_path: Path) -> None:
    tree = make_disfa(tmp_path / "tree", PEOPLE["disfa"], frames=4)
    (tmp_path / "tiny.toml").write_text(RECIPE)
    made = roigcn("prepare", "disfa", tree.root, tmp_path / "set", "--size", 88, "--workers", 1)
    assert made.exit_code == 0, made.output
    arguments = ("--config", tmp_path / "tiny.toml", "--steps", 1, "--seeds", 0, "--folds", "P1")
    done = roigcn("ablate", "table4", tmp_path / "set", "--out", tmp_path / "out", *arguments)
    assert done.exit_code == 0, done.output
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| 61.6 |" in report
    assert "| 62.0 |" in report
    assert "of other faces" not in report
