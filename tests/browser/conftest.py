"""A headless Chromium on a real `roigcn serve` with two checkpoints, its frames watched for errors.

Run it with `make test-browser`. It needs Chromium, which no Python package brings (Debian: `apt-get install chromium`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from model.registry import BUILTIN_ROOT, Registry
from tests.browser.kit import CODE_SIDE, SECONDS, Visitor, barcode
from tests.system.running import Served, clean_environment, free_port, wait_ready

ROOT = Path(__file__).parents[2]
FACES = ROOT / "examples" / "faces"
CLIP = ROOT / "examples" / "clips" / "two_faces.mp4"
SECOND_AU24 = 0.9  # a threshold that tells the second checkpoint from the active one
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """`roigcn serve` with a second checkpoint in its data folder: the active one renamed, with `SECOND_AU24`."""
    # Not under pytest's folder, which only its own user may enter: as root, Postgres runs as another one.
    folder = Path(tempfile.mkdtemp(prefix="roigcn-browser-"))
    active = Registry([BUILTIN_ROOT]).active()
    second = folder / "data" / "checkpoints" / "second" / "1"
    shutil.copytree(active.path, second)
    manifest = json.loads((second / "manifest.json").read_text())
    manifest["landmark_opinion"]["thresholds"]["AU24"] = SECOND_AU24
    (second / "manifest.json").write_text(json.dumps(manifest | {"name": "second", "version": "1"}))
    port, log = free_port(), folder / "log.txt"
    command = [sys.executable, "-m", "service.cli", "serve", "--port", str(port), "--data-dir", str(folder / "data")]
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, text=True, env=clean_environment())
        url = f"http://127.0.0.1:{port}"
        try:
            wait_ready(url, process, log)
            yield Served(url, port, folder / "data", process, log)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            finally:
                shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", params=[0.0, 0.161], ids=["from zero", "from 161 ms"])
def coded_clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example clip's faces at a variable rate, each picture with its number as a bar code in the corner.

    The time axis of one begins later than at 0, as that of many recordings does.
    """
    path = tmp_path_factory.mktemp("clip") / f"coded-{round(1000 * request.param)}.mp4"
    with av.open(str(CLIP)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 640, 320, "yuv420p"
        stream.codec_context.time_base = source.streams.video[0].time_base
        for number, frame in enumerate(source.decode(video=0)):
            if number == 50:
                break
            rgb = frame.to_ndarray(format="rgb24")
            rgb[:CODE_SIDE, : 8 * CODE_SIDE] = np.repeat(barcode(number), CODE_SIDE)[None, :, None]
            coded = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            coded.time_base = stream.codec_context.time_base
            # 40 ms each, but every fifth picture stays for 100 ms more.
            coded.pts = round((request.param + number * 0.04 + number // 5 * 0.1) / float(coded.time_base))
            target.mux(stream.encode(coded))
        target.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def camera_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake camera shows: a rendered face, as Motion JPEG."""
    path = tmp_path_factory.mktemp("camera") / "face.mjpeg"
    path.write_bytes((FACES / "smile.jpg").read_bytes() * 30)
    return path


@pytest.fixture(scope="session")
def browser(camera_film: Path) -> Iterator[Browser]:
    """Debian's Chromium; playwright brings none of its own here."""
    named = os.environ.get("ROIGCN_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if named is None:
        pytest.fail("these tests need Chromium: apt-get install chromium, or set ROIGCN_CHROMIUM to its path")
    flags = [*_FLAGS, f"--use-file-for-fake-video-capture={camera_film}"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=named, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture(params=[1280, 390], ids=["desktop", "phone"])
def width(request: pytest.FixtureRequest) -> int:
    value: int = request.param
    return value


@pytest.fixture
def visitor(browser: Browser, served: Served) -> Iterator[Visitor]:
    """A page at desktop width; at the end it must have made no error and asked nothing of other hosts."""
    yield from visit(browser, served, 1280)


@pytest.fixture
def visitor_at(browser: Browser, served: Served, width: int) -> Iterator[Visitor]:
    """The same at each width, dark on the phone."""
    yield from visit(browser, served, width)


def visit(browser: Browser, served: Served, width: int) -> Iterator[Visitor]:
    """A page of this width, closed when the loop over it ends; without errors and foreign requests."""
    size: ViewportSize = {"width": width, "height": 844 if width < 700 else 900}
    context = browser.new_context(viewport=size, color_scheme="dark" if width < 700 else "light", accept_downloads=True)
    context.set_default_timeout(1000 * SECONDS)
    page: Page = context.new_page()
    visitor = Visitor(page, served)
    try:
        visitor.open()
        yield visitor
        assert visitor.errors == []
        assert visitor.foreign == []
    finally:
        context.close()
