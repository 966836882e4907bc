"""Everything here renders the toy head: a face pack is not part of the repository."""

from __future__ import annotations

import pytest
import torch

from training.synthetic.generate import render_identity
from training.synthetic.pack import FacePack
from training.synthetic.renderer import RenderedFace, Renderer
from training.synthetic.toy import toy_pack


@pytest.fixture(autouse=True, scope="session")
def _few_threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def toy() -> FacePack:
    return toy_pack()


@pytest.fixture(scope="session")
def renderer(toy: FacePack) -> Renderer:
    return Renderer(toy, 96)


@pytest.fixture(scope="session")
def faces(renderer: Renderer) -> list[RenderedFace]:
    """Six pictures of one person of the training split."""
    return render_identity(renderer, 0, "train", 0, 6)
