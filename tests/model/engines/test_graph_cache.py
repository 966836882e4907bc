from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest

from model.checkpoint import Checkpoint
from model.engines import EngineError
from model.engines.graph_cache import GRAPH_NAME, WEIGHTS_NAME, cache_key, cached_graph
from model.manifest import Normalisation


def build(folder: Path) -> None:
    """Writes a small graph and counts, outside of the cache, how often it was asked to."""
    (folder / GRAPH_NAME).write_text("<net/>")
    (folder / WEIGHTS_NAME).write_bytes(b"weights")
    with (folder.parents[2] / "built").open("a") as log:
        log.write("x")


def built(cache_dir: Path) -> int:
    return len((cache_dir.parent / "built").read_text())


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_builds_once(cache_dir: Path) -> None:
    for _ in range(3):
        assert cached_graph(cache_dir, "key", build).read_text() == "<net/>"
    assert built(cache_dir) == 1
    cached_graph(cache_dir, "other", build)
    assert built(cache_dir) == 2


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated weights": lambda entry: (entry / WEIGHTS_NAME).write_bytes(b"weigh"),
    "changed graph": lambda entry: (entry / GRAPH_NAME).write_text("<ten/>"),
    "no weights": lambda entry: (entry / WEIGHTS_NAME).unlink(),
    "no hashes": lambda entry: (entry / "sha256.json").unlink(),
    "broken hashes": lambda entry: (entry / "sha256.json").write_text("[1"),
    "foreign hashes": lambda entry: (entry / "sha256.json").write_text("[1]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_built_again(damage: str, cache_dir: Path) -> None:
    entry = cached_graph(cache_dir, "key", build).parent
    DAMAGES[damage](entry)
    graph = cached_graph(cache_dir, "key", build)
    assert graph.read_text() == "<net/>"
    assert (graph.parent / WEIGHTS_NAME).read_bytes() == b"weights"
    assert built(cache_dir) == 2


def test_a_build_that_fails_leaves_nothing(cache_dir: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / GRAPH_NAME).write_text("half")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        cached_graph(cache_dir, "key", fail)
    assert [path.name for path in (cache_dir / "openvino").iterdir() if path.is_dir()] == []
    cached_graph(cache_dir, "key", build)
    assert built(cache_dir) == 1


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EngineError, match="ROIGCN_DATA_DIR"):
        cached_graph(tmp_path / "file", "key", build)


def _start_together(cache_dir: Path, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]  # a multiprocessing barrier, which has no public type
    cached_graph(cache_dir, "key", build)


def test_processes_that_start_together_build_once(cache_dir: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    workers = [context.Process(target=_start_together, args=(cache_dir, barrier)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert built(cache_dir) == 1


def test_the_key_names_all_that_the_graph_depends_on(checkpoint: Checkpoint) -> None:
    def changed(**update: object) -> str:
        return cache_key(Checkpoint(checkpoint.path, checkpoint.manifest.model_copy(update=update)), "2026.4")

    key = changed()
    assert key == changed(thresholds={"AU1": 0.5}, name="other", licence="another")
    others = [
        changed(weights_sha256="1" * 64),
        changed(normalisation=Normalisation(mean=(0.5, 0.5, 0.5))),
        changed(input_size=96),
        cache_key(checkpoint, "2027.1"),
    ]
    assert len({key, *others}) == 5
