"""Fixtures for all tests: one embedded Postgres a session, a clean migrated database for whoever asks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from uuid import uuid4

import av
import numpy as np
import pytest
import skimage.data
import sqlalchemy as sa
import torch

from model.analyzer import Analyzer
from model.checkpoint import Architecture, Checkpoint, Manifest, Metrics, RoiConfig, Training, write_checkpoint
from model.manifest import Fusion, LandmarkOpinion, MovementFusion, OwnRest
from model.network import RoiGcn
from model.network_config import NetworkConfig
from model.registry import Registry
from model.values import UInt8Array
from tests.readings import random_reading
from worker.store.database import create_engine
from worker.store.embedded import EmbeddedPostgres, start_postgres
from worker.store.migrate import upgrade
from worker.store.tables import metadata

_TEMPLATE = "roigcn_template"


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The server, with a migrated template database in it.

    Not under pytest's own temporary folder: each run of pytest closes that one to other users, and for root the server
    runs as another user.
    """
    folder = Path(tempfile.mkdtemp(prefix="roigcn-tests-"))
    server = start_postgres(folder)
    with _admin(server) as connection:
        # The tests kill processes, not the machine: nothing here needs to survive a power cut.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(sa.text(f"ALTER SYSTEM SET {setting} = off"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))
        connection.execute(sa.text(f"CREATE DATABASE {_TEMPLATE}"))
    upgrade(_url(server, _TEMPLATE))
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(postgres: EmbeddedPostgres) -> str:
    """A migrated database shared by the session; its users keep apart by tenant."""
    return _create(postgres, "roigcn_session")


@pytest.fixture(scope="session")
def create_database(postgres: EmbeddedPostgres) -> Callable[[], str]:
    """Makes migrated databases that live as long as the session; gives their URLs."""
    return lambda: _create(postgres, f"roigcn_{uuid4().hex}")


@pytest.fixture(scope="session")
def _tests_database(postgres: EmbeddedPostgres) -> str:
    return _create(postgres, "roigcn_test")


@pytest.fixture
def database(postgres: EmbeddedPostgres, _tests_database: str) -> Iterator[str]:
    """The URL of a clean migrated database: one for all tests, emptied after each."""
    yield _tests_database
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'roigcn_test'"
    with _admin(postgres) as connection:
        connection.execute(sa.text(others))
    with create_engine(_tests_database, pool_size=1).begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))


@pytest.fixture
def engine(database: str) -> Iterator[sa.Engine]:
    """A SQLAlchemy engine on `database`."""
    engine = create_engine(database)
    yield engine
    engine.dispose()


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database without any table."""
    name = f"roigcn_{uuid4().hex}"
    with _admin(postgres) as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield _url(postgres, name)
    with _admin(postgres) as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A small network with random weights and three AUs, at 64 pixels: `<data folder>/checkpoints/tiny/1`.

    Its reading of landmarks is as random; AU1 is held against a person's own rest.
    Its data folder, `tiny_checkpoint.path.parents[2]`, also keeps the converted network for all tests of a session.
    """
    torch.manual_seed(0)
    codes = ("AU1", "AU12", "AU25")
    architecture = Architecture(backbone="hrnet_w18_small")
    network = RoiGcn(NetworkConfig(**architecture.arguments(), num_aus=len(codes), input_size=64))
    manifest = Manifest(
        name="tiny",
        version="1",
        architecture=architecture,
        au_codes=codes,
        input_size=64,
        map_size=16,
        roi=RoiConfig(half_width=1),
        training=Training(data="random weights", synthetic_only=True),
        landmark_opinion=LandmarkOpinion(
            fusion={code: Fusion(score=2.0, landmarks=0.1, intercept=0.0) for code in codes},
            training="random weights",
            metrics=Metrics(protocol="none"),
            own_rest=OwnRest(
                fusion={"AU1": MovementFusion(score=2.0, landmarks=0.1, movement=1.0, intercept=0.0)},
                metrics=Metrics(protocol="none"),
            ),
        ),
        metrics=Metrics(protocol="none"),
        licence="none",
    )
    root = tmp_path_factory.mktemp("data") / "checkpoints"
    tensors = {**network.state_dict(), **random_reading(codes).tensors()}
    checkpoint = write_checkpoint(root / "tiny" / "1", tensors, manifest)
    Registry.open(root.parent).activate("tiny", "1")
    return checkpoint


@pytest.fixture(scope="session")
def tiny_analyzer(tiny_checkpoint: Checkpoint) -> Iterator[Analyzer]:
    """The network of `tiny_checkpoint` on OpenVINO, with the real face finder."""
    with Analyzer.open("tiny", "openvino", tiny_checkpoint.path.parents[2], threads=2) as analyzer:
        yield analyzer


@pytest.fixture(scope="session")
def astronaut() -> UInt8Array:
    """(512, 512, 3) a photo with one smiling face."""
    return np.asarray(skimage.data.astronaut())


@pytest.fixture(scope="session")
def write_clip() -> Callable[..., Path]:
    """`write_clip(path, pictures, ...)`, see `_write_clip`."""
    return _write_clip


def _write_clip(
    path: Path,
    pictures: Iterable[UInt8Array],
    *,
    pts_ms: Sequence[int] | None = None,
    fps: int = 25,
    codec: str = "libx264",
    options: Mapping[str, str] | None = None,
    rotation: int = 0,
    hflip: bool = False,
    aspect: Fraction | None = None,
    container_options: Mapping[str, str] | None = None,
) -> Path:
    """Encode RGB pictures of one even size.

    Args:
        path: the ending names the container.
        pictures: (H, W, 3) uint8 each.
        pts_ms: presentation time of each picture, for a variable frame rate; by default they come at `fps`.
        fps: the nominal rate.
        codec: FFmpeg's name of an encoder.
        options: of the encoder.
        rotation: counter-clockwise degrees that the display matrix asks for.
        hflip: whether it asks for mirroring too.
        aspect: of a pixel, width over height.
        container_options: of the muxer.
    """
    with av.open(str(path), "w", options=dict(container_options or {})) as container:
        stream = container.add_stream(codec, rate=fps, options={"preset": "ultrafast", **(options or {})})
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000 if pts_ms is not None else fps)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for index, rgb in enumerate(pictures):
            if index == 0:
                stream.height, stream.width = rgb.shape[:2]
                if rotation or hflip:
                    stream.set_display_rotation(rotation, hflip=hflip)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            frame.pts = index if pts_ms is None else pts_ms[index]
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _create(server: EmbeddedPostgres, name: str) -> str:
    with _admin(server) as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}"))
    return _url(server, name)


def _url(server: EmbeddedPostgres, name: str) -> str:
    return server.url.replace("/postgres?", f"/{name}?")


@contextmanager
def _admin(server: EmbeddedPostgres) -> Iterator[sa.Connection]:
    """A connection outside any transaction, as CREATE DATABASE needs."""
    engine = create_engine(server.url, pool_size=1)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection
    engine.dispose()
