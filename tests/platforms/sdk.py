"""Label Studio's SDK judges configurations and results; run by the interpreter of its own virtual environment.

Reads a JSON object {"config": XML, "predictions": [...]} from standard input, prints the list of errors of each.
"""

from __future__ import annotations

import json
import sys

from label_studio_sdk.label_interface import LabelInterface  # type: ignore[import-not-found]


def main() -> None:
    asked = json.load(sys.stdin)
    interface = LabelInterface(asked["config"])
    interface.validate()
    json.dump(
        [interface.validate_prediction(prediction, return_errors=True) for prediction in asked["predictions"]],
        sys.stdout,
    )


if __name__ == "__main__":
    main()
