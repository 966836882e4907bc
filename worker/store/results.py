"""`ResultRepository`: frames, faces, ROI maps and tracks of a job.

Reads take the `Job` that `JobRepository.get` gave for the tenant: that is where access is checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from model.values import Float32Array
from worker.store import roi_codec
from worker.store.database import driver_connection
from worker.store.records import FaceRow, FrameResult, FrameRow, Job, RoiStorage, TrackRow
from worker.store.rows import face_of, floats, landmarks_bytes, track_of
from worker.store.tables import face_frames, frames, roi_maps, tracks

_Row: TypeAlias = tuple[object, ...]

_FACE_COLUMNS = {
    "job_id": "uuid",
    "frame": "int4",
    "face": "int2",
    "track": "int4",
    "pts_ms": "float8",
    "box": "float4[]",
    "face_score": "float4",
    "presence": "float4",
    "landmarks": "bytea",
    "au_score": "float4[]",
    "au_probability": "float4[]",
    "au_active": "bool[]",
    "roi_amplitude": "float4[]",
    "roi_centres": "float4[]",
    "measures": "float4[]",
}
_FRAME_COLUMNS = {"job_id": "uuid", "frame": "int4", "pts_ms": "float8", "faces": "int2"}
_MAP_COLUMNS = {"job_id": "uuid", "frame": "int4", "face": "int2", "codec": "int2", "data": "bytea"}


@dataclass(frozen=True, slots=True)
class FrameRows:
    """A frame as `ResultRepository.copy_rows` takes it: tuples in the order of the columns, ROI maps compressed.

    Attributes:
        frame: for `frames`.
        faces: for `face_frames`.
        maps: for `roi_maps`.
        sightings: (track, frame) pairs for `tracks`.
    """

    frame: _Row
    faces: tuple[_Row, ...]
    maps: tuple[_Row, ...]
    sightings: tuple[tuple[int, int], ...]


def frame_rows(job: Job, result: FrameResult) -> FrameRows:
    """Prepare a frame for storage, as `job.options.roi` says."""
    keep, faces, maps = job.options.roi, [], []
    for number, (face, au) in enumerate(result.faces):
        key = (job.id, result.index, number)
        peaks = (None, None) if keep is RoiStorage.NONE else (floats(au.roi_amplitude), floats(au.roi_centres))
        faces.append(
            (
                *key,
                face.track,
                result.pts_ms,
                floats(face.box_xyxy),
                float(face.score),
                float(face.presence),
                landmarks_bytes(face.landmarks),
                floats(au.score),
                floats(au.probability),
                au.active.tolist(),
                *peaks,
                None if au.measures is None else floats(au.measures),
            )
        )
        if keep is RoiStorage.FULL:
            maps.append((*key, roi_codec.CODEC_ZSTD4, roi_codec.encode(au.roi_maps)))
    return FrameRows(
        frame=(job.id, result.index, result.pts_ms, len(result.faces)),
        faces=tuple(faces),
        maps=tuple(maps),
        sightings=tuple((face.track, result.index) for face, _ in result.faces),
    )


class ResultRepository:
    """Rows that the pipeline wrote. Every method runs in the caller's transaction; the caller commits."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def copy_frames(self, job: Job, results: Sequence[FrameResult]) -> None:
        """Store frames with COPY, as `job.options.roi` says; `ClaimRepository.progress` comes first.

        Raises:
            sqlalchemy.exc.DBAPIError or psycopg.Error: a frame that is stored already, among others; roll back.
        """
        self.copy_rows(job, [frame_rows(job, result) for result in results])

    def copy_rows(self, job: Job, rows: Sequence[FrameRows]) -> None:
        """The same for frames that `frame_rows` has prepared (and made smaller) as they came."""
        self._copy("frames", _FRAME_COLUMNS, [frame.frame for frame in rows])
        self._copy("face_frames", _FACE_COLUMNS, [face for frame in rows for face in frame.faces])
        self._copy("roi_maps", _MAP_COLUMNS, [block for frame in rows for block in frame.maps])
        self._extend_tracks(job, [sighting for frame in rows for sighting in frame.sightings])

    def frames_page(self, job: Job, after: int | None = None, limit: int = 500) -> list[FrameRow]:
        """Up to `limit` frames with their faces, in order, after frame number `after` (None: from the first)."""
        mine = frames.c.job_id == job.id
        query = sa.select(frames.c.frame, frames.c.pts_ms).where(mine).order_by(frames.c.frame).limit(limit)
        if after is not None:
            query = query.where(frames.c.frame > after)
        page = self._connection.execute(query).all()
        if not page:
            return []
        query_faces = (
            sa.select(face_frames)
            .where(face_frames.c.job_id == job.id, face_frames.c.frame.between(page[0].frame, page[-1].frame))
            .order_by(face_frames.c.frame, face_frames.c.face)
        )
        found = map(face_of, self._connection.execute(query_faces))
        by_frame = {number: tuple(group) for number, group in groupby(found, key=lambda face: face.frame)}
        return [FrameRow(row.frame, row.pts_ms, by_frame.get(row.frame, ())) for row in page]

    def stream_frames(self, job: Job, after: int | None = None, page_size: int = 500) -> Iterator[FrameRow]:
        """All frames after `after`, in order, read page by page: memory stays flat however long the clip."""
        while page := self.frames_page(job, after, page_size):
            yield from page
            after = page[-1].frame

    def face(self, job: Job, frame: int, face: int) -> FaceRow | None:
        """One face of one frame."""
        key = (face_frames.c.job_id == job.id, face_frames.c.frame == frame, face_frames.c.face == face)
        row = self._connection.execute(sa.select(face_frames).where(*key)).one_or_none()
        return None if row is None else face_of(row)

    def roi_map(self, job: Job, frame: int, face: int) -> Float32Array | None:
        """The (K, H, W) ROI maps of one face, dequantised; None when they were not kept.

        Raises:
            RoiCodecError: the stored block is broken.
        """
        key = (roi_maps.c.job_id == job.id, roi_maps.c.frame == frame, roi_maps.c.face == face)
        row = self._connection.execute(sa.select(roi_maps.c.data, roi_maps.c.codec).where(*key)).one_or_none()
        return None if row is None else roi_codec.decode(row.data, row.codec)

    def roi_maps(self, job: Job, first: int, last: int) -> list[tuple[tuple[int, int], Float32Array]]:
        """The (K, H, W) ROI maps of the frames `first` to `last` that keep some, by (frame, face), in order.

        Raises:
            RoiCodecError: a stored block is broken.
        """
        query = (
            sa.select(roi_maps)
            .where(roi_maps.c.job_id == job.id, roi_maps.c.frame.between(first, last))
            .order_by(roi_maps.c.frame, roi_maps.c.face)
        )
        rows = self._connection.execute(query)
        return [((row.frame, row.face), roi_codec.decode(row.data, row.codec)) for row in rows]

    def tracks(self, job: Job) -> list[TrackRow]:
        """The faces of a clip by track number."""
        query = sa.select(tracks).where(tracks.c.job_id == job.id).order_by(tracks.c.track)
        return [track_of(row) for row in self._connection.execute(query)]

    def measures(self, job: Job, track: int) -> list[tuple[int, float, Float32Array]]:
        """Frame, time in milliseconds and measures (Q,) of a track's faces that have some, in order."""
        query = (
            sa.select(face_frames.c.frame, face_frames.c.pts_ms, face_frames.c.measures)
            .where(face_frames.c.job_id == job.id, face_frames.c.track == track, face_frames.c.measures.is_not(None))
            .order_by(face_frames.c.frame)
        )
        rows = self._connection.execute(query)
        return [(row.frame, row.pts_ms, np.array(row.measures, np.float32)) for row in rows]

    def set_rest(self, job: Job, track: int, rest: Float32Array) -> None:
        """Store what a track's measures are at rest."""
        mine = (tracks.c.job_id == job.id, tracks.c.track == track)
        self._connection.execute(sa.update(tracks).where(*mine).values(rest=floats(rest)))

    def decide(self, job: Job, faces: Sequence[FaceRow]) -> None:
        """Put other probabilities and decisions in the place of those that are stored for these faces."""
        if not faces:
            return
        key = (face_frames.c.job_id == job.id, face_frames.c.frame == sa.bindparam("at_frame"))
        update = (
            sa.update(face_frames)
            .where(*key, face_frames.c.face == sa.bindparam("at_face"))
            .values(au_probability=sa.bindparam("probability"), au_active=sa.bindparam("active"))
        )
        values = [
            {
                "at_frame": face.frame,
                "at_face": face.face,
                "probability": floats(face.au_probability),
                "active": face.au_active.tolist(),
            }
            for face in faces
        ]
        self._connection.execute(update, values)

    def _copy(self, table: str, columns: dict[str, str], rows: Sequence[_Row]) -> None:
        if not rows:
            return
        statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT binary)"
        with driver_connection(self._connection).cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.set_types(list(columns.values()))
            for row in rows:
                copy.write_row(row)

    def _extend_tracks(self, job: Job, seen: Sequence[tuple[int, int]]) -> None:
        """Add (track, frame) sightings to `tracks`."""
        if not seen:
            return
        spans: dict[int, tuple[int, int, int]] = {}
        for track, frame in seen:
            first, last, count = spans.get(track, (frame, frame, 0))
            spans[track] = (min(first, frame), max(last, frame), count + 1)
        insert = pg.insert(tracks).values(
            [
                {"job_id": job.id, "track": track, "first_frame": first, "last_frame": last, "frames": count}
                for track, (first, last, count) in spans.items()
            ]
        )
        new = insert.excluded
        self._connection.execute(
            insert.on_conflict_do_update(
                index_elements=[tracks.c.job_id, tracks.c.track],
                set_={
                    "first_frame": sa.func.least(tracks.c.first_frame, new.first_frame),
                    "last_frame": sa.func.greatest(tracks.c.last_frame, new.last_frame),
                    "frames": tracks.c.frames + new.frames,
                },
            )
        )
