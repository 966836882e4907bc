"""At a clip's end: Action Units decided anew against how each person rests in that clip.

Until then the faces of a clip are read as single pictures are, as the rest of a person is not known before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from model.brow_measures import own_rest
from model.values import Float32Array
from worker.store.records import FaceRow, Job
from worker.store.results import ResultRepository

if TYPE_CHECKING:
    from model.analyzer import Analyzer

_FRAMES_AT_ONCE = 500


class RestGatherer:
    """Gathers a clip's measures, to know each track's rest at the end: some thirty bytes a face."""

    def __init__(self) -> None:
        self._seen: dict[int, list[tuple[float, Float32Array]]] = {}

    def add(self, faces: Sequence[FaceRow]) -> None:
        """The faces of the next frame."""
        for face in faces:
            if face.measures is not None:
                self._seen.setdefault(face.track, []).append((face.pts_ms, face.measures))

    def rests(self) -> dict[int, Float32Array]:
        """The rest of each track that was seen for long enough, by its number."""
        found = {
            track: own_rest([ms for ms, _ in seen], np.stack([measures for _, measures in seen]))
            for track, seen in self._seen.items()
        }
        return {track: rest for track, rest in found.items() if rest is not None}


def against_rest(analyzer: Analyzer, rests: Mapping[int, Float32Array], faces: Sequence[FaceRow]) -> list[FaceRow]:
    """The faces in their order, those of the tracks in `rests` decided anew."""
    decided = list(faces)
    for track, rest in rests.items():
        mine = [i for i, face in enumerate(faces) if face.track == track and face.measures is not None]
        if not mine:
            continue
        chance, active = analyzer.against_rest(
            rest,
            np.stack([measures for i in mine if (measures := faces[i].measures) is not None]),
            np.stack([faces[i].landmarks for i in mine]),
            np.stack([faces[i].au_score for i in mine]),
            (np.stack([faces[i].au_probability for i in mine]), np.stack([faces[i].au_active for i in mine])),
        )
        for row, i in enumerate(mine):
            decided[i] = replace(faces[i], au_probability=chance[row], au_active=active[row])
    return decided


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
    rests = {}
    for track in results.tracks(job):
        rest = own_rest(*results.measures(job, track.track))
        if rest is not None:
            rests[track.track] = rest
            results.set_rest(job, track.track, rest)
        on_activity()
    after = None
    while rests and (page := results.frames_page(job, after, _FRAMES_AT_ONCE)):
        faces = [face for frame in page for face in frame.faces if face.track in rests]
        results.decide(job, against_rest(analyzer, rests, faces))
        after = page[-1].frame
        on_activity()
    return len(rests)
