"""The `Range` header of RFC 9110, section 14: one range of bytes."""

from __future__ import annotations

import re

from service.problems import RangeNotSatisfiable

_RANGE = re.compile(r"bytes=\s*(\d{0,19})-(\d{0,19})\s*", re.IGNORECASE)


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """What part of a file is asked for.

    Args:
        header: value of `Range`.
        size: of the file in bytes.

    Returns:
        First and last byte, both within the file; None for the whole file: without the header, and where it is
        malformed or names several ranges, which a server may ignore.

    Raises:
        RangeNotSatisfiable: it begins behind the end.
    """
    match = None if header is None else _RANGE.fullmatch(header)
    if match is None or match.groups() == ("", ""):
        return None
    first_text, last_text = match.groups()
    if first_text == "":  # the last so many bytes
        length = int(last_text)
        first, last = max(size - length, 0), size - 1
        unsatisfiable = length == 0 or size == 0
    else:
        first, last = int(first_text), min(int(last_text or size), size - 1)
        if last_text and int(last_text) < first:
            return None
        unsatisfiable = first >= size
    if unsatisfiable:
        raise RangeNotSatisfiable(
            f"The file has {size} bytes. Ask for a range within them.", headers={"Content-Range": f"bytes */{size}"}
        )
    return first, last
