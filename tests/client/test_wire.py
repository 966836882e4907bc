"""Bodies that come in pieces of any size."""

from __future__ import annotations

import subprocess
import sys

import pytest

from roigcn.wire import Event, Events, Lines

STREAM = (
    b": ping\r\n\r\n"
    b"retry: 2500\r\nid: one\r\nevent: progress\r\ndata: {}\r\n\r\n"
    b"data: a\ndata:b\n\n"
    b"event: nothing\n\n"
    b"id: bad\0id\nretry: soon\nunknown: x\ndata\n\n"
    b"event: cut off\ndata: no end\n"
)
EXPECTED = [Event("progress", "one", "{}"), Event("message", "one", "a\nb"), Event("message", "one", "")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_events_in_pieces(size: int) -> None:
    lines, events = Lines(), Events()
    seen = [
        event
        for start in range(0, len(STREAM), size)
        for line in lines.feed(STREAM[start : start + size])
        if (event := events.feed(line)) is not None
    ]
    assert seen == EXPECTED
    assert (events.last_id, events.retry_seconds) == ("one", 2.5)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([], []),
        ([b"no end"], []),
        ([b"a\nb\r\n"], [b"a", b"b"]),
        ([b"a\r", b"\nb", b"\n", b"c"], [b"a", b"b"]),
        ([b"\n\n"], [b"", b""]),
        (["line separator\u2028within\n".encode()], ["line separator\u2028within".encode()]),
    ],
    ids=["empty", "cut", "both ends", "between", "blank", "not at U+2028"],
)
def test_lines(chunks: list[bytes], expected: list[bytes]) -> None:
    lines = Lines()
    assert [line for chunk in chunks for line in lines.feed(chunk)] == expected


def test_importing_the_client_loads_nothing_heavy() -> None:
    code = (
        "import roigcn, sys; "
        "heavy = {'service', 'worker', 'model', 'training', 'torch', 'openvino', 'pandas', 'pyarrow', 'cv2', 'PIL', "
        "'numpy', 'IPython', 'fastapi', 'sqlalchemy'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
