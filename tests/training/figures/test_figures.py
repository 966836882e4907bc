"""`roigcn figures` on shards of the toy head, on a run, and on pictures; what it says when it cannot."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from model.checkpoint import Architecture, Checkpoint, write_checkpoint
from model.values import UInt8Array
from training.cli import app
from training.data.shards import FaceShards, find_shards
from training.evaluate import predict_maps
from training.figures.faces import PLACES, faces_of_shards, measure, places_of, telling_faces
from training.figures.page import CHANNELS, EIGENVECTORS, ROI_MAPS
from training.figures.plots import draw_channels, draw_eigenvectors
from training.loop import Run
from training.subjects import open_subject


def figures(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["figures", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of the toy head, as `roigcn render` writes them."""
    folder = tmp_path_factory.mktemp("rendered")
    arguments = ["--toy", "--images", "8", "--size", "64", "--per-person", "2", "--shard-faces", "8", "--split", "test"]
    result = CliRunner().invoke(app, ["render", "--out", str(folder / "test"), *arguments])
    assert result.exit_code == 0, result.output
    return folder


def test_figures_of_a_checkpoint_on_rendered_shards(
    tiny_checkpoint: Checkpoint, rendered: Path, tmp_path: Path
) -> None:
    out = tmp_path / "figures"
    result = figures(tiny_checkpoint.path, "--data", rendered, "--out", out, "--count", 2, "--measured", 5)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == sorted([CHANNELS, EIGENVECTORS, ROI_MAPS, "figures.md"])
    for name in (CHANNELS, EIGENVECTORS, ROI_MAPS):
        assert Image.open(out / name).width > 500
    page = (out / "figures.md").read_text()
    for words in ("tiny:1", "rendered faces only", "Mean over 5 faces", "at the ROIs", CHANNELS, "| AU12 |"):
        assert words in page
    assert page.count("| face ") == 3, "two faces with their labels below a heading"


def test_figures_of_a_run(tiny_config: object, toy_data: Path, tmp_path: Path) -> None:
    codes = tiny_config.network.au_codes  # type: ignore[attr-defined]
    train = FaceShards(find_shards(toy_data, "train"), codes)
    Run(tiny_config, train, tmp_path / "run", None, "cpu", 1).train(evaluate=lambda _: {})  # type: ignore[arg-type]
    result = figures(
        tmp_path / "run", "--data", toy_data, "--out", tmp_path / "out", "--faces", "3,5", "--measured", "0"
    )
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out" / "figures.md").read_text()
    assert "face 3" in page
    assert "given by hand" in page
    assert "not published" in page
    assert "Mean over" not in page


def test_figures_of_pictures(tiny_checkpoint: Checkpoint, astronaut: UInt8Array, tmp_path: Path) -> None:
    Image.fromarray(astronaut).save(tmp_path / "photo.png")
    out = tmp_path / "out"
    result = figures(tiny_checkpoint.path, "--image", tmp_path / "photo.png", "--out", out)
    assert result.exit_code == 0, result.output
    page = (out / "figures.md").read_text()
    assert "photo.png" in page
    assert "labels" not in page


def test_what_it_cannot_do_is_said_and_leaves_nothing(
    tiny_checkpoint: Checkpoint, rendered: Path, tmp_path: Path
) -> None:
    state = {
        name: value
        for name, value in tiny_checkpoint.state().items()
        if not name.startswith(("graph.", "supervision."))
    }
    plain = Architecture(backbone="hrnet_w18_small", variant="neg")
    manifest = tiny_checkpoint.manifest.model_copy(update={"name": "plain", "architecture": plain})
    without = write_checkpoint(tmp_path / "plain" / "1", state, manifest).path
    Image.new("RGB", (96, 96)).save(tmp_path / "black.png")
    whole, data = tiny_checkpoint.path, ["--data", str(rendered)]
    wrong = [
        ([whole], "either --data SHARDS or --image"),
        ([whole, *data, "--image", "a.png"], "either --data SHARDS or --image"),
        ([whole, *data, "--faces", "one"], "numbers with commas"),
        ([whole, *data, "--faces", "8"], "has 8 faces, numbered from 0"),
        ([whole, *data, "--part", "dev"], "no shards of the part 'dev'"),
        ([without, *data], "no graph convolution"),
        ([tmp_path, *data], str(tmp_path)),
        ([whole, "--image", tmp_path / "black.png"], "no face was found"),
        ([whole, "--image", tmp_path / "missing.png"], "missing.png"),
    ]
    for arguments, words in wrong:
        result = figures(*arguments, "--out", tmp_path / "out")
        assert result.exit_code == 1, result.output
        assert words in result.output
        assert not (tmp_path / "out").exists()


def test_chosen_faces_show_many_aus_and_are_different_people(toy_data: Path) -> None:
    faces = FaceShards(find_shards(toy_data, "test"), ("AU4", "AU12", "AU25"))
    chosen = telling_faces(faces, 3)
    assert len(set(faces.identities[chosen])) == 3
    assert faces.labels[chosen].max(axis=0).tolist() == [1, 1, 1]
    assert telling_faces(faces, 3) == chosen
    people = len(np.unique(faces.identities))
    assert len(telling_faces(faces, 999)) == people, "no more than there are people"


def test_what_is_drawn_and_measured_is_the_networks_own(tiny_checkpoint: Checkpoint, rendered: Path) -> None:
    subject = open_subject(tiny_checkpoint.path)
    shards = FaceShards(find_shards(rendered, "test"), subject.reading.au_codes)
    (face, _) = faces_of_shards(subject, shards, [1, 6])
    maps = predict_maps(subject.network, face.pixels[None])[0]
    assert np.allclose(face.explanation.roi_maps, maps, atol=1e-5)
    present = [code for code, on in zip(subject.reading.au_codes, shards.labels[1], strict=True) if on]
    assert set(face.present or ()) <= set(present)

    found = measure(subject, shards, [1])
    places = dict(zip(PLACES, places_of(face, subject.reading), strict=True))
    x0, x1 = face.explanation.x0, face.explanation.x1
    for place, mask in places.items():
        assert mask.any(), place
        assert found.active[place] == pytest.approx(((x0[:, mask] > 0).mean(), (x1[:, mask] > 0).mean()))
        assert found.height[place] == pytest.approx((x0[:, mask].mean(), x1[:, mask].mean()), rel=1e-4)
    assert not places["inside the face"][0, 0]
    assert places["at the border"].sum() == 16 * 16 - 12 * 12
    assert found.share.sum() == pytest.approx(1, abs=1e-3)


def test_blank_maps_are_drawn_white(tiny_checkpoint: Checkpoint, rendered: Path) -> None:
    subject = open_subject(tiny_checkpoint.path)
    shards = FaceShards(find_shards(rendered, "test"), subject.reading.au_codes)
    (face,) = faces_of_shards(subject, shards, [0])
    blank = replace(face.explanation, phi=face.explanation.phi * 0, x1=face.explanation.x1 * 0)
    figure = draw_eigenvectors([replace(face, explanation=blank)])
    assert all((axes.images[0].get_array() == 1).all() for axes in figure.axes[1:])
    assert "100% are 0" in draw_channels(replace(face, explanation=blank)).axes[2].get_title(loc="left")


def test_it_needs_no_gpu_and_leaves_the_network_in_evaluation_mode(tiny_checkpoint: Checkpoint, rendered: Path) -> None:
    subject = open_subject(tiny_checkpoint.path)
    shards = FaceShards(find_shards(rendered, "test"), subject.reading.au_codes)
    before = {name: value.clone() for name, value in subject.network.state_dict().items()}
    faces_of_shards(subject, shards, [0, 1])
    assert not subject.network.training
    after = subject.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_nothing_is_left_of_a_broken_folder(tiny_checkpoint: Checkpoint, rendered: Path, tmp_path: Path) -> None:
    shutil.copytree(rendered, tmp_path / "cut")
    (shard,) = find_shards(tmp_path / "cut", "test")
    shard.write_bytes(shard.read_bytes()[:1000])
    result = figures(tiny_checkpoint.path, "--data", tmp_path / "cut", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert shard.name in result.output
    assert not (tmp_path / "out").exists()
