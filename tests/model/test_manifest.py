from __future__ import annotations

from typing import Any

import pytest

from model.manifest import decision_thresholds

NETWORK = {"AU1": 0.2, "AU12": 0.3}
OPINION = {"fusion": {}, "thresholds": {"AU1": 0.6}}


@pytest.mark.parametrize(
    ("opinion", "reading", "wanted"),
    [
        (None, "auto", NETWORK),
        (None, "network", NETWORK),
        (OPINION, "network", NETWORK),
        (OPINION, "auto", {"AU1": 0.6, "AU12": 0.5}),
        (OPINION, "both", {"AU1": 0.6, "AU12": 0.5}),
    ],
)
def test_thresholds_are_those_of_the_reading_that_decides(
    opinion: dict[str, Any] | None, reading: str, wanted: dict[str, float]
) -> None:
    manifest = {"au_codes": ["AU1", "AU12"], "thresholds": NETWORK, "landmark_opinion": opinion}
    assert decision_thresholds(manifest, reading) == wanted


def test_a_manifest_without_thresholds_has_none() -> None:
    assert decision_thresholds({"au_codes": ["AU1"]}, "auto") == {}
