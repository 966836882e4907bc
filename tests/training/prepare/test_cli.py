from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.training.trees import make_bp4d, make_disfa, make_table
from training.cli import app
from training.data.prepared import PreparedSet
from training.data.shards import find_shards

SMALL = ["--size", "88", "--workers", "1"]
TINY = """
name = "tiny"
[network]
backbone = "hrnet_w18_small"
input_size = 64
aus = "{aus}"
[augment]
rotation_degrees = 30
[data]
workers = 0
[optimiser]
name = "adamw"
lr = 1e-3
schedule = "constant"
batch = 4
steps = 4
[log]
every = 2
save_every = 2
evaluate_every = 4
evaluate_faces = 4
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], terminal_width=200)


@pytest.mark.parametrize("dataset", ["bp4d", "disfa"])
def test_from_the_tree_to_a_trained_network(tmp_path: Path, dataset: str) -> None:
    tree = (make_bp4d if dataset == "bp4d" else make_disfa)(tmp_path / "tree")
    out, recipe = tmp_path / "out", tmp_path / "tiny.toml"
    result = run("prepare", dataset, tree.root, out, *SMALL)
    assert result.exit_code == 0, result.output
    assert "labelled frames found" in result.output
    train, calibration, test = PreparedSet.open(out).subjects
    result = run("train", "--data", out, "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert "prepare parts" in result.output
    result = run("prepare", "parts", out, "--test", test, "--calibration", calibration)
    assert result.exit_code == 0, result.output
    assert f"train: {train}" in result.output
    recipe.write_text(TINY.format(aus=dataset))
    result = run("train", "--data", out, "--config", recipe, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    count = sum(1 for key in tree.of(train) if tree.frames[key].odd in ("", "unknown"))
    assert f"{count} training faces" in result.output
    result = run("evaluate", tmp_path / "run", "--data", out, "--csv")
    assert result.exit_code == 0, result.output
    assert "AU12," in result.output


def test_own_pictures_by_table(tmp_path: Path) -> None:
    table = make_table(tmp_path / "in", people=("P1", "P2", "P3"))
    result = run("prepare", "csv", table, tmp_path / "out", "--aus", "4,25", *SMALL)
    assert result.exit_code == 0, result.output
    assert PreparedSet.open(tmp_path / "out").au_codes == ("AU4", "AU25")


def test_parts_are_checked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("prepare", "csv", make_table(tmp_path / "in", people=("P1", "P2", "P3")), out, *SMALL)
    assert run("prepare", "parts", out, "--train", "P3,P1", "--test", "P2").exit_code == 0
    assert [path.stem for path in find_shards(out, "train")] == ["P3-000", "P1-000"]
    for arguments, says in (
        (("--test", "P1,P1"), "named twice: P1"),
        (("--test", "P1", "--calibration", "P1"), "named twice: P1"),
        (("--test", "P1,P2,P3"), "nobody is left"),
        (("--test", "P9"), "no faces of P9; it holds P1, P2, P3"),
    ):
        result = run("prepare", "parts", out, *arguments)
        assert result.exit_code == 1
        assert says in result.output
    assert [path.stem for path in find_shards(out, "test")] == ["P2-000"]  # as before the mistakes


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("bp4d", "{tmp}/none", "{tmp}/out"), 1, "no such folder"),
        (("disfa", "{tmp}", "{tmp}/out"), 1, "ActionUnit_Labels/"),
        (("disfa", "{tmp}", "{tmp}/out", "--aus", "AU7"), 1, "does not code AU7"),
        (("bp4d", "{tmp}", "{tmp}/out", "--aus", "AU99"), 2, "unknown Action Unit"),
        (("csv", "{tmp}/none.csv", "{tmp}/out"), 1, "No such file"),
        (("parts", "{tmp}/out", "--test", "F001"), 1, "no such folder"),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, arguments: tuple[str, ...], code: int, says: str) -> None:
    result = run("prepare", *(argument.format(tmp=tmp_path) for argument in arguments))
    assert result.exit_code == code, result.output
    assert says in result.output
    assert not (tmp_path / "out").exists()


def test_missing_face_nets_are_told_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROIGCN_ASSETS_DIR", str(tmp_path))
    table = make_table(tmp_path / "in")
    result = run("prepare", "csv", table, tmp_path / "out", *SMALL)
    assert result.exit_code == 3, result.output
    assert "roigcn assets" in result.output
    assert not (tmp_path / "out").exists()


def test_nothing_prepared_is_a_failure(tmp_path: Path) -> None:
    tree = make_bp4d(tmp_path / "tree", ("F001",), frames=2, odd=False)
    for path in (tree.root / "2DFeatures").glob("*.mat"):
        path.unlink()
    result = run("prepare", "bp4d", tree.root, tmp_path / "out", *SMALL)
    assert result.exit_code == 1
    assert "no face could be prepared" in result.output


@pytest.mark.parametrize("dataset", ["bp4d", "disfa"])
def test_one_command_each_from_the_tree_to_the_protocols_report(tmp_path: Path, dataset: str) -> None:
    if dataset == "bp4d":
        make_bp4d(
            tmp_path / "tree", ("F001", "F003", "F004", "M001", "M002", "M003"), frames=3, tasks=("T1",), odd=False
        )
    else:
        make_disfa(tmp_path / "tree", ("SN001", "SN002", "SN003", "SN004", "SN006", "SN031"), frames=3, odd=False)
    result = run("prepare", dataset, tmp_path / "tree", tmp_path / "out", *SMALL)
    assert result.exit_code == 0, result.output
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY.format(aus=dataset).replace("steps = 4", "steps = 2"))
    result = run("protocol", dataset, tmp_path / "out", "--config", recipe, "--out", tmp_path / "runs")
    assert result.exit_code == 0, result.output
    report = (tmp_path / "runs" / "report.md").read_text()
    assert "AU12" in report
    assert all(part in report for part in ("P1", "P2", "P3"))
