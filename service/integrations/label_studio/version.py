"""`model_version`: it changes exactly when predictions would.

Label Studio does not ask again for a task that has a prediction of the present version, so a version that stays the
same while results change hides the new ones, and one that changes without reason makes every task be analysed anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from service.integrations.label_studio.config import LabelConfig

# Raised by hand when the shape or the rules of results change.
RESULTS_REVISION = 1

# What of a manifest decides about results; notes, metrics and licences do not.
_DECIDING = (
    "architecture",
    "au_codes",
    "input_size",
    "crop",
    "roi",
    "normalisation",
    "decoder",
    "combine",
    "calibration",
    "thresholds",
    "weights_sha256",
)


def model_version(manifest: Mapping[str, Any], config: LabelConfig, reading: str = "auto") -> str:
    """The version of the predictions that a checkpoint gives a project.

    Args:
        manifest: of the checkpoint, as JSON (`Manifest.model_dump(mode="json")`).
        config: the project's; aliases and thresholds in it change results, white space and colours do not.
        reading: the setting of that name: whether the checkpoint's reading of landmarks joins in.

    Returns:
        The checkpoint's name and version for people, and eight hexadecimal digits of all that decides.
    """
    opinion = None if reading == "network" else manifest.get("landmark_opinion")
    deciding = {
        "revision": RESULTS_REVISION,
        "manifest": {key: manifest.get(key) for key in _DECIDING},
        "landmarks": {key: opinion.get(key) for key in ("fusion", "thresholds")} if opinion else {},
        "config": asdict(config),
    }
    # The database keeps no sign of a zero: a manifest must have one version wherever it is read from.
    plain = json.loads(json.dumps(deciding), parse_float=lambda text: float(text) + 0.0)
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
    return f"roigcn {manifest['name']}:{manifest['version']} {digest[:8]}"
