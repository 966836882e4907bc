"""Where a folder of shards comes from, in the words that a published checkpoint tells its users."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.data.prepared import MANIFEST_NAME, is_prepared

DATASET_NAMES = {"bp4d": "BP4D", "disfa": "DISFA"}
RENDERED_LICENCE = "Apache-2.0"


@dataclass(frozen=True)
class Origin:
    """What a folder of faces holds.

    Attributes:
        kind: "rendered" (`roigcn render`), "people" (`roigcn prepare`) or "unknown" (shards of another make).
        name: the data set's name; "toy head" for renders of the built-in head, "" for other renders and unknown faces.
    """

    kind: Literal["rendered", "people", "unknown"]
    name: str = ""

    @property
    def pictures(self) -> str:
        """What the pictures are called after a number."""
        if self.kind == "rendered":
            return f"rendered faces{f' ({self.name})' if self.name else ''}"
        return f"faces of {self.name}" if self.name else "faces"

    def test_protocol(self, faces: int, people: int, calibration_faces: int) -> str:
        """How the published figures were measured.

        Args:
            faces: in the test part.
            people: whom they show.
            calibration_faces: in the calibration part.
        """
        if self.kind == "rendered":
            who = f" of {people} identities and of skins that were not trained on"
            landmarks = "the renderer's landmarks"
        else:
            who, landmarks = f", people who were held out ({people})", "the landmarks stored with the faces"
        return (
            f"{faces} {self.pictures}{who}; ROI centres from {landmarks}; calibration and thresholds from "
            f"{calibration_faces} others, held out of training too; published half-precision weights"
        )

    def limits(self) -> list[str]:
        """What figures and probabilities cannot carry, a sentence or two each."""
        if self.kind == "rendered":
            return [
                "Figures on rendered faces do not carry over to photographs: expect less there, least of all for "
                "brows, lids, dimples and lip tightening.",
                "Probabilities are calibrated on rendered faces, where Action Units are commoner than in daily life.",
            ]
        where = self.name or "its test part"
        return [
            f"Figures hold for people, cameras, light and tasks like those of {where}; expect less elsewhere, and look "
            "at groups of people apart.",
            f"Probabilities are calibrated at the rates of {where}; where Action Units are rarer they are too high.",
        ]

    def licence(self) -> str:
        """What to say of the weights' licence unless the publisher says more."""
        if self.kind == "rendered":
            return RENDERED_LICENCE
        return f"bound by the licence of {self.name or 'the training data'}; read it before you pass the weights on"


def origin_of(folder: Path, part: str = "test") -> Origin:
    """Read where a folder's faces come from; "unknown" where it says nothing.

    Args:
        folder: as `find_shards` takes it.
        part: the part whose manifest is read in a folder of rendered faces.
    """
    if is_prepared(folder):
        dataset = str(json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))["dataset"])
        return Origin("people", DATASET_NAMES.get(dataset, f"the data set {folder.name}"))
    for place in (folder / part / MANIFEST_NAME, folder / MANIFEST_NAME):
        try:
            head = json.loads(place.read_text(encoding="utf-8")).get("head")
        except (OSError, ValueError, AttributeError):
            continue
        if head:
            return Origin("rendered", "toy head" if head == "toy" else "")
    return Origin("unknown")
