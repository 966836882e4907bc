"""How fast a clip goes through a worker process and Postgres, against the engine alone on the same crops.

    python benchmarks/video.py                              # the active checkpoint, then W18 at 256 (the paper's)
    python benchmarks/video.py --network hrnet_w18:256 --seconds 60
    python benchmarks/video.py --clip interview.mp4 --checkpoint w18s-rendered

For each network, in one run: the clip is queued in an embedded Postgres and a real worker process takes it (decode,
faces, crops, network, ROI maps, COPY, commits); then the engine alone runs the crops of the same clip, in the worker's
batches. Before and after, so that a machine that changes its mood in between shows. Printed are frames per second of
both and their ratio, the same by processor time (which a busy machine disturbs less), and the worker's memory over
time. Without --clip the clip is made here: scikit-image's photo of an astronaut, moving, one face in every frame.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import psutil
import skimage.data

from model.action_units import AU_SETS
from model.analyzer import Analyzer
from model.checkpoint import Architecture, Manifest, Metrics, Training, write_checkpoint
from model.faces.tracker import FaceTracker
from model.values import UInt8Array
from worker.app import worker_argv
from worker.settings import WorkerSettings
from worker.store.catalogue import MediaRepository, WorkerRepository
from worker.store.database import create_engine
from worker.store.embedded import start_postgres
from worker.store.jobs import JobRepository
from worker.store.media import MediaStore
from worker.store.migrate import upgrade
from worker.store.records import Job, JobState
from worker.store.results import ResultRepository
from worker.video import VideoReader

FPS = 25
CROPS = 192


@dataclass
class WorkerRun:
    """A clip through a worker process.

    Attributes:
        job: at its end.
        faces: stored face-frames.
        cpu_seconds: processor time of the worker, from its claim to the end.
        memory: (seconds, MiB) samples.
    """

    job: Job
    faces: int
    cpu_seconds: float
    memory: list[tuple[float, float]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """From the claim to the end."""
        assert self.job.finished_at is not None
        assert self.job.started_at is not None
        return (self.job.finished_at - self.job.started_at).total_seconds()


def make_clip(path: Path, seconds: float, size: tuple[int, int] = (360, 640)) -> Path:
    """One face that wanders through every frame, H.264."""
    photo = np.asarray(skimage.data.astronaut())  # type: ignore[no-untyped-call]  # scikit-image has no types
    photo = photo[:360, 60:420]
    height, width = size

    def pictures() -> Iterator[UInt8Array]:
        backdrop = np.random.default_rng(0).integers(60, 120, (height, width, 3)).astype(np.uint8)
        for number in range(round(seconds * FPS)):
            rgb = backdrop.copy()
            shift = round((width - 360) / 2 * (1 + np.sin(number / 40)))
            rgb[:360, shift : shift + 360] = photo
            yield rgb

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, width=width, height=height, options={"preset": "veryfast"})
        stream.pix_fmt = "yuv420p"
        for index, rgb in enumerate(pictures()):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def random_checkpoint(data_dir: Path, network: str) -> str:
    """A checkpoint with random weights of `BACKBONE:SIZE`; speed does not depend on the weights."""
    from model.network import RoiGcn
    from model.network_config import NetworkConfig

    backbone, size = network.split(":")
    codes = AU_SETS["faces15"]
    config = NetworkConfig(backbone=backbone, num_aus=len(codes), input_size=int(size))
    manifest = Manifest(
        name=f"{backbone}-{size}",
        version="random",
        architecture=Architecture(backbone=backbone),
        au_codes=codes,
        input_size=config.input_size,
        map_size=config.map_size,
        training=Training(data="random weights", synthetic_only=True),
        metrics=Metrics(protocol="none"),
        licence="none",
    )
    folder = data_dir / "checkpoints" / manifest.name / manifest.version
    if not folder.exists():
        write_checkpoint(folder, RoiGcn(config).state_dict(), manifest)
    return manifest.ref


def through_worker(url: str, data_dir: Path, ref: str, clip: Path, threads: int | None) -> WorkerRun:
    """Start a worker, queue the clip, watch both to the end."""
    settings = WorkerSettings(data_dir=data_dir, database_url=url, checkpoint=ref, threads=threads)
    names = ("data_dir", "database_url", "checkpoint") + (("threads",) if threads else ())
    environment = {f"ROIGCN_{name.upper()}": str(getattr(settings, name)) for name in names}
    engine = create_engine(url)
    process = subprocess.Popen(worker_argv("video", settings), env=os.environ | environment, stderr=subprocess.DEVNULL)
    try:
        watched = psutil.Process(process.pid)
        while True:  # until the network is loaded
            with engine.connect() as connection:
                if any(row.pid == process.pid and row.engine for row in WorkerRepository(connection).list()):
                    break
            if process.poll() is not None:
                raise SystemExit(f"the worker ended with {process.returncode}")
            time.sleep(0.1)
        with MediaStore(settings.media_dir).writer(1 << 40) as writer, clip.open("rb") as source:
            while chunk := source.read(1 << 20):
                writer.write(chunk)
            file = writer.finalise()
        cpu_before, started = sum(watched.cpu_times()[:2]), time.monotonic()
        with engine.begin() as connection:
            media = MediaRepository(connection).create("benchmark", file, mime="video/mp4")
            job, _ = JobRepository(connection).create_video_job("benchmark", media.id)
        memory = []
        while not job.state.final:
            time.sleep(0.25)
            memory.append((time.monotonic() - started, watched.memory_info().rss / 2**20))
            with engine.connect() as connection:
                job = JobRepository(connection).get_or_raise("benchmark", job.id)
        if job.state is not JobState.SUCCEEDED:
            raise SystemExit(f"the job ended as {job.state}: {job.error}")
        cpu = sum(watched.cpu_times()[:2]) - cpu_before
        with engine.connect() as connection:
            faces = sum(track.frames for track in ResultRepository(connection).tracks(job))
        return WorkerRun(job, faces, cpu, memory)
    finally:
        process.terminate()
        process.wait()
        engine.dispose()


def crops_of(analyzer: Analyzer, clip: Path) -> UInt8Array:
    """(B, S, S, 3) the first crops of the clip, as the pipeline cuts them."""

    def crops() -> Iterator[UInt8Array]:
        tracker = FaceTracker(analyzer.finder)  # type: ignore[arg-type]  # the default finder is a FaceFinder
        with VideoReader(clip) as reader:
            for frame in reader.frames():
                yield from (analyzer.crop(frame.rgb, face).pixels for face in tracker.update(frame))

    return np.stack(list(islice(crops(), CROPS)))


def engine_alone(analyzer: Analyzer, crops: UInt8Array, batch: int) -> tuple[float, float]:
    """Seconds and processor seconds per crop, the best of five rounds."""
    best = (np.inf, np.inf)
    analyzer.engine.run(crops[:batch])
    for _ in range(5):
        wall, cpu = time.perf_counter(), time.process_time()
        for start in range(0, len(crops), batch):
            analyzer.engine.run(crops[start : start + batch])
        best = min(best, ((time.perf_counter() - wall) / len(crops), (time.process_time() - cpu) / len(crops)))
    return best


def measure(url: str, data_dir: Path, ref: str, clip: Path, threads: int | None) -> None:
    """Measure one network and print."""
    batch = WorkerSettings().batch_size
    with Analyzer.open(ref, data_dir=data_dir, threads=threads) as analyzer:
        crops = crops_of(analyzer, clip)
        before = engine_alone(analyzer, crops, batch)
        run = through_worker(url, data_dir, ref, clip, threads)
        after = engine_alone(analyzer, crops, batch)
        name = f"{analyzer.engine.name} {analyzer.engine.device}"
    frames, per_frame = run.job.frames_done, run.faces / run.job.frames_done
    alone = [1 / (seconds * per_frame) for seconds, _ in (before, after)]
    alone_cpu = np.mean([before[1], after[1]]) * per_frame
    end_to_end, cpu = frames / run.seconds, run.cpu_seconds / frames
    spread = f"before {alone[0]:.1f}, after {alone[1]:.1f}"
    print(f"{ref} on {name}: {crops.shape[1]} px, {frames} frames, {run.faces} faces")
    print(f"  end to end    {end_to_end:7.1f} frames/s  {cpu * 1e3:7.1f} ms of processor a frame")
    print(f"  engine alone  {np.mean(alone):7.1f} frames/s  {alone_cpu * 1e3:7.1f} ms  ({spread})")
    print(f"  ratio         {end_to_end / np.mean(alone):7.2f}           {alone_cpu / cpu:7.2f} by processor time")
    points = [run.memory[round(i * (len(run.memory) - 1) / 9)] for i in range(10)]
    print("  memory        " + "  ".join(f"{second:.0f} s: {mib:.0f}" for second, mib in points) + "  MiB", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", action="append", default=[], help="NAME[:VERSION]; may be repeated")
    parser.add_argument(
        "--network", action="append", default=[], help="BACKBONE:SIZE with random weights; may be repeated"
    )
    parser.add_argument("--clip", type=Path, help="default: a clip made here")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the clip made here")
    parser.add_argument("--threads", type=int, help="of the engine; default one per core")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="roigcn-benchmark-") as folder:
        data_dir = Path(folder)
        clip = options.clip or make_clip(data_dir / "clip.mp4", options.seconds)
        refs = list(options.checkpoint)
        networks = options.network or ([] if refs else ["hrnet_w18:256"])
        if not refs and not options.network:
            from model.registry import Registry

            refs.append(Registry.open().active().ref)
        refs += [random_checkpoint(data_dir, network) for network in networks]
        postgres = start_postgres(data_dir)
        try:
            upgrade(postgres.url)
            for ref in refs:
                measure(postgres.url, data_dir, ref, clip, options.threads)
        finally:
            postgres.stop()


if __name__ == "__main__":
    main()
