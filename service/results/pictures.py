"""ROI maps as pictures and arrays."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from PIL import Image
from starlette.concurrency import run_in_threadpool

from model.geometry import CROP_SCALE, crop_affine, extract_crop, invert_affine
from model.image import ImageError, read_image
from model.values import Float32Array, UInt8Array
from service.context import Context
from service.problems import JobExpired, JobNotFinished, MediaUnreadable, NotFound
from service.results.clip_frame import ClipFrameError, clip_frame
from worker.store.catalogue import MediaRepository
from worker.store.jobs import JobRepository
from worker.store.records import FaceRow, Job, JobKind, RoiStorage
from worker.store.results import ResultRepository

_MAP_PICTURE_SIDE = 256
_CROP_PICTURE_SIDE = 384
_OCCURS_RGB, _ABSENT_RGB = (178, 24, 43), (33, 102, 172)


class RoiFormat(StrEnum):
    """What is made of a ROI map."""

    OVERLAY = "overlay"
    CROP = "crop"
    MAP = "map"
    NPY = "npy"


@dataclass(frozen=True, slots=True)
class _Found:
    """What the database holds of one AU of one face."""

    roi_map: Float32Array
    face: FaceRow
    scale: float
    job: Job
    clip_uri: str | None
    picture: bytes | None
    previous_pts_ms: float | None


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
    pixels = how in (RoiFormat.OVERLAY, RoiFormat.CROP)
    found = await context.database.run(_find, context, tenant, job_id, frame, face, au, pixels)
    if not pixels:
        return await run_in_threadpool(_plain, found.roi_map, how)
    rgb = await _picture(context, found)
    return await run_in_threadpool(_drawn, rgb, found, how), "image/png"


def _find(
    connection: sa.Connection, context: Context, tenant: str, job_id: UUID, frame: int, face: int, au: str, pixels: bool
) -> _Found:
    job = JobRepository(connection).get_or_raise(tenant, job_id)
    results = ResultRepository(connection)
    before = results.frames_page(job, after=frame - 2 if frame > 1 else None, limit=2)
    row = next((row for row in before if row.frame == frame), None)
    if row is None and not job.state.final:
        raise JobNotFinished(f"Frame {frame} is not stored yet. Follow /jobs/{job.id}/events and ask again.")
    if row is None:
        raise NotFound(f"The job has no frame {frame}. GET /jobs/{job.id}/frames lists those that it has.")
    if face >= len(row.faces):
        raise NotFound(f"Frame {frame} has {len(row.faces)} faces, numbered from 0; there is no face {face}.")
    checkpoint = context.checkpoint_of(connection, job)
    codes = checkpoint.au_codes if checkpoint else ()
    if au not in codes:
        raise NotFound(f"The job's checkpoint has no {au}. It has {', '.join(codes)}.")
    maps = results.roi_map(job, frame, face)
    if maps is None:
        kept = job.options.roi
        reason = f"roi={kept}" if kept is not RoiStorage.FULL else "they are gone"
        raise NotFound(f"This job keeps no ROI maps ({reason}). Analyse the picture or clip again with roi=full.")
    media = MediaRepository(connection).get(tenant, job.media_id) if pixels and job.media_id else None
    return _Found(
        roi_map=maps[codes.index(au)],
        face=row.faces[face],
        scale=_crop_scale(checkpoint.manifest if checkpoint else {}),
        job=job,
        clip_uri=None if media is None else media.uri,
        picture=JobRepository(connection).payload(tenant, job.id) if pixels and job.kind is JobKind.IMAGE else None,
        previous_pts_ms=next((other.pts_ms for other in before if other.frame == frame - 1), None),
    )


def _crop_scale(manifest: Mapping[str, Any]) -> float:
    crop = manifest.get("crop")
    return float(crop["scale"]) if isinstance(crop, Mapping) and "scale" in crop else CROP_SCALE


async def _picture(context: Context, found: _Found) -> UInt8Array:
    settings = context.settings
    try:
        if found.picture is not None:
            return await run_in_threadpool(read_image, found.picture, settings.max_image_pixels)
        if found.clip_uri is not None:
            path: Path = context.media.path(found.clip_uri)
            async with context.decoding:
                return await clip_frame(path, found.face.frame, found.previous_pts_ms, settings.max_video_pixels)
    except (ImageError, ClipFrameError) as error:
        raise MediaUnreadable(
            f"The picture beneath the overlay cannot be decoded ({error}). Ask for format=map instead."
        ) from error
    raise JobExpired("The picture beneath the overlay is no longer kept. Ask for format=map instead.")


def _plain(roi_map: Float32Array, how: RoiFormat) -> tuple[bytes, str]:
    if how is RoiFormat.NPY:
        file = io.BytesIO()
        np.save(file, np.ascontiguousarray(roi_map, "<f4"), allow_pickle=False)
        return file.getvalue(), "application/x-npy"
    times = max(_MAP_PICTURE_SIDE // max(roi_map.shape), 1)
    return _png(np.kron(_signed_colours(roi_map), np.ones((times, times, 1), np.uint8))), "image/png"


def _signed_colours(roi_map: Float32Array) -> UInt8Array:
    """(H, W, 3): white where the map is 0, to red at +1 and to blue at -1."""
    strength = np.clip(roi_map, -1.0, 1.0)[..., None]
    ends = np.where(strength > 0, np.array(_OCCURS_RGB), np.array(_ABSENT_RGB))
    colours: UInt8Array = np.rint(255 + (ends - 255) * np.abs(strength)).astype(np.uint8)
    return colours


def _drawn(rgb: UInt8Array, found: _Found, how: RoiFormat) -> bytes:
    from model.draw import roi_overlay

    landmarks = found.face.landmarks
    if how is RoiFormat.CROP:
        crop = extract_crop(rgb, landmarks, _CROP_PICTURE_SIDE, found.scale)
        rgb, landmarks = crop.pixels, crop.landmarks
    side = found.roi_map.shape[0] * 4
    to_image = invert_affine(crop_affine(landmarks, side, found.scale))
    return _png(roi_overlay(rgb, to_image, found.roi_map))


def _png(rgb: UInt8Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG", compress_level=1)
    return file.getvalue()
