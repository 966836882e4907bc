"""How real rendered faces look to a net that learned from real ones: AUC of MediaPipe's blendshapes on their labels.

    roigcn assets --optional          # the blendshape net
    roigcn render --split test --out shards/test
    python benchmarks/render_realism.py shards/test
    python benchmarks/render_realism.py old/test new/test --faces 500 --json realism.json

A cheap gauge: where the blendshapes tell the rendered Action Unit from its absence (AUC above 0.9), the render moves
what the AU moves in life; where they do not although they do on real faces, it is too faint or moves something else.
`absent` and `shown` are the blendshape's medians there: one that is high where the AU is absent says that the head at
rest looks as if the AU were shown. Only the AUs of the first table are read well on real faces; a low AUC in the second
may as well be the blendshapes' fault.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blendshapes import GOOD, OTHERS, Blendshapes, movement
from model.faces.assets import AssetError
from model.faces.finder import FaceFinder
from model.values import Float32Array
from training.data.shards import FaceShards, ShardError
from training.metrics import roc_auc

SECOND_NAMES = [(6, "eyeSquint"), (23, "mouthPress"), (24, "mouthRollLower"), (25, "jawOpen")]
"""Movements that may follow an AU as well as those of `OTHERS`."""
AIM = 0.9


@dataclass(frozen=True)
class Gauge:
    """One AU and one movement on one data set.

    Attributes:
        au: its number.
        blendshape: the movement.
        shown: faces on which the AU is shown.
        faces: faces with a label that counts.
        auc: of the movement; NaN without both classes.
        median_absent: of the movement where the AU is absent.
        median_shown: of the movement where it is shown.
    """

    au: int
    blendshape: str
    shown: int
    faces: int
    auc: float
    median_absent: float
    median_shown: float


@dataclass(frozen=True)
class DataSet:
    """What came out for one folder of shards.

    Attributes:
        folder: of the shards.
        looked: faces looked at.
        found: faces that the detector found in their pictures.
        gauges: by AU and movement.
    """

    folder: str
    looked: int
    found: int
    gauges: list[Gauge]


def open_shards(place: Path) -> FaceShards:
    """The shards of a folder, or one shard, with all Action Units that they hold.

    Raises:
        ShardError: there are none, or they cannot be used.
    """
    paths = sorted(place.glob("*.npz")) if place.is_dir() else [place]
    if not paths:
        raise ShardError(f"{place}: no shards (*.npz) in this folder; name the one that holds them, such as DATA/test")
    try:
        with np.load(paths[0]) as arrays:
            codes = [str(code) for code in arrays["au_codes"]]
    except (OSError, ValueError, KeyError) as error:
        raise ShardError(f"{paths[0]}: no shard of `roigcn render` ({error})") from error
    return FaceShards(paths, codes)


def read_movements(
    faces: FaceShards, chosen: Sequence[int], finder: FaceFinder, blendshapes: Blendshapes
) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
    """(N, 52) movements of the chosen faces and (N,) whether each was found; the others' movements are 0."""
    found = np.zeros(len(chosen), bool)
    rows = np.zeros((len(chosen), 52), np.float32)
    for row, index in enumerate(chosen):
        rgb, _ = faces.face(index)
        seen = finder.find(rgb, tiles=False)[:1]
        if seen:
            found[row] = True
            rows[row] = blendshapes.run(finder.meshes(rgb, seen))[0]
        if sys.stderr.isatty() and row % 20 == 0:
            print(f"\r\033[K{row} of {len(chosen)} faces", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return rows, found


def gauge(place: Path, count: int, finder: FaceFinder, blendshapes: Blendshapes) -> DataSet:
    """Look at `count` faces, spread evenly over the shards.

    Raises:
        ShardError: as `open_shards`.
    """
    faces = open_shards(place)
    chosen = np.unique(np.linspace(0, len(faces) - 1, min(count, len(faces))).astype(int)).tolist()
    rows, found = read_movements(faces, chosen, finder, blendshapes)
    gauges = []
    for au, name in [*GOOD.items(), *sorted([*OTHERS.items(), *SECOND_NAMES])]:
        if f"AU{au}" not in faces.au_codes:
            continue
        column = faces.au_codes.index(f"AU{au}")
        counts = found & (faces.weights[chosen, column] > 0)
        truth = faces.labels[chosen, column][counts] > 0.5
        moves = movement(rows, name)[counts].astype(np.float64)
        gauges.append(
            Gauge(
                au,
                name,
                int(truth.sum()),
                len(truth),
                roc_auc(truth, moves),
                _median(moves[~truth]),
                _median(moves[truth]),
            )
        )
    return DataSet(str(place), len(chosen), int(found.sum()), gauges)


def _median(values: npt.NDArray[np.float64]) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def print_table(sets: Sequence[DataSet], aus: Sequence[int]) -> None:
    print(f"{'':22}" + "   ".join(f"{'AUC':>4} {'absent':>6} {'shown':>6} {'shown/all':>10}" for _ in sets))
    means: list[list[float]] = [[] for _ in sets]
    names = [(g.au, g.blendshape) for g in sets[0].gauges if g.au in aus]
    for au, name in names:
        cells = []
        for mean, data in zip(means, sets, strict=True):
            match = [g for g in data.gauges if (g.au, g.blendshape) == (au, name)]
            if not match:
                cells.append(f"{'-':>4} {'':24}")
                continue
            (g,) = match
            mean.append(g.auc)
            part = f"{g.shown}/{g.faces}"
            cells.append(f"{g.auc:4.2f} {g.median_absent:6.2f} {g.median_shown:6.2f} {part:>10}")
        print(f"{f'AU{au}':5}{name:17}" + "   ".join(cells))
    print(f"{'mean':22}" + "   ".join(f"{np.nanmean(mean):4.2f} {'':24}" for mean in means if mean) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path, nargs="+", help="folders of shards, or shards; printed side by side")
    parser.add_argument("--faces", type=int, default=1000, help="look at up to so many of each, evenly spread")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every number there")
    parser.add_argument("--threads", type=int, help="of the nets; default one per core")
    chosen = parser.parse_args()
    if chosen.faces < 1:
        parser.error("--faces must be at least 1")
    try:
        finder, blendshapes = FaceFinder(threads=chosen.threads), Blendshapes(threads=chosen.threads)
        sets = [gauge(place, chosen.faces, finder, blendshapes) for place in chosen.shards]
        if chosen.json:
            numbers = [asdict(data) for data in sets]
            for one in (g for data in numbers for g in data["gauges"]):
                one |= {key: None for key, value in one.items() if isinstance(value, float) and math.isnan(value)}
            chosen.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    except (AssetError, ShardError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for data in sets:
        print(f"{data.folder}: {data.found} of {data.looked} faces found")
    print(f"\nread well on real faces; aim above {AIM}:")
    print_table(sets, list(GOOD))
    print("nearest movements of the others:")
    print_table(sets, list(OTHERS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
