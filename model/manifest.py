"""The manifest of a checkpoint: everything needed to use its weights rightly, years later and without this code.

It lies beside the weights as `manifest.json`, readable and stable: fixed order of fields, two spaces of indentation,
Action Units by their code, unknown numbers as null. Fields keep their meaning within one `format_version`; a change of
meaning raises that number, and an older reader then refuses the file instead of misreading it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from model.values import Float32Array

FORMAT_VERSION: Literal[1] = 1
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
VERSION_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"
MAP_STRIDE = 4
UNFITTED_THRESHOLD = 0.5  # of an AU whose joint reading has none of its own


def _unknown_as_none(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


OptionalNumber = Annotated[float | None, BeforeValidator(_unknown_as_none)]
"""A measured number; NaN and infinities, which JSON cannot hold, become null."""

_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
_OPEN = ConfigDict(frozen=True, extra="allow")  # notes for people: unknown keys are kept, never acted on


class Architecture(BaseModel):
    """Arguments of `model.network_config.NetworkConfig`; number of AUs and input size follow from the manifest.

    Unknown keys are kept and handed to the network's configuration, which refuses what it does not know: an argument
    that is silently dropped would build another network.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    backbone: str = "hrnet_w18"
    variant: Literal["heatmap", "neg", "neg_gcn", "full"] = "full"
    phi_act: str = "relu"

    def arguments(self) -> dict[str, Any]:
        """All keyword arguments, unknown ones included."""
        return self.model_dump()


class CropRule(BaseModel):
    """How a face is cut out (METHOD 6.4): the box of five landmarks' points, its larger side times `scale`."""

    model_config = _STRICT

    method: Literal["landmarks5"] = "landmarks5"
    scale: float = Field(default=2.6, gt=0)


class RoiConfig(BaseModel):
    """Where an AU's two regions lie and how wide they are, in map pixels (METHOD 1 and 2)."""

    model_config = _STRICT

    rule: Literal["paper", "fgnet"] = "paper"
    sigma: float = Field(default=1.0, gt=0)
    half_width: int = Field(default=3, ge=0)
    overlap: Literal["max"] = "max"


class Normalisation(BaseModel):
    """Mean and standard deviation of RGB in 0 to 1: the network sees (rgb / 255 - mean) / std."""

    model_config = _STRICT

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @field_validator("std")
    @classmethod
    def _positive(cls, std: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(std) <= 0:
            raise ValueError("every standard deviation must be above 0")
        return std


class Calibration(BaseModel):
    """Platt scaling of one AU: probability = sigmoid(slope * score + intercept) (METHOD 2.4)."""

    model_config = _STRICT

    slope: float
    intercept: float


class Fusion(BaseModel):
    """Both readings of one AU: probability = sigmoid(score * score + landmarks * landmark logit + intercept)."""

    model_config = _STRICT

    score: float = Field(ge=0)
    landmarks: float = Field(ge=0)
    intercept: float


class MovementFusion(BaseModel):
    """Both readings of one AU and its movement from the person's own rest.

    probability = sigmoid(score * score + landmarks * landmark logit + movement * movement + intercept).
    """

    model_config = _STRICT

    score: float = Field(ge=0)
    landmarks: float = Field(ge=0)
    movement: float = Field(ge=0)
    intercept: float


class Training(BaseModel):
    """What the weights were trained on, and with which revision of the code."""

    model_config = _OPEN

    data: str
    synthetic_only: bool
    images: int | None = None
    steps: int | None = None
    revision: str | None = None
    date: str | None = None


class AuMetrics(BaseModel):
    """Measured quality of one AU; further measures are welcome as further keys."""

    model_config = _OPEN

    f1: OptionalNumber = None
    auc: OptionalNumber = None


class Metrics(BaseModel):
    """Measured quality with the protocol that gave it; without a protocol the numbers mean nothing."""

    model_config = _OPEN

    protocol: str
    per_au: dict[str, AuMetrics] = {}
    mean: dict[str, OptionalNumber] = {}


class OwnRest(BaseModel):
    """How the AUs that are measured are decided in a clip, where a person's rest is known (`model.brow_measures`).

    AUs that are missing are decided as on a single picture; thresholds are the same. `metrics` are those of all AUs.
    """

    model_config = _STRICT

    fusion: dict[str, MovementFusion]
    metrics: Metrics


class LandmarkOpinion(BaseModel):
    """How the reading of the landmarks (`model.landmark_reading`, its tensors lie beside the network's) joins in.

    `thresholds` act on the probability of both readings; an AU without one is active from 0.5 on. `metrics` are those
    of both readings together on single pictures, the manifest's own those of the network alone.
    """

    model_config = _STRICT

    fusion: dict[str, Fusion]
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    training: str
    metrics: Metrics
    own_rest: OwnRest | None = None


class Manifest(BaseModel):
    """The whole contract of a checkpoint.

    `thresholds` act on the calibrated probability; an AU without one is decided by the decoder's own rule (the
    paper's: the mean over either region is above 0). `calibration` may miss AUs too: their raw probability is
    (score + 1) / 2. `weights_sha256`, `weights_dtype` and `parameters` are filled in by `write_checkpoint`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = FORMAT_VERSION
    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(pattern=VERSION_PATTERN)
    summary: str = ""
    architecture: Architecture
    au_codes: tuple[str, ...] = Field(min_length=1)
    input_size: int = Field(gt=0, multiple_of=32)
    map_size: int = Field(gt=0)
    crop: CropRule = CropRule()
    roi: RoiConfig = RoiConfig()
    normalisation: Normalisation = Normalisation()
    decoder: Literal["mask", "peak", "mean", "max", "positives"] = "mask"
    combine: Literal["max", "mean"] = "max"
    calibration: dict[str, Calibration] = {}
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    landmark_opinion: LandmarkOpinion | None = None
    training: Training
    metrics: Metrics
    real_faces: str = ""
    licence: str
    weights_sha256: str = ""
    weights_dtype: str = ""
    parameters: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.au_codes)) != len(self.au_codes):
            raise ValueError(f"au_codes names an Action Unit twice: {', '.join(self.au_codes)}")
        for code in self.au_codes:
            if not re.fullmatch(r"AU[1-9]\d?", code):
                raise ValueError(f"au_codes: {code!r} is not a code like 'AU12'")
        if self.map_size * MAP_STRIDE != self.input_size:
            raise ValueError(f"map_size must be input_size / {MAP_STRIDE}, not {self.map_size} for {self.input_size}")
        for argument, value in (("num_aus", len(self.au_codes)), ("input_size", self.input_size)):
            if (said := self.architecture.arguments().get(argument, value)) != value:
                raise ValueError(f"architecture.{argument} is {said}, but the rest of the manifest says {value}")
        opinion = self.landmark_opinion
        for field, keys in (
            ("calibration", self.calibration),
            ("thresholds", self.thresholds),
            ("metrics.per_au", self.metrics.per_au),
            ("landmark_opinion.fusion", opinion.fusion if opinion else {}),
            ("landmark_opinion.own_rest.fusion", opinion.own_rest.fusion if opinion and opinion.own_rest else {}),
        ):
            if foreign := set(keys) - set(self.au_codes):
                raise ValueError(f"{field} names AUs that au_codes lacks: {', '.join(sorted(foreign))}")
        if opinion and (unread := set(self.au_codes) - set(opinion.fusion)):
            raise ValueError(f"landmark_opinion.fusion lacks {', '.join(sorted(unread))}")
        return self

    @property
    def ref(self) -> str:
        """`name:version`, as command line and service name a checkpoint."""
        return f"{self.name}:{self.version}"

    def platt(self) -> tuple[Float32Array, Float32Array]:
        """Slope and intercept, each (K,) float32 in the order of `au_codes`; NaN where an AU is not calibrated."""
        pairs = [self.calibration.get(code) for code in self.au_codes]
        slope = np.array([np.nan if pair is None else pair.slope for pair in pairs], np.float32)
        intercept = np.array([np.nan if pair is None else pair.intercept for pair in pairs], np.float32)
        return slope, intercept

    def threshold_array(self) -> Float32Array:
        """Threshold on the probability, (K,) float32 in the order of `au_codes`; NaN where the decoder decides."""
        return np.array([self.thresholds.get(code, np.nan) for code in self.au_codes], np.float32)

    def fusion_arrays(self) -> tuple[Float32Array, Float32Array, Float32Array, Float32Array]:
        """Weight of the score, of the landmark logit, intercept and threshold, each (K,) float32.

        Raises:
            ValueError: the checkpoint has no reading of landmarks.
        """
        opinion = self.landmark_opinion
        if opinion is None:
            raise ValueError(f"checkpoint {self.ref} has no reading of landmarks")
        rows = [opinion.fusion[code] for code in self.au_codes]
        score, landmarks, intercept = np.array([(r.score, r.landmarks, r.intercept) for r in rows], np.float32).T
        threshold = np.array([opinion.thresholds.get(code, UNFITTED_THRESHOLD) for code in self.au_codes], np.float32)
        return score, landmarks, intercept, threshold

    def movement_fusion(self) -> dict[int, MovementFusion]:
        """How AUs are decided against a person's own rest, by their place in `au_codes`; empty where none is."""
        opinion = self.landmark_opinion
        if opinion is None or opinion.own_rest is None:
            return {}
        return {self.au_codes.index(code): fusion for code, fusion in opinion.own_rest.fusion.items()}

    def network_arguments(self) -> dict[str, Any]:
        """Arguments of `NetworkConfig.from_dict`."""
        return self.architecture.arguments() | {"num_aus": len(self.au_codes), "input_size": self.input_size}

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        return self.model_dump_json(indent=2) + "\n"

    def with_weights(self, *, sha256: str, dtype: str, parameters: int) -> Manifest:
        """A copy that names the weights it belongs to."""
        update: Mapping[str, Any] = {"weights_sha256": sha256, "weights_dtype": dtype, "parameters": parameters}
        return self.model_copy(update=update)


def decision_thresholds(manifest: Mapping[str, Any], reading: str) -> dict[str, float]:
    """The thresholds that act on the stored probabilities, by Action Unit.

    Args:
        manifest: as JSON, which is how jobs and tables keep it.
        reading: "network", or "auto" or "both", with which the reading of the landmarks joins in where there is one.

    Returns:
        Of the reading that decides; an AU that is missing is decided by the decoder's own rule.

    Example:
        >>> decision_thresholds({"au_codes": ["AU1"], "thresholds": {"AU1": 0.3}}, "auto")
        {'AU1': 0.3}
    """
    opinion = manifest.get("landmark_opinion")
    if reading == "network" or not opinion:
        return dict(manifest.get("thresholds") or {})
    own = opinion.get("thresholds") or {}
    return {code: own.get(code, UNFITTED_THRESHOLD) for code in manifest["au_codes"]}
