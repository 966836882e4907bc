from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model.checkpoint import Checkpoint, CheckpointError, write_checkpoint
from model.registry import BUILTIN_ROOT, Registry

Publish = Callable[[Path, str, str, str], Checkpoint]


@pytest.fixture(scope="module")
def publish(checkpoint: Checkpoint) -> Publish:
    """Publishes a checkpoint of one tensor: a registry does not look into weights."""

    def write(root: Path, name: str, version: str, date: str) -> Checkpoint:
        training = checkpoint.manifest.training.model_copy(update={"date": date})
        manifest = checkpoint.manifest.model_copy(update={"name": name, "version": version, "training": training})
        return write_checkpoint(root / name / version, {"w": np.ones((2, 2), np.float32)}, manifest)

    return write


@pytest.fixture(scope="module")
def roots(publish: Publish, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    builtin, published = tmp_path_factory.mktemp("builtin"), tmp_path_factory.mktemp("published")
    publish(builtin, "faces", "2", "2026-02-01")
    publish(builtin, "faces", "10", "2026-03-01")
    publish(builtin, "old", "9", "2025-01-01")
    publish(published, "mine", "1.0", "2027-01-01")
    publish(published, "faces", "11", "2027-01-01")
    return builtin, published


@pytest.fixture
def registry(roots: tuple[Path, Path], tmp_path: Path) -> Registry:
    """Both roots, with the second one's files reached through links, so that its pointer is this test's own."""
    own = tmp_path / "checkpoints"
    own.mkdir()
    for name in roots[1].iterdir():
        (own / name.name).symlink_to(name)
    return Registry([roots[0], own])


def test_lists_all_roots_newest_version_first(registry: Registry) -> None:
    assert [entry.ref for entry in registry.list()] == ["faces:11", "faces:10", "faces:2", "mine:1.0", "old:9"]
    assert registry.broken() == ()


def test_the_built_in_root_names_its_own_choice(publish: Publish, tmp_path: Path) -> None:
    builtin, own = tmp_path / "builtin", tmp_path / "own"
    publish(builtin, "main", "1", "2026-01-01")
    publish(builtin, "light", "1", "2026-02-01")
    publish(own, "mine", "1", "2026-03-01")
    registry = Registry([builtin, own])
    assert registry.active().ref == "light:1", "the newest, where nothing is said"
    (builtin / "active").write_text("main:1\n")
    assert registry.active().ref == "main:1"
    registry.activate("mine", "1")
    assert registry.active().ref == "mine:1"
    (own / "active").unlink()
    (builtin / "active").write_text("gone:1\n")
    with pytest.raises(CheckpointError, match="No checkpoint 'gone:1'"):
        registry.active()


@pytest.mark.parametrize(("ref", "found"), [("faces", "faces:11"), ("faces:2", "faces:2"), (" mine ", "mine:1.0")])
def test_get(ref: str, found: str, registry: Registry) -> None:
    assert registry.get(ref).ref == found


@pytest.mark.parametrize("ref", ["nobody", "faces:3", "", "../x", "faces:", "faces:../../x", "a/b", "Faces"])
def test_get_unknown(ref: str, registry: Registry) -> None:
    with pytest.raises(CheckpointError, match=r"No checkpoint|not a checkpoint's name"):
        registry.get(ref)


def test_active_defaults_to_the_newest_built_in(registry: Registry) -> None:
    assert registry.pointer() is None
    assert registry.active().ref == "faces:10"


def test_activate_moves_the_pointer(registry: Registry) -> None:
    assert registry.activate("mine", "1.0").ref == "mine:1.0"
    assert Registry(registry.roots).active().ref == "mine:1.0"
    with pytest.raises(CheckpointError, match="No checkpoint"):
        registry.activate("mine", "2.0")
    assert registry.active().ref == "mine:1.0"
    registry.activate("old", "9")
    assert registry.pointer() == "old:9"
    assert [path.name for path in registry.roots[1].iterdir() if path.name.startswith(".")] == []


def test_a_pointer_to_nothing_is_said_and_not_passed_over(registry: Registry) -> None:
    (registry.roots[1] / "active").write_text("gone:1\n")
    with pytest.raises(CheckpointError, match="activate"):
        registry.active()
    (registry.roots[1] / "active").write_text("\n")
    assert registry.active().ref == "faces:10"


def test_broken_ones_are_listed_apart(registry: Registry, publish: Publish) -> None:
    root = registry.roots[1]
    (publish(root, "hurt", "1", "2026-01-01").path / "manifest.json").write_text("{")
    publish(root, "moved", "1", "2026-01-01").path.rename(root / "moved" / "2")
    (root / "notes" / ".publishing-x").mkdir(parents=True)
    (root / "notes" / "file").write_text("no folder")
    problems = {broken.path.parent.name: broken.problem for broken in registry.broken()}
    assert set(problems) == {"hurt", "moved"}
    assert "is not JSON" in problems["hurt"]
    assert "says moved:1" in problems["moved"]
    assert len(registry.list()) == 5
    with pytest.raises(CheckpointError, match="is not JSON"):
        registry.get("hurt:1")


def test_an_empty_registry_says_where_it_looked(tmp_path: Path) -> None:
    empty = Registry([tmp_path / "a", tmp_path / "b"])
    assert empty.list() == ()
    with pytest.raises(CheckpointError, match="No checkpoint is installed"):
        empty.active()
    with pytest.raises(CheckpointError, match="none at all"):
        empty.get("x")
    with pytest.raises(ValueError, match="at least one root"):
        Registry([])


def test_nothing_can_be_activated_without_a_data_folder(roots: tuple[Path, Path]) -> None:
    with pytest.raises(CheckpointError, match="data folder"):
        Registry([roots[0]]).activate("old", "9")


def test_open_knows_the_built_in_root_and_the_data_folder(tmp_path: Path) -> None:
    assert Registry.open().roots == (BUILTIN_ROOT,)
    assert Registry.open(tmp_path).roots == (BUILTIN_ROOT, tmp_path / "checkpoints")
