"""Fits the reading of landmarks (`model.landmark_reading`) and joins it with a network's score.

The landmarks are those that the landmark net sets on the training pictures, not the renderer's own: the convention
must be the one met in use. Each has the net's depth as its third coordinate. They are kept in
`landmarks-of-net-*.cache` beside a folder's shards: the net runs once.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit
from torch import nn

from model.landmark_reading import LandmarkReading, mirrored, seen_features, shape_features
from training.calibration import fit_platt
from training.data.shards import FaceShards
from training.landmark_movement import measuring
from training.metrics import best_threshold

CACHE_NAME = "landmarks-of-net-{:08x}.cache"  # no .npz, which a folder of shards is searched for
BORDER = 0.25
"""Width of the border put round each picture, in sides: a face that fills its picture needs room to be looked at."""
LOOKS = 2
LANDMARK_VOICE = 0.7
"""Share of the landmark reading in the joint log odds. Not fitted: on rendered faces, where pixels are at home, a fit
would trust the pixels more than real faces bear out. On the first set of real faces no AU's AUC on stills fell from 0.5
to 0.7, and brows and lids were followed better in the clips."""
LEAST_PRESENCE = 0.5
LEAST_THRESHOLD = 0.5
"""Of the joint probability. The threshold of the best F1 lies lower for many AUs on rendered faces, where AUs are
commoner than in life; on two sets of real faces 0.5 halved the false alarms (13 to 6) and cost 1 of 83 hits."""

Points = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FitOptions:
    """How the perceptrons are fitted.

    Attributes:
        members: how many are averaged.
        hidden: units of the hidden layer for each set of Action Units that see the same features.
        epochs: passes over the faces.
        batch: faces a step.
        lr: highest learning rate of AdamW, falling to 0 as a cosine.
        weight_decay: of AdamW.
        jitter: standard deviation of noise on each landmark, in inner-ocular distances.
        dropout: of hidden units.
        seed: of everything.
    """

    members: int = 5
    hidden: int = 96
    epochs: int = 40
    batch: int = 256
    lr: float = 2e-3
    weight_decay: float = 1e-3
    jitter: float = 0.012
    dropout: float = 0.1
    seed: int = 0


def net_landmarks(faces: FaceShards, advance: Callable[[int], None] = lambda _: None) -> Points:
    """The landmark net's points on each face, from where the shard's own landmarks say the face is.

    Args:
        faces: N faces.
        advance: told how many faces were done.

    Returns:
        (N, 68, 3) float32 pixels of the pictures and depth; NaN where the net sees no face.

    Raises:
        AssetError: the face nets are missing.
    """
    # A name for each part: those of a prepared folder lie together.
    cache = faces.shards[0].path.with_name(CACHE_NAME.format(zlib.crc32(faces.fingerprint.encode())))
    known = _read_cache(cache, faces)
    if known is not None:
        advance(len(faces))
        return known
    from model.faces.finder import FaceFinder  # loads OpenVINO

    finder = FaceFinder(threads=1)
    points = np.full((len(faces), 68, 3), np.nan, np.float32)
    for index in range(len(faces)):
        points[index] = _look(finder, *faces.face(index))
        advance(1)
    _write_cache(cache, faces, points)
    return points


def _look(finder: object, rgb: npt.NDArray[np.uint8], landmarks: Points) -> Points:
    from model.faces.finder import FaceFinder
    from model.values import Face

    assert isinstance(finder, FaceFinder)
    border = round(BORDER * rgb.shape[0])
    picture = np.pad(rgb, ((border, border), (border, border), (0, 0)), mode="edge")
    face: Face | None = Face(np.zeros(4, np.float32), 1.0, landmarks + border, 1.0)
    for _ in range(LOOKS):
        if face is not None:
            (face,) = finder.follow(picture, [face])
    if face is None or face.depth is None or face.presence < LEAST_PRESENCE:
        return np.full((68, 3), np.nan, np.float32)
    return np.concatenate([face.landmarks - border, face.depth[:, None]], axis=1).astype(np.float32)


def _read_cache(path: Path, faces: FaceShards) -> Points | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            points = np.asarray(archive["points"], np.float32)
            if str(archive["fingerprint"]) == faces.fingerprint and points.shape == (len(faces), 68, 3):
                return points
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return None


def _write_cache(path: Path, faces: FaceShards, points: Points) -> None:
    draft = path.with_suffix(".tmp")
    try:
        with draft.open("wb") as file:
            np.savez(file, allow_pickle=False, points=points, fingerprint=np.array(faces.fingerprint))
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)  # the next run looks again; nothing is lost


def fit_reading(
    points: Points,
    labels: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32],
    identities: npt.NDArray[np.integer],
    au_codes: Sequence[str],
    options: FitOptions | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> LandmarkReading:
    """Fit the perceptrons on the processor; the same faces and options give the same weights.

    Each Action Unit is read from the points that `model.landmark_reading.seen_features` allows it: hidden units serve
    the AUs of the upper face or the others, never both.

    Args:
        points: (N, 68, 3) landmarks and depths of the landmark net; rows with NaN are left out.
        labels: (N, K) in {0, 1}.
        weights: (N, K); 0 where the label says nothing.
        identities: (N,), equal for faces of one person.
        au_codes: the K Action Units.
        options: `FitOptions()` by default.
        advance: told of each finished epoch of each member.

    Raises:
        ValueError: fewer faces than one batch.
    """
    chosen = options or FitOptions()
    kept = np.isfinite(points).all(axis=(1, 2))
    points, labels, weights, identities = points[kept], labels[kept], weights[kept], identities[kept]
    if len(points) < chosen.batch:
        raise ValueError(f"{len(points)} faces with landmarks are fewer than one batch of {chosen.batch}")
    flat = points[..., :2]
    plain = shape_features(flat)
    mean, deviation = plain.mean(axis=0), plain.std(axis=0) + 1e-6
    wiring = _wiring(seen_features(au_codes), chosen.hidden)
    members = [
        _fit_member(flat, labels, weights, mean, deviation, wiring, chosen, chosen.seed + m, advance)
        for m in range(chosen.members)
    ]
    hidden, hidden_bias, out, out_bias = (np.stack(a).astype(np.float32) for a in zip(*members, strict=True))
    reference, measure_weight = measuring(points, identities, au_codes)
    return LandmarkReading(mean, deviation, hidden, hidden_bias, out, out_bias, reference, measure_weight)


def _wiring(seen: npt.NDArray[np.bool_], hidden: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which weights there are: (H, F) of the hidden layer and (K, H) of the last, 1 or 0."""
    kinds, kind_of_au = np.unique(seen, axis=0, return_inverse=True)
    kind_of_unit = np.repeat(np.arange(len(kinds)), hidden)
    first, last = kinds[kind_of_unit], kind_of_au.reshape(-1, 1) == kind_of_unit
    return torch.from_numpy(first.astype(np.float32)), torch.from_numpy(last.astype(np.float32))


class _Perceptron(nn.Module):
    """One hidden layer whose units see only what they are wired to."""

    def __init__(self, wiring: tuple[torch.Tensor, torch.Tensor], dropout: float) -> None:
        super().__init__()
        self.first_wiring, self.last_wiring = wiring
        self.first = nn.Linear(self.first_wiring.shape[1], self.first_wiring.shape[0])
        self.last = nn.Linear(self.last_wiring.shape[1], self.last_wiring.shape[0])
        self.dropout = dropout

    def wired(self) -> list[torch.Tensor]:
        """Weights and biases of both layers."""
        first, last = self.first.weight * self.first_wiring, self.last.weight * self.last_wiring
        return [first, self.first.bias, last, self.last.bias]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        first, first_bias, last, last_bias = self.wired()
        hidden = nn.functional.relu(nn.functional.linear(features, first, first_bias))
        return nn.functional.linear(nn.functional.dropout(hidden, self.dropout, self.training), last, last_bias)


def _fit_member(
    points: Points,
    labels: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32],
    mean: npt.NDArray[np.float32],
    deviation: npt.NDArray[np.float32],
    wiring: tuple[torch.Tensor, torch.Tensor],
    options: FitOptions,
    seed: int,
    advance: Callable[[int], None],
) -> list[npt.NDArray[np.float32]]:
    rng, count = np.random.default_rng(seed), len(points)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _Perceptron(wiring, options.dropout)
        steps = count // options.batch
        optimiser = torch.optim.AdamW(net.parameters(), options.lr, weight_decay=options.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.epochs * steps)
        truth, matters = torch.from_numpy(labels), torch.from_numpy(weights)
        for _ in range(options.epochs):
            seen = torch.from_numpy((shape_features(_jittered(points, rng, options.jitter)) - mean) / deviation)
            for rows in rng.permutation(count)[: steps * options.batch].reshape(steps, options.batch):
                loss = nn.functional.binary_cross_entropy_with_logits(net(seen[rows]), truth[rows], matters[rows])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch's stub
                optimiser.step()
                schedule.step()
            advance(1)
    return [tensor.detach().numpy() for tensor in net.wired()]


def _jittered(points: Points, rng: np.random.Generator, jitter: float) -> npt.NDArray[np.float64]:
    """Half of the faces mirrored, each landmark displaced at random."""
    turned = rng.random(len(points)) < 0.5
    mixed = np.where(turned[:, None, None], mirrored(points), points)
    scale = np.linalg.norm(mixed[:, 39] - mixed[:, 42], axis=1)[:, None, None]
    return np.asarray(mixed + rng.normal(0, 1, mixed.shape) * jitter * scale)


@dataclass(frozen=True)
class Joint:
    """Both readings of every AU: probability = sigmoid(score * s + landmarks * z + intercept).

    Attributes:
        score: (K,) weight of the network's score s.
        landmarks: (K,) weight of the landmark logit z.
        intercept: (K,).
        threshold: (K,) on the probability.
    """

    score: npt.NDArray[np.float64]
    landmarks: npt.NDArray[np.float64]
    intercept: npt.NDArray[np.float64]
    threshold: npt.NDArray[np.float64]

    def probability(self, score: npt.NDArray[np.floating], logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """(N, K) of scores and landmark logits (N, K)."""
        return np.asarray(expit(self.score * score + self.landmarks * logits + self.intercept))


def fit_joint(
    score: npt.NDArray[np.floating],
    logits: npt.NDArray[np.floating],
    labels: npt.NDArray[np.floating],
    weights: npt.NDArray[np.floating],
    voice: float = LANDMARK_VOICE,
) -> Joint:
    """Join both readings and calibrate the result, per AU, on held-out faces.

    Each reading is first brought to calibrated log odds; their weighted mean is calibrated again.

    Args:
        score: (N, K) of the network.
        logits: (N, K) of the landmarks.
        labels: (N, K) in {0, 1}.
        weights: (N, K); 0 leaves a face out of that AU.
        voice: of the landmarks, 0 to 1; the network has the rest.

    Raises:
        ValueError: an AU has too few faces of either kind.
    """
    rows = []
    for k in range(score.shape[1]):
        kept = (weights[:, k] > 0) & np.isfinite(score[:, k]) & np.isfinite(logits[:, k])
        truth, s, z = labels[kept, k] > 0.5, score[kept, k].astype(np.float64), logits[kept, k].astype(np.float64)
        by_score, by_landmarks = fit_platt(s, truth), fit_platt(z, truth)
        if not np.isfinite([*by_score, *by_landmarks]).all():
            raise ValueError(f"channel {k} has too few held-out faces of either kind to join two readings")
        a, b = (1 - voice) * by_score[0], voice * by_landmarks[0]
        mixed = a * s + b * z
        slope, intercept = fit_platt(mixed, truth)
        threshold = max(expit(slope * best_threshold(truth, mixed) + intercept), LEAST_THRESHOLD)
        rows.append((a * slope, b * slope, intercept, threshold))
    return Joint(*np.array(rows).T)
