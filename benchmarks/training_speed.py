"""How fast faces are rendered and trained on, as shares of bare forward and backward passes of the same network.

    python benchmarks/training_speed.py                       # renders the toy head and trains scratch_small on it
    python benchmarks/training_speed.py --face-pack PACK.npz --threads 2
    python benchmarks/training_speed.py --data shards --config scratch_small_64 --accelerator cuda

In one run, on one machine, with the same threads: images a second through bare forward and backward passes (a batch
that stays where it is, the recipe's network, loss, batch size and precision; no data, no update), of rendering in one
process, and of training (`training.loop`: loading, augmenting, updates, averaging and logs with it, evaluation not).
The bare passes run before, between and after, so that a machine that changes its mood shows, and each share is of the
two nearest. Processor time counts loader processes too, and a busy machine disturbs it less. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from lightning.fabric import Fabric

from model.losses import RoiGcnLoss
from training.config import ConfigError, TrainConfig, load_config
from training.data.shards import FaceShards, ShardError, find_shards
from training.loop import Progress, Run, build_network
from training.synthetic.generate import Recipe, render_faces
from training.synthetic.pack import PackError
from training.synthetic.raster import RasterError
from training.synthetic.renderer import Renderer
from training.synthetic.shards import pack_faces, shard_path, write_shard

WARM_STEPS = 10
BARE_SECONDS = 8.0


@dataclass(frozen=True)
class Speed:
    """Wall and processor seconds for a number of images."""

    images: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Processor milliseconds an image."""
        return self.cpu_seconds / self.images * 1e3


class Clock:
    """Wall and processor time of this process and its children from its making on."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), _cpu_seconds()

    def read(self, images: int) -> Speed:
        """What `images` have taken since."""
        return Speed(images, time.perf_counter() - self.wall, _cpu_seconds() - self.cpu)


def _cpu_seconds() -> float:
    me = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in [me, *me.children(recursive=True)])


def bare(config: TrainConfig, accelerator: str) -> Callable[[], Speed]:
    """Forward and backward passes of the recipe's network on one batch; call it to measure once."""
    fabric = Fabric(accelerator=accelerator, devices=1, precision=config.optimiser.precision)
    network = fabric.setup_module(build_network(config).to(memory_format=torch.channels_last))
    loss = RoiGcnLoss(alpha1=config.target.alpha1)
    batch, side, aus = config.optimiser.batch, config.network.input_size, len(config.network.au_codes)
    pictures = torch.randn(batch, 3, side, side).contiguous(memory_format=torch.channels_last).to(fabric.device)
    targets = torch.zeros(batch, aus, config.map_size, config.map_size, device=fabric.device)
    labels = torch.zeros(batch, aus, device=fabric.device)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        fabric.backward(loss(network(pictures), targets, labels).total)
        if fabric.device.type == "cuda":
            torch.cuda.synchronize(fabric.device)

    def measure() -> Speed:
        for _ in range(2):
            step()
        clock, images = Clock(), 0
        while images == 0 or time.perf_counter() - clock.wall < BARE_SECONDS:
            step()
            images += batch
        return clock.read(images)

    return measure


def render(recipe: Recipe, out: Path) -> Speed:
    """Render a shard in this process, its writing included; the head's preparation and the first person are not."""
    renderer = Renderer(recipe.open_pack(), recipe.size, recipe.raster)
    first = recipe.faces_per_identity
    faces = list(render_faces(renderer, recipe, 0, first))
    clock = Clock()
    faces += list(render_faces(renderer, recipe, first, recipe.images - first))
    write_shard(shard_path(out, 0), pack_faces(faces))
    return clock.read(recipe.images - first)


def train(config: TrainConfig, data: FaceShards, folder: Path, accelerator: str) -> Speed:
    """The loop's own steps after the first `WARM_STEPS`, while which loaders start and fill their queue."""
    clock: Clock | None = None
    speed: Speed | None = None

    def report(progress: Progress) -> None:
        nonlocal clock, speed
        if clock is None:
            clock = Clock()
        else:
            speed = clock.read((progress.step - WARM_STEPS) * config.optimiser.batch)

    Run(config, data, folder, accelerator=accelerator, devices=1).train(report)
    assert speed is not None, "a run of two reports"
    return speed


def print_speeds(bares: tuple[Speed, Speed, Speed], rendering: Speed, training: Speed) -> None:
    before, between, after = bares
    print(f"{'':36}{'images/s':>9} {'share':>7} {'processor ms':>13} {'share':>7}")
    for when, one in (("first", before), ("between", between), ("last", after)):
        print(f"{f'bare forward and backward, {when}':36}{one.rate:9.1f} {'':7} {one.cpu_ms:13.1f}")
    for name, one, beside in (
        ("rendering, one process", rendering, (before, between)),
        ("training", training, (between, after)),
    ):
        share = one.rate / np.mean([other.rate for other in beside])
        cpu_share = np.mean([other.cpu_ms for other in beside]) / one.cpu_ms
        print(f"{name:36}{one.rate:9.1f} {share:7.2f} {one.cpu_ms:13.1f} {cpu_share:7.2f}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="scratch_small", help="a recipe's name, or a TOML file")
    parser.add_argument("--data", type=Path, help="train on these shards; default: on those rendered here")
    parser.add_argument("--face-pack", type=Path, help="head to render; default: the toy head")
    parser.add_argument("--images", type=int, default=200, help="pictures to render, at least 20")
    parser.add_argument("--size", type=int, default=160, help="side of the pictures in pixels")
    parser.add_argument("--steps", type=int, default=40, help=f"training steps measured, after {WARM_STEPS} others")
    parser.add_argument("--batch", type=int, help="samples a step; default: the recipe's")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads; `roigcn train` has 1 as well")
    parser.add_argument("--accelerator", default="cpu", help="cpu, cuda or auto")
    chosen = parser.parse_args()
    if chosen.images < 20 or chosen.steps < 1 or chosen.threads < 1:
        parser.error("--images starts at 20, --steps and --threads at 1")
    return chosen


def main() -> int:
    chosen = arguments()
    torch.set_num_threads(chosen.threads)
    try:
        total = WARM_STEPS + chosen.steps
        config = load_config(
            chosen.config,
            optimiser__steps=total,
            optimiser__batch=chosen.batch,
            log__every=WARM_STEPS,
            log__save_every=total,
            log__evaluate_every=total,
        )
        with tempfile.TemporaryDirectory(prefix="roigcn-benchmark-") as name:
            folder = Path(name)
            (folder / "data" / config.data.train).mkdir(parents=True)
            measure = bare(config, chosen.accelerator)
            before = measure()
            recipe = Recipe(chosen.face_pack, "train", chosen.images, chosen.size)
            rendering = render(recipe, folder / "data" / config.data.train)
            between = measure()
            paths = find_shards(chosen.data or folder / "data", config.data.train)
            data = FaceShards(paths, config.network.au_codes)
            training = train(config, data, folder / "run", chosen.accelerator)
            after = measure()
    except (ConfigError, PackError, RasterError, ShardError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    head = "the toy head" if chosen.face_pack is None else chosen.face_pack.name
    print(
        f"{config.name}: {config.network.backbone} at {config.network.input_size} px, {config.optimiser.batch} a step, "
        f"{config.optimiser.precision}, {chosen.accelerator}, {chosen.threads} threads, "
        f"{config.data.workers} loader processes; {head} at {chosen.size} px\n"
    )
    print_speeds((before, between, after), rendering, training)
    return 0


if __name__ == "__main__":
    sys.exit(main())
