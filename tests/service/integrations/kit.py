"""Rows of faces as the store gives them, label configurations in other words than ours, Label Studio's own bodies."""

from __future__ import annotations

from typing import Any

import numpy as np

from model.values import Float32Array
from service.integrations.label_studio.results import Picture
from worker.store.records import FaceRow

CODES = ("AU1", "AU6", "AU12")

# Every control of pictures, all names unlike those that `roigcn label-config` writes.
FOREIGN = """
<View>
  <Header value="Kodierung"/>
  <Image name="bild" value="$foto"/>
  <RectangleLabels name="kasten" toName="bild"><Label value="Person"/></RectangleLabels>
  <Choices name="bewegung" toName="bild" perRegion="true" choice="multiple">
    <View><Choice value="Lächeln" predicted_values="AU12,lip corner puller"/></View>
    <Choice value="Brauen innen" alias="brauen" predicted_values="au 01"/>
    <Choice value="Cheek Raiser"/>
    <Choice value="nichts davon"/>
  </Choices>
  <Choices name="eine" toName="bild" perRegion="true"><Choice value="AU06"/><Choice value="AU12"/></Choices>
  <Choices name="ganzes" toName="bild" choice="multiple"><Choice value="AU6"/><Choice value="AU12"/></Choices>
  <Number name="au12_wert" toName="bild" perRegion="true" min="0" max="1"/>
  <Number name="AU6_prozent" toName="bild" perRegion="true" min="0" max="100"/>
  <Number name="AU12_intensity" toName="bild" perRegion="true" min="0" max="5"/>
  <Taxonomy name="baum" toName="bild" perRegion="true">
    <Choice value="Oben"><Choice value="AU06 cheek raiser"/></Choice>
    <Choice value="Unten"><Choice value="Mund"><Choice value="AU12"/></Choice></Choice>
  </Taxonomy>
  <KeyPointLabels name="orte" toName="bild"><Label value="AU12"/><Label value="AU1"/></KeyPointLabels>
  <BrushLabels name="pinsel" toName="bild"><Label value="AU12"/></BrushLabels>
  <PolygonLabels name="umriss" toName="bild"><Label value="AU12"/></PolygonLabels>
  <Text name="text" value="$text"/>
  <Choices name="stimmung" toName="text"><Choice value="AU12"/></Choices>
</View>
"""

_LANDMARKS = np.zeros((68, 2), np.float32)
_LANDMARKS[36:42] = [40, 50]
_LANDMARKS[42:48] = [80, 50]
_LANDMARKS[39], _LANDMARKS[42] = (50, 50), (70, 50)
_LANDMARKS[30] = _LANDMARKS[33] = (60, 70)
_LANDMARKS[48], _LANDMARKS[54] = (45, 90), (75, 90)


def face_row(
    face: int = 0,
    box: tuple[float, float, float, float] = (20.0, 20.0, 100.0, 110.0),
    probability: tuple[float, ...] = (0.1, 0.4, 0.9),
    active: tuple[bool, ...] = (False, False, True),
    *,
    frame: int = 0,
    pts_ms: float = 0.0,
    score: float = 0.95,
) -> FaceRow:
    """A stored face on a picture of 200 x 120 pixels."""
    amplitude = np.array(probability, np.float32) * 2 - 1
    return FaceRow(
        frame=frame,
        face=face,
        track=face,
        pts_ms=pts_ms,
        box_xyxy=np.array(box, np.float32),
        face_score=score,
        presence=1.0,
        landmarks=_LANDMARKS,
        au_score=amplitude,
        au_probability=np.array(probability, np.float32),
        au_active=np.array(active),
        roi_amplitude=np.stack([amplitude, amplitude], axis=1),
        roi_centres=np.array([[[50, 45], [70, 45]], [[45, 60], [75, 60]], [[45, 90], [75, 90]]], np.float32),
    )


def roi_maps(side: int = 16) -> Float32Array:
    """(3, side, side): a bump for each AU, below 0 elsewhere."""
    y, x = np.mgrid[:side, :side]
    bump = np.exp(-((x - 8) ** 2 + (y - 8) ** 2) / 4.0) - 0.1
    return np.stack([bump, bump, bump]).astype(np.float32)


def picture(*faces: FaceRow, maps: bool = True) -> Picture:
    """A picture of 200 x 120 pixels with these faces."""
    return Picture(200, 120, faces, [roi_maps() if maps else None for _ in faces], CODES, crop_scale=2.6)


def setup_body(config: str) -> dict[str, Any]:
    """The body of `/setup` as Label Studio 1.23.2 sends it."""
    return {
        "project": "3.1795344093",
        "schema": config,
        "hostname": "http://127.0.0.1:18080",
        "access_token": "0123456789abcdef0123456789abcdef01234567",
        "extra_params": None,
    }


def predict_body(*addresses: str, config: str, key: str = "image", context: Any = None) -> dict[str, Any]:
    """The body of `/predict` for tasks with these addresses, as Label Studio 1.23.2 sends it."""
    tasks = [
        {
            "id": number,
            "data": {key: address},
            "meta": {},
            "created_at": "2026-11-24T23:00:00Z",
            "updated_at": "2026-11-24T23:00:00Z",
            "is_labeled": False,
            "overlap": 1,
            "inner_id": number,
            "total_annotations": 0,
            "cancelled_annotations": 0,
            "total_predictions": 0,
            "project": 3,
            "file_upload": number,
            "annotations": [],
            "predictions": [],
        }
        for number, address in enumerate(addresses, 1)
    ]
    params = {"login": None, "password": None, "context": context}
    return {"tasks": tasks, "project": "3.1795344093", "label_config": config, "params": params}
