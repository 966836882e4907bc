"""Contact sheets: rendered faces side by side with their labels, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from training.synthetic.recipes import LABELLED
from training.synthetic.renderer import RenderedFace

UInt8Array = npt.NDArray[np.uint8]
CAPTION_HEIGHT = 26
PAPER, INK = 255, 0


def caption(face: RenderedFace) -> tuple[str, str]:
    """Return two lines: the Action Units that are present, and those that are undecided."""
    present = [unit for unit, seen in zip(LABELLED, face.labels.occurrence, strict=True) if seen]
    unsure = [unit for unit, weight in zip(LABELLED, face.labels.weight, strict=True) if weight == 0]
    return " ".join(map(str, present)) or "neutral", "? " + " ".join(map(str, unsure)) if unsure else ""


def tile(face: RenderedFace, landmarks: bool = False) -> UInt8Array:
    """Return a picture with its captions above, (S + 26, S, 3); `landmarks` are drawn as green dots."""
    picture = face.pixels.copy()
    if landmarks:
        for x, y in np.round(face.landmarks * 16).astype(int).tolist():
            cv2.circle(picture, (x, y), 16, (0, 255, 0), -1, cv2.LINE_AA, 4)
    head = np.full((CAPTION_HEIGHT, picture.shape[1], 3), PAPER, np.uint8)
    for line, text in enumerate(caption(face)):
        cv2.putText(head, text, (2, 10 + 12 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.34, (INK,) * 3, 1, cv2.LINE_AA)
    return np.concatenate([head, picture])


def sheet(tiles: Sequence[UInt8Array], columns: int = 8) -> UInt8Array:
    """Lay tiles of one size out in rows.

    Raises:
        ValueError: without tiles.
    """
    if not tiles:
        raise ValueError("a contact sheet needs at least one picture")
    columns = min(columns, len(tiles))
    blank = np.full_like(tiles[0], PAPER)
    filled = [*tiles, *[blank] * (-len(tiles) % columns)]
    rows = [np.concatenate(filled[start : start + columns], 1) for start in range(0, len(filled), columns)]
    return np.concatenate(rows)


def save_picture(path: Path, rgb: UInt8Array, quality: int = 92) -> None:
    """Write an RGB picture as PNG or JPEG, by the path's ending.

    Raises:
        OSError: when it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    done, stream = cv2.imencode(path.suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise OSError(f"cannot encode {path}")
    path.write_bytes(stream.tobytes())
