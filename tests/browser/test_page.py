"""The page as people use it: photo, clip, camera, two checkpoints, keyboard, both widths, accessibility."""

from __future__ import annotations

import csv
import re
import time
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from model.registry import BUILTIN_ROOT, Registry
from tests.browser.conftest import CLIP, FACES
from tests.browser.kit import CODE_SIDE, SECONDS, Visitor, barcode

STAGE = "#photo .stage-canvas"
CLIP_STAGE = "#clip .stage-canvas"


def shown_frame(visitor: Visitor) -> int:
    """The number of the frame that the player names."""
    text = visitor.page.inner_text(".transport .time")
    found = re.search(r"frame (\d+)", text)
    assert found, text
    return int(found[1])


def painted_frame(visitor: Visitor) -> int:
    """The number in the bar code of the picture that is painted."""
    pixels = visitor.colours(CLIP_STAGE).astype(int)
    zoom = pixels.shape[1] / 640
    places = [round((CODE_SIDE * (bit + 0.5)) * zoom) for bit in range(8)]
    line = pixels[round(CODE_SIDE / 2 * zoom), places, :3].mean(axis=1)
    return int(sum(1 << bit for bit in range(8) if line[bit] > 128))


def test_a_photo(visitor_at: Visitor, width: int) -> None:
    visitor = visitor_at
    visitor.photo(FACES / "smile.jpg")
    page = visitor.page
    assert page.locator("#photo .au").count() == 15
    smile = page.locator('#photo .au[data-au="AU12"]').first
    expect(smile).to_have_class(re.compile("active"))
    assert float(smile.locator(".num").first.inner_text()) > 0.9
    assert page.get_attribute(STAGE, "aria-label") == "1 face"
    assert "rendered faces only" in page.inner_text("#caution")
    assert "no intensity" in page.inner_text("#caution")
    overflow = visitor.value("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow == 0, f"the page is {overflow} px too wide at {width}"


def test_maps_boxes_and_thresholds(visitor: Visitor) -> None:
    visitor.photo(FACES / "smile.jpg")
    page = visitor.page
    page.wait_for_timeout(300)
    with_all = visitor.colours(STAGE).astype(int)
    page.uncheck('label:has-text("boxes") input >> nth=0')
    page.select_option('#photo select[aria-label="Whose ROI maps are shown"]', "none")
    page.wait_for_timeout(300)
    plain = visitor.colours(STAGE).astype(int)
    page.click('#photo .au[data-au="AU12"] .au-pick')
    page.wait_for_timeout(300)
    smile = visitor.colours(STAGE).astype(int)
    page.click('#photo .au[data-au="AU4"] .au-pick')
    page.wait_for_timeout(300)
    brow = visitor.colours(STAGE).astype(int)
    redder, bluer = (smile - plain)[..., 0] - (smile - plain)[..., 2], (brow - plain)[..., 2] - (brow - plain)[..., 0]
    assert redder.max() > 60, "AU12 occurs: its regions are red"
    assert bluer.max() > 60, "AU4 is absent: its regions are blue"
    half = plain.shape[0] // 2
    assert (redder[half:] > 40).sum() > 20 * (redder[:half] > 40).sum(), "the mouth is in the lower half"
    assert (np.abs(with_all - plain).sum(axis=2) > 60).sum() > 500, "boxes and maps were drawn"
    page.fill('#photo input[aria-label="Opacity of the ROI maps"]', "0")
    page.wait_for_timeout(300)
    assert (visitor.colours(STAGE).astype(int) == plain).mean() > 0.999

    row = page.locator('#photo .au[data-au="AU12"]').first
    row.locator(".au-mark").fill("1")
    expect(row).not_to_have_class(re.compile("active"))
    page.click('#photo button:text("Reset")')
    expect(row).to_have_class(re.compile("active"))


def test_photos_and_clips_are_held_against_a_neutral_one(visitor: Visitor) -> None:
    page = visitor.page

    def raised() -> float:
        return float(page.locator('#photo .au[data-au="AU1"] .num').first.inner_text())

    visitor.photo(FACES / "surprise.jpg")
    alone = raised()
    visitor.photo(FACES / "sadness.jpg")
    page.click('#photo button:has-text("Use as neutral")')
    chip = page.locator("#photo .chip")
    expect(chip).to_contain_text("sadness.jpg")
    expect(page.locator('#photo button:has-text("Use as neutral")')).to_be_hidden()
    visitor.photo(FACES / "surprise.jpg")
    expect(page.locator('#photo .au[data-au="AU1"] .num').first).not_to_have_text(f"{alone:.2f}")
    page.click("#tab-clip")
    expect(page.locator("#clip .chip")).to_contain_text("sadness.jpg")
    with page.expect_request(lambda request: request.method == "POST" and "/jobs?" in request.url) as sent:
        page.set_input_files('#clip input[type="file"]', CLIP)
    assert "neutral=" in sent.value.url
    expect(page.locator("#clip .strip-note").first).to_contain_text("against own rest", timeout=60_000)
    page.click("#tab-photo")
    chip.locator("button").click()
    expect(chip).to_be_hidden()
    expect(page.locator('#photo .au[data-au="AU1"] .num').first).to_have_text(f"{alone:.2f}", timeout=20_000)


def test_two_checkpoints_side_by_side(visitor: Visitor) -> None:
    page = visitor.page
    visitor.photo(FACES / "surprise.jpg")
    page.select_option("#checkpoint-b", "second:1")
    page.wait_for_selector("#reading-b:not([hidden]) .au")
    captions = page.locator("#photo .caption").all_inner_texts()
    assert [caption.split(" · ")[0] for caption in captions] == [Registry([BUILTIN_ROOT]).active().ref, "second:1"]
    differences = page.locator("#reading-b .au-score").all_inner_texts()
    assert differences == ["+0.00"] * 15, "the same weights under two names"
    boxes = [page.locator("#photo .stage").nth(k).bounding_box() for k in range(2)]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]


def test_a_clip_is_played_frame_by_frame(visitor: Visitor, coded_clip: Path) -> None:
    """The picture that is painted is the very frame whose faces are drawn, after seeks, steps and while it plays."""
    visitor.clip(coded_clip)
    page = visitor.page
    for asked in (0, 7, 31, 49, 12):
        page.focus(".strip-area")
        page.keyboard.press("Home")
        for _ in range(asked // 10):
            page.keyboard.press("Shift+ArrowRight")
        for _ in range(asked % 10):
            page.keyboard.press("ArrowRight")  # faster than pictures come: no step may be lost
        visitor.until("n => document.querySelector('.transport .time').textContent.endsWith(`frame ${n}`)", asked)
        page.wait_for_timeout(200)
        assert painted_frame(visitor) == shown_frame(visitor) == asked
    page.keyboard.press("Home")
    visitor.until("document.querySelector('.transport .time').textContent.endsWith('frame 0')")
    pairs = visitor.value(
        """async ([side, seconds]) => {
          const canvas = document.querySelector("#clip .stage-canvas");
          const time = document.querySelector(".transport .time");
          const pairs = [], ends = performance.now() + 1000 * seconds;
          document.querySelector(".transport .primary").click();
          while (performance.now() < ends && !document.querySelector("video.source").ended) {
            await new Promise(requestAnimationFrame);
            const zoom = canvas.width / 640, pen = canvas.getContext("2d");
            let painted = 0;
            for (let bit = 0; bit < 8; bit += 1) {
              const x = Math.round(side * (bit + 0.5) * zoom), y = Math.round(side / 2 * zoom);
              if (pen.getImageData(x, y, 1, 1).data[0] > 128) painted += 1 << bit;
            }
            pairs.push([painted, Number(time.textContent.split("frame ")[1])]);
          }
          return pairs;
        }""",
        [CODE_SIDE, 6.0],
    )
    assert len({painted for painted, _ in pairs}) >= 5, "it played"
    assert all(painted == named for painted, named in pairs)


def test_the_barcode_is_read_back() -> None:
    assert [int(sum(1 << k for k in range(8) if barcode(n)[k] > 128)) for n in (0, 1, 37, 255)] == [0, 1, 37, 255]


def test_strips_events_and_exports(visitor: Visitor) -> None:
    visitor.clip(CLIP)
    page = visitor.page
    expect(page.locator(".strip-note")).to_have_text([" 110 of 125 frames, brows and lids against own rest"] * 2)
    strip = page.locator(".strip-area").first
    box = strip.bounding_box()
    assert box is not None
    strip.click(position={"x": 46 + (box["width"] - 46) * 0.3, "y": 120})
    visitor.until("Math.abs(Number(document.querySelector('.strip-area').getAttribute('aria-valuenow')) - 1500) < 60")
    page.wait_for_selector(".events tbody tr")
    events = page.locator('.events tbody tr[data-au="AU12"]').count()
    assert events >= 1
    page.locator('#clip .au[data-au="AU12"] .au-mark').fill("1")
    visitor.until("document.querySelectorAll('.events tbody tr[data-au=\"AU12\"]').length === 0")
    apex = page.locator(".events tbody tr td:nth-child(4) button").first
    wanted = apex.inner_text()
    apex.click()
    expect(page.locator(".transport .time")).to_contain_text(wanted)
    formats = page.locator("[data-format]").all_inner_texts()
    assert {"native", "elan", "openface"} <= set(formats)
    with page.expect_download() as started:
        page.click('[data-format="native"]')
    path = started.value.path()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert len({row["frame"] for row in rows}) == 125


def test_jobs_are_listed_cancelled_and_deleted(visitor: Visitor) -> None:
    job = visitor.clip(CLIP)
    page = visitor.page
    visitor.open(f"/#/clip={job}")
    page.wait_for_selector(".strip")
    page.on("dialog", lambda dialog: dialog.accept())
    before = page.locator(".job").count()
    page.locator(f'.job[data-job="{job}"] .danger').click()
    expect(page.locator(".job")).to_have_count(before - 1)
    assert page.locator(".clip-view").is_hidden()
    with visitor.served.client() as client:
        assert client.get(f"/jobs/{job}").status_code == 404


def test_the_camera(visitor: Visitor) -> None:
    page = visitor.page
    with visitor.served.client() as client:
        before = {job["id"] for job in client.get("/jobs?kind=image&limit=200").json()["jobs"]}
    page.click("#tab-camera")
    page.click('button:text("Open the camera")')
    page.wait_for_selector("#camera .au")
    visitor.until("parseFloat(document.querySelector('[data-meter=fps]').textContent) > 0")
    expect(page.locator('#camera .au[data-au="AU12"]')).to_have_class(re.compile("active"))
    assert page.inner_text("[data-meter=trip]").endswith("ms")
    expect(page.locator("#camera")).not_to_contain_text("against its rest")
    page.click('button:text("This is my resting face")')
    expect(page.locator("#camera")).to_contain_text("against its rest")
    page.click('button:text("Close the camera")')
    expect(page.locator("#camera")).not_to_contain_text("against its rest")
    assert page.locator('button:text("Open the camera")').is_visible()
    ends = time.monotonic() + SECONDS
    with visitor.served.client() as client:
        while {job["id"] for job in client.get("/jobs?kind=image&limit=200").json()["jobs"]} != before:
            assert time.monotonic() < ends, "frames of the camera were kept"
            time.sleep(0.1)


def test_keys_alone_are_enough(visitor: Visitor) -> None:
    page = visitor.page
    page.keyboard.press("Tab")
    assert visitor.value("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    assert visitor.value("document.activeElement.id") == "tab-photo"
    page.keyboard.press("ArrowRight")
    assert visitor.value("document.activeElement.id") == "tab-clip"
    assert page.locator("#clip").is_visible()
    page.keyboard.press("ArrowLeft")
    visitor.photo(FACES / "anger.jpg")
    page.locator('#photo .au[data-au="AU1"] .au-pick').first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator('#photo .au[data-au="AU2"] .au-pick').first).to_have_attribute("aria-pressed", "true")
    outline = visitor.value("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_dark_and_light(visitor: Visitor) -> None:
    page = visitor.page
    paper = "getComputedStyle(document.body).backgroundColor"
    light = visitor.value(paper)
    page.click("#theme-button")
    assert visitor.value(paper) == light
    page.click("#theme-button")
    dark = visitor.value(paper)
    assert dark != light
    page.reload()
    assert visitor.value(paper) == dark


@pytest.mark.parametrize("place", ["photo", "clip", "camera"])
def test_axe_finds_nothing_serious(visitor_at: Visitor, place: str) -> None:
    visitor = visitor_at
    if place == "photo":
        visitor.photo(FACES / "sadness.jpg")
        visitor.page.select_option("#checkpoint-b", "second:1")
        visitor.page.wait_for_selector("#reading-b:not([hidden]) .au")
    elif place == "clip":
        visitor.clip(CLIP)
        visitor.page.wait_for_selector(".events tbody tr")
    else:
        visitor.page.click("#tab-camera")
        visitor.page.click('button:text("Open the camera")')
        visitor.page.wait_for_selector("#camera .au")
        visitor.page.click('button:text("Close the camera")')
    found = Axe().run(visitor.page)
    serious = [rule for rule in found.response["violations"] if rule["impact"] in ("serious", "critical")]
    told = [f"{rule['id']}: {rule['help']}: {[node['target'] for node in rule['nodes'][:4]]}" for rule in serious]
    assert told == []


def test_the_operations_can_be_read_offline(visitor: Visitor) -> None:
    visitor.open("/docs")
    visitor.page.wait_for_selector(".opblock >> nth=5", timeout=1000 * SECONDS)
    assert visitor.page.locator(".opblock").count() >= 15
