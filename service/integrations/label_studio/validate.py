"""A check of results against the project's configuration before they are handed over.

Label Studio stores whatever it is given: a label that the project lacks, or a name of a control that does not exist,
comes up only when an annotator opens the task. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.integrations.label_studio.config import Control, LabelConfig

_PERCENT = ("x", "y", "width", "height")
_BOXES = ("rectanglelabels", "choices", "taxonomy", "number")


def problems_of(config: LabelConfig, results: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with the results of one prediction, one sentence each; empty when all is well."""
    found = []
    for index, result in enumerate(results):
        found += [f"result {index}: {problem}" for problem in _problems(config, result)]
    return found


def _problems(config: LabelConfig, result: Mapping[str, Any]) -> Iterator[str]:
    control = next((control for control in config.controls if control.name == result.get("from_name")), None)
    if control is None:
        yield f"there is no control {result.get('from_name')!r}"
        return
    if result.get("to_name") != control.to_name:
        yield f"{control.name} works on {control.to_name!r}, not on {result.get('to_name')!r}"
    if result.get("type") != control.kind:
        yield f"{control.name} gives results of type {control.kind!r}, not {result.get('type')!r}"
    if not result.get("id"):
        yield "it has no id"
    value = result.get("value")
    if not isinstance(value, Mapping):
        yield "it has no value"
        return
    yield from _labels(config, control, value)
    yield from _geometry(control, value)


def _labels(config: LabelConfig, control: Control, value: Mapping[str, Any]) -> Iterator[str]:
    if control.kind == "number":
        number = value.get("number")
        if not _finite(number):
            yield f"{number!r} is no number"
        elif not (control.low or -math.inf) <= float(number) <= (math.inf if control.high is None else control.high):  # type: ignore[arg-type]
            yield f"{number} lies outside {control.low} to {control.high}"
        return
    key = "labels" if control.kind == "videorectangle" else control.kind
    said = value.get(key)
    if key == "labels" and said is None and not any(_known(config, control)):
        return  # boxes without a control that would name them
    if not isinstance(said, list) or not said:
        yield f"it has no {key}"
        return
    known = {label.path for label in _known(config, control)}
    for item in said:
        path = tuple(item) if isinstance(item, list) else (item,)
        if path not in known:
            yield f"{control.name} has no label {' / '.join(map(str, path))!r}"
    if control.kind == "choices" and not control.multiple and len(said) > 1:
        yield f"{control.name} takes one choice, not {len(said)}"


def _known(config: LabelConfig, control: Control) -> Iterator[Any]:
    yield from control.labels
    if control.kind == "videorectangle":  # its labels are those of a <Labels> on the same medium
        for sibling in config.controls:
            if sibling.kind == "labels" and sibling.to_name == control.to_name:
                yield from sibling.labels


def _geometry(control: Control, value: Mapping[str, Any]) -> Iterator[str]:
    if control.kind in _BOXES and (control.kind == "rectanglelabels" or control.per_region):
        yield from _percentages(value, _PERCENT)
    elif control.kind == "keypointlabels":
        yield from _percentages(value, ("x", "y", "width"))
    elif control.kind == "polygonlabels":
        points = value.get("points")
        if not isinstance(points, list) or len(points) < 3:
            yield "a polygon has three points or more"
        elif not all(_is_percent(number) for point in points for number in point):
            yield "a point of the polygon lies outside 0 to 100 per cent"
    elif control.kind == "brushlabels":
        rle = value.get("rle")
        if value.get("format") != "rle" or not isinstance(rle, list) or len(rle) < 7:
            yield "a mask has the format 'rle' and a list of bytes"
    elif control.kind == "timelinelabels":
        yield from _ranges(value.get("ranges"))
    elif control.kind == "videorectangle":
        yield from _sequence(value)


def _ranges(ranges: object) -> Iterator[str]:
    if not isinstance(ranges, list) or len(ranges) != 1:
        yield "a region of the timeline has one range"
        return
    start, end = ranges[0].get("start"), ranges[0].get("end")
    if not (isinstance(start, int) and isinstance(end, int) and 1 <= start <= end):
        yield f"frames count from 1 and a range ends where it starts or later, not {start} to {end}"


def _sequence(value: Mapping[str, Any]) -> Iterator[str]:
    count, sequence = value.get("framesCount"), value.get("sequence")
    if not isinstance(count, int) or not _finite(value.get("duration")):
        yield "a track has a number of frames and a duration"
        return
    if not isinstance(sequence, list) or not sequence:
        yield "a track has key frames"
        return
    frames = [item.get("frame") for item in sequence]
    if frames != sorted(set(frames)) or frames[0] < 1 or frames[-1] > count:
        yield f"key frames ascend within 1 to {count}"
    for item in sequence:
        yield from _percentages(item, _PERCENT)


def _percentages(value: Mapping[str, Any], keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        if not _is_percent(value.get(key)):
            yield f"{key} is {value.get(key)!r}, not 0 to 100 per cent"


def _is_percent(number: object) -> bool:
    return _finite(number) and 0 <= float(number) <= 100  # type: ignore[arg-type]


def _finite(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
