"""The panel that looks inside the network, as people use it: by keyboard, AU after AU, for a photo and a clip."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import CLIP, FACES
from tests.browser.kit import SECONDS, Visitor

PANEL = "#panel-explain"
PICTURE = f"{PANEL} .explain-picture"
MS = 1000 * SECONDS  # the first look loads a network in the worker


def test_inside_the_network_of_a_photo(visitor_at: Visitor, width: int, tmp_path: Path) -> None:
    visitor, page = visitor_at, visitor_at.page
    expect(page.locator(PANEL)).to_be_hidden()
    visitor.photo(FACES / "smile.jpg")
    page.focus(f"{PANEL} summary")
    page.keyboard.press("Enter")
    expect(page.locator(PICTURE)).to_have_attribute(
        "alt", re.compile("the likeliest Action Unit of face 0"), timeout=MS
    )
    page.keyboard.press("Tab")
    page.keyboard.type("AU6")
    expect(page.locator(PICTURE)).to_have_attribute("alt", re.compile("AU6 of face 0"), timeout=MS)
    assert visitor.value(f"document.querySelector('{PICTURE}').naturalWidth") == 1480
    overflow = visitor.value("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow == 0, f"the page is {overflow} px too wide at {width}"

    with page.expect_download() as downloading:
        page.click(f"{PANEL} button:has-text('Arrays')")
    path = tmp_path / "arrays.npz"
    downloading.value.save_as(path)
    with np.load(path) as arrays:
        assert arrays["x0"].shape == arrays["x1"].shape
        assert len(arrays["phi"]) == len(arrays["au_codes"]) == 15

    serious = [found for found in Axe().run(page, context=PANEL).response["violations"] if found["impact"] != "minor"]
    assert serious == []


def test_a_photo_that_is_not_kept_cannot_be_looked_into(visitor: Visitor) -> None:
    visitor.page.uncheck("#photo label:has-text('keep as a job') input")
    visitor.photo(FACES / "smile.jpg")
    visitor.page.click(f"{PANEL} summary")
    expect(visitor.page.locator(f"{PANEL} [role=status]")).to_contain_text("keep as a job", timeout=MS)
    expect(visitor.page.locator(PICTURE)).to_be_hidden()


def test_a_face_of_a_clip_is_looked_into_when_asked(visitor: Visitor) -> None:
    visitor.clip(CLIP)
    page = visitor.page
    page.click(f"{PANEL} summary")
    expect(page.locator(f"{PANEL} [role=status]")).to_contain_text("frame 0", timeout=MS)
    expect(page.locator(PICTURE)).to_be_hidden()  # a playing clip would ask for every frame
    page.click(f"{PANEL} button:has-text('Look inside')")
    expect(page.locator(PICTURE)).to_be_visible(timeout=MS)
