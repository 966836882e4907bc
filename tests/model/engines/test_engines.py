"""Every engine passes the same contract, and all of them give the same maps."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoint import Checkpoint
from model.engines import Engine, EngineError, default_cache_dir, open_engine
from model.engines.base import default_threads
from model.engines.deploy import DeployedNetwork, fold_batch_norms
from model.engines.torch import TorchEngine
from model.values import UInt8Array

KINDS = ("openvino", "torch")
AGREEMENT = 1e-3


def random_crops(count: int, size: int = 64, seed: int = 0) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def engines(checkpoint: Checkpoint, graph_cache_dir: Path) -> Iterator[dict[str, Engine]]:
    opened = {kind: open_engine(checkpoint, kind, "cpu", threads=2, cache_dir=graph_cache_dir) for kind in KINDS}
    yield opened
    for engine in opened.values():
        engine.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 3, 8, 9, 70])
def test_any_batch_gives_maps_of_the_contract(kind: str, count: int, engines: dict[str, Engine]) -> None:
    engine = engines[kind]
    maps = engine.run(random_crops(count))
    assert maps.shape == (count, len(engine.au_codes), engine.map_size, engine.map_size)
    assert maps.dtype == np.float32
    assert maps.flags.c_contiguous
    assert np.isfinite(maps).all()


@pytest.mark.parametrize("kind", KINDS)
def test_says_what_it_is(kind: str, engines: dict[str, Engine], checkpoint: Checkpoint) -> None:
    engine = engines[kind]
    manifest = checkpoint.manifest
    assert (engine.name, engine.device.lower()) == (kind, "cpu")
    assert (engine.input_size, engine.map_size) == (manifest.input_size, manifest.map_size)
    assert engine.au_codes == manifest.au_codes
    assert engine.preferred_batch >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_crops_maps_do_not_depend_on_its_company(kind: str, engines: dict[str, Engine]) -> None:
    crops = random_crops(9)
    together = engines[kind].run(crops)
    assert np.abs(together).max() > 0.01
    order = np.random.default_rng(1).permutation(9)
    np.testing.assert_allclose(engines[kind].run(crops[order]), together[order], atol=1e-5)
    alone = np.concatenate([engines[kind].run(crops[i : i + 1]) for i in range(9)])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_takes_arrays_as_they_come_and_leaves_them(kind: str, engines: dict[str, Engine]) -> None:
    crops = random_crops(4)
    expected = engines[kind].run(crops)
    read_only = crops.copy()
    read_only.setflags(write=False)
    strided = np.ascontiguousarray(crops.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    assert not strided.flags.c_contiguous
    for given in (read_only, strided):
        np.testing.assert_allclose(engines[kind].run(given), expected, atol=1e-5)
    np.testing.assert_array_equal(crops, random_crops(4))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((2, 32, 32, 3), np.uint8),
        np.zeros((2, 64, 64, 3), np.float32),
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((2, 3, 64, 64), np.uint8),
        np.zeros((0,), np.uint8),
    ],
    ids=["size", "dtype", "one picture", "channels first", "nothing"],
)
def test_refuses_other_arrays(kind: str, crops: UInt8Array, engines: dict[str, Engine]) -> None:
    with pytest.raises(ValueError, match=r"uint8 crops of shape \(B, 64, 64, 3\)"):
        engines[kind].run(crops)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_may_share_an_engine(kind: str, engines: dict[str, Engine]) -> None:
    batches = [random_crops(count, seed=count) for count in (1, 2, 5, 8)]
    expected = [engines[kind].run(crops) for crops in batches]
    found: dict[int, list[np.ndarray]] = {}

    def work(i: int) -> None:
        found[i] = [engines[kind].run(batches[i]) for _ in range(3)]

    workers = [threading.Thread(target=work, args=(i,)) for i in range(len(batches))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for i, maps in found.items():
        for again in maps:
            np.testing.assert_allclose(again, expected[i], atol=1e-5)


@pytest.mark.parametrize(
    "architecture",
    [{}, {"variant": "neg"}, {"variant": "neg_gcn", "phi_act": "softplus", "eigenvectors": 6, "use_bn": True}],
    ids=["full", "no graph", "other graph"],
)
def test_engines_agree_with_the_plain_network(
    architecture: dict[str, object], make_checkpoint: Callable[..., Checkpoint], tmp_path: Path, graph_cache_dir: Path
) -> None:
    checkpoint = make_checkpoint(tmp_path, **architecture)
    normalisation = checkpoint.manifest.normalisation
    crops = np.concatenate(
        [random_crops(3), np.zeros((1, 64, 64, 3), np.uint8), np.full((1, 64, 64, 3), 255, np.uint8)]
    )
    x = (torch.from_numpy(crops) / 255 - torch.tensor(normalisation.mean)) / torch.tensor(normalisation.std)
    with torch.inference_mode():
        expected = checkpoint.load_network()(x.permute(0, 3, 1, 2)).maps.numpy()
    for kind in KINDS:
        engine = open_engine(checkpoint, kind, "cpu", threads=2, cache_dir=graph_cache_dir)
        np.testing.assert_allclose(engine.run(crops), expected, atol=AGREEMENT, err_msg=kind)
        engine.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_engine_says_so(kind: str, checkpoint: Checkpoint, graph_cache_dir: Path) -> None:
    engine = open_engine(checkpoint, kind, "cpu", cache_dir=graph_cache_dir)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run(random_crops(1))


@pytest.mark.parametrize("threads", [1, 3])
def test_openvino_with_other_numbers_of_threads(
    threads: int, checkpoint: Checkpoint, engines: dict[str, Engine], graph_cache_dir: Path
) -> None:
    engine = open_engine(checkpoint, "openvino", threads=threads, cache_dir=graph_cache_dir)
    crops = random_crops(10)
    np.testing.assert_allclose(engine.run(crops), engines["openvino"].run(crops), atol=1e-5)


def test_lower_precision_keeps_the_graphs_sums_single(checkpoint: Checkpoint, engines: dict[str, Engine]) -> None:
    """The GPU's path, run on the processor in bfloat16: right to that format's two or three digits."""
    engine = TorchEngine(checkpoint, device="cpu", threads=2, dtype=torch.bfloat16)
    crops = random_crops(5)
    exact = engines["torch"].run(crops)
    maps = engine.run(crops)
    assert maps.dtype == np.float32
    assert 0 < np.abs(maps - exact).max() < 0.1 * np.abs(exact).max()
    assert np.corrcoef(maps.ravel(), exact.ravel())[0, 1] > 0.999


@pytest.mark.parametrize(
    ("kind", "device", "threads", "said"),
    [
        ("tensorrt", "auto", None, "auto, openvino, torch"),
        ("torch", "tpu", None, "knows no device 'tpu'"),
        ("torch", "cuda:x", None, "knows no device"),
        ("openvino", "cuda", None, "use the torch engine"),
        ("openvino", "FPGA", None, "choose one of"),
        ("openvino", "cpu", 0, "at least 1 thread"),
    ],
)
def test_engines_that_cannot_be_opened(
    kind: str, device: str, threads: int | None, said: str, checkpoint: Checkpoint, graph_cache_dir: Path
) -> None:
    with pytest.raises(EngineError) as caught:
        open_engine(checkpoint, kind, device, threads, graph_cache_dir)
    assert said in str(caught.value)


@pytest.mark.parametrize(("kind", "device"), [("torch", "cuda:99"), ("auto", "cuda:99")])
def test_a_gpu_that_is_not_there(kind: str, device: str, checkpoint: Checkpoint) -> None:
    with pytest.raises(EngineError, match=r"No usable NVIDIA GPU|There is no cuda:99"):
        open_engine(checkpoint, kind, device)


def test_auto_takes_openvino_on_a_processor(checkpoint: Checkpoint, graph_cache_dir: Path) -> None:
    assert open_engine(checkpoint, "auto", "cpu", cache_dir=graph_cache_dir).name == "openvino"
    assert default_threads() >= 1


def test_folding_changes_nothing_but_rounding(checkpoint: Checkpoint) -> None:
    network = checkpoint.load_network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    folded = fold_batch_norms(network)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.backbone.modules())
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(folded.roi_maps(x), network.roi_maps(x), atol=1e-5, rtol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    with pytest.raises(ValueError, match="evaluation mode"):
        DeployedNetwork(checkpoint.load_network().train(), checkpoint.manifest.normalisation)


def test_a_second_start_converts_nothing_and_loads_no_torch(
    checkpoint: Checkpoint, engines: dict[str, Engine], graph_cache_dir: Path, tmp_path: Path
) -> None:
    crops = random_crops(3)
    np.save(tmp_path / "crops.npy", crops)
    code = (
        "import json, sys, numpy as np; from model.checkpoint import load_checkpoint; "
        "from model.engines import open_engine; _, folder, cache, work = sys.argv; "
        "engine = open_engine(load_checkpoint(folder), 'openvino', 'cpu', 2, cache); "
        "np.save(work + '/maps.npy', engine.run(np.load(work + '/crops.npy'))); "
        "print(json.dumps(['torch' in sys.modules, 'openvino' in sys.modules]))"
    )
    arguments = [sys.executable, "-c", code, str(checkpoint.path), str(graph_cache_dir), str(tmp_path)]
    before = {path: path.stat().st_mtime_ns for path in graph_cache_dir.rglob("*")}
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [False, True]
    assert {path: path.stat().st_mtime_ns for path in graph_cache_dir.rglob("*")} == before
    np.testing.assert_allclose(np.load(tmp_path / "maps.npy"), engines["openvino"].run(crops), atol=1e-5)


def test_the_cache_lies_in_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROIGCN_DATA_DIR", str(tmp_path))
    assert default_cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("ROIGCN_DATA_DIR")
    assert default_cache_dir().name in ("roigcn", "cache")
