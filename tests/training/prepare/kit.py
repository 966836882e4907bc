"""Checks of prepared folders against the truth of a tree."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model.geometry import extract_crop
from model.landmarks import LAYOUTS
from tests.training.trees import Tree
from training.prepare.crops import MARGIN


def rows_of(out: Path, subject: str) -> dict[tuple[str, int], dict[str, np.ndarray]]:
    """Everything stored of a subject's faces, by task and frame."""
    found = {}
    for path in sorted(out.glob(f"{subject}-*.npz")):
        with np.load(path) as shard:
            per_face = {name: shard[name] for name in shard.files if name not in ("au_codes", "subject")}
            assert list(shard["subject"]) == [subject]
            for row in range(len(shard["labels"])):
                key = str(shard["tasks"][row]), int(shard["frames"][row])
                assert key not in found
                found[key] = {name: values[row] for name, values in per_face.items()}
                found[key]["au_codes"] = shard["au_codes"]
    return found


def check_face(row: dict[str, np.ndarray], tree: Tree, key: tuple[str, str, int], occurred: int, layout: str) -> None:
    """Labels, landmarks and picture of a stored face against the truth."""
    truth = tree.frames[key]
    for code, label, weight in zip(row["au_codes"], row["labels"], row["weights"], strict=True):
        value = truth.codes[str(code)]
        assert weight == (value != 9), (key, code)
        assert label == (value != 9 and value >= occurred), (key, code)
    size = row["images"].shape[0]
    wanted = extract_crop(truth.rgb, truth.points, size, 2.6 * MARGIN)
    kept = LAYOUTS[layout].to_layout
    np.testing.assert_allclose(row["landmarks"][kept], wanted.landmarks[kept], atol=1e-3)
    assert np.isfinite(row["landmarks"]).all()
    difference = np.abs(row["images"].astype(float) - wanted.pixels).mean()
    assert difference < 6, (
        key,
        difference,
    )  # what JPEG and MPEG-4 change; another frame's ground differs by 17 or more
