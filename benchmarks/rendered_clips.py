"""Clips of rendered people with exact labels for every frame: what a person's own rest is worth.

    python benchmarks/rendered_clips.py --face-pack au_face_pack.npz --clips 20 --folder /tmp/clips

Each clip shows one person of the test part, whom no checkpoint was trained on, for ten seconds with three expressions
at random, turning the head. Every frame is read as a worker does it; the table has the AUC and the F1 of the
checkpoint's decisions over all frames of all clips: as single pictures, and at the clip's end with brows and lids held
against the person's own rest. Rendered clips stay in the folder and are not rendered again.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from model.analyzer import Analyzer
from model.checkpoint import CheckpointError
from model.engines.base import EngineError
from model.faces.assets import AssetError
from service.exports.recording import face_rows
from training.metrics import f1_score, roc_auc
from training.synthetic.clips import Actor, Clip, Episode, render_clip
from training.synthetic.identity import draw_identity
from training.synthetic.pack import FacePack, PackError, load_pack
from training.synthetic.renderer import Renderer
from training.synthetic.sampler import draw_units
from worker.pipeline import analyze_video
from worker.rest import RestGatherer, against_rest
from worker.store.records import FaceRow

SECONDS = 10.0
SIZE = 320
EPISODES = ((0.8, 3.0), (3.8, 6.0), (6.8, 9.0))
"""When each expression begins and when it is gone, seconds: the face rests for a third of the time."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--face-pack", type=Path, required=True, help="the head to render, an au_face_pack.npz")
    parser.add_argument("--folder", type=Path, required=True, help="where clips and labels are kept")
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--checkpoint", metavar="NAME|FOLDER", help="default: the active one")
    parser.add_argument("--engine", default="auto")
    return parser.parse_args()


def clip_of(pack: FacePack, seed: int, number: int) -> Clip:
    """A person of the test part with three expressions at random."""
    rng = np.random.default_rng([seed, number])
    episodes = []
    for onset, end in EPISODES:
        rise = rng.uniform(0.3, 0.7, 2)
        episodes.append(Episode(draw_units(rng), onset, onset + rise[0], end - rise[1], end))
    blinks = np.cumsum(rng.uniform(1.5, 4.0, 4))
    person = draw_identity(pack, seed, "test", number)
    return Clip((Actor(person, episodes, sway=float(rng.uniform(4, 14)), blinks=tuple(blinks)),), SECONDS)


def labels_of(path: Path, au_codes: Sequence[str]) -> dict[int, list[float]]:
    """By frame whether each AU occurs, NaN where the picture does not decide it."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {int(row["frame"]): [float(row[code]) if row[code] else np.nan for code in au_codes] for row in rows}


def read(path: Path, analyzer: Analyzer) -> tuple[list[FaceRow], list[FaceRow]]:
    """The faces of a clip's longest track: as single pictures, and against their own rest."""
    rows = [row for f in analyze_video(path, analyzer) for row in face_rows(f.index, f.pts_ms, f.faces)]
    numbers = [row.track for row in rows]
    mine = [row for row in rows if row.track == max(set(numbers), key=numbers.count)]
    gatherer = RestGatherer()
    gatherer.add(mine)
    return mine, against_rest(analyzer, gatherer.tracks(), mine)


def show(found: Mapping[str, Sequence[FaceRow]], truth: np.ndarray, au_codes: Sequence[str], title: str) -> None:
    table = Table("AU", "frames with it", *(f"{name}: {what}" for name in found for what in ("AUC", "F1")), title=title)
    means: list[list[float]] = []
    for k, code in enumerate(au_codes):
        kept = np.isfinite(truth[:, k])
        occurs, cells = truth[kept, k] > 0.5, []
        for rows in found.values():
            chance = np.array([row.au_probability[k] for row in rows], np.float64)[kept]
            active = np.array([row.au_active[k] for row in rows])[kept]
            cells += [roc_auc(occurs, chance), f1_score(occurs, active)]
        means.append(cells)
        table.add_row(code, f"{occurs.mean():.0%}", *(f"{cell:.2f}" for cell in cells))
    table.add_row("mean", "", *(f"{cell:.2f}" for cell in np.nanmean(means, axis=0)))
    Console().print(table)


def main() -> int:
    chosen = arguments()
    try:
        pack = load_pack(chosen.face_pack)
        renderer = Renderer(pack, SIZE)
        paths = [chosen.folder / f"{chosen.seed}-{number:03d}.mp4" for number in range(chosen.clips)]
        for number, path in enumerate(track(paths, "rendering")):
            if not path.with_suffix(".csv").exists():
                render_clip(renderer, clip_of(pack, chosen.seed, number), path, path.with_suffix(".csv"))
        with Analyzer.open(chosen.checkpoint, chosen.engine) as analyzer:
            single, rested, truth = [], [], []
            for path in track(paths, "reading"):
                labels = labels_of(path.with_suffix(".csv"), analyzer.au_codes)
                before, after = read(path, analyzer)
                single += before
                rested += after
                truth += [labels[row.frame] for row in before]
            title = f"{analyzer.checkpoint.ref}, {len(truth)} frames of {len(paths)} people"
            show({"single": single, "own rest": rested}, np.array(truth), analyzer.au_codes, title)
    except (AssetError, CheckpointError, EngineError, PackError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
