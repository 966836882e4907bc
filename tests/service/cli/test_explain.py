"""`roigcn explain`, run in this process: the picture, the arrays, what it says when it cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from model.checkpoint import Architecture, Checkpoint, write_checkpoint
from model.values import UInt8Array
from service.cli import app
from service.cli.output import Exit

Run = Callable[..., Result]


@pytest.fixture
def run(tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command with the tiny checkpoint, in a folder of its own."""
    monkeypatch.setenv("ROIGCN_DATA_DIR", str(tiny_checkpoint.path.parents[2]))
    monkeypatch.setenv("ROIGCN_CHECKPOINT", "tiny")
    monkeypatch.setenv("ROIGCN_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["explain", *(str(argument) for argument in arguments)])


@pytest.fixture
def photo(tmp_path: Path, astronaut: UInt8Array) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(astronaut).save(path)
    return path


def test_it_draws_and_keeps_the_arrays(run: Run, photo: Path, tmp_path: Path) -> None:
    result = run(photo, "--au", "au12", "--out", "explain.png", "--npz", "arrays.npz")
    assert result.exit_code == Exit.DONE, result.output
    assert result.stdout.split() == ["explain.png", "arrays.npz"]
    assert "rendered faces only" in result.stderr
    assert "face 0 with AU12" in result.stderr
    assert Image.open(tmp_path / "explain.png").size[0] == 1480
    with np.load(tmp_path / "arrays.npz") as arrays:
        assert arrays["au_codes"].tolist() == ["AU1", "AU12", "AU25"]
        assert arrays["x0"].shape == arrays["x1"].shape == (240, 16, 16)
        assert arrays["phi"].shape == arrays["roi_maps"].shape == (3, 16, 16)
        assert arrays["x1"].dtype == np.float32


def test_without_options_it_shows_the_likeliest_au_beside_the_picture(run: Run, photo: Path, tmp_path: Path) -> None:
    result = run(photo)
    assert result.exit_code == Exit.DONE, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.jpg", "photo_explain.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["photo.jpg", "--out", "explain.txt"], Exit.USAGE, "end in .png"),
        (["photo.jpg", "--npz", "arrays.csv"], Exit.USAGE, "end in .npz"),
        (["photo.jpg", "--out", "no/folder.png"], Exit.USAGE, "does not exist"),
        (["photo.jpg", "--npz", "no/folder.npz"], Exit.USAGE, "does not exist"),
        (["photo.jpg", "--au", "AU9"], Exit.USAGE, "AU1, AU12, AU25"),
        (["photo.jpg", "--face", "1"], Exit.FAILED, "1 face found, so there is no face 1"),
        (["photo.jpg", "--face", "-1"], Exit.USAGE, "face"),
        (["grey.png"], Exit.FAILED, "no face was found"),
        (["missing.jpg"], Exit.FAILED, "missing.jpg"),
        (["broken.jpg"], Exit.FAILED, "broken.jpg"),
        (["photo.jpg", "--checkpoint", "nonesuch"], Exit.UNAVAILABLE, "nonesuch"),
        ([], Exit.USAGE, "Missing argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_it_cannot_do_leaves_no_file(
    run: Run, photo: Path, tmp_path: Path, arguments: list[str], code: Exit, words: str
) -> None:
    (tmp_path / "broken.jpg").write_bytes(photo.read_bytes()[:3000])
    Image.new("RGB", (200, 200), (90, 90, 90)).save(tmp_path / "grey.png")
    before = sorted(tmp_path.rglob("*"))
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_a_network_without_graph_convolution_is_refused(
    run: Run, photo: Path, tmp_path: Path, tiny_checkpoint: Checkpoint
) -> None:
    """The tiny network's weights without those of the graph convolution fit the plain variant's."""
    state = {name: value for name, value in tiny_checkpoint.state().items() if not name.startswith("graph.")}
    plain = Architecture(backbone="hrnet_w18_small", variant="neg")
    manifest = tiny_checkpoint.manifest.model_copy(update={"name": "plain", "architecture": plain})
    write_checkpoint(tmp_path / "plain" / "1", state, manifest)
    result = run(photo, "--checkpoint", "./plain/1")
    assert result.exit_code == Exit.FAILED
    assert "plain:1" in result.stderr
    assert "no graph convolution" in result.stderr
