"""What goes over the socket as text."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.checkpoints.choice import REF_PATTERN
from service.detect.schemas import ImageBlock
from service.results.schemas import CheckpointBlock, FaceAnswer
from worker.store.records import FaceSelection


class CameraSettings(BaseModel):
    """A client's first message, and any later one that changes its wishes.

    Attributes:
        key: an API key, where the service has keys and the client cannot send headers.
        faces: all faces, or the largest of each frame.
        checkpoint: `NAME[:VERSION]`; None for the active one.
        maps: the AUs whose ROI maps come along.
        rest: `take` holds brows and lids of the largest face against the next frame that shows one, `none` ends that.
            It stays in this session's memory and ends with it.
    """

    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, Field(max_length=100)] | None = None
    faces: FaceSelection = FaceSelection.ALL
    checkpoint: Annotated[str, Field(pattern=REF_PATTERN)] | None = None
    rest: Literal["keep", "take", "none"] = "keep"
    maps: list[Annotated[str, Field(pattern=r"^AU[1-9]\d?$")]] = Field(default=[], max_length=64)


class FrameRead(BaseModel):
    """The answer to one frame."""

    frame: int = Field(description="The client's number; earlier ones that were not answered never will be")
    image: ImageBlock
    checkpoint: CheckpointBlock
    faces: list[FaceAnswer]
    held: bool = Field(description="Whether brows and lids of the largest face were held against a resting face")
    waited_ms: float = Field(description="From the frame's arrival until its turn")
    worked_ms: float = Field(description="From its turn until the answer")
    dropped: int = Field(description="Frames of this socket so far whose place a newer one took")


class FrameRefused(BaseModel):
    """A problem document, for one frame or (`frame` null) for the socket, which is then closed."""

    frame: int | None
    problem: dict[str, Any]
