"""How fast the engines run the network here, against each other and against a plain matrix multiply.

    python benchmarks/engines.py                                   # W18 at 256, W18-small at 128 and 256
    python benchmarks/engines.py --config hrnet_w18:256:15 --rounds 20 --json

Weights are random (speed does not depend on them; the normalisations' statistics are settled on noise first, so that
numbers stay in their usual range and the maps within about -1 to 1). All contestants of a configuration take turns
within each round, so that a busy moment of the machine hits them alike; medians and minima over the rounds are printed.
Contestants:

* eager: the network as trained, plain PyTorch, from the same uint8 crops;
* torch: the torch engine (normalisations folded, channels_last);
* openvino: the OpenVINO engine;
* gemm: a 1024 x 1024 x 1024 single-precision matrix multiply, the faster of PyTorch's and NumPy's.

"floor" is the time that the network's multiplications would take at the matrix multiply's rate: multiply-adds counted
by torch in one pass of the network as trained. "graph" is the share of the graph convolution and the map head in the
time of OpenVINO's nodes, from its own profile; "graph of plain" the same for the plain formulation of METHOD 4.3.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from model.action_units import AU_SETS
from model.checkpoint import Architecture, Checkpoint, Manifest, Metrics, Training, write_checkpoint
from model.engines.base import default_threads, open_engine
from model.engines.deploy import DeployedNetwork, InferenceHead
from model.engines.openvino import to_graph
from model.graph import SpectralGraphConv, subtract_low_rank, upsampled_concat
from model.network import NetworkConfig, RoiGcn, normalise
from model.openvino_core import ov, shared_core

GEMM_SIZE = 1024
DEFAULT_CONFIGS = ("hrnet_w18:256:12", "hrnet_w18_small:128:15", "hrnet_w18_small:256:15")
AUS_BY_COUNT = {len(codes): codes for codes in AU_SETS.values()}


@dataclass(frozen=True)
class Timing:
    """Milliseconds per face (for gemm: per multiply) over the rounds."""

    median: float
    minimum: float


@dataclass(frozen=True)
class Result:
    """What one configuration gave at one batch size."""

    backbone: str
    input_size: int
    aus: int
    batch: int
    ms_per_face: dict[str, Timing]
    eager_over_openvino: float
    gigamacs: float
    gemm_gflops: Timing
    floor_ms: float
    openvino_over_floor: float
    max_difference: float


def random_checkpoint(backbone: str, size: int, aus: int, root: Path) -> Checkpoint:
    torch.manual_seed(0)
    network = RoiGcn(NetworkConfig(backbone=backbone, num_aus=aus, input_size=size))
    noise = torch.randn(4, 3, size, size)
    with torch.no_grad():
        for _ in range(20):
            network.backbone(noise[:, :, :64, :64])
        network.eval()
        network.head.weight /= network.roi_maps(noise).abs().max()  # maps of -1 to 1, as training gives
    manifest = Manifest(
        name=f"{backbone}-{size}",
        version=str(aus),
        architecture=Architecture(**network.config.to_dict()),
        au_codes=AUS_BY_COUNT[aus],
        input_size=size,
        map_size=size // 4,
        training=Training(data="none: random weights", synthetic_only=False),
        metrics=Metrics(protocol="none"),
        licence="Apache-2.0",
    )
    return write_checkpoint(root / manifest.name / manifest.version, network.inference_state(), manifest)


def count_macs(network: RoiGcn, size: int) -> int:
    """Multiply-adds of one face, of the network as trained: convolutions, linear layers and matrix products."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.roi_maps(torch.zeros(1, 3, size, size))
    flops: int = counter.get_total_flops()
    return flops // 2


def take_turns(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contestant in each round, after one round to warm up."""
    for run in contestants.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


def measure(checkpoint: Checkpoint, batch: int, rounds: int, threads: int, cache: Path) -> Result:
    manifest = checkpoint.manifest
    size = manifest.input_size
    crops = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    openvino = open_engine(checkpoint, "openvino", "cpu", threads, cache)
    folded = open_engine(checkpoint, "torch", "cpu", threads)
    network = checkpoint.load_network()
    mean, std = torch.tensor(manifest.normalisation.mean), torch.tensor(manifest.normalisation.std)
    a, b = np.random.default_rng(1).random((2, GEMM_SIZE, GEMM_SIZE), np.float32)
    ta, tb, out = torch.from_numpy(a), torch.from_numpy(b), np.empty_like(a)

    def eager() -> torch.Tensor:
        with torch.inference_mode():
            x = normalise(torch.from_numpy(crops), mean, std).contiguous()
            return network.roi_maps(x)

    times = take_turns(
        {
            "eager": eager,
            "torch": lambda: folded.run(crops),
            "openvino": lambda: openvino.run(crops),
            "gemm torch": lambda: torch.mm(ta, tb),
            "gemm numpy": lambda: np.matmul(a, b, out=out),
        },
        rounds,
    )
    timing = {
        name: Timing(*(1e3 / batch * value for value in (statistics.median(seconds), min(seconds))))
        for name, seconds in times.items()
        if not name.startswith("gemm")
    }
    gemm = min((times["gemm torch"], times["gemm numpy"]), key=statistics.median)
    rate = Timing(*(2e-9 * GEMM_SIZE**3 / value for value in (statistics.median(gemm), min(gemm))))
    macs = count_macs(network, size)
    # Each round's own ratio: contestants of one round saw the same machine.
    floors = [macs / GEMM_SIZE**3 * seconds for seconds in gemm]
    result = Result(
        backbone=manifest.architecture.backbone,
        input_size=size,
        aus=len(manifest.au_codes),
        batch=batch,
        ms_per_face=timing,
        eager_over_openvino=statistics.median(e / o for e, o in zip(times["eager"], times["openvino"], strict=True)),
        gigamacs=macs / 1e9,
        gemm_gflops=rate,
        floor_ms=1e3 * statistics.median(floors),
        openvino_over_floor=statistics.median(o / batch / f for o, f in zip(times["openvino"], floors, strict=True)),
        max_difference=float(np.abs(openvino.run(crops) - eager().numpy()).max()),
    )
    openvino.close()
    folded.close()
    return result


class PlainHead(torch.nn.Module):
    """Graph convolution and map head as METHOD 4.3 writes them down, on the concatenated features."""

    def __init__(self, graph: SpectralGraphConv, head: torch.nn.Conv2d) -> None:
        super().__init__()
        self.phi = torch.nn.Conv2d(graph.phi.in_channels, graph.phi.out_channels, 1)
        self.phi.load_state_dict(graph.phi.state_dict())
        self.theta = torch.nn.Conv2d(graph.theta.in_channels, graph.theta.out_channels, 1, bias=False)
        self.theta.load_state_dict(graph.theta.state_dict())
        self.eigenvalue, self.out = graph.eigenvalue, head

    def forward(self, branches: list[torch.Tensor]) -> torch.Tensor:
        """Branches to ROI maps."""
        x0 = upsampled_concat(branches)
        weights = torch.sigmoid(self.eigenvalue(x0.mean(dim=(2, 3))))
        z = subtract_low_rank(x0, torch.relu(self.phi(x0)), weights)
        maps: torch.Tensor = self.out(torch.relu(self.theta(z)))
        return maps


def head_shares(checkpoint: Checkpoint, batch: int, rounds: int, threads: int) -> dict[str, float]:
    """Share of all that follows the backbone in the time of OpenVINO's nodes, for both formulations."""
    manifest = checkpoint.manifest
    network = checkpoint.load_network()
    assert network.graph is not None
    heads = {
        "graph": InferenceHead(network.graph, network.head, manifest.map_size),
        "graph_of_plain": PlainHead(network.graph, network.head),
    }
    crops = np.zeros((batch, manifest.input_size, manifest.input_size, 3), np.uint8)
    requests = {}
    for name, head in heads.items():
        deployed = DeployedNetwork(network, manifest.normalisation)
        deployed.head = head
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": "1"}
        graph = to_graph(deployed.eval(), manifest.input_size)
        compiled = shared_core().compile_model(graph, "CPU", settings | {"PERF_COUNT": True})
        requests[name] = compiled.create_infer_request()
    shares: dict[str, list[float]] = {name: [] for name in heads}
    for _ in range(rounds + 1):
        for name, request in requests.items():
            request.infer([crops])
            nodes = [(node.node_name, node.real_time.total_seconds()) for node in request.profiling_info]
            behind = sum(seconds for node, seconds in nodes if "__module.head" in node)
            shares[name].append(behind / sum(seconds for _, seconds in nodes))
    return {name: statistics.median(values[1:]) for name, values in shares.items()}


def report(results: list[Result], shares: dict[str, dict[str, float]], threads: int) -> None:
    print(f"{platform.processor() or platform.machine()}, {threads} threads, random weights")
    print(f"PyTorch {torch.__version__}, OpenVINO {ov.get_version().split('-')[0]}; ms per face: median (minimum)\n")
    for result in results:
        key = f"{result.backbone}:{result.input_size}:{result.aus}"
        if result.batch == 1:
            share = shares[key]
            print(
                f"{key}  {result.gigamacs:.2f} GMAC, graph convolution and head {share['graph']:.1%} of the forward "
                f"(plain formulation {share['graph_of_plain']:.1%})"
            )
        columns = [f"{name} {t.median:7.1f} ({t.minimum:.1f})" for name, t in result.ms_per_face.items()]
        print(f"  batch {result.batch}   " + "   ".join(columns))
        print(
            f"            eager / openvino {result.eager_over_openvino:.2f}   "
            f"openvino / floor {result.openvino_over_floor:.2f} (floor {result.floor_ms:.1f} ms at "
            f"{result.gemm_gflops.median:.0f} GFLOP/s, best {result.gemm_gflops.minimum:.0f})   "
            f"largest difference {result.max_difference:.1e}"
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", action="append", help="BACKBONE:SIZE:AUS, may be repeated")
    parser.add_argument("--batch", type=int, action="append", help="batch size, may be repeated (1 and 8)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--cache-dir", type=Path, help="keep converted networks here between runs")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    results: list[Result] = []
    shares: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        cache = options.cache_dir or Path(scratch) / "cache"
        for config in options.config or DEFAULT_CONFIGS:
            backbone, size, aus = config.split(":")
            checkpoint = random_checkpoint(backbone, int(size), int(aus), Path(scratch))
            shares[config] = head_shares(checkpoint, 8, options.rounds, options.threads)
            results += [
                measure(checkpoint, batch, options.rounds, options.threads, cache) for batch in options.batch or (1, 8)
            ]
    if options.json:
        document: dict[str, Any] = {
            "threads": options.threads,
            "torch": torch.__version__,
            "openvino": ov.get_version(),
            "weights": "random",
            "graph_share": shares,
            "results": [asdict(result) for result in results],
        }
        print(json.dumps(document, indent=2))
    else:
        report(results, shares, options.threads)


if __name__ == "__main__":
    main()
