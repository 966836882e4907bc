"""The training loop.

Lightning Fabric and not its Trainer: Fabric gives devices, precision and several processes, while the loop itself stays
this one readable file that owns the order of the data and the averaged weights, so that a run resumes at any step.

    roigcn train --data shards --config scratch_small --out runs/small            # start, or resume where it stopped
    tensorboard --logdir runs/small

A run's folder holds `config.json`, `metrics.csv`, TensorBoard events, `predictions-<step>.jpg`, `state.ckpt` (the last
state) and `state-previous.ckpt` (the one before).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.utils.data import DataLoader

from model.losses import RoiGcnLoss
from model.network import NetworkConfig, RoiGcn
from training.config import OptimiserSection, TrainConfig
from training.data.samples import Batch, RunOrder, TrainingSamples, collate
from training.data.shards import FaceShards
from training.logs import RunLog
from training.state import STATE, STATE_VERSION, StartingPoint, TrainingError, carry_weights, load_state, save_state


@dataclass(frozen=True)
class Progress:
    """What a caller sees of a running loop, every `log.every` steps.

    Attributes:
        step: steps done.
        steps: steps of the whole run.
        loss_maps: mean Loss0 since the last report.
        loss_labels: mean Loss1 since the last report; 0 for variants without it.
        lr: learning rate.
        images_per_second: since the last report.
    """

    step: int
    steps: int
    loss_maps: float
    loss_labels: float
    lr: float
    images_per_second: float


def build_network(config: TrainConfig, pretrained: bool = True) -> RoiGcn:
    """The untrained network of a configuration, with pre-trained backbone weights where it names some.

    Args:
        config: the run.
        pretrained: False leaves the named weights out, for a network whose weights are all replaced afterwards.

    Raises:
        WeightsError: the named weights cannot be used.
    """
    network = RoiGcn(
        NetworkConfig(
            backbone=config.network.backbone,
            num_aus=len(config.network.au_codes),
            input_size=config.network.input_size,
            phi_act=config.network.phi_act,
            variant=config.network.variant,
        )
    )
    if pretrained and config.network.backbone_weights is not None:
        from model.weights import load_backbone

        load_backbone(network, config.network.backbone_weights)
    return network


def learning_rate(config: OptimiserSection, step: int) -> float:
    """The rate of a step, counted from 0."""
    part = step / config.steps
    if part < config.warmup:
        return config.lr * (step + 1) / (config.warmup * config.steps)
    if config.schedule == "step":
        return config.lr * 0.1 ** min(config.plateaus - 1, int(config.plateaus * part))
    if config.schedule == "cosine":
        return config.lr * max(0.5 * (1 + math.cos(math.pi * (part - config.warmup) / (1 - config.warmup))), 1e-3)
    return config.lr


class WeightAverage:
    """Exponential moving average of a network's state, faster at first so that the random start is forgotten."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {key: value.detach().clone() for key, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after `step` steps (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged, current = [], []
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                averaged.append(self.state[key])
                current.append(value)
            else:
                self.state[key].copy_(value)
        torch._foreach_lerp_(averaged, current, 1 - decay)


class Run:
    """A training run in a folder: built, resumed if it had begun, stepped to its end.

    Args:
        config: the recipe.
        faces: training faces.
        folder: where everything is written.
        start_from: weights to begin with (fine-tuning); a state in the folder goes before them.
        accelerator: of Fabric, "auto", "cpu", "cuda".
        devices: number of devices, or "auto".

    Raises:
        TrainingError: the folder holds a run of another configuration, or of other data; or there is no such device.
    """

    def __init__(
        self,
        config: TrainConfig,
        faces: FaceShards,
        folder: Path,
        start_from: StartingPoint | None = None,
        accelerator: str = "auto",
        devices: int | str = "auto",
    ) -> None:
        self.config, self.faces, self.folder = config, faces, folder
        strategy = "auto" if devices in (1, "auto") else "ddp"
        try:
            self.fabric = Fabric(
                accelerator=accelerator, devices=devices, strategy=strategy, precision=config.optimiser.precision
            )
        except (ValueError, RuntimeError, MisconfigurationException) as error:
            where = f"{devices} devices of {accelerator!r} in {config.optimiser.precision}"
            raise TrainingError(f"cannot train on {where}: {error}") from error
        self.fabric.launch()
        torch.manual_seed(config.seed)
        folder.mkdir(parents=True, exist_ok=True)
        network = build_network(config)
        if start_from is not None:
            carry_weights(network, start_from.weights)
        self.history = start_from.history if start_from else ()
        # On its device before the optimiser and the averaged weights are made or restored: they must lie there too.
        self.network = network.to(  # type: ignore[call-overload]  # torch's stub
            device=self.fabric.device, memory_format=torch.channels_last
        )
        self.step = 0
        kind = torch.optim.AdamW if config.optimiser.name == "adamw" else torch.optim.Adam
        # Gradients of a mean over whole maps are tiny: epsilon must stay far below them.
        self.optimiser = kind(
            self.network.parameters(), lr=config.optimiser.lr, weight_decay=config.optimiser.weight_decay, eps=1e-10
        )
        self.average = WeightAverage(self.network, config.optimiser.ema) if config.optimiser.ema else None
        self._resume()
        if self.fabric.is_global_zero:
            (folder / "config.json").write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        self.wrapped, self.wrapped_optimiser = self.fabric.setup(self.network, self.optimiser)
        self.loss = RoiGcnLoss(alpha1=config.target.alpha1)

    @property
    def evaluated_state(self) -> dict[str, torch.Tensor]:
        """The weights to score and publish: averaged where averaging is on."""
        return self.average.state if self.average else self.network.state_dict()

    def _resume(self) -> None:
        state = load_state(self.folder)
        if state is None:
            return
        stored = run_identity(TrainConfig.model_validate_json(state["config"]))  # keys added since get their defaults
        pairs = (("config", stored, run_identity(self.config)), ("data", state["data"], self.faces.fingerprint))
        for what, theirs, mine in pairs:
            if theirs != mine:
                raise TrainingError(
                    f"{self.folder}: holds a run with another {what}; choose another folder, or go on from its "
                    "weights with --start-from"
                )
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average and state["average"] is not None:
            for key, value in state["average"].items():
                self.average.state[key].copy_(value)
        self.fabric.strategy.precision.load_state_dict(state.get("precision", {}))
        self.history = tuple(state["history"])
        self.step = int(state["step"])

    def save(self) -> None:
        """Write the state from which a killed run goes on."""
        if self.fabric.is_global_zero:
            save_state(
                self.folder / STATE,
                {
                    "version": STATE_VERSION,
                    "config": run_identity(self.config),
                    "data": self.faces.fingerprint,
                    "history": list(self.history),
                    "step": self.step,
                    "network": self.network.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                    "average": self.average.state if self.average else None,
                    "precision": self.fabric.strategy.precision.state_dict(),  # the loss scale of "16-mixed"
                },
            )

    def _batches(self) -> Iterator[Batch]:
        config = self.config
        order = RunOrder(
            len(self.faces),
            config.optimiser.batch,
            self.step,
            config.optimiser.steps,
            config.seed,
            self.fabric.global_rank,
            self.fabric.world_size,
        )
        workers = config.data.workers
        loader = DataLoader(
            TrainingSamples(self.faces, config),
            batch_sampler=order,
            collate_fn=collate,
            num_workers=workers,
            prefetch_factor=6 if workers else None,
            multiprocessing_context="spawn" if workers else None,  # a fork of running thread pools can hang
            worker_init_fn=_one_thread,
        )
        for batch in loader:
            yield batch.to(self.fabric.device)

    def train_step(self, batch: Batch) -> tuple[float, float, float]:
        """One step: forward, loss, backward, update; returns Loss0, Loss1 (0 without it) and the learning rate."""
        options = self.config.optimiser
        lr = learning_rate(options, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.wrapped.train()
        output = self.wrapped(batch.pictures)
        terms = self.loss(output, batch.targets, batch.labels, batch.weights)
        self.wrapped_optimiser.zero_grad()
        self.fabric.backward(terms.total * options.loss_scale)
        if options.clip:
            # Fabric's own: half precision's gradients must be unscaled before they are measured.
            self.fabric.clip_gradients(
                self.wrapped, self.wrapped_optimiser, max_norm=options.clip, error_if_nonfinite=False
            )
        self.wrapped_optimiser.step()
        self.step += 1
        if self.average:
            self.average.update(self.network, self.step)
        return float(terms.roi.detach()), float(terms.supervision.detach()), lr

    def train(
        self,
        report: Callable[[Progress], None] = lambda _: None,
        evaluate: Callable[[Run], dict[str, float]] | None = None,
    ) -> None:
        """Go from the present step to the last.

        Args:
            report: called every `log.every` steps.
            evaluate: called every `log.evaluate_every` steps and at the end; its numbers go into the logs.

        Raises:
            TrainingError: the loss is no longer finite, or a state cannot be written.
        """
        log = self.config.log
        steps = self.config.optimiser.steps
        maps, labels, began = [], [], time.perf_counter()
        with RunLog(self.folder, self.fabric.is_global_zero) as records:
            for batch in self._batches():
                loss_maps, loss_labels, lr = self.train_step(batch)
                maps.append(loss_maps)
                labels.append(loss_labels)
                if not math.isfinite(maps[-1]):
                    raise TrainingError(
                        f"the loss is {maps[-1]} at step {self.step}; lower the learning rate (optimiser.lr). "
                        f"The last good state is in {self.folder}"
                    )
                if self.step % log.every == 0 or self.step == steps:
                    seconds = time.perf_counter() - began
                    speed = len(maps) * self.config.optimiser.batch / seconds
                    progress = Progress(self.step, steps, float(np.mean(maps)), float(np.mean(labels)), lr, speed)
                    records.write(self.step, {key: v for key, v in asdict(progress).items() if key != "steps"})
                    report(progress)
                    maps, labels, began = [], [], time.perf_counter()
                if self.step % log.save_every == 0 or self.step == steps:
                    self.save()
                if evaluate and (self.step % log.evaluate_every == 0 or self.step == steps):
                    if self.fabric.is_global_zero:
                        records.write(self.step, evaluate(self))
                    self.fabric.barrier()
                    began = time.perf_counter()


def run_identity(config: TrainConfig) -> str:
    """What must not change between start and resume: where pre-trained weights lie may, their file's name may not."""
    weights = config.network.backbone_weights
    if weights is not None:
        network = config.network.model_copy(update={"backbone_weights": Path(weights.name)})
        config = config.model_copy(update={"network": network})
    return config.model_dump_json(exclude={"log", "summary", "data"})


def _one_thread(_worker: int) -> None:
    import cv2  # in the worker process alone

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
