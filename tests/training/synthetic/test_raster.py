from __future__ import annotations

import pytest
import torch

from training.synthetic.identity import draw_identity
from training.synthetic.pack import FacePack
from training.synthetic.raster import (
    GlRasteriser,
    RasterError,
    Rasteriser,
    TorchRasteriser,
    barycentric,
    open_rasteriser,
    signed_area,
)
from training.synthetic.renderer import Renderer
from training.synthetic.sampler import express
from training.synthetic.scene import plain_scene

# y runs down: this order is anticlockwise to the eye, the front side
FRONT = torch.tensor([[1.0, 7.0, 0.5], [7.0, 7.0, 0.5], [1.0, 1.0, 0.5]])


def backends() -> list[Rasteriser]:
    """Return torch and what "auto" opens here: the graphics driver where there is one."""
    return [TorchRasteriser(), open_rasteriser("auto")]


@pytest.mark.parametrize("raster", backends(), ids=lambda raster: f"{raster.name}")
class TestContract:
    def test_a_triangle_covers_the_pixel_centres_inside(self, raster: Rasteriser) -> None:
        ids = raster.triangle_ids(FRONT[None], torch.tensor([[0, 1, 2]]), 8, 8)
        assert ids.shape == (1, 8, 8)
        assert ids.dtype == torch.int64
        column, row = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="xy")
        inside = (row < 7) & (column >= 1) & (row > column)  # clear of the slanted edge
        outside = (row >= 7) | (column < 1) | (row < column)
        assert (ids[0][inside] == 0).all()
        assert (ids[0][outside] == -1).all()

    def test_the_nearer_triangle_wins(self, raster: Rasteriser) -> None:
        points = torch.cat([FRONT, FRONT - torch.tensor([0, 0, 0.2])])[None]
        ids = raster.triangle_ids(points, torch.tensor([[0, 1, 2], [3, 4, 5]]), 8, 8)
        assert set(ids.unique().tolist()) == {-1, 1}

    def test_triangles_seen_from_behind_show_only_when_asked_for(self, raster: Rasteriser) -> None:
        turned = torch.tensor([[0, 2, 1]])
        assert (raster.triangle_ids(FRONT[None], turned, 8, 8) == -1).all()
        assert (raster.triangle_ids(FRONT[None], turned, 8, 8, two_sided=True) == 0).any()

    def test_triangles_outside_the_picture_leave_it_empty(self, raster: Rasteriser) -> None:
        ids = raster.triangle_ids(FRONT[None] + torch.tensor([50.0, 0, 0]), torch.tensor([[0, 1, 2]]), 8, 8)
        assert (ids == -1).all()

    def test_pictures_need_not_be_square(self, raster: Rasteriser) -> None:
        ids = raster.triangle_ids(FRONT[None].repeat(3, 1, 1), torch.tensor([[0, 1, 2]]), 9, 12)
        assert ids.shape == (3, 9, 12)
        assert (ids[0] == ids[2]).all()
        assert ids[0, 5, 2] == 0


def test_backends_see_the_same_head(toy: FacePack) -> None:
    person = draw_identity(toy, 0, "train", 1)
    expressions = [express(toy, person, {12: 1.0, 25: 1.0}, {}), express(toy, person, {26: 1.0}, {})]
    scenes = [plain_scene(yaw=20.0), plain_scene(yaw=-35.0, pitch=10.0)]
    pictures = []
    for kind in ("auto", "torch"):
        renderer = Renderer(toy, 96, raster=kind)
        pictures.append(renderer.render(person, renderer.paint(person), expressions, scenes, plain=True))
    for first, second in zip(*pictures, strict=True):
        different = (abs(first.pixels.astype(int) - second.pixels) > 8).any(-1).mean()
        assert different < 0.01  # pixels on edges between triangles may fall either way
        assert first.opening == pytest.approx(second.opening, rel=0.05)


def test_choosing_a_backend() -> None:
    assert open_rasteriser("torch").name == "torch"
    assert open_rasteriser("auto").name in ("gl", "torch")
    with pytest.raises(ValueError, match="unknown rasteriser"):
        open_rasteriser("vulkan")


def test_without_a_graphics_driver_auto_falls_back_and_gl_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(**_: object) -> None:
        raise Exception("libEGL.so: cannot open shared object file")  # what moderngl raises

    monkeypatch.setattr("moderngl.create_context", refuse)
    assert open_rasteriser("auto").name == "torch"
    with pytest.raises(RasterError, match="libegl1"):
        GlRasteriser()
    with pytest.raises(RasterError, match="torch rasteriser"):
        open_rasteriser("gl")


def test_barycentric_weights_rebuild_the_point() -> None:
    pixels = torch.tensor([[2.0, 5.0], [1.5, 3.0], [20.0, -4.0]])
    weights = barycentric(FRONT[None], pixels)
    torch.testing.assert_close(weights @ FRONT[:, :2], pixels)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3))
    assert signed_area(FRONT) == -36
