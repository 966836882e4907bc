"""The page, the viewer of the operations, and their files.

Everything comes from this package or, for the viewer, from the installed wheel `fastapi-swagger`, which carries
Swagger UI's files: neither page loads anything from elsewhere.
"""

from __future__ import annotations

import importlib.util
from importlib.metadata import version
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from service.web.headers import DOCS_POLICY, file_headers, page_headers

STATIC = Path(__file__).parent / "static"

router = APIRouter(include_in_schema=False)


class _Files(StaticFiles):
    """A folder of files with the headers of this service."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(file_headers())
        return response


@router.get("/")
async def page() -> HTMLResponse:
    """The page for people."""
    html = (STATIC / "index.html").read_text(encoding="utf-8").replace("{version}", version("roigcn"))
    return HTMLResponse(html, headers=page_headers())


@router.get("/docs")
async def docs() -> FileResponse:
    """Every operation, to be read and tried."""
    return FileResponse(STATIC / "docs.html", media_type="text/html", headers=page_headers(DOCS_POLICY))


def install(app: FastAPI) -> None:
    """Serve the pages and their files."""
    app.include_router(router)
    app.mount("/static", _Files(directory=STATIC), name="static")
    app.mount("/swagger", _Files(directory=swagger_files()), name="swagger")


def swagger_files() -> Path:
    """The folder of Swagger UI's files in the installed wheel, which is found without being imported.

    Raises:
        RuntimeError: it is not installed.
    """
    found = importlib.util.find_spec("fastapi_swagger")
    if found is None or found.origin is None:
        raise RuntimeError("fastapi-swagger is missing, which carries the files of /docs: pip install fastapi-swagger")
    return Path(found.origin).parent / "resources"
