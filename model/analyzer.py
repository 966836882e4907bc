"""From a picture to its faces and their Action Units: finder, crop, engine and decoder joined.

>>> with Analyzer.open() as analyzer:
...     for face, prediction in analyzer.analyze(rgb):
...         print(face.track, dict(zip(analyzer.au_codes, prediction.probability)))

The steps are public one by one, so that a video pipeline can run them in threads of its own and fill batches across
frames. Input size, ROI rule, decoder and calibration come from the checkpoint's manifest and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, Self

import numpy as np

from model.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from model.decode import Decoded, decode, probability, raw_probability
from model.engines.base import Engine, open_engine
from model.geometry import apply_affine, crop_to_map, extract_crop, map_to_crop
from model.registry import Registry
from model.roi import roi_centres
from model.values import AuPrediction, BoolArray, Crop, Face, Float32Array, UInt8Array

Reading = Literal["auto", "network", "both"]
"""Where probability and decision come from: the paper's network alone, or its score and the reading of the landmarks
together; "auto" is both where the checkpoint holds a reading of landmarks. The score is always the network's."""

_MAX_BATCH = 64


class Finder(Protocol):
    """What an analyzer asks of a face finder; `model.faces.finder.FaceFinder` is one."""

    def find(self, rgb: UInt8Array) -> list[Face]:
        """All faces of a picture (H, W, 3) uint8."""
        ...


class Analyzer:
    """A checkpoint's network with everything around it.

    Args:
        checkpoint: whose manifest says how crops are cut and maps are read.
        engine: runs that checkpoint's network.
        finder: finds faces and landmarks.
        reading: see `Reading`.

    Raises:
        ValueError: if the engine was opened for another network.
        CheckpointError: "both" is wanted of a checkpoint that reads no landmarks.
    """

    def __init__(self, checkpoint: Checkpoint, engine: Engine, finder: Finder, reading: Reading = "auto") -> None:
        manifest = checkpoint.manifest
        if (engine.au_codes, engine.input_size) != (manifest.au_codes, manifest.input_size):
            raise ValueError(f"the engine was not opened for checkpoint {checkpoint.ref}")
        self.checkpoint = checkpoint
        self.engine = engine
        self.finder = finder
        self._slope, self._intercept = manifest.platt()
        self._thresholds = manifest.threshold_array()
        self._landmarks = None if reading == "network" else checkpoint.landmark_reading()
        if reading == "both" and self._landmarks is None:
            raise CheckpointError(
                f"checkpoint {checkpoint.ref} holds no reading of landmarks; use reading auto or network"
            )

    @classmethod
    def open(
        cls,
        checkpoint_ref: str | None = None,
        engine: str = "auto",
        data_dir: str | os.PathLike[str] | None = None,
        *,
        device: str = "auto",
        threads: int | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        assets_dir: str | os.PathLike[str] | None = None,
        finder: Finder | None = None,
        reading: Reading = "auto",
    ) -> Self:
        """Opens a checkpoint, an engine for it and a face finder.

        Args:
            checkpoint_ref: NAME or NAME:VERSION in the registry, or the path of a checkpoint's folder; default: the
                active checkpoint.
            engine: "auto", "openvino" or "torch".
            data_dir: whose `checkpoints` are known beside the built-in ones.
            device: of the engine, see `open_engine`.
            threads: processor threads of engine and finder each.
            cache_dir: for converted networks; default: `cache` in the data folder, else the platform's cache folder.
            assets_dir: of the face nets; default: `model.faces.assets.default_assets_dir()`.
            finder: another finder than FaceFinder.
            reading: see `Reading`.

        Raises:
            CheckpointError, EngineError, AssetError: with what to do about it.
        """
        registry = Registry.open(data_dir)
        if checkpoint_ref is None:
            checkpoint = registry.active()
        elif os.sep in checkpoint_ref or checkpoint_ref.startswith("."):
            checkpoint = load_checkpoint(Path(checkpoint_ref).expanduser())
        else:
            checkpoint = registry.get(checkpoint_ref)
        if cache_dir is None and data_dir is not None:
            cache_dir = Path(data_dir) / "cache"
        if finder is None:
            from model.faces.finder import FaceFinder  # loads OpenVINO

            finder = FaceFinder(None if assets_dir is None else Path(assets_dir), threads=threads)
        opened = open_engine(checkpoint, engine, device, threads, cache_dir)
        return cls(checkpoint, opened, finder, reading)

    @property
    def au_codes(self) -> tuple[str, ...]:
        """The K Action Units, in the order of every prediction's arrays."""
        return self.checkpoint.manifest.au_codes

    @property
    def decides_by(self) -> Literal["network", "both"]:
        """What probability and decision come from, see `Reading`."""
        return "network" if self._landmarks is None else "both"

    def deciding_by(self, reading: Reading) -> Analyzer:
        """One with the same engine and finder that decides by another reading; this one if it does so already.

        Closing either frees the engine of both.

        Raises:
            CheckpointError: as the class.
        """
        if reading == self.decides_by:
            return self
        return Analyzer(self.checkpoint, self.engine, self.finder, reading)

    def faces(self, rgb: UInt8Array) -> list[Face]:
        """The faces of a picture (H, W, 3) uint8 RGB, largest first."""
        return self.finder.find(rgb)

    def crop(self, rgb: UInt8Array, face: Face) -> Crop:
        """A face's crop as this checkpoint wants it; parts outside the picture are filled with a neutral colour."""
        manifest = self.checkpoint.manifest
        return extract_crop(rgb, face.landmarks, manifest.input_size, manifest.crop.scale, face.depth)

    def predict(self, crops: Sequence[Crop]) -> list[AuPrediction]:
        """Predictions of any number of crops, from one picture or many, in their order.

        Raises:
            ValueError: a crop of another size than `crop` cuts.
        """
        predictions: list[AuPrediction] = []
        for start in range(0, len(crops), _MAX_BATCH):
            part = crops[start : start + _MAX_BATCH]
            predictions += self.read_maps(self.engine.run(np.stack([crop.pixels for crop in part])), part)
        return predictions

    def read_maps(self, maps: Float32Array, crops: Sequence[Crop]) -> list[AuPrediction]:
        """Predictions from ROI maps that the engine made of these crops.

        Args:
            maps: (B, K, H, W) float32.
            crops: the B crops; their landmarks place the ROIs.
        """
        if not crops:
            return []
        manifest = self.checkpoint.manifest
        landmarks = np.stack([crop.landmarks for crop in crops])
        centres = crop_to_map(roi_centres(landmarks, self.au_codes, manifest.roi.rule))
        found = decode(
            maps,
            centres,
            decoder=manifest.decoder,
            half_width=manifest.roi.half_width,
            sigma=manifest.roi.sigma,
            combine=manifest.combine,
        )
        chance, active = self._decide(found, landmarks)
        measures = self.measure(landmarks, [crop.depth for crop in crops])
        in_crops = map_to_crop(found.centres_map)
        return [
            AuPrediction(
                score=found.score[i],
                probability=chance[i].astype(np.float32),
                active=active[i],
                valid=found.valid[i],
                roi_amplitude=found.amplitude[i],
                roi_centres=apply_affine(crop.to_image, in_crops[i].reshape(-1, 2))
                .reshape(-1, 2, 2)
                .astype(np.float32),
                roi_maps=maps[i],
                measures=None if measures is None else measures[i],
            )
            for i, crop in enumerate(crops)
        ]

    def measure(self, landmarks: Float32Array, depths: Sequence[Float32Array | None]) -> Float32Array | None:
        """Heights of brows and openings of lids, to be held against a person's own rest later.

        Args:
            landmarks: (N, 68, 2) pixels of any picture.
            depths: N times (68,), see `Face`; None where it is unknown.

        Returns:
            (N, Q), NaN where the depth is unknown; None if this checkpoint has no use for them.
        """
        if self._landmarks is None or not self.checkpoint.manifest.movement_fusion():
            return None
        unknown = np.full(68, np.nan, np.float32)
        known = [unknown if depth is None else depth for depth in depths]
        return self._landmarks.measures(landmarks, np.reshape(known, (-1, 68)))

    def against_rest(
        self,
        rest: Float32Array,
        measures: Float32Array,
        landmarks: Float32Array,
        score: Float32Array,
        before: tuple[Float32Array, BoolArray],
    ) -> tuple[Float32Array, BoolArray]:
        """Decide anew on F faces of one person in a clip, once it is known how that person rests.

        Brows and lids that rest high or low no longer count as raised or lowered, and their movements do. AUs that are
        not measured stay as they were, and so does a face that was not measured.

        Args:
            rest: (Q,) of `model.own_rest.own_rest`.
            measures: (F, Q), see `AuPrediction`.
            landmarks: (F, 68, 2) pixels of any picture.
            score: (F, K).
            before: probability and decision as predicted, each (F, K).

        Returns:
            Probability and decision, each (F, K).
        """
        chance, decision = before[0].copy(), before[1].copy()
        fusions = self.checkpoint.manifest.movement_fusion()
        if self._landmarks is None or not fusions:
            return chance, decision
        threshold = self.checkpoint.manifest.fusion_arrays()[3]
        looks, moves = self._landmarks.logits(landmarks), self._landmarks.movement(measures, rest)
        measured = np.isfinite(measures).all(axis=1)
        for k, fusion in fusions.items():
            known = measured & np.isfinite(chance[:, k])
            others = fusion.landmarks * looks[known, k] + fusion.movement * moves[known, k] + fusion.intercept
            chance[known, k] = probability(score[known, k], fusion.score, others)
            decision[known, k] = chance[known, k] >= threshold[k]
        return chance, decision

    def _decide(self, found: Decoded, landmarks: Float32Array) -> tuple[Float32Array, BoolArray]:
        """Probability and decision, each (B, K), of scores and landmarks (B, 68, 2); NaN and False if not valid."""
        if self._landmarks is not None:
            weight, trust, intercept, threshold = self.checkpoint.manifest.fusion_arrays()
            chance = probability(found.score, weight, intercept + trust * self._landmarks.logits(landmarks))
            decision = chance >= threshold
        else:
            calibrated = probability(found.score, self._slope, self._intercept)
            chance = np.where(np.isnan(self._slope), raw_probability(found.score), calibrated)
            decision = np.where(np.isnan(self._thresholds), found.decision, chance >= self._thresholds)
        return chance, decision & found.valid

    def analyze(self, rgb: UInt8Array) -> list[tuple[Face, AuPrediction]]:
        """Every face of a picture with its prediction, largest first; empty if there is no face."""
        faces = self.faces(rgb)
        return list(zip(faces, self.predict([self.crop(rgb, face) for face in faces]), strict=True))

    def close(self) -> None:
        """Frees the engine; closing twice does no harm."""
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
