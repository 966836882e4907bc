"""Faces through a clip: each keeps its number through movement, short absence and crossings; after a cut only alike.

Between detections a face is looked for where it was (the next crop comes from the present landmarks). Every few frames,
and whenever a face is missing, the picture is searched anew, and a global assignment by place and look decides
who is who.

Of the maintained libraries none fits: trackers needs opencv-python, which overwrites the headless OpenCV used here, and
supervision's plotting stack, norfair excludes NumPy 2, and none can be resumed from stored faces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.faces.association import Expectation, assign, contests, face_size, is_cut, look_of, unit, view_of
from model.faces.finder import FaceFinder, merge_same
from model.values import Face, Float32Array, Float64Array, Frame

REDETECT_EVERY = 5
TILES_EVERY = 25
"""Frames between searches of the whole picture, and between searches that include the tiles for small faces."""
SMALL_SHARE = 1 / 12
"""Faces below this share of the longer side may need tiles to be found again."""
MAX_GAP_MS = 1500.0
COAST_MS = 300.0
"""How long a lost face is expected to go on as it moved."""
OLD_LOOK_SHARE = 0.05
"""Share of the newest look in the slowly changing one that is remembered beside it."""


@dataclass(frozen=True, slots=True)
class TrackState:
    """What is known of one track; everything but the looks can be rebuilt from stored faces.

    Attributes:
        track: its number.
        landmarks: (68, 2) float32 where it was last seen.
        last_index: number of the frame in which it was last seen.
        last_ms: time of that frame.
        score: detector confidence, 0 to 1.
        velocity: (2,) float64 pixels per millisecond.
        looks: newest and slowly changing appearance, or nothing.
        contested: see `Expectation`.
        cut: see `Expectation`.
    """

    track: int
    landmarks: Float32Array
    last_index: int
    last_ms: float
    score: float
    velocity: Float64Array
    looks: tuple[Float32Array, ...] = ()
    contested: bool = False
    cut: bool = False


@dataclass(frozen=True, slots=True)
class TrackerState:
    """A tracker between two frames.

    Attributes:
        next_track: number that the next new face gets.
        last_index: number of the last frame, None before the first.
        last_ms: time of the last frame.
        tracks: tracks that may go on.
        view: the last frame's `view_of`, to notice a cut; None if it isn't known.
    """

    next_track: int = 0
    last_index: int | None = None
    last_ms: float = 0.0
    tracks: tuple[TrackState, ...] = ()
    view: Float32Array | None = None

    @classmethod
    def from_faces(
        cls, frames: Iterable[tuple[int, float, Sequence[Face]]], next_track: int, max_gap_ms: float = MAX_GAP_MS
    ) -> TrackerState:
        """The state after frames whose faces were stored, without their pictures.

        Args:
            frames: (index, pts_ms, faces) of the last frames in order, those without faces among them; the last
                `max_gap_ms` are enough.
            next_track: one more than the largest track number given so far in the clip.
            max_gap_ms: tracks unseen for longer are over.
        """
        tracks: dict[int, TrackState] = {}
        index, pts_ms = None, 0.0
        for index, pts_ms, faces in frames:
            for face in faces:
                tracks[face.track] = _advance(tracks.get(face.track), face, index, pts_ms, None)
        alive = tuple(track for track in tracks.values() if pts_ms - track.last_ms <= max_gap_ms)
        numbers = [next_track, *(track + 1 for track in tracks)]
        return cls(max(numbers), index, pts_ms, alive)


class FaceTracker:
    """Finds the faces of a clip's frames and numbers them; frames must come in order. Deterministic."""

    def __init__(
        self,
        finder: FaceFinder,
        *,
        redetect_every: int = REDETECT_EVERY,
        tiles_every: int = TILES_EVERY,
        max_gap_ms: float = MAX_GAP_MS,
        state: TrackerState | None = None,
    ) -> None:
        """Start, or go on from a state.

        Args:
            finder: finds and follows the faces.
            redetect_every: frames between searches of the whole picture while all faces are in sight.
            tiles_every: frames between searches for small faces in tiles.
            max_gap_ms: how long a face may be unseen and still get its number back.
            state: of another tracker, or from `TrackerState.from_faces`, to go on with the next frame.

        Raises:
            ValueError: for intervals below 1 or a negative gap.
        """
        if redetect_every < 1 or tiles_every < 1 or max_gap_ms < 0:
            raise ValueError("redetect_every and tiles_every must be at least 1, max_gap_ms at least 0")
        self._finder = finder
        self._redetect_every, self._tiles_every, self._max_gap_ms = redetect_every, tiles_every, max_gap_ms
        self._state = state or TrackerState()

    def state(self) -> TrackerState:
        """What a new tracker needs to go on after the last frame exactly as this one would."""
        return self._state

    def update(self, frame: Frame) -> list[Face]:
        """The faces of the next frame, by track number.

        A face that is followed keeps the score of its last detection.
        """
        view, before = view_of(frame.rgb), self._state.view
        # A black frame says nothing: what comes after it is compared with what came before.
        cut = view is not None and before is not None and is_cut(view, before)
        tracks = [track for track in self._state.tracks if frame.pts_ms - track.last_ms <= self._max_gap_ms]
        in_sight = [] if cut else [track for track in tracks if track.last_index == self._state.last_index]
        if cut:
            tracks = [replace(track, cut=True) for track in tracks]
        faces = self._find(frame, in_sight, tracks, anew=cut or self._state.last_index is None)
        return self._number(frame, before if view is None else view, tracks, faces)

    def _number(
        self, frame: Frame, view: Float32Array | None, tracks: Sequence[TrackState], faces: Sequence[Face]
    ) -> list[Face]:
        """Give the faces their numbers and remember where they are."""
        expected = [_expect(track, frame.pts_ms) for track in tracks]
        looks = [look_of(frame.rgb, face) for face in faces]
        owners = assign(expected, faces, looks)
        lost = [index for index in range(len(tracks)) if index not in owners.values()]
        current = {track.track: track for track in tracks}
        number, numbered = self._state.next_track, []
        for index, (face, look) in enumerate(zip(faces, looks, strict=True)):
            old = tracks[owners[index]] if index in owners else None
            rivals = contests(face, [expected[i] for i in lost]) if old is None else []
            if rivals:  # most often one of them, half covered: not reported until that is clear
                current |= {t.track: replace(t, contested=True) for t in (tracks[lost[rival]] for rival in rivals)}
                continue
            owned = replace(face, track=old.track if old else number)
            number += old is None
            numbered.append(owned)
            current[owned.track] = _advance(old, owned, frame.index, frame.pts_ms, look)
        self._state = TrackerState(number, frame.index, frame.pts_ms, tuple(current.values()), view)
        return sorted(numbered, key=lambda face: face.track)

    def _find(
        self, frame: Frame, in_sight: Sequence[TrackState], tracks: Sequence[TrackState], *, anew: bool
    ) -> list[Face]:
        """The frame's faces, yet without owners: those in sight followed, others searched for when it is time."""
        previous = [_as_face(track) for track in in_sight]
        followed = merge_same([face for face in self._finder.follow(frame.rgb, previous) if face is not None])
        due = frame.index % self._redetect_every == 0
        missing = len(followed) < len(tracks)
        small = any(face_size(track.landmarks) < SMALL_SHARE * max(frame.rgb.shape[:2]) for track in tracks)
        tiles = anew or frame.index % self._tiles_every == 0 or (due and missing and small)
        if tiles or due or missing or not followed:
            return followed + self._finder.find(frame.rgb, tiles=tiles, known=followed)
        return followed


def _as_face(track: TrackState) -> Face:
    low, high = track.landmarks.min(axis=0), track.landmarks.max(axis=0)
    return Face(np.concatenate([low, high]), track.score, track.landmarks, track=track.track)


def _expect(track: TrackState, pts_ms: float) -> Expectation:
    unseen_ms = max(pts_ms - track.last_ms, 0.0)
    shift = track.velocity * min(unseen_ms, COAST_MS)
    return Expectation(track.landmarks, shift, track.looks, unseen_ms / 1000, track.contested, track.cut)


def _advance(old: TrackState | None, face: Face, index: int, pts_ms: float, look: Float32Array | None) -> TrackState:
    """The track after it was seen as `face`."""
    velocity = np.zeros(2)
    looks = () if look is None else (look, look)
    if old is not None:
        elapsed = max(pts_ms - old.last_ms, 1.0)
        moved = face.landmarks.mean(axis=0, dtype=np.float64) - old.landmarks.mean(axis=0, dtype=np.float64)
        velocity = (old.velocity + moved / elapsed) / 2
        velocity *= min(1.0, face_size(face.landmarks) / 100 / max(float(np.linalg.norm(velocity)), 1e-9))
        if look is not None and old.looks:
            looks = (look, unit((1 - OLD_LOOK_SHARE) * old.looks[1] + OLD_LOOK_SHARE * look))
    return TrackState(face.track, face.landmarks, index, pts_ms, face.score, velocity, looks)
