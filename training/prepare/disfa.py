"""DISFA: 27 people, one clip of 4845 frames each, intensities 0 to 5 of twelve Action Units (METHOD 6.2).

    ActionUnit_Labels/SN001/SN001_au1.txt               lines "frame,intensity", frames from 1
    Videos_LeftCamera/LeftVideoSN001_comp.avi           picture i is line i; only the left camera is used
    Landmark_Points/SN001/tmp_frame_lm/SN001_0000_lm.mat   key pts, 66 x 2; the number is the frame less 1
    Landmark_Points/SN030/tmp_frame_lm/l00001_lm.mat       as some subjects are numbered: the number is the frame

An Action Unit occurred where its intensity is 2 or more, as in the paper.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import scipy.io

from training.prepare.clip import clip_pictures
from training.prepare.folders import find_folder
from training.prepare.landmarks import to_ibug68
from training.prepare.source import (
    DOUBTFUL_LANDMARKS,
    NO_LANDMARK_FILE,
    NO_LANDMARKS,
    NO_PICTURE,
    WRONG_LANDMARKS,
    PrepareError,
    Sample,
    labels_of,
)

NUMBERS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32)
SUBJECTS = tuple(f"SN{number:03d}" for number in NUMBERS)
AUS = tuple(f"AU{number}" for number in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26))
OCCURRED = 2
POINTS = 66
WRONG = {"SN029": range(4330, 4537)}
"""Frames whose landmarks lie off the face (METHOD 6.2)."""
DOUBTFUL: Mapping[str, tuple[tuple[int, int], ...]] = MappingProxyType(
    {
        "SN001": ((398, 420), (3190, 3243)),
        "SN002": ((800, 826),),
        "SN004": ((4541, 4555),),
        "SN006": ((1349, 1405),),
        "SN009": ((1736, 1808), (1851, 1885)),
        "SN011": ((4529, 4533), (4830, 4845)),
        "SN021": (
            *((574, 616), (985, 1164), (1190, 1205), (1305, 1338)),
            *((1665, 1710), (1862, 2477), (2554, 4657), (4710, 4722)),
        ),
        "SN023": ((1021, 1049), (3378, 3557), (3584, 3668), (4547, 4621), (4741, 4772), (4825, 4845)),
        "SN025": ((4596, 4662), (4816, 4835)),
        "SN027": ((3461, 3494), (4738, 4785)),
        "SN028": ((1875, 1885), (4571, 4690)),
        "SN029": ((4090, 4543),),
        "SN030": ((939, 962), (1406, 1422), (2100, 2132), (2893, 2955)),
    }
)
"""First and last frames whose landmarks a public loader of DISFA lists as bad: 4670 frames. JAA-Net's lists leave out
as many (27 * 4845 - 4670 = 126,145; they hold 126,144), and the same ones of SN002, the only subject compared."""
COPIED = {("SN031", 3631): 3630}
"""A landmark file that the data set lacks, and the frame whose file stands in for it (METHOD 6.2)."""


def read_intensities(folder: Path, subject: str, au_codes: tuple[str, ...]) -> npt.NDArray[np.int8]:
    """(N, K) intensities 0 to 5; row i is frame i + 1.

    Raises:
        PrepareError: a file is missing, its frames are not 1, 2, 3 ..., its values not 0 to 5, or lengths differ.
    """
    columns: list[list[int]] = []
    for code in au_codes:
        path = folder / subject / f"{subject}_{code.lower()}.txt"
        columns.append(_read_column(path))
        if len(columns[-1]) != len(columns[0]):
            raise PrepareError(f"{path}: {len(columns[-1])} lines, but {au_codes[0]} has {len(columns[0])}")
    return np.array(columns, np.int8).T


def _read_column(path: Path) -> list[int]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise PrepareError(f"{path}: no such file; copy it from the data set, or choose other --aus") from error
    except (OSError, UnicodeDecodeError) as error:
        raise PrepareError(f"{path}: cannot be read ({error})") from error
    values: list[int] = []
    for number, line in enumerate((line for line in lines if line.strip()), start=1):
        match = re.fullmatch(r"\s*(\d+)\s*,\s*([0-5])\s*", line)
        if match is None or int(match[1]) != number:
            raise PrepareError(f'{path}, line {number}: {line!r} is not "{number},intensity" with 0 to 5')
        values.append(int(match[2]))
    return values


def landmark_files(folder: Path, subject: str, frames: int) -> tuple[dict[int, Path], str]:
    """The landmark files of a subject by frame, and how they are numbered, in words ("" for none)."""
    plain, lettered = {}, {}
    for path in sorted(_point_folder(folder / subject).glob("*_lm.mat")):
        if match := re.fullmatch(rf"{subject}_(\d+)_lm", path.stem):
            plain[int(match[1]) + 1] = path
        elif match := re.fullmatch(r"l(\d+)_lm", path.stem):
            lettered[int(match[1])] = path
    if plain:
        return plain, f"{subject}_0000_lm.mat is frame 1"
    # As METHOD 6.2 has it the number is the frame. A copy that counts from 0 would shift every face by one frame.
    if 0 in lettered and frames not in lettered:
        return {number + 1: path for number, path in lettered.items()}, "l00000_lm.mat is frame 1"
    return lettered, "l00001_lm.mat is frame 1" if lettered else ""


def _point_folder(folder: Path) -> Path:
    """`tmp_frame_lm`, or the only folder there."""
    usual = folder / "tmp_frame_lm"
    if usual.is_dir() or not folder.is_dir():
        return usual
    inside = [path for path in folder.iterdir() if path.is_dir()]
    return inside[0] if len(inside) == 1 else folder


def read_points(path: Path) -> npt.NDArray[np.float64] | None:
    """(68, 2) of a landmark file as it has them; None where it holds none.

    Raises:
        PrepareError: not such a file.
    """
    try:
        points = np.asarray(scipy.io.loadmat(path)["pts"], np.float64)
    except Exception as error:  # scipy answers broken bytes with any exception: its own, zlib's, struct's ...
        raise PrepareError(f"{path}: no MATLAB file with pts ({error}); copy it from the data set again") from error
    if points.size == 0 or not np.isfinite(points).all() or not points.any():
        return None
    if points.shape != (POINTS, 2):
        raise PrepareError(f"{path}: {points.shape} landmarks, wanted ({POINTS}, 2)")
    return to_ibug68(points)


@dataclass(frozen=True)
class Disfa:
    """DISFA on disk, a `training.prepare.source.Source`.

    Attributes:
        labels: the folder `ActionUnit_Labels`.
        videos: the folder `Videos_LeftCamera`.
        landmarks: the folder `Landmark_Points`.
        au_codes: Action Units to keep, of `AUS`.
        drop_doubtful: whether landmarks listed in `DOUBTFUL` count as missing.
    """

    labels: Path
    videos: Path
    landmarks: Path
    au_codes: tuple[str, ...]
    drop_doubtful: bool = False

    dataset = "disfa"

    @classmethod
    def find(
        cls,
        root: Path,
        au_codes: tuple[str, ...],
        labels: Path | None = None,
        videos: Path | None = None,
        landmarks: Path | None = None,
        drop_doubtful: bool = False,
    ) -> Disfa:
        """Find the three folders in the data set's own folder.

        Raises:
            PrepareError: one of them is not there, there are no labels, or DISFA does not code an Action Unit.
        """
        uncoded = [code for code in au_codes if code not in AUS]
        if uncoded:
            raise PrepareError(f"DISFA does not code {', '.join(uncoded)}; it codes {', '.join(AUS)}")
        found = cls(
            labels=find_folder(root, ("ActionUnit_Labels", "ActionUnit_labels"), "labels", "--labels", labels),
            videos=find_folder(root, ("Videos_LeftCamera", "Video_LeftCamera"), "clips", "--videos", videos),
            landmarks=find_folder(root, ("Landmark_Points",), "landmarks", "--landmarks", landmarks),
            au_codes=au_codes,
            drop_doubtful=drop_doubtful,
        )
        if not found.subjects():
            raise PrepareError(f"{found.labels}: no label files such as SN001/SN001_au1.txt in it")
        return found

    @property
    def settings(self) -> Mapping[str, object]:
        """Whether doubtful landmarks are used."""
        return {"drop_doubtful": self.drop_doubtful}

    @property
    def notes(self) -> tuple[str, ...]:
        """Which of the 27 people have no labels."""
        there = self.subjects()
        absent = [subject for subject in SUBJECTS if subject not in there]
        return (f"{len(absent)} of 27 subjects have no labels: {', '.join(absent)}",) if absent else ()

    def subjects(self) -> dict[str, int]:
        """People with labels, and how many frames are coded."""
        found = {}
        for folder in sorted(self.labels.glob("SN[0-9][0-9][0-9]")):
            path = folder / f"{folder.name}_{self.au_codes[0].lower()}.txt"
            try:
                with path.open("rb") as file:
                    found[folder.name] = sum(1 for line in file if line.strip())
            except OSError:
                found[folder.name] = 0  # named when the subject's turn comes
        return found

    def samples(self, subject: str, note: Callable[[str], None]) -> Iterator[Sample]:
        """The coded frames of a subject; see `Source.samples`."""
        intensities = read_intensities(self.labels, subject, self.au_codes)
        labels, weights = labels_of((intensities >= OCCURRED).astype(np.float32))
        files, numbering = landmark_files(self.landmarks, subject, len(labels))
        note(f"landmarks: {numbering or 'none'}")
        last = 0
        for frame, picture in clip_pictures(self._video(subject), note):
            last = frame
            if frame > len(labels):
                continue
            points, missing, origin = self._points(subject, frame, files)
            yield Sample(frame, "", labels[frame - 1], weights[frame - 1], points, missing, picture, origin)
        if last != len(labels):
            note(f"the clip has {last} pictures, the labels {len(labels)} lines")
        for frame in range(last + 1, len(labels) + 1):
            yield Sample(frame, "", labels[frame - 1], weights[frame - 1], None, NO_PICTURE, None)

    def _points(
        self, subject: str, frame: int, files: dict[int, Path]
    ) -> tuple[npt.NDArray[np.float64] | None, str, str]:
        """Landmarks of a frame, why there are none, and where they come from."""
        if frame in WRONG.get(subject, ()):
            return None, WRONG_LANDMARKS, "dataset"
        if self.drop_doubtful and any(low <= frame <= high for low, high in DOUBTFUL.get(subject, ())):
            return None, DOUBTFUL_LANDMARKS, "dataset"
        path, origin = files.get(frame), "dataset"
        if path is None and (subject, frame) in COPIED:
            path, origin = files.get(COPIED[subject, frame]), "frame before"
        if path is None:
            return None, NO_LANDMARK_FILE, "dataset"
        return read_points(path), NO_LANDMARKS, origin

    def _video(self, subject: str) -> Path:
        path = self.videos / f"LeftVideo{subject}_comp.avi"
        if not path.exists():
            raise PrepareError(f"{path}: no such file; copy it from the data set")
        return path
