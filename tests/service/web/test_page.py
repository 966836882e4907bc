"""The page and the viewer of the operations: whole, from this service alone, with strict headers."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from service.web.endpoints import STATIC
from tests.service.kit import Server, assert_problem

ROOT = Path(__file__).parents[3]
FILES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file())
_LINK = re.compile(r"""(?:src|href)="([^"#]+)\"|from "(\./[^"]+)\"|import "(\./[^"]+)\"""")


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_is_open_and_strict(server: Server, path: str) -> None:
    page = httpx.get(server.url + path)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_has_nothing_inline_and_nothing_from_elsewhere(server: Server, path: str) -> None:
    html = httpx.get(server.url + path).text
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"<style|\sstyle=|\son\w+=", html)
    assert "//" not in html.replace("http://www.w3.org", "")
    for link in re.findall(r'(?:src|href)="([^"#]+)"', html):
        answer = httpx.get(f"{server.url}/{link}", follow_redirects=False)
        assert answer.status_code == 200, link


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_served_and_finds_its_parts(server: Server, name: str) -> None:
    answer = httpx.get(f"{server.url}/static/{name}")
    assert answer.status_code == 200
    assert answer.content == (STATIC / name).read_bytes()
    kinds = {"js": "javascript", "css": "text/css", "html": "text/html", "svg": "image/svg+xml"}
    assert kinds[name.rsplit(".", 1)[1]] in answer.headers["content-type"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert httpx.get(answer.url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    text = answer.text
    assert not re.search(r"https?://(?!www\.w3\.org)", text), "files from elsewhere"
    for imported in re.findall(r'(?:from|import) "(\./[^"]+)"', text):
        assert (STATIC / name).parent.joinpath(imported).is_file(), imported


def test_every_script_is_used() -> None:
    entries = {"js/main.js", "js/docs.js"}
    reached, todo = set(), list(entries)
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            found = re.findall(r'(?:from|import) "\./([^"]+)"', (STATIC / name).read_text())
            todo += [f"js/{other}" for other in found]
    assert reached == {name for name in FILES if name.startswith("js/")}


def test_the_files_are_packaged() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert 'service = ["web/static/**/*"]' in text


@pytest.mark.parametrize(
    "path", ["/static/nothing.js", "/static/../endpoints.py", "/static/%2e%2e/endpoints.py", "/swagger/nothing.css"]
)
def test_what_is_not_there_is_a_problem(server: Server, path: str) -> None:
    response = httpx.get(server.url + path)
    assert_problem(response, 404, "not-found")


def test_swagger_comes_from_the_installed_wheel(server: Server) -> None:
    script = httpx.get(f"{server.url}/swagger/swagger-ui-bundle.js")
    assert script.status_code == 200
    assert b"SwaggerUIBundle" in script.content[:2000]
