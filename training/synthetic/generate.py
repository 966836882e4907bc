"""Renders a data set with several processes: the same pictures for the same seed, whoever renders them and whenever."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch

from training.synthetic.identity import draw_identity, identity_number
from training.synthetic.pack import FacePack, load_pack
from training.synthetic.renderer import RenderedFace, Renderer
from training.synthetic.sampler import draw_expression
from training.synthetic.scene import draw_scene
from training.synthetic.seeds import stream
from training.synthetic.shards import pack_faces, read_shard, shard_path, write_manifest, write_shard
from training.synthetic.toy import toy_pack

DEFAULT_FACES_PER_IDENTITY = 10
DEFAULT_SHARD_FACES = 500


@dataclass(frozen=True)
class Recipe:
    """What to render.

    Attributes:
        face_pack: path of the pack; None renders the toy head.
        split: "train", "calibration" or "test"; people differ between splits, skins between test and the others.
        images: how many pictures.
        size: side of the pictures in pixels.
        seed: of everything.
        faces_per_identity: pictures of each person.
        shard_faces: pictures in a shard, a multiple of `faces_per_identity`.
        raster: "auto", "gl" or "torch".
    """

    face_pack: Path | None
    split: str
    images: int
    size: int = 160
    seed: int = 0
    faces_per_identity: int = DEFAULT_FACES_PER_IDENTITY
    shard_faces: int = DEFAULT_SHARD_FACES
    raster: str = "auto"

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: for an unknown split or numbers that cannot be rendered.
        """
        identity_number(self.split, 0)
        if self.images < 1 or self.size < 32 or self.seed < 0 or self.faces_per_identity < 1:
            raise ValueError("images and faces per identity start at 1, size at 32, seed at 0")
        if self.shard_faces < 1 or self.shard_faces % self.faces_per_identity:
            raise ValueError(
                f"shard size {self.shard_faces} is not a multiple of {self.faces_per_identity} faces per identity"
            )

    @property
    def shards(self) -> int:
        """Return the number of shards; the last one may be short."""
        return -(-self.images // self.shard_faces)

    def open_pack(self) -> FacePack:
        """Load the pack, or make the toy head."""
        return toy_pack() if self.face_pack is None else load_pack(self.face_pack)


def render_identity(renderer: Renderer, recipe_seed: int, split: str, index: int, count: int) -> list[RenderedFace]:
    """Render `count` pictures of the index-th person of a split."""
    identity = draw_identity(renderer.pack, recipe_seed, split, index)
    person = renderer.paint(identity)
    expressions, scenes = [], []
    for number in range(count):
        rng = stream(recipe_seed, "expression", identity.number, number)
        expressions.append(draw_expression(renderer.pack, identity, rng))
        scenes.append(draw_scene(stream(recipe_seed, "scene", identity.number, number)))
    return renderer.render(identity, person, expressions, scenes)


def render_faces(renderer: Renderer, recipe: Recipe, first: int, count: int) -> Iterator[RenderedFace]:
    """Yield pictures `first` to `first + count - 1` of a recipe; `first` begins a person."""
    each = recipe.faces_per_identity
    for start in range(first, first + count, each):
        yield from render_identity(renderer, recipe.seed, recipe.split, start // each, min(each, first + count - start))


def generate(recipe: Recipe, out: Path, workers: int = 1, progress: Callable[[int], None] | None = None) -> int:
    """Render what is missing of a data set into `out`.

    Args:
        recipe: what to render.
        out: a folder; shards that are already there are kept, so an interrupted run goes on.
        workers: processes; with 1 everything happens in this one.
        progress: is told the number of pictures that have been added to the folder.

    Returns:
        The number of pictures rendered now.

    Raises:
        PackError: when the face pack is missing.
        ShardError: when `out` holds another data set or cannot be written.
    """
    recipe.open_pack()  # a missing pack is reported before any folder is made
    out.mkdir(parents=True, exist_ok=True)
    settings = {
        "head": "toy" if recipe.face_pack is None else "face pack",
        "landmarks": "head vertices" if recipe.face_pack is None else "as the landmark net sets them",
        "split": recipe.split,
        "images": recipe.images,
        "size": recipe.size,
        "seed": recipe.seed,
        "faces_per_identity": recipe.faces_per_identity,
        "shard_faces": recipe.shard_faces,
    }
    write_manifest(out, settings)
    missing = [number for number in range(recipe.shards) if not _is_complete(recipe, out, number)]
    rendered = 0
    for number in _run(recipe, out, missing, workers):
        faces = _faces_in(recipe, number)
        rendered += faces
        if progress is not None:
            progress(faces)
    return rendered


def _is_complete(recipe: Recipe, out: Path, number: int) -> bool:
    """A last, short shard is rendered again when more pictures are asked for."""
    path = shard_path(out, number)
    if not path.exists():
        return False
    return len(read_shard(path, ("labels",))["labels"]) >= _faces_in(recipe, number)


def _faces_in(recipe: Recipe, number: int) -> int:
    return min(recipe.shard_faces, recipe.images - number * recipe.shard_faces)


def _run(recipe: Recipe, out: Path, shards: list[int], workers: int) -> Iterable[int]:
    if workers <= 1:
        threads = torch.get_num_threads(), cv2.getNumThreads()
        try:
            _start_worker(recipe, out)
            for number in shards:
                yield _render_shard(number)
        finally:
            torch.set_num_threads(threads[0])
            cv2.setNumThreads(threads[1])
        return
    context = multiprocessing.get_context("spawn")  # a forked graphics context or torch thread pool would hang
    with ProcessPoolExecutor(workers, context, _start_worker, (recipe, out)) as pool:
        futures = [pool.submit(_render_shard, number) for number in shards]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass
class _Worker:
    recipe: Recipe
    out: Path
    renderer: Renderer


_worker: _Worker | None = None


def _start_worker(recipe: Recipe, out: Path) -> None:
    """Prepare this process: one thread, as there are as many processes as the user wants cores busy.

    More threads share out work too small for them: beside another busy process they render several times slower.
    """
    global _worker
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _worker = _Worker(recipe, out, Renderer(recipe.open_pack(), recipe.size, recipe.raster))


def _render_shard(number: int) -> int:
    if _worker is None:
        raise RuntimeError("the worker has not been started")
    recipe = _worker.recipe
    first = number * recipe.shard_faces
    faces = list(render_faces(_worker.renderer, recipe, first, _faces_in(recipe, number)))
    write_shard(shard_path(_worker.out, number), pack_faces(faces))
    return number
