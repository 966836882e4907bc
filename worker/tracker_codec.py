"""A tracker's state as bytes, stored with a job's progress: a job that goes on gives the numbers it would have given.

JSON with arrays in base64: never pickle, as the bytes come back from a database.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import numpy.typing as npt

from model.faces.tracker import TrackerState, TrackState

_VERSION = 1


def encode_tracker(state: TrackerState) -> bytes:
    """The bytes of a state."""
    tracks = [
        {
            "track": track.track,
            "landmarks": _pack(track.landmarks),
            "last_index": track.last_index,
            "last_ms": track.last_ms,
            "score": float(track.score),
            "velocity": _pack(track.velocity),
            "looks": [_pack(look) for look in track.looks],
            "contested": track.contested,
            "cut": track.cut,
        }
        for track in state.tracks
    ]
    document = {
        "version": _VERSION,
        "next_track": state.next_track,
        "last_index": state.last_index,
        "last_ms": state.last_ms,
        "tracks": tracks,
        "view": None if state.view is None else _pack(state.view),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def decode_tracker(data: bytes) -> TrackerState:
    """The state of `encode_tracker`, equal to the last bit.

    Raises:
        ValueError: foreign bytes, or another version of this program wrote them.
    """
    try:
        document = json.loads(data)
        if document["version"] != _VERSION:
            raise ValueError(f"a tracker's state of version {document['version']}, not {_VERSION}")
        tracks = tuple(
            TrackState(
                track=item["track"],
                landmarks=_unpack(item["landmarks"], np.float32).reshape(68, 2),
                last_index=item["last_index"],
                last_ms=item["last_ms"],
                score=item["score"],
                velocity=_unpack(item["velocity"], np.float64).reshape(2),
                looks=tuple(_unpack(look, np.float32) for look in item["looks"]),
                contested=item["contested"],
                cut=item["cut"],
            )
            for item in document["tracks"]
        )
        view = None if document["view"] is None else _unpack(document["view"], np.float32).reshape(18, 32, 3)
        return TrackerState(document["next_track"], document["last_index"], document["last_ms"], tracks, view)
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"no state of a tracker: {error!r}") from error


def _pack(array: npt.NDArray[Any]) -> str:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode()


def _unpack(text: str, dtype: type[np.floating[Any]]) -> npt.NDArray[Any]:
    return np.frombuffer(base64.b64decode(text), np.dtype(dtype).newbyteorder("<")).astype(dtype)
