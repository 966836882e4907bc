"""A whole data set: subjects side by side in processes, each written whole or not at all, the rest left for later."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

import cv2

from training.data.prepared import FORMAT_VERSION, MANIFEST_NAME
from training.prepare.crops import MARGIN, SIZE, Cutter
from training.prepare.report import Report
from training.prepare.source import PrepareError, Source
from training.prepare.subject import Record, prepare_subject, read_record, write_json, write_text

SHARD_FACES = 1000
REPORT_EVERY = 20


@dataclass(frozen=True)
class Options:
    """How to prepare.

    Attributes:
        size: side of the stored pictures, pixels.
        redetect: look for a face where landmarks are missing.
        shard_faces: most faces in a file; a process holds so many pictures in memory.
        workers: processes.
    """

    size: int = SIZE
    redetect: bool = False
    shard_faces: int = SHARD_FACES
    workers: int = 1


def prepare(
    source: Source, out: Path, options: Options, advance: Callable[[str, int], None] = lambda *_: None
) -> Report:
    """Prepare what is missing of a data set in a folder.

    Args:
        source: the data set.
        out: the folder, made if needed; a started one is finished.
        options: see `Options`.
        advance: called with a subject and a number of its frames as they are done.

    Returns:
        The report, also written as `report.md` and `report.json`. Subjects whose files are broken are in `failures`,
        all others are prepared.

    Raises:
        PrepareError: the folder holds something else, or a process died.
        ShardError: nothing can be written.
    """
    counts = source.subjects()
    manifest = _manifest(source, options)
    _begin(out, manifest)
    records: dict[str, Record] = {}
    for subject, frames in counts.items():
        record = read_record(out, subject)
        # Another number of coded frames than then: some of the subject was copied or mended since.
        if record is not None and record.found == frames:
            records[subject] = record
            advance(subject, frames)
    missing = [subject for subject in counts if subject not in records]
    failures: dict[str, str] = {}
    for subject, outcome in _run(source, out, options, missing, advance):
        if isinstance(outcome, Record):
            records[subject] = outcome
        else:
            failures[subject] = outcome
    ordered = [records[subject] for subject in counts if subject in records]
    report = Report(source.dataset, source.au_codes, ordered, failures, source.notes)
    write_json(out / "report.json", report.values())
    write_text(out / "report.md", report.markdown())
    holding = [record for record in ordered if record.prepared]
    write_json(
        out / MANIFEST_NAME,
        manifest
        | {
            "finished": not failures,
            "subjects": [record.subject for record in holding],
            "faces": {record.subject: record.prepared for record in holding},
        },
    )
    return report


def _manifest(source: Source, options: Options) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "dataset": source.dataset,
        "au_codes": list(source.au_codes),
        "size": options.size,
        "margin": MARGIN,
        "redetect": options.redetect,
        "shard_faces": options.shard_faces,
        **source.settings,
    }


def _begin(out: Path, manifest: dict[str, Any]) -> None:
    """Note what the folder will hold, or check that it was begun with the same."""
    path = out / MANIFEST_NAME
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            different = [name for name, value in manifest.items() if found.get(name) != value]
        except (OSError, ValueError, AttributeError) as error:
            raise PrepareError(f"{path}: cannot be read ({error}); choose another folder") from error
        if different:
            raise PrepareError(
                f"{out}: was begun with another {', '.join(different)}; go on with the same options, or choose an "
                "empty folder"
            )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PrepareError(f"{out}: is not empty and no folder of `roigcn prepare`; choose another")
    write_json(path, manifest | {"finished": False, "subjects": []})


def _run(
    source: Source, out: Path, options: Options, subjects: list[str], advance: Callable[[str, int], None]
) -> Iterator[tuple[str, Record | str]]:
    """Yield each subject with its record, or with what is wrong with its files."""
    if options.workers <= 1 or len(subjects) <= 1:
        cutter = Cutter(options.size, options.redetect)
        for subject in subjects:
            try:
                record = prepare_subject(
                    source, subject, out, cutter, options.shard_faces, partial(advance, subject, 1)
                )
                yield subject, record
            except PrepareError as error:
                yield subject, str(error)
        return
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    stop = context.Event()
    setup = _Setup(source, out, options, queue, stop)
    workers = min(options.workers, len(subjects))
    with ProcessPoolExecutor(workers, context, _start_worker, (setup,)) as pool, _stopping(stop):
        with _interrupts_held():
            waiting: dict[Future[Record], str] = {pool.submit(_prepare_in_worker, name): name for name in subjects}
        told: Counter[str] = Counter()
        while waiting:
            finished, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            while not queue.empty():
                subject = queue.get()
                if subject in waiting.values():  # what comes late has been made up for
                    told[subject] += REPORT_EVERY
                    advance(subject, REPORT_EVERY)
            for future in finished:
                subject = waiting.pop(future)
                try:
                    record = future.result()
                    advance(subject, record.found - told[subject])
                    yield subject, record
                except PrepareError as error:
                    yield subject, str(error)
                except BrokenProcessPool as error:
                    raise PrepareError(
                        "a process was killed, perhaps for want of memory; run again with fewer --workers"
                    ) from error


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start processes deaf to Ctrl-C from their first moment; one that comes meanwhile reaches this process after."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _stopping(stop: Any) -> Iterator[None]:
    """Ask the processes to stop when the run is left before its end."""
    try:
        yield
    except BaseException:
        stop.set()
        raise


@dataclass(frozen=True)
class _Setup:
    source: Source
    out: Path
    options: Options
    queue: Any
    stop: Any


@dataclass(frozen=True)
class _Worker:
    setup: _Setup
    cutter: Cutter


_worker: _Worker | None = None


def _start_worker(setup: _Setup) -> None:
    """Prepare this process: one thread, and an end when the process that started it ends."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted as well and sets `stop`
    cv2.setNumThreads(1)
    setup.queue.cancel_join_thread()  # numbers for a progress bar are not worth waiting for
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    _worker = _Worker(setup, Cutter(setup.options.size, setup.options.redetect))


def _end_with(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)  # the parent was killed: nobody reads what this process does


def _prepare_in_worker(subject: str) -> Record:
    if _worker is None:
        raise RuntimeError("the worker has not been started")
    setup = _worker.setup
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if done % REPORT_EVERY == 0:
            setup.queue.put(subject)

    return prepare_subject(
        setup.source, subject, setup.out, _worker.cutter, setup.options.shard_faces, advance, setup.stop.is_set
    )
