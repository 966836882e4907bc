"""A picture's faces as Label Studio results, for whatever controls the project has. Pure.

Coordinates are per cent of the picture, origin top left. A number is a probability, never an intensity. What a project
has no control for is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.values import Float32Array
from service.integrations.label_studio.config import Control, Label, LabelConfig, Medium
from service.integrations.label_studio.shapes import encode_mask, mask, polygons
from worker.store.records import FaceRow

Result = dict[str, Any]

_POINT_PERCENT = 0.5  # width of a key point


@dataclass(frozen=True, slots=True)
class Picture:
    """An analysed picture.

    Attributes:
        width: of the upright picture, pixels.
        faces: largest first.
        maps: (K, H, W) of each face, or None where they were not kept.
        au_codes: the order of all AU arrays.
        crop_scale: of the checkpoint's crops, which places the maps.
    """

    width: int
    height: int
    faces: Sequence[FaceRow]
    maps: Sequence[Float32Array | None]
    au_codes: Sequence[str]
    crop_scale: float


def needs_maps(config: LabelConfig, medium: Medium) -> bool:
    """Whether any control wants the shapes of ROI maps."""
    return any(control.au_labels() for control in config.on(medium, "brushlabels", "polygonlabels"))


def picture_results(
    config: LabelConfig, medium: Medium, picture: Picture, faces: Sequence[int], prefix: str, *, whole: bool = True
) -> list[Result]:
    """The results of some faces of a picture.

    Args:
        config: the project's.
        medium: the `<Image>`.
        picture: what was found.
        faces: which faces, as indices of `picture.faces`.
        prefix: of the regions' ids, which must be unique within an annotation.
        whole: also fill in what belongs to the picture as a whole, from the first of the faces.
    """
    results: list[Result] = []
    for index in faces:
        results += _FaceResults(config, medium, picture, index, f"{prefix}-f{index}").all()
    if whole and faces:
        results += _FaceResults(config, medium, picture, faces[0], f"{prefix}-p").of_the_picture()
    return results


def certainty(faces: Sequence[FaceRow]) -> float:
    """The prediction's score, 0.5 to 1: how far from even the probabilities of the faces' AUs are, on average.

    Tasks sorted by it, lowest first, begin with those that the network is least sure of. Without a face it is 0.
    """
    probabilities = np.concatenate([face.au_probability for face in faces]) if faces else np.empty(0)
    finite = probabilities[np.isfinite(probabilities)]
    return round(float(np.maximum(finite, 1 - finite).mean()), 4) if finite.size else 0.0


def percent(value: float, size: int) -> float:
    """A pixel coordinate, whose whole numbers are pixel centres, as per cent of a side of `size` pixels."""
    return round(min(max((value + 0.5) / size * 100, 0.0), 100.0), 4)


class _FaceResults:
    """The results of one face."""

    def __init__(self, config: LabelConfig, medium: Medium, picture: Picture, index: int, region: str) -> None:
        self._config = config
        self._medium = medium
        self._picture = picture
        self._face = picture.faces[index]
        self._maps = picture.maps[index]
        self._region = region
        left, top, right, bottom = (float(edge) for edge in self._face.box_xyxy)
        x, y = percent(left, picture.width), percent(top, picture.height)
        self._box = {
            "x": x,
            "y": y,
            "width": round(percent(right, picture.width) - x, 4),
            "height": round(percent(bottom, picture.height) - y, 4),
            "rotation": 0,
        }

    def all(self) -> list[Result]:
        """The box, what belongs to it, and the Action Units' own regions."""
        boxes = list(self._boxes())
        return [*boxes, *(self._per_region() if boxes else ()), *self._points(), *self._shapes()]

    def of_the_picture(self) -> list[Result]:
        """Choices, numbers and taxonomies that belong to the picture as a whole: those of this face."""
        return [
            self._result(control, f"{self._region}-{control.name}", value, score)
            for control in self._config.on(self._medium, "choices", "taxonomy", "number")
            if not control.per_region
            for value, score in self._facts(control)
        ]

    def _boxes(self) -> Iterator[Result]:
        for control in self._config.on(self._medium, "rectanglelabels"):
            label, score = control.face_label, float(self._face.face_score)
            if label is None or (control.threshold is not None and score < control.threshold):
                continue
            yield self._result(control, self._region, {**self._box, control.kind: [label.value]}, score)
            return  # one box a face: a second would be a second region of the same id

    def _per_region(self) -> Iterator[Result]:
        for control in self._config.on(self._medium, "choices", "taxonomy", "number"):
            if control.per_region:
                for value, score in self._facts(control):
                    yield self._result(control, self._region, {**self._box, **value}, score)

    def _facts(self, control: Control) -> Iterator[tuple[dict[str, Any], float]]:
        """The value of a control without geometry, and its score; nothing when there is nothing to say."""
        if control.kind == "number":
            scale, probability = control.number_scale, self._probability(control.au)
            if scale is not None and not math.isnan(probability):
                yield {"number": round(probability * scale, 4)}, probability
            return
        shown = sorted(self._shown(control), key=lambda pair: -pair[1])
        if not control.multiple:
            shown = shown[:1]
        if shown:
            ordered = sorted(shown, key=lambda pair: control.labels.index(pair[0]))
            score = sum(probability for _, probability in shown) / len(shown)
            said = [list(label.path) if control.kind == "taxonomy" else label.value for label, _ in ordered]
            yield {control.kind: said}, score

    def _points(self) -> Iterator[Result]:
        centres = self._face.roi_centres
        if centres is None:
            return
        for control in self._config.on(self._medium, "keypointlabels"):
            for label, probability in self._shown(control):
                for side, (x, y) in enumerate(centres[self._index(label.au)]):
                    if not (0 <= x < self._picture.width and 0 <= y < self._picture.height):
                        continue
                    value = {
                        "x": percent(float(x), self._picture.width),
                        "y": percent(float(y), self._picture.height),
                        "width": _POINT_PERCENT,
                        control.kind: [label.value],
                    }
                    region = f"{self._region}-{control.name}-{label.au}-{side}"
                    yield self._result(control, region, value, probability)

    def _shapes(self) -> Iterator[Result]:
        if self._maps is None:
            return
        for control in self._config.on(self._medium, "brushlabels", "polygonlabels"):
            for label, probability in self._shown(control):
                region = f"{self._region}-{control.name}-{label.au}"
                for number, value in enumerate(self._shape(control, self._maps[self._index(label.au)])):
                    said = {**value, control.kind: [label.value]}
                    yield self._result(control, f"{region}-{number}", said, probability)

    def _shape(self, control: Control, roi_map: Float32Array) -> Iterator[dict[str, Any]]:
        width, height, scale = self._picture.width, self._picture.height, self._picture.crop_scale
        if control.kind == "brushlabels":
            found = mask(roi_map, self._face.landmarks, scale, width, height)
            if found is not None:
                yield {"format": "rle", "rle": encode_mask(found, width, height)}
            return
        for outline in polygons(roi_map, self._face.landmarks, scale):
            points = [[percent(float(x), width), percent(float(y), height)] for x, y in outline]
            yield {"points": points, "closed": True}

    def _shown(self, control: Control) -> Iterator[tuple[Label, float]]:
        """Labels whose AU occurs: as the checkpoint decides, or from the control's own threshold on."""
        for code, label in control.au_labels().items():
            probability = self._probability(code)
            if math.isnan(probability):
                continue
            occurs = (
                bool(self._face.au_active[self._index(code)])
                if control.threshold is None
                else probability >= control.threshold
            )
            if occurs:
                yield label, probability

    def _probability(self, code: str | None) -> float:
        """0 to 1; NaN where the checkpoint has no such AU or could not read it."""
        if code is None or code not in self._picture.au_codes:
            return math.nan
        return float(self._face.au_probability[self._index(code)])

    def _index(self, code: str | None) -> int:
        return list(self._picture.au_codes).index(str(code))

    def _result(self, control: Control, region: str, value: dict[str, Any], score: float) -> Result:
        return {
            "id": region,
            "from_name": control.name,
            "to_name": control.to_name,
            "type": control.kind,
            "original_width": self._picture.width,
            "original_height": self._picture.height,
            "image_rotation": 0,
            "value": value,
            "score": round(float(score), 4),
        }
