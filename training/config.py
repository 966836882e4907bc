"""Configuration of a run: a TOML file checked by types, so that a misspelt key stops the run before it starts.

The files in `training/configs` are the recipes by name; any path to another file serves as well.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from model.action_units import resolve

Fraction = Annotated[float, Field(ge=0, le=1)]


class ConfigError(Exception):
    """A configuration that cannot be used; the message names the file, the key and what is wanted."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkSection(_Section):
    """What is trained; the arguments of `model.network.NetworkConfig`.

    Attributes:
        backbone: a name of `model.hrnet.BACKBONES`.
        variant: a row of the paper's Table 3.
        phi_act: activation of the eigenvector branch (METHOD 4.2).
        input_size: side of the crop in pixels; the maps have a quarter of it.
        aus: a set of `model.action_units.AU_SETS` or a list of codes.
        backbone_weights: file of pre-trained backbone weights; none trains from scratch.
    """

    backbone: str = "hrnet_w18"
    variant: Literal["heatmap", "neg", "neg_gcn", "full"] = "full"
    phi_act: Literal["relu", "softplus"] = "relu"
    input_size: int = Field(default=256, ge=32, multiple_of=32)
    aus: str | tuple[str, ...] = "faces15"
    backbone_weights: Path | None = None

    @property
    def au_codes(self) -> tuple[str, ...]:
        """The Action Units in channel order."""
        return resolve(self.aus)

    @field_validator("aus")
    @classmethod
    def _known(cls, aus: str | tuple[str, ...]) -> str | tuple[str, ...]:
        resolve(aus)
        return aus


class TargetSection(_Section):
    """ROI maps and losses (METHOD 2.1 and 5).

    Attributes:
        rule: table of ROI centres.
        sigma: width of the Gaussians in map pixels.
        half_width: half side of the windows in map pixels; 3 is the paper's 7 x 7 on 64 x 64 maps.
        alpha1: weight of the label loss.
        balance: "none" as the paper; "au" weighs each AU by its inverse occurrence (Table 4); "sign" lets positives
            and negatives of an AU weigh the same, so that the threshold 0 stands between them whatever their rate.
    """

    rule: Literal["paper", "fgnet"] = "paper"
    sigma: float = Field(default=1.0, gt=0)
    half_width: int = Field(default=3, ge=0)
    alpha1: float = Field(default=1e-3, ge=0)
    balance: Literal["none", "au", "sign"] = "none"


class AugmentSection(_Section):
    """Chance in the training samples.

    Attributes:
        rotation_degrees: uniform in plus and minus this.
        zoom: standard range of the scale factor, uniform in its logarithm: [smallest, largest].
        shift: standard deviation of the crop's position as a part of its side.
        flip: probability of mirroring.
        photo: multiplies the probabilities of the photometric effects; 0 switches them off.
        point_noise: standard deviation of each landmark, in inner-ocular distances, for the ROI centres only.
        brow_shift: brow landmarks move up or down together by up to this many inner-ocular distances.
        centre_shift: standard deviation of all landmarks together, in inner-ocular distances.
    """

    rotation_degrees: float = Field(default=30.0, ge=0, le=180)
    zoom: tuple[float, float] = (1.0, 1.0)
    shift: float = Field(default=0.0, ge=0, le=0.5)
    flip: Fraction = 0.5
    photo: Fraction = 0.0
    point_noise: float = Field(default=0.0, ge=0)
    brow_shift: float = Field(default=0.0, ge=0)
    centre_shift: float = Field(default=0.0, ge=0)


class DataSection(_Section):
    """Which parts of the data folder are used.

    Attributes:
        train: part that is trained on.
        calibration: part with other people, for calibration and thresholds.
        test: part that is scored and never trained on.
        workers: loader processes.
    """

    train: str = "train"
    calibration: str = "calibration"
    test: str = "test"
    workers: int = Field(default=1, ge=0, le=64)


class OptimiserSection(_Section):
    """Optimisation (METHOD 5).

    Attributes:
        name: "adam" has the coupled decay of the paper's time, "adamw" the decoupled one.
        lr: the highest learning rate.
        weight_decay: see `name`.
        schedule: "step" divides by ten at the end of each plateau, "cosine" goes to 0.
        plateaus: equal parts of the run that "step" makes; two of a run of twenty epochs are the paper's ten each.
        warmup: part of the run in which the rate rises from 0.
        batch: samples a step.
        steps: length of the run.
        epochs: the length in passes over the training faces, in place of `steps` (`TrainConfig.for_faces`).
        loss_scale: multiplies the loss; gradients of the mean over maps are tiny, and epsilon is not scaled.
        clip: greatest norm of the gradient; 0 leaves it.
        ema: decay of the averaged weights that are evaluated and published; 0 switches averaging off.
        precision: of Lightning Fabric: "32-true", "bf16-mixed", "16-mixed".
    """

    name: Literal["adam", "adamw"] = "adam"
    lr: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=5e-4, ge=0)
    schedule: Literal["step", "cosine", "constant"] = "step"
    plateaus: int = Field(default=3, ge=1, le=10)
    warmup: Fraction = 0.0
    batch: int = Field(default=32, ge=2)
    steps: int = Field(default=90_000, ge=1)
    epochs: float | None = Field(default=None, gt=0)
    loss_scale: float = Field(default=1.0, gt=0)
    clip: float = Field(default=0.0, ge=0)
    ema: Fraction = 0.0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"


class LogSection(_Section):
    """How often things are written, in steps.

    Attributes:
        every: a row of losses to `metrics.csv` and TensorBoard.
        save_every: the state from which a killed run resumes.
        evaluate_every: scores on the test part and a picture of predictions.
        evaluate_faces: how many faces of the test part; all are scored at the end.
    """

    every: int = Field(default=50, ge=1)
    save_every: int = Field(default=250, ge=1)
    evaluate_every: int = Field(default=1000, ge=1)
    evaluate_faces: int = Field(default=400, ge=1)


class TrainConfig(_Section):
    """One run, whole."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    summary: str = ""
    seed: int = Field(default=0, ge=0)
    network: NetworkSection = NetworkSection()
    target: TargetSection = TargetSection()
    augment: AugmentSection = AugmentSection()
    data: DataSection = DataSection()
    optimiser: OptimiserSection = OptimiserSection()
    log: LogSection = LogSection()

    @property
    def map_size(self) -> int:
        """Side of the ROI maps in pixels."""
        return self.network.input_size // 4

    def for_faces(self, count: int) -> TrainConfig:
        """The run on `count` training faces: where the length is given in epochs, the steps that come to it."""
        if self.optimiser.epochs is None:
            return self
        steps = max(1, round(self.optimiser.epochs * count / self.optimiser.batch))
        return self.model_copy(update={"optimiser": self.optimiser.model_copy(update={"steps": steps})})


def available_configs() -> list[str]:
    """Names of the recipes that come with the package."""
    files = resources.files("training") / "configs"
    return sorted(entry.name.removesuffix(".toml") for entry in files.iterdir() if entry.name.endswith(".toml"))


def load_config(name_or_path: str, **overrides: Any) -> TrainConfig:
    """Read a recipe by name, or a TOML file by path.

    Args:
        name_or_path: a name of `available_configs` or a path ending in `.toml`.
        **overrides: values put in place of the file's, keyed "section__key" ("optimiser__steps"); None is skipped.
            Steps given here go before the file's epochs.

    Raises:
        ConfigError: unknown name, broken TOML, unknown key or value out of range.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        if not path.is_file():
            raise ConfigError(f"{path}: no such file")
        text = path.read_text(encoding="utf-8")
    elif name_or_path in available_configs():
        text = (resources.files("training") / "configs" / f"{name_or_path}.toml").read_text(encoding="utf-8")
    else:
        raise ConfigError(
            f"no configuration named {name_or_path!r}; there are {', '.join(available_configs())}, "
            "and any path ending in .toml"
        )
    try:
        values = tomllib.loads(text)
        if overrides.get("optimiser__steps") is not None:
            values.get("optimiser", {}).pop("epochs", None)
        for key, value in overrides.items():
            if value is not None:
                *sections, last = key.split("__")
                target = values
                for section in sections:
                    target = target.setdefault(section, {})
                target[last] = value
        return TrainConfig.model_validate(values)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name_or_path}: not TOML: {error}") from error
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False)]
        raise ConfigError(f"{name_or_path}: cannot be used:\n" + "\n".join(lines)) from error
