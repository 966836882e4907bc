"""Public-style weight files, made from the module itself: containers, prefixes, foreign heads, broken files."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from model.hrnet import HRNET_W18, HRNET_W18_SMALL, HRNet
from model.network import NetworkConfig, RoiGcn
from model.weights import WeightsError, load_backbone

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def public() -> dict[str, Tensor]:
    """The tensors of a trained backbone, as a public file names them."""
    torch.manual_seed(5)
    state = HRNet(HRNET_W18_SMALL).state_dict()
    return {key: value + 0.01 if value.is_floating_point() else value + 9 for key, value in state.items()}


@pytest.fixture(scope="module")
def built() -> RoiGcn:
    return RoiGcn(NetworkConfig(backbone="hrnet_w18_small", num_aus=3, input_size=64))


@pytest.fixture
def network(built: RoiGcn) -> RoiGcn:
    """With an empty backbone, so that nothing is left of what another test loaded."""
    for tensor in built.backbone.state_dict().values():
        tensor.zero_()
    return built


def same(backbone: HRNet, state: dict[str, Tensor]) -> bool:
    found = backbone.state_dict()
    return all(torch.equal(found[key], value) for key, value in state.items())


HEADS = {
    "classifier.weight": (10, 2048),
    "classifier.bias": (10,),
    "incre_modules.0.0.conv1.weight": (32, 16, 1, 1),
    "downsamp_modules.0.0.bias": (256,),
    "final_layer.0.weight": (8, 8, 1, 1),
    "head.0.weight": (270, 270, 1, 1),
}


@pytest.mark.parametrize("container", [None, "state_dict", "model"])
@pytest.mark.parametrize(
    "prefix", ["", "module.", "backbone.", "model.", "module.model.backbone.", "network.backbone."]
)
def test_containers_prefixes_and_heads(
    tmp_path: Path, public: dict[str, Tensor], network: RoiGcn, container: str | None, prefix: str
) -> None:
    heads = {key: torch.ones(shape) for key, shape in HEADS.items()}
    named: Any = OrderedDict((prefix + key, value) for key, value in {**public, **heads}.items())
    content = {"epoch": 3, "optimizer": {"lr": 0.1}, container: named} if container else named
    torch.save(content, tmp_path / "hrnet.pth")
    before = {key: value.clone() for key, value in network.state_dict().items() if not key.startswith("backbone.")}
    report = load_backbone(network, tmp_path / "hrnet.pth")
    assert same(network.backbone, public)
    assert set(report.loaded) == set(public)
    assert report.missing == ()
    assert set(report.unused) == {prefix + key for key in HEADS}
    after = network.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert "loaded 426 backbone tensors; not used: 6" in report.summary()


def test_safetensors_and_a_bare_backbone(tmp_path: Path, public: dict[str, Tensor]) -> None:
    save_file({f"module.{key}": value for key, value in public.items()}, tmp_path / "hrnet.safetensors")
    backbone = HRNet(HRNET_W18_SMALL)
    report = load_backbone(backbone, str(tmp_path / "hrnet.safetensors"))
    assert same(backbone, public)
    assert report.unused == ()
    assert report.summary() == "loaded 426 backbone tensors"


def test_files_older_than_zip_and_counters(tmp_path: Path, public: dict[str, Tensor], network: RoiGcn) -> None:
    # The 2019 files: PyTorch's first format, some without batch counters.
    old = {key: value for key, value in public.items() if not key.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    report = load_backbone(network, tmp_path / "old.pth")
    assert same(network.backbone, old)
    assert report.missing
    assert all(key.endswith("num_batches_tracked") for key in report.missing)


def test_own_network_as_source(tmp_path: Path, public: dict[str, Tensor], network: RoiGcn) -> None:
    other = RoiGcn(NetworkConfig(backbone="hrnet_w18_small", num_aus=7, input_size=128))
    other.backbone.load_state_dict(public)
    torch.save(
        {"state_dict": {f"network.{key}": value for key, value in other.state_dict().items()}}, tmp_path / "x.ckpt"
    )
    report = load_backbone(network, tmp_path / "x.ckpt")
    assert same(network.backbone, public)
    assert "network.graph.phi.weight" in report.unused
    assert "network.head.bias" in report.unused


def test_half_precision_files(tmp_path: Path, public: dict[str, Tensor], network: RoiGcn) -> None:
    save_file({k: v.half() if v.is_floating_point() else v for k, v in public.items()}, tmp_path / "h.safetensors")
    load_backbone(network, tmp_path / "h.safetensors")
    weight = network.backbone.conv1.weight
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight.detach(), public["conv1.weight"], rtol=1e-2, atol=1e-3)


class Harmful:
    """A pickle that would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("harm-was-done"),)


def broken_file(kind: str, path: Path, public: dict[str, Tensor]) -> Path:
    """A file of that kind of breakage."""
    if kind in ("w18", "shape", "half", "nan", "foreign", "list", "nothing"):
        content: Any = {
            "w18": lambda: HRNet(HRNET_W18).state_dict(),
            "shape": lambda: {**public, "conv1.weight": torch.zeros(64, 1, 3, 3)},
            "half": lambda: {key: value for key, value in public.items() if not key.startswith("stage4")},
            "nan": lambda: {**public, "bn1.weight": torch.full((64,), float("nan"))},
            "foreign": lambda: {"layer4.0.conv1.weight": torch.zeros(3)},
            "list": lambda: [1, 2],
            "nothing": lambda: {"epoch": 3},
        }[kind]()
        torch.save(content, path)
    elif kind == "truncated":
        torch.save(public, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "truncated safetensors":
        path = path.with_suffix(".safetensors")
        save_file(public, path)
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "harmful":
        path.write_bytes(pickle.dumps(Harmful(), protocol=2))
    elif kind != "missing":
        path.write_bytes(
            {
                "empty": b"",
                "page": b"<!DOCTYPE html><html>Not found</html>",
                "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
                "picture": b"\x89PNG\r\n\x1a\n" + bytes(200),
            }[kind]
        )
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "no such file"),
        ("empty", "is empty"),
        ("page", "is a web page"),
        ("lfs", "git lfs pull"),
        ("picture", r"isn't a plain file of tensors \(it is damaged"),
        ("truncated", "is truncated or no PyTorch file"),
        ("truncated safetensors", "is truncated or no safetensors file"),
        ("harmful", "needs code to be run, which is refused"),
        ("list", "holds a list, not a state dict"),
        ("nothing", "holds no tensors by name"),
        ("foreign", "lacks .* isn't a whole HRNet"),
        ("w18", "holds the weights of hrnet_w18, not of hrnet_w18_small"),
        ("shape", "1 tensors have another shape .* conv1.weight"),
        ("half", "lacks .* of the 426 tensors of hrnet_w18_small, e.g. stage4"),
        ("nan", "NaN or infinity, e.g. in bn1.weight"),
    ],
)
def test_broken_files(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    public: dict[str, Tensor],
    network: RoiGcn,
    kind: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    file = broken_file(kind, tmp_path / "weights.pth", public)
    with pytest.raises(WeightsError, match=message) as caught:
        load_backbone(network, file)
    assert str(file) in str(caught.value)
    # All or nothing: a refused file has changed nothing, and run nothing.
    after = network.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert not Path("harm-was-done").exists()
