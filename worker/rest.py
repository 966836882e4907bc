"""Action Units decided anew against how a person rests: in that clip, at its end, or on a neutral picture.

Until its end the faces of a clip are read as single pictures are, as the rest of a person is not known before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from model.own_rest import own_rest, without_blinks
from model.values import AuPrediction, Face, Float32Array
from worker.store.records import FaceRow, Job
from worker.store.results import ResultRepository

if TYPE_CHECKING:
    from model.analyzer import Analyzer

_FRAMES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class RestingTrack:
    """A face whose rest in its clip is known.

    Attributes:
        rest: (Q,) of its measures.
        measures: by frame, without blinks.
    """

    rest: Float32Array
    measures: Mapping[int, Float32Array]

    @classmethod
    def of(
        cls, seen: Sequence[tuple[int, float, Float32Array]], rest: Float32Array | None = None
    ) -> RestingTrack | None:
        """From frames, times and measures of one face in order; None if it was seen for too short a time.

        With a rest that is known from elsewhere any time is enough.
        """
        if not seen:
            return None
        frames, times, measures = zip(*seen, strict=True)
        if rest is None:
            rest = own_rest(times, np.stack(measures))
        if rest is None:
            return None
        return cls(rest, dict(zip(frames, without_blinks(times, np.stack(measures), rest), strict=True)))


def main_track(frames: Mapping[int, int]) -> int | None:
    """Whom the rest of a neutral picture is taken to be of: the track in most frames, the first of equals."""
    return max(frames, key=lambda track: frames[track], default=None)


class RestGatherer:
    """Gathers a clip's measures, to know each track's rest at the end: some hundred bytes a face."""

    def __init__(self) -> None:
        self._seen: dict[int, list[tuple[int, float, Float32Array]]] = {}

    def add(self, faces: Sequence[FaceRow]) -> None:
        """The faces of the next frame."""
        for face in faces:
            if face.measures is not None:
                self._seen.setdefault(face.track, []).append((face.frame, face.pts_ms, face.measures))

    def tracks(self, rest: Float32Array | None = None) -> dict[int, RestingTrack]:
        """The tracks that were seen for long enough, by number; a rest that is known is that of the one seen most."""
        main = main_track({number: len(seen) for number, seen in self._seen.items()})
        found = {number: RestingTrack.of(seen, rest if number == main else None) for number, seen in self._seen.items()}
        return {number: track for number, track in found.items() if track is not None}


def against_rest(analyzer: Analyzer, tracks: Mapping[int, RestingTrack], faces: Sequence[FaceRow]) -> list[FaceRow]:
    """The faces in their order, those of the tracks in `tracks` decided anew."""
    decided = list(faces)
    for number, track in tracks.items():
        mine = [i for i, face in enumerate(faces) if face.track == number and face.frame in track.measures]
        if not mine:
            continue
        chance, active = analyzer.against_rest(
            track.rest,
            np.stack([track.measures[faces[i].frame] for i in mine]),
            np.stack([faces[i].landmarks for i in mine]),
            np.stack([faces[i].au_score for i in mine]),
            (np.stack([faces[i].au_probability for i in mine]), np.stack([faces[i].au_active for i in mine])),
        )
        for row, i in enumerate(mine):
            decided[i] = replace(faces[i], au_probability=chance[row], au_active=active[row])
    return decided


def against_neutral(
    analyzer: Analyzer, found: Sequence[tuple[Face, AuPrediction]], rest: Float32Array
) -> list[tuple[Face, AuPrediction]]:
    """The faces of a picture, largest first, of which the first is decided anew against that person's rest."""
    if not found or (measures := found[0][1].measures) is None:
        return list(found)
    face, prediction = found[0]
    chance, active = analyzer.against_rest(
        rest,
        measures[None],
        face.landmarks[None],
        prediction.score[None],
        (prediction.probability[None], prediction.active[None]),
    )
    return [(face, replace(prediction, probability=chance[0], active=active[0])), *found[1:]]


def settle(analyzer: Analyzer, results: ResultRepository, job: Job, on_activity: Callable[[], None]) -> int:
    """Decide the stored faces of a clip anew and store each track's rest; the caller commits.

    Args:
        analyzer: with the checkpoint that read the clip.
        results: of that job.
        job: held by this worker.
        on_activity: called now and then.

    Returns:
        How many tracks have a rest of their own.
    """
    resting, rows = {}, results.tracks(job)
    main = main_track({row.track: row.frames for row in rows})
    for row in rows:
        known = None if job.options.rest is None or row.track != main else np.array(job.options.rest, np.float32)
        track = RestingTrack.of(results.measures(job, row.track), known)
        if track is not None:
            resting[row.track] = track
            results.set_rest(job, row.track, track.rest)
        on_activity()
    after = None
    while resting and (page := results.frames_page(job, after, _FRAMES_AT_ONCE)):
        faces = [face for frame in page for face in frame.faces if face.track in resting]
        results.decide(job, against_rest(analyzer, resting, faces))
        after = page[-1].frame
        on_activity()
    return len(resting)
