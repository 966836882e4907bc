from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.checkpoint import Checkpoint, CheckpointError, Manifest, load_checkpoint, write_checkpoint


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def weights(folder: Path) -> Path:
    return folder / "weights.safetensors"


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 0xFF
    path.write_bytes(data)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "no such folder"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "no manifest.json"),
    "empty manifest": (lambda f: (f / "manifest.json").write_text(""), "is not JSON"),
    "truncated manifest": (lambda f: cut(f / "manifest.json", 300), "is not JSON"),
    "binary manifest": (lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe\x00"), "is not JSON"),
    "huge manifest": (lambda f: (f / "manifest.json").write_bytes(b" " * (5 << 20)), "no manifest"),
    "foreign manifest": (lambda f: (f / "manifest.json").write_text('{"model": "yolo"}'), "no format_version"),
    "a list": (lambda f: (f / "manifest.json").write_text("[1]"), "no format_version"),
    "newer format": (lambda f: edit(f, lambda d: d.update(format_version=2)), "Upgrade roigcn"),
    "format 0": (lambda f: edit(f, lambda d: d.update(format_version=0)), "format_version"),
    "missing field": (lambda f: edit(f, lambda d: d.pop("au_codes")), "au_codes: Field required"),
    "unknown field": (lambda f: edit(f, lambda d: d.update(sigma=1)), "sigma"),
    "map size": (lambda f: edit(f, lambda d: d.update(map_size=17)), "map_size must be input_size / 4"),
    "double AU": (lambda f: edit(f, lambda d: d["au_codes"].__setitem__(0, "AU4")), "twice"),
    "no AU code": (lambda f: edit(f, lambda d: d["au_codes"].__setitem__(0, "smile")), "'smile'"),
    "calibration": (lambda f: edit(f, lambda d: d["calibration"].update(AU9={"slope": 1, "intercept": 0})), "AU9"),
    "threshold": (lambda f: edit(f, lambda d: d.update(thresholds={"AU1": 1.5})), "thresholds.AU1"),
    "std": (lambda f: edit(f, lambda d: d["normalisation"].update(std=[0.2, 0, 0.2])), "above 0"),
    "input of architecture": (lambda f: edit(f, lambda d: d["architecture"].update(input_size=96)), "input_size is 96"),
    "no hash": (lambda f: edit(f, lambda d: d.update(weights_sha256="")), "weights_sha256"),
    "wrong hash": (lambda f: edit(f, lambda d: d.update(weights_sha256="0" * 64)), "belong to another version"),
    "no weights": (lambda f: weights(f).unlink(), "no weights.safetensors"),
    "empty weights": (lambda f: weights(f).write_bytes(b""), "is empty"),
    "few bytes": (lambda f: cut(weights(f), 5), "not a safetensors file"),
    "truncated header": (lambda f: cut(weights(f), 1000), "truncated within its header"),
    "truncated weights": (lambda f: cut(weights(f), weights(f).stat().st_size - 1), "truncated"),
    "flipped byte": (lambda f: flip_last_byte(weights(f)), "were changed"),
    "pickle": (lambda f: torch.save({"a": torch.zeros(2)}, weights(f)), "pickled torch file"),
    "lfs pointer": (lambda f: weights(f).write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "picture": (lambda f: weights(f).write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500)), "not a safetensors file"),
    "header no JSON": (lambda f: weights(f).write_bytes((8).to_bytes(8, "little") + b"{]......"), "not a safetensors"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_checkpoints_are_refused_with_advice(case: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "random" / "1"
    shutil.copytree(checkpoint.path, folder)
    load_checkpoint(folder)
    damage, said = BROKEN[case]
    damage(folder)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert said in str(caught.value)
    assert str(folder) in str(caught.value)


def test_weights_are_half_on_disk_and_single_in_memory(checkpoint: Checkpoint) -> None:
    state = checkpoint.state()
    assert {tensor.dtype.name for tensor in state.values()} == {"float32", "int64"}
    elements = sum(tensor.size for tensor in state.values())
    assert weights(checkpoint.path).stat().st_size < 2.6 * elements
    assert checkpoint.manifest.weights_dtype == "float16"
    network = checkpoint.load_network()
    assert not network.training
    assert network.parameter_count(inference=True) == checkpoint.manifest.parameters
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_network_comes_back_as_it_went(checkpoint: Checkpoint, tmp_path: Path) -> None:
    network = checkpoint.load_network()
    copy = checkpoint.manifest.model_copy(update={"version": "2"})
    again = write_checkpoint(tmp_path / "random" / "2", network.inference_state(), copy).load_network()
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(network(x).maps, again(x).maps)


def test_manifest_reads_back_and_is_stable(checkpoint: Checkpoint) -> None:
    text = (checkpoint.path / "manifest.json").read_text()
    manifest = Manifest.model_validate_json(text)
    assert manifest == checkpoint.manifest
    assert manifest.to_json() == text
    assert list(json.loads(text))[:3] == ["format_version", "name", "version"]
    slope, intercept = manifest.platt()
    np.testing.assert_array_equal(slope, np.array([np.nan, 2, 2, 2], np.float32))
    np.testing.assert_array_equal(intercept, np.array([np.nan, 0.5, 0.5, 0.5], np.float32))
    assert np.isnan(manifest.threshold_array()).all()


def test_metrics_that_are_nan_become_null(checkpoint: Checkpoint) -> None:
    data = checkpoint.manifest.model_dump()
    data["metrics"] = {"protocol": "p", "per_au": {"AU1": {"f1": float("nan"), "auc": 0.75}}, "mean": {"f1": np.nan}}
    document = json.loads(Manifest(**data).to_json())
    assert document["metrics"]["per_au"]["AU1"] == {"f1": None, "auc": 0.75}
    assert document["metrics"]["mean"] == {"f1": None}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"backbone": "resnet50"}, "resnet50"),
        ({"phi_act": "tanh"}, "tanh"),
        ({"depth": 3}, "depth"),
        ({"variant": "neg"}, "unknown (graph."),
        ({"backbone": "hrnet_w18"}, "missing (backbone."),
        ({"use_bn": True}, "missing (graph.bn"),
    ],
)
def test_weights_that_do_not_fit_the_architecture(
    change: dict[str, Any], said: str, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "random" / "1"
    shutil.copytree(checkpoint.path, folder)
    edit(folder, lambda data: data["architecture"].update(change))
    with pytest.raises(CheckpointError, match=r"architecture|describes") as caught:
        load_checkpoint(folder).load_network()
    assert said in str(caught.value)


def test_weights_outside_half_precision_stay_single(checkpoint: Checkpoint, tmp_path: Path) -> None:
    state = {
        "large": np.full((2, 2), 1e6, np.float32),
        "bn.running_var": np.full(3, 1e-9, np.float32),
        "count": torch.tensor(5),
        "kernel": torch.full((2, 2), 0.1, dtype=torch.bfloat16),
    }
    written = write_checkpoint(tmp_path / "random" / "1", state, checkpoint.manifest)
    back = written.state()
    np.testing.assert_array_equal(back["large"], state["large"])
    np.testing.assert_array_equal(back["bn.running_var"], state["bn.running_var"])
    assert back["count"].shape == ()
    assert back["count"] == 5
    assert written.manifest.parameters == 4 + 1 + 4


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_diverged_weights_are_not_published(value: float, checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'w'"):
        write_checkpoint(tmp_path / "random" / "1", {"w": np.array([[value]], np.float32)}, checkpoint.manifest)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_published_versions_never_change(checkpoint: Checkpoint, tmp_path: Path) -> None:
    state = {"w": np.ones((2, 2), np.float32)}
    with pytest.raises(CheckpointError, match="must end in random/1"):
        write_checkpoint(tmp_path / "other" / "1", state, checkpoint.manifest)
    with pytest.raises(CheckpointError, match="empty"):
        write_checkpoint(tmp_path / "random" / "1", {}, checkpoint.manifest)
    write_checkpoint(tmp_path / "random" / "1", state, checkpoint.manifest)
    with pytest.raises(CheckpointError, match="raise the version"):
        write_checkpoint(tmp_path / "random" / "1", state, checkpoint.manifest)
    assert [path.name for path in (tmp_path / "random").iterdir()] == ["1"]  # no draft is left


def test_the_card_comes_with_the_weights_or_nothing_does(checkpoint: Checkpoint, tmp_path: Path) -> None:
    state, folder = {"w": np.ones((2, 2), np.float32)}, tmp_path / "random" / "1"

    def broken(manifest: Manifest) -> str:
        raise ZeroDivisionError(manifest.ref)

    with pytest.raises(ZeroDivisionError):
        write_checkpoint(folder, state, checkpoint.manifest, card=broken)
    assert not list(folder.parent.iterdir())
    write_checkpoint(folder, state, checkpoint.manifest, card=lambda final: f"{final.ref} {final.weights_sha256}")
    digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    assert (folder / "MODEL_CARD.md").read_text() == f"random:1 {digest}", "of the final manifest"


def test_reading_needs_neither_torch_nor_openvino(checkpoint: Checkpoint) -> None:
    code = (
        "import sys; from model.checkpoint import load_checkpoint; from model.registry import Registry; "
        "c = load_checkpoint(sys.argv[1]); c.state(); Registry.open(); "
        "print([m for m in ('torch', 'openvino') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(checkpoint.path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
