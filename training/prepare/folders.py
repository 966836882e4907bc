"""Finding a data set's folders, with an error that lists what was looked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.prepare.source import PrepareError

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")


def find_folder(root: Path, candidates: Sequence[str], what: str, option: str, given: Path | None = None) -> Path:
    """The first of `root / candidate` that is a folder, or the given one.

    Args:
        root: folder of the data set.
        candidates: relative paths, likeliest first.
        what: what lies there, for the message.
        option: the option by which a user names the folder.
        given: what the user named.

    Raises:
        PrepareError: there is none.
    """
    if given is not None:
        if not given.is_dir():
            raise PrepareError(f"{given}: no such folder ({what})")
        return given
    if not root.is_dir():
        raise PrepareError(f"{root}: no such folder; give the folder that the data set was unpacked into")
    for candidate in candidates:
        if (root / candidate).is_dir():
            return root / candidate
    looked_for = ", ".join(f"{candidate}/" for candidate in candidates)
    raise PrepareError(f"{root}: no folder with the {what}; looked for {looked_for} in it. Name it with {option}")


def pictures_by_number(folder: Path) -> dict[int, Path]:
    """Picture files by the number that their name is: `732.jpg` and `0732.jpg` are both 732 (METHOD 6.1)."""
    if not folder.is_dir():
        return {}
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICTURES and path.stem.isdecimal():
            found.setdefault(int(path.stem), path)
    return found
