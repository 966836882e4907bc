"""What the network did with one face, layer by layer: the values that the paper's Figures 5 and 6 show.

Needs no torch: `model.explain` makes an `Explanation`, this module chooses from it, keeps it in a file and reads it
back. Shapes: C feature channels, M eigenvectors (one for each of K Action Units in the paper's network), maps of H x H.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from model.values import Float32Array

TINY = 1e-12  # as in model.graph, where importing it would load torch
_ARRAYS = ("x0", "x1", "phi", "eigenvalues", "roi_maps", "weight_before", "weight_after")
_FORMAT_VERSION = 1


class ExplanationError(Exception):
    """A network that has nothing to show, or a file that is no explanation; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One face on its way through the network.

    Attributes:
        au_codes: the K Action Units.
        x0: (C, H, H) features before the graph convolution, at or above 0 (METHOD 3.1).
        x1: (C, H, H) features after it, at or above 0 (METHOD 4.3). Channel c of X1 is a mixture of channels of X0.
        phi: (M, H, H) eigenvector maps, at or above 0; their scale is arbitrary.
        eigenvalues: (M,) lambda, 0 to 1.
        roi_maps: (K, H, H) the network's answer: exactly `RoiGcn.roi_maps` of the same crop.
        weight_before: (K, C) weight of a channel of X0 in the map of an AU, through theta and the last convolution; it
            leaves out the ReLU between them and the graph.
        weight_after: (K, C) weight of a channel of X1 in the map of an AU: the last convolution's.
        epsilon: of the node degrees, relative to their mean (METHOD 4.3).
    """

    au_codes: tuple[str, ...]
    x0: Float32Array
    x1: Float32Array
    phi: Float32Array
    eigenvalues: Float32Array
    roi_maps: Float32Array
    weight_before: Float32Array
    weight_after: Float32Array
    epsilon: float

    @property
    def eigenvector_names(self) -> tuple[str, ...]:
        """A name for each eigenvector: its AU's, or its number where there is not one for each AU."""
        count = len(self.phi)
        return self.au_codes if count == len(self.au_codes) else tuple(f"No. {i + 1}" for i in range(count))

    def similarity_row(self, x: int, y: int) -> Float32Array:
        """How alike the graph finds each place and the place (x, y): a row of D^-1/2 A D^-1/2 (paper Eq. 5).

        The graph convolution subtracts from the features of (x, y) the features of all places, weighted with this map.

        Args:
            x: column in map pixels.
            y: row in map pixels.

        Returns:
            (H, H) float32, at or above 0.

        Raises:
            ValueError: a place outside of the map.
        """
        size = self.phi.shape[-1]
        if not (0 <= x < size and 0 <= y < size):
            raise ValueError(f"place ({x}, {y}) is outside of maps of {size} x {size} pixels")
        p = self._scaled()
        return np.asarray(np.tensordot(self.eigenvalues * p[:, y, x], p, axes=1), np.float32)

    def shares(self) -> Float32Array:
        """(M,) each eigenvector's part in D^-1/2 A D^-1/2, by its trace; summing to 1 (0 where there is none).

        The eigenvalue alone does not say it: the scale of an eigenvector map is free, and where a place belongs to one
        map only, that map counts there however small its eigenvalue.
        """
        parts = self.eigenvalues * np.square(self._scaled()).sum(axis=(1, 2))
        return np.asarray(parts / max(parts.sum(), TINY), np.float32)

    def _scaled(self) -> npt.NDArray[np.float64]:
        """(M, H, H) P = D^-1/2 Phi."""
        nodes = self.phi.astype(np.float64)
        degree = np.tensordot(self.eigenvalues * nodes.sum(axis=(1, 2)), nodes, axes=1)
        return np.asarray(nodes / np.sqrt(degree + self.epsilon * degree.mean() + TINY))


def check_explainable(variant: str) -> None:
    """Refuse a variant without graph convolution.

    Raises:
        ExplanationError: with the variants that have one.
    """
    if variant not in ("neg_gcn", "full"):
        raise ExplanationError(
            f"a network of variant {variant!r} has no graph convolution, so there is nothing before and after it to "
            "show; use a checkpoint of variant 'full' or 'neg_gcn'"
        )


def telling_channels(features: Float32Array, weights: Float32Array, au: int | None, count: int) -> npt.NDArray[np.intp]:
    """The channels that shape the ROI map of an AU most, the most telling first.

    A map is the sum of w_c X_c over the channels, so a channel shapes it by the size of its weight times the standard
    deviation of its values over the map (a constant channel shapes nothing, however strong).

    Args:
        features: (C, H, H) X0 or X1.
        weights: (K, C) `weight_before` or `weight_after`.
        au: position of the AU; None for all together, whose weights then count by their root sum of squares.
        count: how many channels; fewer where there are not as many.

    Returns:
        (count,) channel numbers.
    """
    weight = np.sqrt(np.square(weights).sum(axis=0)) if au is None else np.abs(weights[au])
    told = weight * features.std(axis=(1, 2))
    return np.argsort(-told, kind="stable")[:count]


def common_scale(*features: Float32Array) -> float:
    """The value to draw in full colour, one for features before and after: the 99.9th percentile of the larger.

    A few pixels beyond it are cut off, so that the rest is seen. Above 0, also where all features are 0.
    """
    return max(max((float(np.percentile(values, 99.9)) for values in features if values.size), default=0.0), 1e-6)


def write_explanation(file: BinaryIO, explanation: Explanation, *, half: bool = False) -> None:
    """Write the arrays as a compressed `.npz`, which `numpy.load` opens.

    Args:
        file: opened for binary writing.
        explanation: what to write.
        half: features in half precision: under half the size, and no eye sees it.
    """
    arrays = {name: getattr(explanation, name) for name in _ARRAYS}
    if half:
        limit = float(np.finfo(np.float16).max)
        arrays |= {name: np.minimum(arrays[name], limit).astype(np.float16) for name in ("x0", "x1")}
    np.savez_compressed(
        file,
        allow_pickle=False,
        au_codes=np.array(explanation.au_codes),
        epsilon=np.float64(explanation.epsilon),
        format_version=np.int64(_FORMAT_VERSION),
        **arrays,
    )


def explanation_bytes(explanation: Explanation, *, half: bool = False) -> bytes:
    """The file of `write_explanation` in memory."""
    file = io.BytesIO()
    write_explanation(file, explanation, half=half)
    return file.getvalue()


def read_explanation(data: bytes) -> Explanation:
    """The inverse of `explanation_bytes`; features are single precision again.

    Raises:
        ExplanationError: the bytes are no explanation, or one of a newer version.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            if int(stored["format_version"]) > _FORMAT_VERSION:
                raise ExplanationError("the explanation was written by a newer roigcn; ask for it again")
            arrays = {name: np.asarray(stored[name], np.float32) for name in _ARRAYS}
            codes = tuple(str(code) for code in stored["au_codes"])
            return Explanation(au_codes=codes, epsilon=float(stored["epsilon"]), **arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ExplanationError(f"no explanation that roigcn wrote ({error}); ask for it again") from error


def default_au(au_codes: Sequence[str], probability: npt.ArrayLike, active: npt.ArrayLike) -> str:
    """The AU to explain where none is named: the likeliest active one, else the likeliest.

    Args:
        au_codes: K codes.
        probability: (K,), NaN where the AU could not be read.
        active: (K,) decisions.
    """
    chance = np.nan_to_num(np.asarray(probability, np.float64), nan=-1.0)
    return au_codes[int(np.argmax(chance + np.asarray(active, np.float64)))]
