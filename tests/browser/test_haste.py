"""Things done before the last was done, and files that are not as most are."""

from __future__ import annotations

import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect

from model.manifest import decision_thresholds
from model.registry import BUILTIN_ROOT, Registry
from tests.browser.conftest import CLIP, FACES, SECOND_AU24
from tests.browser.kit import Visitor


def test_a_clip_that_is_opened_while_another_loads_is_shown(visitor: Visitor, tmp_path: Path) -> None:
    jobs = []
    for name in ("first.mp4", "second.mp4"):
        shutil.copy(CLIP, tmp_path / name)
        jobs.append(visitor.clip(tmp_path / name))
    page = visitor.page
    for first, second in (jobs, jobs[::-1]):
        opened = """([one, other]) => {
          for (const id of [one, other]) document.querySelector(`.job[data-job="${id}"] .job-open`).click();
          return true;
        }"""
        assert visitor.value(opened, [first, second])
        page.wait_for_selector(".strip")
        page.wait_for_selector("video.source[src]", state="attached")
        page.wait_for_selector(".transport .time:not(:empty)")
        assert page.get_attribute('.job-open[aria-pressed="true"] >> xpath=ancestor::li', "data-job") == second


def test_a_picture_that_the_browser_cannot_decode_is_shown_as_the_service_did(visitor: Visitor, tmp_path: Path) -> None:
    Image.open(FACES / "smile.jpg").save(tmp_path / "smile.tif")
    visitor.photo(tmp_path / "smile.tif")
    expect(visitor.page.locator('#photo .au[data-au="AU12"]').first).to_have_class("au active")
    drawn = """() => {
      const canvas = document.querySelector("#photo .stage-canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let brightest = 0;
      for (let k = 0; k < data.length; k += 4) brightest = Math.max(brightest, data[k]);
      return brightest;
    }"""
    assert visitor.value(drawn) > 100


def test_a_download_keeps_its_name(visitor: Visitor, tmp_path: Path) -> None:
    path = tmp_path / "Gespräch Müller.mp4"
    shutil.copy(CLIP, path)
    visitor.clip(path)
    with visitor.page.expect_download() as started:
        visitor.page.click('[data-format="native"]')
    assert started.value.suggested_filename == "Gespräch Müller.aus.csv"


def test_another_checkpoint_for_the_camera_brings_its_thresholds(visitor: Visitor) -> None:
    manifest = Registry([BUILTIN_ROOT]).active().manifest.model_dump(mode="json")
    own = decision_thresholds(manifest, "auto")["AU24"]
    page = visitor.page
    page.click("#tab-camera")
    page.click('button:text("Open the camera")')
    mark = page.locator('#camera .au[data-au="AU24"] .au-mark')
    expect(mark).to_have_value(f"{own:.2f}".rstrip("0"))
    page.select_option('[aria-label="Checkpoint for the camera"]', "second:1")
    expect(mark).to_have_value(f"{SECOND_AU24}")
    page.click('button:text("Close the camera")')
