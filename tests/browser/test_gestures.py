"""What hands and the keyring do: files dropped and pasted, a clip cancelled while it runs, an API key typed in."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import CLIP, FACES
from tests.browser.kit import SECONDS, Visitor
from tests.system.running import Served, clean_environment

GIVE = """([name, type, coded, kind]) => {
  const bytes = Uint8Array.from(atob(coded), (letter) => letter.charCodeAt(0));
  const files = new DataTransfer();
  files.items.add(new File([bytes], name, { type }));
  if (kind === "paste") {
    document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: files, bubbles: true }));
    return;
  }
  for (const event of ["dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(event, { dataTransfer: files, bubbles: true, cancelable: true }));
    if (event === "dragover" && !document.body.classList.contains("dragging")) throw new Error("no sign of dragging");
  }
  if (document.body.classList.contains("dragging")) throw new Error("still dragging");
}"""


def give(visitor: Visitor, path: Path, media_type: str, kind: str) -> None:
    """Drop a file on the page, or paste it."""
    visitor.value(GIVE, [path.name, media_type, base64.b64encode(path.read_bytes()).decode(), kind])


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_photo_may_be_dropped_or_pasted_anywhere(visitor: Visitor, kind: str) -> None:
    visitor.page.click("#tab-camera")
    give(visitor, FACES / "smile.jpg", "image/jpeg", kind)
    visitor.page.wait_for_selector("#photo .results:not([hidden]) .au")
    expect(visitor.page.locator('#photo .au[data-au="AU12"]').first).to_have_class(re.compile("active"))


def test_a_clip_may_be_dropped_anywhere(visitor: Visitor) -> None:
    give(visitor, CLIP, "video/mp4", "drop")
    visitor.page.wait_for_selector("#clip .job:first-child[data-state=succeeded]")
    visitor.page.wait_for_selector(".strip")


def test_what_is_no_picture_is_said(visitor: Visitor, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture at all")
    give(visitor, broken, "image/jpeg", "drop")
    visitor.page.wait_for_selector(".notice, [role=alert], [role=status]")
    visitor.until("/picture|image/i.test(document.querySelector('#notices').textContent)")
    visitor.errors[:] = [error for error in visitor.errors if "status of 4" not in error]  # the console names the 4xx


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two minutes of the example clip's first pictures: nobody waits for its end."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    with av.open(str(CLIP)) as source:
        pictures = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)][:25]
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], "yuv420p"
        for number in range(3000):
            target.mux(stream.encode(av.VideoFrame.from_ndarray(pictures[number % 25], format="rgb24")))
        target.mux(stream.encode())
    return path


def test_a_running_clip_is_cancelled(visitor: Visitor, long_clip: Path) -> None:
    page = visitor.page
    page.click("#tab-clip")
    page.set_input_files("#clip input[type=file]", long_clip)
    row = page.locator(".job:first-child")
    expect(row.locator(".job-name")).to_have_text("long.mp4")
    visitor.until("Number(document.querySelector('.job:first-child progress')?.value) > 0")
    row.locator('button:text("Cancel")').click()
    expect(row).to_have_attribute("data-state", "cancelled")
    expect(row.locator('button:text("Cancel")')).to_be_hidden()
    expect(row.locator("progress")).to_be_hidden()
    job = row.get_attribute("data-job")
    with visitor.served.client() as client:
        about = client.get(f"/jobs/{job}").json()
    assert about["state"] == "cancelled"
    assert 0 < about["progress"]["frames_done"] < 3000


def _keys(served: Served, *arguments: str) -> str:
    command = [sys.executable, "-m", "service.cli", "keys", *arguments, "--data-dir", str(served.data_dir)]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _wait_status(served: Served, wanted: int) -> None:
    """Until the service has noticed that there are keys, or none: it looks every few seconds."""
    ends = time.monotonic() + SECONDS
    with served.client() as client:
        while client.get("/jobs").status_code != wanted:
            assert time.monotonic() < ends
            time.sleep(0.2)


@pytest.fixture
def key(served: Served) -> Iterator[str]:
    """The only key of the service, which wants one while this lasts."""
    text = _keys(served, "create", "--name", "page")
    try:
        _wait_status(served, 401)
        yield text
    finally:
        rows = [line.split("\t") for line in _keys(served, "list").splitlines()]
        for row in rows:
            _keys(served, "revoke", row[0], "--forget")
        _wait_status(served, 200)


def test_a_key_is_asked_for_refused_and_taken(visitor: Visitor, key: str) -> None:
    page = visitor.page
    page.reload()
    page.wait_for_selector("#key-form:not([hidden])")
    page.fill("#key-field", "roigcn_wrong")
    page.keyboard.press("Enter")
    visitor.until("/key is not known/.test(document.querySelector('#notices').textContent)")
    assert page.locator("#key-form").is_visible()
    page.fill("#key-field", key)
    page.keyboard.press("Enter")
    page.wait_for_selector("#key-form", state="hidden")
    page.wait_for_selector("#checkpoint-a option:nth-child(3)", state="attached")
    visitor.photo(FACES / "smile.jpg")
    visitor.clip(CLIP)  # its player asks for a link of its own, since it cannot send the key
    visitor.until("document.querySelector('video.source').readyState >= 2")
    page.click("#tab-camera")
    page.click('button:text("Open the camera")')
    page.wait_for_selector("#camera .au")
    page.click('button:text("Close the camera")')
    assert key not in page.content()
    visitor.errors[:] = [error for error in visitor.errors if "status of 401" not in error]
