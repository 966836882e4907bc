"""Every format by its name. A new one is a module with a `FORMAT` and its place in `_MODULES`; the tests of
`tests/service/exports/test_contract.py` then run over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType

from service.exports import boris, coco, cvat, elan, label_studio, ndjson, openface, parquet, pyfeat, table
from service.exports.formats import Format

_MODULES = (table, parquet, ndjson, openface, pyfeat, elan, boris, coco, cvat, label_studio)

FORMATS: Mapping[str, Format] = MappingProxyType({module.FORMAT.name: module.FORMAT for module in _MODULES})
"""The formats by name, the native one first."""

ALIASES: Mapping[str, str] = MappingProxyType({"csv": "native"})


def find(name: str) -> Format:
    """The format of that name.

    Raises:
        ValueError: there is none; the message lists those that there are.
    """
    known = FORMATS.get(ALIASES.get(name, name))
    if known is None:
        raise ValueError(f"unknown format {name!r}; known are {', '.join(FORMATS)}")
    return known


def for_file(path: PurePath) -> Format | None:
    """The format that a file's ending names: the longest ending that fits, else the only one with its last part."""
    name = path.name.lower()
    fitting = [known for known in FORMATS.values() if name.endswith(known.suffix)]
    if fitting:
        return max(fitting, key=lambda known: len(known.suffix))
    if path.suffix.lower() == ".csv":
        return FORMATS["native"]
    fitting = [known for known in FORMATS.values() if path.suffix and known.suffix.endswith(path.suffix.lower())]
    return fitting[0] if len(fitting) == 1 else None
