"""What the browser's tests share: a visitor of the page, and pictures that carry their number."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from playwright.sync_api import ConsoleMessage, Page, Request, expect

from tests.system.running import Served

SECONDS = 60.0
CODE_SIDE = 16

expect.set_options(timeout=1000 * SECONDS)


def barcode(number: int) -> npt.NDArray[np.uint8]:
    """(8,) white for each set bit of a number, the lowest first."""
    bits = (number >> np.arange(8)) & 1
    return np.where(bits == 1, 235, 20).astype(np.uint8)


@dataclass
class Visitor:
    """A page with what went wrong on it.

    Attributes:
        errors: exceptions and errors of the console, violations of the content policy among them.
        foreign: addresses of other hosts that were asked for.
    """

    page: Page
    served: Served
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.errors.append(f"{error}\n{error.stack}"))
        self.page.on("console", self._hear)
        self.page.on("request", self._watch)

    def open(self, path: str = "/") -> None:
        """Go to a page of the service and wait for its scripts."""
        self.page.goto(self.served.url + path)
        if not path.startswith("/docs"):
            self.page.wait_for_selector("html[data-ready]", state="attached")
            self.page.wait_for_selector("#checkpoint-a option:nth-child(3)", state="attached")

    def photo(self, path: Path) -> None:
        """Choose a photo and wait until it is read."""
        self.page.click("#tab-photo")
        self.page.set_input_files("#photo input[type=file]", path)
        self.page.wait_for_selector("#photo .results:not([hidden]) .au")
        self.page.wait_for_selector("#photo:not([aria-busy])")

    def clip(self, path: Path) -> str:
        """Send a clip and wait for its end; the id of its job."""
        self.page.click("#tab-clip")
        self.page.set_input_files("#clip input[type=file]", path)
        self.page.wait_for_selector(f".job-name:text('{path.name}')")
        self.page.wait_for_selector(".job:first-child[data-state=succeeded]")
        self.page.wait_for_selector(".strip")
        self.page.wait_for_selector(".transport .time:not(:empty)")
        return str(self.page.get_attribute(".job:first-child", "data-job"))

    def until(self, script: str, argument: Any = None) -> None:
        """Wait until an expression on the page is true; playwright's own way needs `eval`, which the page forbids."""
        ends = time.monotonic() + SECONDS
        while not self.value(script, argument):
            assert time.monotonic() < ends, f"still not: {script}"
            self.page.wait_for_timeout(20)

    def value(self, script: str, argument: Any = None) -> Any:
        """The value of an expression on the page."""
        return self.page.evaluate(script, argument)

    def colours(self, selector: str) -> npt.NDArray[np.uint8]:
        """(H, W, 4) the pixels of a canvas."""
        script = """selector => {
          const canvas = document.querySelector(selector);
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          let text = ""; for (let i = 0; i < data.length; i += 1) text += String.fromCharCode(data[i]);
          return [canvas.width, canvas.height, btoa(text)];
        }"""
        width, height, data = self.value(script, selector)
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _watch(self, request: Request) -> None:
        if urlsplit(request.url).scheme not in ("blob", "data") and not request.url.startswith(self.served.url):
            self.foreign.append(request.url)
