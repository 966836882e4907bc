"""The tables of `real_faces.py`: faces, AUC, orders, clips, and the summary on one screen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import real_clips
import real_stills
from blendshapes import ALL, GOOD, movement
from real_clips import MIN_FRAMES, MOVES, PASS, Agreement, ClipTrace
from real_readers import Reader
from real_stills import BLENDSHAPES, AuAuc, OrderResult, Subject

DIFFERS = 0.005
"""A correlation of our probability is printed where it is this far from that of our score."""


@dataclass
class Report:
    """All that was measured.

    Attributes:
        readers: the checkpoints.
        labelled: whether the subjects have a person's labels.
        subjects: the faces of the stills.
        clips: the clips.
        aucs: per AU.
        orders: per checkpoint, one result an order.
        neutral: per checkpoint and neutral face, the AUs that were active.
    """

    readers: Sequence[Reader]
    labelled: bool = False
    subjects: list[Subject] = field(default_factory=list)
    clips: list[ClipTrace] = field(default_factory=list)
    aucs: list[AuAuc] = field(default_factory=list)
    orders: dict[str, list[OrderResult]] = field(default_factory=dict)
    neutral: dict[str, dict[str, list[int]]] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """Names of the checkpoints."""
        return [reader.label for reader in self.readers]

    def agreements(self, au: int) -> list[Agreement]:
        """One AU in every track of every clip."""
        return [a for clip in self.clips for track in clip.tracks for a in track.agreements if a.au == au]


def print_faces(subjects: Sequence[Subject], reader: Reader) -> None:
    """Probabilities of one checkpoint."""
    width = max((len(subject.name) for subject in subjects), default=0)
    print(f"{reader.label}, probabilities (+ seen, - seen to be absent):")
    print(f"{'':{width}} " + " ".join(f"{f'AU{n}':>6}" for n in reader.numbers))
    for subject in subjects:
        if subject.problem:
            print(f"{subject.name:{width}} {subject.problem}")
            continue
        values = subject.read[reader.label].probability
        cells = [f"{p:5.2f}{_mark(subject, n)}" for n, p in zip(reader.numbers, values, strict=True)]
        print(f"{subject.name:{width}} " + " ".join(cells))
    print()


def print_blendshapes(subjects: Sequence[Subject]) -> None:
    """MediaPipe's movements on the same faces."""
    width = max((len(subject.name) for subject in subjects), default=0)
    print("blendshapes nearest to each AU, for comparison:")
    print(f"{'':{width}} " + " ".join(f"{f'AU{n}':>6}" for n in ALL))
    for subject in subjects:
        if subject.blendshapes is not None:
            cells = [f"{movement(subject.blendshapes, name):5.2f}{_mark(subject, n)}" for n, name in ALL.items()]
            print(f"{subject.name:{width}} " + " ".join(cells))
    print()


def print_aucs(report: Report) -> None:
    """AUC of every checkpoint and of the blendshapes."""
    columns = [*report.labels, BLENDSHAPES]
    print("AUC over the labelled faces:")
    print(f"  {'':6} {'pos/all':>8}  " + "  ".join(f"{label:>{_width(label)}}" for label in columns))
    for row in report.aucs:
        cells = "  ".join(f"{_number(row.auc[label]):>{_width(label)}}" for label in columns)
        print(f"  AU{row.au:<4} {f'{row.positives}/{row.faces}':>8}  {cells}")
    cells = []
    for label in columns:
        mean, count = real_stills.mean_auc(report.aucs, label)
        cells.append(f"{f'{_number(mean)} of {count}':>{_width(label)}}")
    print(f"  {'mean':6} {'':>8}  " + "  ".join(cells) + "\n")


def print_orders(report: Report) -> None:
    """Orders kept, and each pair that was not."""
    for label in report.labels:
        print(f"{label}, orders (higher > lower on the score):")
        for order in report.orders[label]:
            name = " or ".join(f"AU{au}" for au in order.aus)
            posed = f", posed portraits {order.posed_kept} of {order.posed_pairs}" if order.posed_pairs else ""
            print(f"  {name:11} {len(order.kept)} of {len(order.kept) + len(order.failed)} pairs kept{posed}")
            for high, low in order.failed:
                print(f"              FAILED {high} > {low}")
        print(f"{label}, AUs active on neutral faces (should be none):")
        for name, active in report.neutral[label].items():
            print(
                f"  {name}: {len(active)} of {_aus(report, label)}: {', '.join(f'AU{au}' for au in active) or 'none'}"
            )
        print()


def print_clips(report: Report) -> None:
    """Correlations over frames."""
    print(
        f"Spearman correlation over frames with the blendshape. moved: 5th to 95th percentile of the blendshape; "
        f"from {MOVES} on it counts as moving, and a correlation below {PASS} is a failure. noise: its tremble. "
        "active: share of the frames in which the AU was decided to occur."
    )
    for clip in report.clips:
        print(f"\n{clip.file}: {clip.problem or f'{clip.used} of {clip.frames} frames used'}")
        if not clip.problem and not clip.tracks:
            print("  no faces")
        for track in clip.tracks:
            frames = len(track.pts_ms)
            if not track.agreements:
                print(f"  face {track.track}: in {frames} frames, fewer than {MIN_FRAMES}: not compared")
                continue
            print(
                f"  face {track.track} in {frames} frames, {track.pts_ms[0] / 1000:.1f} to "
                f"{track.pts_ms[-1] / 1000:.1f} s"
            )
            print(
                f"    {'':5}{'':14}{'moved':>6} {'noise':>6}   " + "  ".join(f"{x:>{_wide(x)}}" for x in report.labels)
            )
            for a in track.agreements:
                cells = "  ".join(f"{_agreement(a, label):>{_wide(label)}}" for label in report.labels)
                print(f"    {f'AU{a.au}':5}{a.blendshape:14}{a.moved:6.2f} {a.trembles:6.3f}   {cells}")
    print()


def print_summary(report: Report) -> None:
    """Everything on one screen, checkpoints side by side."""
    rows: list[tuple[str, list[str]]] = []
    if report.labelled:
        means = [real_stills.mean_auc(report.aucs, label) for label in [*report.labels, BLENDSHAPES]]
        rows.append(("mean AUC on stills (of AUs)", [f"{_number(mean)} ({count})" for mean, count in means]))
        rows.append(("orders kept", [_kept(report.orders[x], posed=False) for x in report.labels]))
        rows.append(("  of posed portraits", [_kept(report.orders[x], posed=True) for x in report.labels]))
        rows.append(("AUs active on a neutral face", [_mean_active(report, x) for x in report.labels]))
        missing = [s.name for s in report.subjects if s.problem]
        rows.append(("faces read", [f"{len(report.subjects) - len(missing)} of {len(report.subjects)}"]))
    for au, name in GOOD.items() if report.clips else ():
        moving = [a for a in report.agreements(au) if a.moving]
        cells = [_passes(moving, label) for label in report.labels]
        rows.append((f"AU{au} ~ {name}", cells if moving else ["moves in no clip"]))
    if report.clips:
        every = [a for au in GOOD for a in report.agreements(au) if a.moving]
        rows.append(("all of these", [_passes(every, label) for label in report.labels]))
    first = max(len(name) for name, _ in rows)
    columns = [*report.labels, BLENDSHAPES]
    widths = [
        max([len(label), *(len(cells[k]) for _, cells in rows if k < len(cells))]) for k, label in enumerate(columns)
    ]
    print("summary; for clips: correlations (median over moving tracks), and how many of them reach", PASS)
    print(f"{'':{first}}  " + "  ".join(f"{label:>{width}}" for label, width in zip(columns, widths, strict=True)))
    for name, cells in rows:
        padded = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))
        print(f"{name:{first}}  {padded}")


def as_json(report: Report) -> dict[str, Any]:
    """Every number, with None for those that are undefined."""
    return _finite(
        {
            "checkpoints": [
                {
                    "label": reader.label,
                    "folder": str(reader.analyzer.checkpoint.path),
                    "engine": reader.analyzer.engine.name,
                    "au_codes": list(reader.analyzer.au_codes),
                }
                for reader in report.readers
            ],
            "faces": [real_stills.as_json(subject) for subject in report.subjects],
            "auc": [
                {"au": row.au, "positives": row.positives, "faces": row.faces, "auc": row.auc} for row in report.aucs
            ],
            "mean_auc": {x: real_stills.mean_auc(report.aucs, x)[0] for x in [*report.labels, BLENDSHAPES]},
            "orders": {
                label: [{"aus": o.aus, "kept": o.kept, "failed": o.failed} for o in orders]
                for label, orders in report.orders.items()
            },
            "active_on_neutral": report.neutral,
            "moves_from": MOVES,
            "passes_from": PASS,
            "clips": [real_clips.as_json(clip) for clip in report.clips],
        }
    )


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value


def _mark(subject: Subject, au: int) -> str:
    return "+" if au in subject.shows else "-" if au in subject.lacks else " "


def _number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "-"


def _width(label: str) -> int:
    return max(len(label), 9)


def _wide(label: str) -> int:
    return max(len(label), 26)


def _agreement(a: Agreement, label: str) -> str:
    score, probability = a.score[label], a.probability[label]
    text = _number(score)
    if not abs(score - probability) <= DIFFERS and np.isfinite(probability):
        text += f" (probability {_number(probability)})"
    verdict = "still" if not a.moving else "ok" if a.passed(label) else "FAILED"
    return f"{text} {verdict:6} active {a.active[label]:4.0%}"


def _passes(agreements: Sequence[Agreement], label: str) -> str:
    known = [a.score[label] for a in agreements if np.isfinite(a.score[label])]
    median = _number(float(np.median(known))) if known else "-"
    return f"{median} ({sum(a.passed(label) for a in agreements)} of {len(agreements)})"


def _kept(orders: Sequence[OrderResult], *, posed: bool) -> str:
    if posed:
        return f"{sum(o.posed_kept for o in orders)} of {sum(o.posed_pairs for o in orders)}"
    return f"{sum(len(o.kept) for o in orders)} of {sum(len(o.kept) + len(o.failed) for o in orders)}"


def _aus(report: Report, label: str) -> int:
    return next(len(reader.numbers) for reader in report.readers if reader.label == label)


def _mean_active(report: Report, label: str) -> str:
    counts = [len(active) for active in report.neutral[label].values()]
    return f"{np.mean(counts):.1f} of {_aus(report, label)}" if counts else "-"
