"""Pictures and clips on their way to the service, and pictures that come back."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    ImageLike = str | os.PathLike[str] | bytes | np.ndarray[Any, Any] | Image.Image
else:
    ImageLike = Any

VideoLike = str | os.PathLike[str] | bytes


def picture_file(image: ImageLike) -> tuple[str, bytes]:
    """The name and the bytes of a picture's file.

    Args:
        image: a path, the bytes of a file, an array (H, W, 3) or (H, W) of uint8 in RGB order (OpenCV's is BGR), or a
            Pillow image. Arrays and Pillow images are sent as PNG, with their pixels as they are: an EXIF rotation
            that was not applied stays unapplied.

    Raises:
        OSError: the path cannot be read.
        TypeError: the array is not of that shape and type, or this is no picture.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return "picture", bytes(image)
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        return path.name, path.read_bytes()
    anything: Any = image
    if hasattr(anything, "save") and hasattr(anything, "mode"):  # Pillow, without loading it for those who do not
        return "picture.png", _png(anything)
    if hasattr(anything, "__array__"):
        return "picture.png", _png(_from_array(anything))
    raise TypeError(f"a picture is a path, bytes, an array or a Pillow image, not {type(image).__name__}")


def _from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    import numpy as np
    from PIL import Image

    pixels = np.asarray(array)
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise TypeError(
            f"an array must be (H, W, 3) RGB or (H, W) grey of uint8, not {pixels.dtype} of shape {pixels.shape}"
        )
    if 0 in pixels.shape:
        raise TypeError(f"the array of shape {pixels.shape} has no pixels")
    return Image.fromarray(np.ascontiguousarray(pixels))


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    plain = image if image.mode in ("RGB", "L") else image.convert("RGB")
    plain.save(file, "PNG", compress_level=1)
    return file.getvalue()


def video_name(video: VideoLike) -> str:
    """A name for a clip."""
    return "clip" if isinstance(video, bytes | bytearray | memoryview) else Path(video).name


class Upload:
    """A clip's file that tells how much of it was read; reading it again from the start begins the count anew."""

    def __init__(self, video: VideoLike, report: Callable[[int, int], None]) -> None:
        self._report = report
        self._sent = 0
        self.file_name = video_name(video)
        self._file: BinaryIO
        if isinstance(video, bytes | bytearray | memoryview):
            self._file = io.BytesIO(video)
            self.total = len(video)
        else:
            path = Path(video)
            self._file = path.open("rb")
            self.total = path.stat().st_size

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self._file.read(size)
        self._sent += len(data)
        self._report(self._sent, self.total)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go back for another attempt."""
        self._sent = self._file.seek(offset, whence)
        return self._sent

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True, repr=False)
class Picture:
    """A picture that the service drew. A notebook shows it.

    Attributes:
        png: the bytes of its file.
    """

    png: bytes

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the PNG file."""
        target = Path(path)
        target.write_bytes(self.png)
        return target

    def to_pil(self) -> Image.Image:
        """As a Pillow image."""
        from PIL import Image

        return Image.open(io.BytesIO(self.png))

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """(H, W, 3) uint8 RGB."""
        import numpy as np

        return np.asarray(self.to_pil().convert("RGB"))

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        return f"<Picture, PNG of {len(self.png)} bytes>"
