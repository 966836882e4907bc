"""What was stored, as pictures: a frame with its faces, ROI maps on the frame, on the face, alone or as numbers."""

from __future__ import annotations

import io
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from PIL import Image
from starlette.concurrency import run_in_threadpool

from model.draw import NEGATIVE_RGB, POSITIVE_RGB, full_colour_value, overlay, roi_overlay
from model.geometry import crop_affine, extract_crop, invert_affine
from model.image import ImageError, read_image
from model.values import AuPrediction, Face, Float32Array, UInt8Array
from service.context import Context
from service.problems import JobExpired, JobNotFinished, MediaUnreadable, NotFound
from service.results.clip_frame import ClipFrameError, clip_frame
from service.results.placing import crop_scale
from worker.store.catalogue import MediaRepository
from worker.store.jobs import JobRepository
from worker.store.records import CheckpointRecord, FaceRow, FrameRow, Job, JobKind, RoiStorage
from worker.store.results import ResultRepository

_MAP_PICTURE_SIDE = 256
_CROP_PICTURE_SIDE = 384


class RoiFormat(StrEnum):
    """What is made of a ROI map."""

    OVERLAY = "overlay"
    CROP = "crop"
    MAP = "map"
    NPY = "npy"


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """A stored frame, and where its pixels are: in the payload of a picture, or in the file of a clip."""

    job: Job
    row: FrameRow
    checkpoint: CheckpointRecord
    picture: bytes | None
    clip_uri: str | None
    previous_pts_ms: float | None

    @property
    def crop_scale(self) -> float:
        """Of the checkpoint's crops."""
        return crop_scale(self.checkpoint)


async def frame_picture(context: Context, tenant: str, job_id: UUID, frame: int) -> bytes:
    """A frame with its faces boxed and numbered, ROI maps of active AUs and bars beside it, as PNG.

    Raises:
        NotFound: no such job or frame.
        JobNotFinished: that frame is not stored yet.
        JobExpired: the picture is gone.
        MediaUnreadable: the picture cannot be decoded any more.
    """

    def read(connection: sa.Connection) -> tuple[StoredFrame, list[Float32Array | None]]:
        found = find_frame(connection, context, tenant, job_id, frame, pixels=True)
        results = ResultRepository(connection)
        return found, [results.roi_map(found.job, frame, face.face) for face in found.row.faces]

    found, maps = await context.database.run(read)
    rgb = await frame_pixels(context, found)
    return await run_in_threadpool(_draw_frame, rgb, found, maps)


async def plain_picture(context: Context, tenant: str, job_id: UUID, frame: int) -> bytes:
    """The upright frame as it was, without any drawing, as JPEG.

    Raises:
        as `frame_picture`.
    """

    def read(connection: sa.Connection) -> StoredFrame:
        return find_frame(connection, context, tenant, job_id, frame, pixels=True)

    rgb = await frame_pixels(context, await context.database.run(read))
    return await run_in_threadpool(_jpeg, rgb)


async def roi_picture(
    context: Context, tenant: str, job_id: UUID, frame: int, face: int, au: str, how: RoiFormat
) -> tuple[bytes, str]:
    """A ROI map in the wanted form.

    Returns:
        The file's bytes and its media type.

    Raises:
        NotFound: no such job, frame, face or AU, or the job kept no maps.
        JobNotFinished: that frame is not stored yet.
        JobExpired: the picture beneath the overlay is gone.
        MediaUnreadable: the picture cannot be decoded any more.
    """
    drawn = how in (RoiFormat.OVERLAY, RoiFormat.CROP)

    def read(connection: sa.Connection) -> tuple[StoredFrame, FaceRow, Float32Array]:
        found = find_frame(connection, context, tenant, job_id, frame, pixels=drawn)
        return found, *_face_map(connection, found, face, au)

    found, row, roi_map = await context.database.run(read)
    if how is RoiFormat.NPY:
        return await run_in_threadpool(_npy, roi_map), "application/x-npy"
    if how is RoiFormat.MAP:
        return await run_in_threadpool(_draw_map, roi_map), "image/png"
    rgb = await frame_pixels(context, found)
    return await run_in_threadpool(_draw_roi, rgb, row, roi_map, found.crop_scale, how), "image/png"


def find_frame(
    connection: sa.Connection, context: Context, tenant: str, job_id: UUID, frame: int, *, pixels: bool
) -> StoredFrame:
    """A frame of the tenant's job; with `pixels` also where its picture is.

    Raises:
        NotFound: no such job or frame.
        JobNotFinished: that frame is not stored yet.
    """
    jobs = JobRepository(connection)
    job = jobs.get_or_raise(tenant, job_id)
    # The frame before comes along: its time lets a clip's decoder seek.
    pair = ResultRepository(connection).frames_page(job, after=frame - 2 if frame > 1 else None, limit=2)
    row = next((row for row in pair if row.frame == frame), None)
    checkpoint = context.checkpoint_of(connection, job)
    if (row is None or checkpoint is None) and not job.state.final:
        raise JobNotFinished(f"Frame {frame} is not stored yet. Follow /jobs/{job.id}/events and ask again.")
    if row is None or checkpoint is None:
        raise NotFound(f"The job has no frame {frame}. GET /jobs/{job.id}/frames lists those that it has.")
    media = MediaRepository(connection).get(tenant, job.media_id) if pixels and job.media_id else None
    return StoredFrame(
        job=job,
        row=row,
        checkpoint=checkpoint,
        picture=jobs.payload(tenant, job.id) if pixels and job.kind is JobKind.IMAGE else None,
        clip_uri=None if media is None else media.uri,
        previous_pts_ms=next((other.pts_ms for other in pair if other.frame == frame - 1), None),
    )


def _face_map(connection: sa.Connection, found: StoredFrame, face: int, au: str) -> tuple[FaceRow, Float32Array]:
    faces, codes, frame = found.row.faces, found.checkpoint.au_codes, found.row.frame
    if face >= len(faces):
        raise NotFound(f"Frame {frame} has {len(faces)} faces, numbered from 0; there is no face {face}.")
    if au not in codes:
        raise NotFound(f"The job's checkpoint has no {au}. It has {', '.join(codes)}.")
    maps = ResultRepository(connection).roi_map(found.job, frame, face)
    if maps is None:
        kept = found.job.options.roi
        reason = f"roi={kept}" if kept is not RoiStorage.FULL else "they are gone"
        raise NotFound(f"This job keeps no ROI maps ({reason}). Analyse the picture or clip again with roi=full.")
    return faces[face], maps[codes.index(au)]


async def frame_pixels(context: Context, found: StoredFrame) -> UInt8Array:
    """(H, W, 3) uint8 RGB, the upright picture of a frame that was found with its pixels.

    Raises:
        JobExpired: it is no longer kept.
        MediaUnreadable: it cannot be decoded any more.
    """
    settings = context.settings
    try:
        if found.picture is not None:
            return await run_in_threadpool(read_image, found.picture, settings.max_image_pixels)
        if found.clip_uri is not None:
            path = context.media.path(found.clip_uri)
            async with context.decoding:
                return await clip_frame(path, found.row.frame, found.previous_pts_ms, settings.max_video_pixels)
    except (ImageError, ClipFrameError) as error:
        raise MediaUnreadable(
            f"The picture itself cannot be decoded ({str(error).rstrip('.')}). ROI maps can be had with format=map."
        ) from error
    raise JobExpired("The picture itself is no longer kept. ROI maps can be had with format=map.")


def _draw_frame(rgb: UInt8Array, found: StoredFrame, maps: list[Float32Array | None]) -> bytes:
    faces = [Face(row.box_xyxy, row.face_score, row.landmarks, row.presence, row.track) for row in found.row.faces]
    predictions = [_prediction(row, kept) for row, kept in zip(found.row.faces, maps, strict=True)]
    with_maps = all(kept is not None for kept in maps)
    codes = found.checkpoint.au_codes
    return _png(overlay(rgb, faces, predictions, codes, roi=with_maps, crop_scale=found.crop_scale))


def _prediction(row: FaceRow, maps: Float32Array | None) -> AuPrediction:
    count = len(row.au_score)
    return AuPrediction(
        score=row.au_score,
        probability=row.au_probability,
        active=row.au_active,
        valid=np.isfinite(row.au_score) & np.isfinite(row.au_probability),
        roi_amplitude=np.zeros((count, 2), np.float32) if row.roi_amplitude is None else row.roi_amplitude,
        roi_centres=np.zeros((count, 2, 2), np.float32) if row.roi_centres is None else row.roi_centres,
        roi_maps=np.zeros((count, 1, 1), np.float32) if maps is None else maps,
    )


def _draw_roi(rgb: UInt8Array, row: FaceRow, roi_map: Float32Array, crop_scale: float, how: RoiFormat) -> bytes:
    landmarks = row.landmarks
    if how is RoiFormat.CROP:
        crop = extract_crop(rgb, landmarks, _CROP_PICTURE_SIDE, crop_scale)
        rgb, landmarks = crop.pixels, crop.landmarks
    to_crop = crop_affine(landmarks, 4 * len(roi_map), crop_scale)
    return _png(roi_overlay(rgb, invert_affine(to_crop), roi_map))


def _draw_map(roi_map: Float32Array) -> bytes:
    """White where the map is 0, the colours and the scale of `model.draw`, each number a square."""
    strength = np.clip(roi_map / full_colour_value([roi_map]), -1.0, 1.0)[..., None]
    ends = np.where(strength > 0, np.array(POSITIVE_RGB), np.array(NEGATIVE_RGB))
    colours = np.rint(255 + (ends - 255) * np.abs(strength)).astype(np.uint8)
    times = max(_MAP_PICTURE_SIDE // max(roi_map.shape), 1)
    return _png(colours.repeat(times, axis=0).repeat(times, axis=1))


def _npy(roi_map: Float32Array) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(roi_map, "<f4"), allow_pickle=False)
    return file.getvalue()


def _jpeg(rgb: UInt8Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=92)
    return file.getvalue()


def _png(rgb: UInt8Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG", compress_level=1)
    return file.getvalue()
