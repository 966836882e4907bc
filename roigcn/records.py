"""Answers of the service as frozen dataclasses, under the names that the JSON has.

Coordinates are pixels of the upright picture, origin at the top left; times are milliseconds; probabilities go from 0
to 1, scores from about -1 (absent) to 1 (occurred). A score is no intensity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from roigcn.show import Showing, detection_html, job_html

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

FINAL_STATES = frozenset({"succeeded", "failed", "cancelled"})
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: left and top edge, width and height, in pixels."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class RoiMap:
    """An Action Unit's map as it comes inline with `store=False`: little-endian float32 in base64, row by row.

    `to_image` leads from pixels of the map (column, row) to pixels of the upright picture, as (2, 3).
    """

    height: int
    width: int
    dtype: str
    data: str
    to_image: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None

    def to_numpy(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """(height, width) float32, about -1 to 1."""
        import base64

        import numpy as np

        return np.frombuffer(base64.b64decode(self.data), self.dtype).reshape(self.height, self.width).copy()


@dataclass(frozen=True, slots=True)
class ActionUnit:
    """One Action Unit of a face.

    Attributes:
        au: FACS code, such as `AU12`.
        name: FACS name.
        score: about -1 absent to 1 occurred, the larger of `left` and `right`; None where it could not be read.
        probability: calibrated, that it occurred; None with `score`.
        active: the decision.
        left: score at the region on the left side of the image, or the upper one.
        right: score at the region on the right side of the image, or the lower one.
        roi: centres of the two regions in pixels; None with `roi="none"`.
        roi_map: the map itself, only with `store=False` and `roi="full"`.
    """

    au: str
    name: str
    score: float | None
    probability: float | None
    active: bool
    left: float | None
    right: float | None
    roi: tuple[Point, Point] | None = None
    roi_map: RoiMap | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Face:
    """One face: where it is and its Action Units; `face["AU12"]` is one of them.

    Attributes:
        box: the face's rectangle.
        score: confidence of the face detector.
        presence: probability that the landmark net saw a face.
        track: the number that a face keeps through a clip; in a picture 0, 1, 2 by size.
        landmarks: 68 points in iBUG order.
        aus: in the order of the checkpoint.
    """

    box: Box
    score: float
    presence: float | None
    track: int
    landmarks: tuple[Point, ...]
    aus: tuple[ActionUnit, ...]

    def __getitem__(self, code: str) -> ActionUnit:
        for unit in self.aus:
            if unit.au == code:
                return unit
        raise KeyError(f"{code} is not one of {', '.join(self.au_codes)}")

    @property
    def au_codes(self) -> tuple[str, ...]:
        """Codes of all Action Units that were looked for."""
        return tuple(unit.au for unit in self.aus)

    @property
    def active(self) -> tuple[str, ...]:
        """Codes of the Action Units that were found."""
        return tuple(unit.au for unit in self.aus if unit.active)

    def __repr__(self) -> str:
        box = f"{self.box.width:.0f} x {self.box.height:.0f} at ({self.box.x:.0f}, {self.box.y:.0f})"
        return f"<Face {self.track}, {box}, active: {' '.join(self.active) or 'none'}>"


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """Which network gave an answer, and what to keep in mind about it."""

    name: str
    version: str
    synthetic_only: bool
    note: str | None = None

    @property
    def ref(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"


@dataclass(frozen=True, slots=True)
class ImageSize:
    """Width and height of the upright picture in pixels."""

    width: int
    height: int


@dataclass(frozen=True, repr=False)
class Detection(Showing):
    """The faces of one picture, largest first. A notebook shows it as the picture with boxes, ROI maps and AU bars.

    Attributes:
        job: id under which the service keeps it; None with `store=False`.
        image: size of the upright picture.
        checkpoint: the network.
        faces: none where nobody was found.
    """

    job: str | None
    image: ImageSize
    checkpoint: CheckpointRef
    faces: tuple[Face, ...]

    def __repr__(self) -> str:
        size = f"{self.image.width} x {self.image.height}"
        note = ", trained on rendered faces only" if self.checkpoint.synthetic_only else ""
        return f"<Detection {size}, {self.checkpoint.ref}{note}: {list(self.faces)}>"

    def _repr_html_(self) -> str:
        return detection_html(self, self._repr_png_())

    def to_pandas(self) -> pd.DataFrame:
        """One row per face, with the columns of `roigcn video`'s table."""
        from roigcn.tables import Table

        return Table.of([self.as_frame()]).to_pandas()

    def to_arrow(self) -> pa.Table:
        """One row per face, with the columns of `roigcn video`'s table."""
        from roigcn.tables import Table

        return Table.of([self.as_frame()]).to_arrow()

    def as_frame(self) -> Frame:
        """The same faces as the only frame of a clip."""
        return Frame(frame=0, pts_ms=0.0, faces=self.faces)


@dataclass(frozen=True, slots=True, repr=False)
class Frame:
    """One frame of a clip; a frame without a face has none and keeps its place.

    Attributes:
        frame: number in decoding order, from 0.
        pts_ms: presentation time from the container.
        faces: largest first.
    """

    frame: int
    pts_ms: float
    faces: tuple[Face, ...]

    def __repr__(self) -> str:
        return f"<Frame {self.frame} at {self.pts_ms:.0f} ms: {list(self.faces)}>"


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is; `fraction` goes from 0 to 1 and is None where the container does not tell its length."""

    frames_done: int
    frames_total: int | None
    fraction: float | None


@dataclass(frozen=True, slots=True)
class JobProblem:
    """Why a job failed: the slug of a problem and a sentence."""

    type: str
    detail: str


@dataclass(frozen=True, slots=True)
class JobMedia:
    """The file of a job."""

    name: str | None
    mime: str
    bytes: int
    sha256: str
    width: int | None
    height: int | None
    fps: float | None
    duration_ms: float | None


@dataclass(frozen=True, repr=False)
class Job:
    """A job as it stood when it was asked for; a notebook shows its progress.

    Attributes:
        id: to ask for it again.
        kind: `video` or `image`.
        state: queued, running, cancelling, succeeded, failed or cancelled.
        progress: frames done.
        options: as they were submitted.
        checkpoint: the network; None until a worker has taken it up.
        media: the file; None where none is kept.
        attempts: how often a worker took it up.
        error: why it failed.
        warnings: what to know of a job that went well, such as a truncated file.
        created_at: when it was submitted; the others when it began, ended and will be deleted.
        reading: what decides, `network` or `both` with the reading of landmarks; None until a worker has taken it up.
    """

    id: str
    kind: str
    state: str
    progress: JobProgress
    options: dict[str, Any]
    checkpoint: CheckpointRef | None
    media: JobMedia | None
    attempts: int
    error: JobProblem | None
    warnings: tuple[str, ...]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    reading: str | None = None

    @property
    def final(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.state in FINAL_STATES

    @property
    def succeeded(self) -> bool:
        """Whether it ended well."""
        return self.state == "succeeded"

    def __hash__(self) -> int:
        return hash((self.id, self.state, self.progress))

    def __repr__(self) -> str:
        total = "" if self.progress.frames_total is None else f"/{self.progress.frames_total}"
        name = f" {self.media.name}" if self.media and self.media.name else ""
        reason = f": {self.error.detail}" if self.error else ""
        return f"<Job {self.id}{name} {self.state}, {self.progress.frames_done}{total} frames{reason}>"

    def _repr_html_(self) -> str:
        return job_html(self)


@dataclass(frozen=True, slots=True)
class CheckpointMetrics:
    """Measured quality with the protocol that gave it."""

    protocol: str
    mean: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """An installed checkpoint; `active` marks the one that new jobs use."""

    name: str
    version: str
    active: bool
    summary: str
    au_codes: tuple[str, ...]
    input_size: int
    backbone: str
    synthetic_only: bool
    trained_on: str
    metrics: CheckpointMetrics
    licence: str
    parameters: int
    weights_sha256: str
    thresholds: dict[str, float] = field(default_factory=dict)
    reads_landmarks: bool = False

    @property
    def ref(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"


@dataclass(frozen=True, slots=True)
class CheckpointList:
    """The body of `GET /checkpoints`."""

    checkpoints: tuple[CheckpointInfo, ...]


@dataclass(frozen=True, slots=True)
class JobsPage:
    """The body of `GET /jobs`."""

    jobs: tuple[Job, ...]
    next: str | None
