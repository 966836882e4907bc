"""Loading public HRNet weights into the backbone (METHOD 3.2).

Known files: `hrnetv2_w18_imagenet_pretrained.pth` and its like from HRNet-Image-Classification, timm's `hrnet_w18` and
`hrnet_w18_small` (.pth or .safetensors), the face-alignment checkpoints of HRNet-Facial-Landmark-Detection, and our
own training checkpoints. They differ in what they wrap around the same tensors: a container ("state_dict", "model"), a
prefix ("module.", "backbone.", "model."), and a head of their own, which isn't used.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from model.hrnet import BACKBONES, HRNet
from model.network import RoiGcn

_CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "network")
_WRAPPERS = ("module.", "backbone.", "model.", "network.", "net.", "encoder.", "_orig_mod.")
_COUNTER = "num_batches_tracked"  # absent from files that are older than PyTorch 0.4.1


class WeightsError(Exception):
    """A weights file that can't be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of a weights file.

    Attributes:
        loaded: keys of the backbone that were filled from it.
        missing: keys of the backbone that it lacks; only batch counters may be.
        unused: its own keys that the backbone has no use for, e.g. those of a classification head.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def summary(self) -> str:
        """One line for a log."""
        heads = sorted({".".join(key.split(".")[:1]) for key in self.unused})
        left = f"; not used: {len(self.unused)} ({', '.join(heads)})" if self.unused else ""
        return f"loaded {len(self.loaded)} backbone tensors{left}"


def load_backbone(network: RoiGcn | HRNet, path: str | os.PathLike[str]) -> LoadReport:
    """Fills the backbone from a file of public or own weights; all or nothing.

    Args:
        network: the network, whose other parts stay as they are, or the backbone alone.
        path: a .pth, .pt, .ckpt or .safetensors file. Pickled files are read with weights_only, so they run no code.

    Raises:
        WeightsError: if the file is missing, empty, truncated or no weights file, or holds another network.
    """
    backbone = network.backbone if isinstance(network, RoiGcn) else network
    file = Path(path)
    wanted = backbone.state_dict()
    content = read_tensors(file)
    tensors, unused = _backbone_keys(content, set(wanted))
    missing = [key for key in wanted if key not in tensors]
    misfits = [key for key in wanted if key in tensors and tensors[key].shape != wanted[key].shape]
    lacking = [key for key in missing if not key.endswith(_COUNTER)]
    if lacking or misfits:
        raise WeightsError(f"{file}: {_diagnosis(backbone, content, lacking, misfits)}")
    broken = [key for key, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise WeightsError(f"{file}: holds NaN or infinity, e.g. in {broken[0]}; get the file again")
    backbone.load_state_dict({**wanted, **tensors})
    return LoadReport(tuple(tensors), tuple(missing), tuple(unused))


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The named tensors of a .safetensors file, or of a pickled one, on the CPU.

    Raises:
        WeightsError: if the file is missing, empty, truncated or no weights file.
    """
    if not file.is_file():
        raise WeightsError(f"{file}: no such file; give the path of HRNet weights (.pth or .safetensors)")
    with file.open("rb") as stream:
        start = stream.read(64)
    if not start:
        raise WeightsError(f"{file}: is empty; get the file again")
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{file}: is a Git LFS pointer, not the weights; run `git lfs pull` where it came from")
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise WeightsError(f"{file}: is a web page, not weights; download the file itself")
    content = _read_safetensors(file) if file.suffix == ".safetensors" else _read_pickle(file)
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{file}: holds no tensors by name; expected a state dict of an HRNet")
    return tensors


def _read_safetensors(file: Path) -> Mapping[str, object]:
    try:
        return load_file(file)
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{file}: is truncated or no safetensors file ({error}); get the file again") from error


def _read_pickle(file: Path) -> Mapping[str, object]:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{file}: isn't a plain file of tensors (it is damaged, or needs code to be run, which is refused); "
            "save its state dict alone, or convert it to .safetensors"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{file}: is truncated or no PyTorch file ({error}); get the file again") from error
    for _ in range(2):  # a container may lie in a container
        if not isinstance(content, Mapping):
            break
        inner = next((content[name] for name in _CONTAINERS if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        raise WeightsError(f"{file}: holds a {type(content).__name__}, not a state dict of named tensors")
    return content


def _backbone_keys(found: Mapping[str, Tensor], wanted: set[str]) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors under the backbone's own keys, and the file's keys that aren't the backbone's."""
    tensors: dict[str, Tensor] = {}
    unused = []
    for key, value in found.items():
        bare = _stripped(key)
        if bare in wanted and bare not in tensors:
            tensors[bare] = value
        else:
            unused.append(key)
    return tensors, unused


def _stripped(key: str) -> str:
    """The key without the prefixes that wrappers put before it."""
    while True:
        prefix = next((wrapper for wrapper in _WRAPPERS if key.startswith(wrapper)), None)
        if prefix is None:
            return key
        key = key.removeprefix(prefix)


def _diagnosis(backbone: HRNet, content: Mapping[str, Tensor], lacking: list[str], misfits: list[str]) -> str:
    """Why a file doesn't fit, with advice."""
    name, tensors = backbone.config.name, len(backbone.state_dict())
    fitting = [other for other in BACKBONES if other != name and _fits(other, content)]
    if fitting:
        return f"holds the weights of {fitting[0]}, not of {name}; choose that backbone or another file"
    if misfits:
        return (
            f"{len(misfits)} tensors have another shape than in {name}, e.g. {misfits[0]}: these are the weights of "
            f"another network; known backbones are {', '.join(BACKBONES)}"
        )
    return (
        f"lacks {len(lacking)} of the {tensors} tensors of {name}, e.g. {lacking[0]}: it isn't a whole HRNet; "
        f"known backbones are {', '.join(BACKBONES)}"
    )


def _fits(name: str, content: Mapping[str, Tensor]) -> bool:
    """Whether the file holds every tensor of that backbone."""
    with torch.device("meta"):
        wanted = HRNet(BACKBONES[name]).state_dict()
    tensors, _ = _backbone_keys(content, set(wanted))
    return all(
        key.endswith(_COUNTER) or (key in tensors and tensors[key].shape == value.shape)
        for key, value in wanted.items()
    )
