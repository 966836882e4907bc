"""Miniature BP4D and DISFA trees in the data sets' own layouts, oddities included, with the truth of every frame.

The faces are drawings: a grey face on a ground whose shade changes with the frame number, and for each Action Unit
that occurs a dot of its own colour at both of its regions, so that a network can learn them and a test can tell
neighbouring frames apart.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import h5py
import numpy as np
import scipy.io

from model.action_units import AU_SETS
from model.landmarks import LAYOUTS
from model.roi import roi_centres
from tests.training.conftest import face_landmarks
from training.prepare.disfa import AUS as DISFA_AUS

WIDTH, HEIGHT = 160, 128
BP4D_SUBJECTS = ("F001", "F002", "M001")
DISFA_SUBJECTS = ("SN001", "SN002", "SN031")
LETTERED = ("SN030", "SN031")
"""DISFA subjects whose landmark files are named l00001_lm.mat."""


@dataclass
class Frame:
    """What is true of a frame: picture, landmarks, codes (1, 0, 9) or intensities by AU, and what is odd about it."""

    rgb: np.ndarray
    points: np.ndarray
    codes: dict[str, int]
    odd: str = ""


@dataclass
class Tree:
    """A data set on disk and the truth of its frames, by (subject, task, frame); the task is "" in DISFA."""

    root: Path
    frames: dict[tuple[str, str, int], Frame] = field(default_factory=dict)

    def of(self, subject: str, odd: str | None = None) -> list[tuple[str, str, int]]:
        """Addresses of a subject's frames, of those with an oddity or ("") without one."""
        return [key for key, frame in self.frames.items() if key[0] == subject and odd in (None, frame.odd)]


def draw_face(number: int, codes: Mapping[str, int], occurred: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A picture (HEIGHT, WIDTH, 3) and its 68 landmarks."""
    rng = np.random.default_rng(number)
    points = face_landmarks(80) + np.array([WIDTH / 2 - 40, HEIGHT / 2 - 40]) + rng.uniform(-6, 6, 2)
    rgb = np.full((HEIGHT, WIDTH, 3), 30 + (number * 67) % 150, np.uint8)
    cv2.fillConvexPoly(rgb, cv2.convexHull(np.round(points).astype(np.int32)), (190, 160, 140))
    for part in (slice(36, 42), slice(42, 48), slice(48, 60)):
        cv2.polylines(rgb, [np.round(points[part]).astype(np.int32)], True, (90, 60, 60), 1)
    for code, value in codes.items():
        if value != 9 and value >= occurred:
            unit = int(code.removeprefix("AU"))
            colour = np.random.default_rng(unit).integers(0, 255, 3).tolist()
            for centre in np.round(roi_centres(points[None], (code,))[0, 0]).astype(int).tolist():
                cv2.circle(rgb, tuple(centre), 2 + unit % 2, colour, -1)
    return rgb, points


def make_bp4d(
    folder: Path,
    subjects: Sequence[str] = BP4D_SUBJECTS,
    frames: int = 8,
    tasks: Sequence[str] = ("T1", "T2"),
    odd: bool = True,
    seed: int = 0,
) -> Tree:
    """BP4D with `frames` coded frames per task, the first of them number 3.

    With `odd`, the first subject has in its first task an unknown label (9) for AU1, in its second task a frame with
    empty landmarks and one without a picture; the last subject has no landmark file for its last task. Names of
    pictures are padded in odd tasks only, and every task has pictures without a code.
    """
    tree = Tree(folder)
    rng = np.random.default_rng(seed)
    labels, landmarks = folder / "AUCoding" / "AU_OCC", folder / "2DFeatures"
    labels.mkdir(parents=True)
    landmarks.mkdir()
    for person, subject in enumerate(subjects):
        for part, task in enumerate(tasks):
            pictures = folder / "Sequences(2D+3D)" / subject / task
            pictures.mkdir(parents=True)
            (pictures / "Thumbs.db").write_bytes(b"not a picture")
            coded: dict[int, Frame] = {}
            for frame in range(3, 3 + frames):
                codes = {code: int(rng.random() < 0.5) for code in (*AU_SETS["bp4d"], "AU5")}
                kind = _bp4d_oddity(subjects, tasks, person, part, frame) if odd else ""
                if kind == "unknown":
                    codes["AU1"] = 9
                rgb, points = draw_face(person * 1000 + part * 100 + frame, codes)
                coded[frame] = tree.frames[subject, task, frame] = Frame(rgb, points, codes, kind)
            digits = 4 if part % 2 == 0 else 1
            for frame, truth in {0: next(iter(coded.values())), **coded}.items():
                if truth.odd != "no picture":
                    cv2.imwrite(str(pictures / f"{frame:0{digits}d}.jpg"), truth.rgb[..., ::-1], [1, 95])
            _write_codes(labels / f"{subject}_{task}.csv", coded)
            if not any(truth.odd == "no landmark file" for truth in coded.values()):
                entries = [
                    coded[f].points if f in coded and coded[f].odd != "empty" else None for f in range(3 + frames)
                ]
                write_features(landmarks / f"{subject}_{task}.mat", entries)
    return tree


def _bp4d_oddity(subjects: Sequence[str], tasks: Sequence[str], person: int, part: int, frame: int) -> str:
    if person == len(subjects) - 1 and person > 0 and part == len(tasks) - 1 and part > 0:
        return "no landmark file"
    if person == 0:
        return {(0, 4): "unknown", (1, 5): "empty", (1, 6): "no picture"}.get((part, frame), "")
    return ""


def _write_codes(path: Path, coded: Mapping[int, Frame]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(range(100))
        for frame, truth in coded.items():
            writer.writerow([frame, *(truth.codes.get(f"AU{unit}", 0) for unit in range(1, 100))])


def write_features(path: Path, entries: Sequence[np.ndarray | None]) -> None:
    """A v7.3 file as MATLAB writes it: fit.pred is a row of references to 49 x 2 matrices, pixels counted from 1."""
    with h5py.File(path, "w", userblock_size=512) as file:
        store = file.create_group("#refs#")
        references = []
        for number, points in enumerate(entries):
            if points is None:  # MATLAB stores the dimensions of an empty matrix in its place
                entry = store.create_dataset(f"e{number}", data=np.zeros(2, np.uint64))
                entry.attrs["MATLAB_empty"] = np.uint8(1)
            else:
                entry = store.create_dataset(f"e{number}", data=(points[LAYOUTS["ibug49"].to_layout] + 1).T)
            entry.attrs["MATLAB_class"] = np.bytes_("double")
            references.append(entry.ref)
        fit = file.create_group("fit")
        pred = fit.create_dataset("pred", (len(references), 1), dtype=h5py.ref_dtype)
        pred[:, 0] = references
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def make_disfa(
    folder: Path,
    subjects: Sequence[str] = DISFA_SUBJECTS,
    frames: int = 8,
    first: int = 1,
    odd: bool = True,
    seed: int = 0,
) -> Tree:
    """DISFA with `frames` frames a subject.

    Frames before `first` are grey pictures without landmarks, so that late frames can be tried cheaply. With `odd`, the
    second subject lacks frame 4's landmark file, the last but `LETTERED` ones too are named as in the data set, and
    SN031 lacks l03631_lm.mat as the data set does.
    """
    tree = Tree(folder)
    rng = np.random.default_rng(seed)
    (folder / "Videos_LeftCamera").mkdir(parents=True)
    for person, subject in enumerate(subjects):
        points_folder = folder / "Landmark_Points" / subject / "tmp_frame_lm"
        points_folder.mkdir(parents=True)
        pictures = []
        for frame in range(1, frames + 1):
            codes = {code: int(rng.integers(0, 6)) if rng.random() < 0.6 else 0 for code in DISFA_AUS}
            if frame < first:
                truth = Frame(np.full((HEIGHT, WIDTH, 3), 128, np.uint8), np.zeros((68, 2)), codes, "early")
            else:
                truth = Frame(*draw_face(person * 1000 + frame, codes, occurred=2), codes)
                if odd and ((person == 1 and frame == 4) or (subject, frame) == ("SN031", 3631)):
                    truth.odd = "no landmark file"
            tree.frames[subject, "", frame] = truth
            pictures.append(truth.rgb)
            if not truth.odd:
                name = f"l{frame:05d}_lm.mat" if subject in LETTERED else f"{subject}_{frame - 1:04d}_lm.mat"
                scipy.io.savemat(points_folder / name, {"pts": truth.points[LAYOUTS["ibug66"].to_layout]})
        write_avi(folder / "Videos_LeftCamera" / f"LeftVideo{subject}_comp.avi", pictures)
        write_intensities(folder / "ActionUnit_Labels" / subject, subject, tree, frames)
    return tree


def write_intensities(folder: Path, subject: str, tree: Tree, frames: int) -> None:
    folder.mkdir(parents=True)
    for code in DISFA_AUS:
        lines = [f"{frame},{tree.frames[subject, '', frame].codes[code]}\n" for frame in range(1, frames + 1)]
        (folder / f"{subject}_{code.lower()}.txt").write_text("".join(lines))


def write_avi(path: Path, pictures: Sequence[np.ndarray]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=20, options={"qscale": "2", "g": "12", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.flags |= 2  # qscale
        for rgb in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")))
        container.mux(stream.encode())


def make_table(folder: Path, people: Sequence[str] = ("P1", "P2"), frames: int = 4, landmarks: int = 68) -> Path:
    """A table of drawn faces with `landmarks` points (0 for none); returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = LAYOUTS[f"ibug{landmarks}"].to_layout if landmarks else slice(0)
    codes = ("AU4", "AU12", "AU25")
    with (folder / "coded.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        axes = [f"{axis}_{i}" for i in range(landmarks) for axis in "xy"]
        writer.writerow(["image", "subject", *codes, *axes])
        for person, name in enumerate(people):
            for frame in range(frames):
                values = {code: (frame + i + person) % 2 for i, code in enumerate(codes)}
                rgb, points = draw_face(person * 100 + frame, values)
                cv2.imwrite(str(folder / f"{name}_{frame}.png"), rgb[..., ::-1])
                writer.writerow([f"{name}_{frame}.png", name, *values.values(), *points[kept].ravel().round(3)])
    return folder / "coded.csv"
