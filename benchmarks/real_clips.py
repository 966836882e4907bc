"""How Action Units rise and fall with MediaPipe's blendshapes over the frames of clips; used by `real_faces.py`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.stats import ConstantInputWarning, spearmanr

from blendshapes import GOOD, NAMES, Blendshapes, movement
from model.faces.finder import FaceFinder
from model.faces.tracker import FaceTracker
from model.own_rest import own_rest, without_blinks
from model.values import AuPrediction, BoolArray, Crop, Face, Float32Array
from real_readers import Reader
from worker.video import VideoReader

CLIPS = {".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi"}
MOVES = 0.05
"""A blendshape (0 to 1) counts as moving in a track when its 5th and 95th percentile lie at least this far apart."""
PASS = 0.6
MIN_FRAMES = 20
"""Shorter tracks say nothing of a rank correlation and are left out, by name."""
BATCH = 16


@dataclass(frozen=True)
class Agreement:
    """One AU of one track.

    Attributes:
        au: its number.
        blendshape: what it is compared with.
        moved: between the 5th and 95th percentile of the blendshape.
        trembles: standard deviation of the blendshape's noise, from the differences between neighbouring frames.
        score: per checkpoint, Spearman's correlation of our score with the blendshape; NaN where undefined, the
            checkpoint lacks the AU, or all is constant.
        probability: the same of our probability.
        active: per checkpoint, in which share of the frames the AU was decided to occur; NaN if it lacks the AU.
    """

    au: int
    blendshape: str
    moved: float
    trembles: float
    score: dict[str, float]
    probability: dict[str, float]
    active: dict[str, float]

    @property
    def moving(self) -> bool:
        """Whether the blendshape moves enough to be followed."""
        return self.moved >= MOVES

    def passed(self, label: str) -> bool:
        """Whether a checkpoint follows a moving blendshape well enough; an undefined correlation is a failure."""
        return self.score[label] >= PASS


@dataclass
class TrackTrace:
    """One face through a clip, over its used frames (F).

    Attributes:
        clip: file name.
        track: the number that the tracker gave the face.
        pts_ms: F times.
        blendshapes: F rows of 52.
        predictions: per checkpoint, F predictions without their maps.
        faces: by time, the face in every frame that shows it, used or not.
        scores: per checkpoint, (F, K) of its AUs, see `Reader.value`; filled by `settle`.
        probabilities: the same; of AUs that are measured against the person's own rest, as a worker stores them.
        decisions: (F, K), as a worker stores them.
        agreements: filled by `compare`.
    """

    clip: str
    track: int
    pts_ms: list[float] = field(default_factory=list)
    blendshapes: list[Float32Array] = field(default_factory=list)
    predictions: dict[str, list[AuPrediction]] = field(default_factory=dict)
    faces: dict[float, Face] = field(default_factory=dict)
    scores: dict[str, Float32Array] = field(default_factory=dict)
    probabilities: dict[str, Float32Array] = field(default_factory=dict)
    decisions: dict[str, BoolArray] = field(default_factory=dict)
    agreements: list[Agreement] = field(default_factory=list)


@dataclass
class ClipTrace:
    """One clip.

    Attributes:
        file: its name.
        frames: how many it holds.
        used: how many were looked at.
        tracks: its faces, longest first; those below `MIN_FRAMES` have no agreements.
        problem: why there is nothing, or "".
    """

    file: str
    frames: int = 0
    used: int = 0
    tracks: list[TrackTrace] = field(default_factory=list)
    problem: str = ""


def find_clips(folder: Path) -> list[Path]:
    """The clips of a folder by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in CLIPS)


def trace_clip(
    path: Path, readers: Sequence[Reader], finder: FaceFinder, blendshapes: Blendshapes, max_frames: int
) -> ClipTrace:
    """Faces, Action Units and blendshapes of a clip: every frame is tracked as a worker does, some are read.

    Raises:
        VideoError: the clip cannot be read.
    """
    trace, tracks = ClipTrace(path.name), {}
    tracker = FaceTracker(finder)
    pending: list[tuple[TrackTrace, list[Crop]]] = []
    with VideoReader(path) as video:
        step = max(1, math.ceil((video.info.frames or 0) / max_frames))
        for frame in video.frames():
            trace.frames += 1
            faces = tracker.update(frame)
            for face in faces:
                tracks.setdefault(face.track, TrackTrace(path.name, face.track)).faces[frame.pts_ms] = face
            if frame.index % step:
                continue
            trace.used += 1
            found = blendshapes.run(finder.meshes(frame.rgb, faces))
            for face, row in zip(faces, found, strict=True):
                track = tracks[face.track]
                track.pts_ms.append(frame.pts_ms)
                track.blendshapes.append(row)
                pending.append((track, [reader.analyzer.crop(frame.rgb, face) for reader in readers]))
            if len(pending) >= BATCH:
                _read(pending, readers)
    _read(pending, readers)
    trace.tracks = sorted((track for track in tracks.values() if track.pts_ms), key=lambda track: -len(track.pts_ms))
    for track in trace.tracks:
        settle(track, readers)
        if len(track.pts_ms) >= MIN_FRAMES:
            track.agreements = compare(track, readers)
    return trace


def _read(pending: list[tuple[TrackTrace, list[Crop]]], readers: Sequence[Reader]) -> None:
    """Run the networks on what has gathered, and forget it."""
    for k, reader in enumerate(readers):
        for (track, _), prediction in zip(
            pending, reader.analyzer.predict([crops[k] for _, crops in pending]), strict=True
        ):
            small = replace(prediction, roi_maps=np.zeros(0, np.float32))
            track.predictions.setdefault(reader.label, []).append(small)
    pending.clear()


def settle(track: TrackTrace, readers: Sequence[Reader]) -> None:
    """Hold what was read against the person's own rest, now that the whole clip is known."""
    for reader in readers:
        found = track.predictions[reader.label]
        score, probability, active = (
            np.stack([getattr(p, name) for p in found]) for name in ("score", "probability", "active")
        )
        times, faces = list(track.faces), list(track.faces.values())
        measures = reader.analyzer.measure(np.stack([f.landmarks for f in faces]), [f.depth for f in faces])
        rest = None if measures is None else own_rest(times, measures)
        if measures is not None and rest is not None:
            used = [times.index(ms) for ms in track.pts_ms]
            probability, active = reader.analyzer.against_rest(
                rest,
                without_blinks(times, measures, rest)[used],
                np.stack([faces[i].landmarks for i in used]),
                score,
                (probability, active),
            )
        track.scores[reader.label] = probability if reader.joint else score
        track.probabilities[reader.label] = probability
        track.decisions[reader.label] = active


def compare(track: TrackTrace, readers: Sequence[Reader]) -> list[Agreement]:
    """The correlations of one track, an AU each."""
    found = np.stack(track.blendshapes)
    agreements = []
    for au, name in GOOD.items():
        moves = movement(found, name)
        low, high = np.percentile(moves, [5, 95])
        score, probability, active = {}, {}, {}
        for reader in readers:
            k = reader.column(au)
            score[reader.label] = correlation(track.scores[reader.label], k, moves)
            probability[reader.label] = correlation(track.probabilities[reader.label], k, moves)
            active[reader.label] = float("nan") if k is None else float(track.decisions[reader.label][:, k].mean())
        agreements.append(Agreement(au, name, float(high - low), tremble(moves), score, probability, active))
    return agreements


def tremble(moves: Float32Array) -> float:
    """Noise of (F,) values: that of most differences between neighbours, so that true movements hardly count."""
    return float(np.median(np.abs(np.diff(moves))) * 1.4826 / math.sqrt(2))


def correlation(rows: Float32Array, column: int | None, moves: Float32Array) -> float:
    """Spearman's rank correlation of a column of F rows with (F,) movements; NaN where it is undefined."""
    if column is None:
        return float("nan")
    values = rows[:, column]
    known = np.isfinite(values)
    if known.sum() < MIN_FRAMES:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)  # NaN says it
        return float(spearmanr(values[known], moves[known]).statistic)


def as_json(trace: ClipTrace) -> dict[str, object]:
    """Every number of a clip."""
    return {
        "file": trace.file,
        "frames": trace.frames,
        "used": trace.used,
        "problem": trace.problem,
        "tracks": [
            {
                "track": track.track,
                "pts_ms": track.pts_ms,
                "agreements": [
                    {
                        "au": a.au,
                        "blendshape": a.blendshape,
                        "moved": a.moved,
                        "moving": a.moving,
                        "trembles": a.trembles,
                        "spearman_score": a.score,
                        "spearman_probability": a.probability,
                        "active": a.active,
                    }
                    for a in track.agreements
                ],
                "blendshapes": dict(zip(NAMES, np.stack(track.blendshapes).T.tolist(), strict=True)),
                "scores": {label: rows.tolist() for label, rows in track.scores.items()},
                "probabilities": {label: rows.tolist() for label, rows in track.probabilities.items()},
            }
            for track in trace.tracks
        ],
    }
