"""Takes the pictures of the page under docs/images anew: `make screenshots`. Look at them before they are committed.

Not collected by `make test-browser`: it tests nothing, it draws. Rendered faces only.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from tests.browser.conftest import CLIP, FACES, visit
from tests.browser.kit import Visitor
from tests.system.running import Served

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SETTLE_MS = 400


def take(visitor: Visitor, name: str) -> None:
    """The whole page from its top, in 256 colours: a quarter of the bytes."""
    visitor.page.mouse.move(0, 0)
    visitor.value("document.activeElement.blur(), scrollTo(0, 0)")
    visitor.page.wait_for_timeout(SETTLE_MS)
    picture = Image.open(io.BytesIO(visitor.page.screenshot(full_page=True))).convert("RGB")
    picture.quantize(256).save(IMAGES / f"page-{name}.png", optimize=True)


def test_desktop(browser: Browser, served: Served) -> None:
    for visitor in visit(browser, served, 1280):
        visitor.photo(FACES / "smile.jpg")
        take(visitor, "photo")
        visitor.photo(FACES / "surprise.jpg")
        light = visitor.page.locator("#checkpoint-b option", has_text="w18s-light").first.get_attribute("value")
        visitor.page.select_option("#checkpoint-b", light)
        visitor.page.wait_for_selector("#reading-b:not([hidden]) .au")
        take(visitor, "compare")
        show_clip(visitor)
        take(visitor, "clip")


def test_phone(browser: Browser, served: Served) -> None:
    for visitor in visit(browser, served, 390):
        show_clip(visitor)
        take(visitor, "clip-phone")
        visitor.page.click("#tab-camera")
        visitor.page.click('button:text("Open the camera")')
        visitor.page.wait_for_selector("#camera .au.active")
        take(visitor, "camera-phone")


def show_clip(visitor: Visitor) -> None:
    """The example clip, 30 frames after its start."""
    visitor.clip(CLIP)
    visitor.page.focus(".strip-area >> nth=0")
    for _ in range(3):
        visitor.page.keyboard.press("Shift+ArrowRight")
    visitor.until("document.querySelector('.transport .time').textContent.endsWith('frame 30')")
    visitor.page.wait_for_selector(".events tbody tr")
