"""Where a picture's faces come from: a running service, or the network in this process."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from model.analyzer import Analyzer

Face = Mapping[str, Any]


class Analysis(Protocol):
    """Reads the faces of pictures."""

    @property
    def au_codes(self) -> Sequence[str]:
        """The Action Units that each face has."""

    def faces(self, picture: Image.Image) -> list[Face]:
        """The faces of a picture, as the service answers them."""


class ServerAnalysis:
    """A running service.

    Args:
        server: its address.
        api_key: a key with the scope `write`; None where the service runs without keys.

    Raises:
        RuntimeError: it does not answer, or has no checkpoint in use.
    """

    def __init__(self, server: str, api_key: str | None = None) -> None:
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._http = httpx.Client(base_url=server.rstrip("/"), headers=headers, timeout=120.0)
        checkpoints = self._ask("GET", "/checkpoints")["checkpoints"]
        codes = next((entry["au_codes"] for entry in checkpoints if entry["active"]), None)
        if codes is None:
            raise RuntimeError(f"{server} has no checkpoint in use")
        self._au_codes = tuple(codes)

    @property
    def au_codes(self) -> Sequence[str]:
        """Those of the checkpoint in use when this began."""
        return self._au_codes

    def faces(self, picture: Image.Image) -> list[Face]:
        """The faces of a picture; nothing of it stays in the service.

        Raises:
            RuntimeError: the service does not answer, or refuses the picture.
        """
        file = io.BytesIO()
        picture.convert("RGB").save(file, "PNG", compress_level=1)
        files = {"image": ("picture.png", file.getvalue(), "image/png")}
        answer = self._ask("POST", "/detect", params={"roi": "none", "store": "false"}, files=files)
        faces: list[Face] = answer["faces"]
        return faces

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            answer = self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise RuntimeError(f"{self._http.base_url} does not answer ({type(error).__name__}: {error})") from error
        if answer.is_success:
            return answer.json()
        try:
            detail = answer.json()["detail"]
        except (ValueError, KeyError, TypeError):
            detail = answer.text[:200]
        raise RuntimeError(f"{self._http.base_url}{path} answers {answer.status_code}: {detail}")


class LocalAnalysis:
    """The network in this process.

    Args:
        checkpoint: NAME or NAME:VERSION; None for the active one.
        data_dir: where further checkpoints lie.

    Raises:
        model.checkpoint.CheckpointError, model.faces.assets.AssetError: with what to do about it.
    """

    def __init__(self, checkpoint: str | None = None, data_dir: Path | None = None) -> None:
        from model.analyzer import Analyzer  # loads the engine's library
        from worker.settings import WorkerSettings

        settings = WorkerSettings() if data_dir is None else WorkerSettings(data_dir=data_dir)
        self._analyzer: Analyzer = Analyzer.open(
            checkpoint or settings.checkpoint,
            engine=settings.engine,
            device=settings.device,
            data_dir=settings.data_dir,
            threads=settings.threads,
            cache_dir=settings.cache_dir,
            assets_dir=settings.assets_dir,
        )

    @property
    def au_codes(self) -> Sequence[str]:
        """Those of the checkpoint."""
        return self._analyzer.au_codes

    def faces(self, picture: Image.Image) -> list[Face]:
        """The faces of a picture."""
        from service.cli.detect import face_document

        rgb = np.asarray(picture.convert("RGB"))
        return [face_document(face, prediction, self.au_codes) for face, prediction in self._analyzer.analyze(rgb)]
