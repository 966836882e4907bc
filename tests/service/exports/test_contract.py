"""What holds for every registered format, and its golden files.

After a wanted change of a format, write the golden files anew and look at the difference:

    python -m tests.service.exports.test_contract
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePath

import pyarrow.parquet as pq
import pytest

from service.exports import registry
from service.exports.formats import Format
from service.exports.recording import ExportFrame, Recording
from tests.service.exports.kit import CLIP, PICTURES, pictures, two_faces, without_faces
from worker.store.records import JobKind

GOLDEN = Path(__file__).parent / "golden"
FORMATS = list(registry.FORMATS.values())
CASES: dict[str, tuple[Recording, list[ExportFrame]]] = {
    "two-faces": (CLIP, two_faces()),
    "without-faces": (replace(CLIP, frames=3), without_faces()),
    "empty": (replace(CLIP, frames=0, duration_ms=None, fps=None, mime=None, job=None), []),
    "unknown-size": (replace(CLIP, width=None, height=None, frames=None), two_faces()),
    "no-aus": (replace(CLIP, au_codes=()), []),
    "pictures": (PICTURES, pictures()),
    "one-picture": (replace(PICTURES, name="smile.jpg", width=200, height=180, frames=1), pictures()[:1]),
}
FITTING = [
    pytest.param(made, case, id=f"{made.name}-{case}")
    for made in FORMATS
    for case, (recording, _) in CASES.items()
    if made.misfit(recording) is None
]


def text_of(made: Format, data: bytes) -> str:
    """The file as text; of a binary format what is in it."""
    if made.name == "parquet":
        table = pq.read_table(io.BytesIO(data))
        lines = [f"{key.decode()} = {value.decode()}" for key, value in sorted(table.schema.metadata.items())]
        lines += [f"{f.name}: {f.type}, {f.metadata[b'meaning'].decode()}" for f in table.schema]
        return "\n".join(lines + [str(list(row.values())) for row in table.to_pylist()]) + "\n"
    return data.decode()


def golden_files() -> Iterator[tuple[Path, Format, str]]:
    for made in FORMATS:
        for case in ("two-faces", "pictures"):
            if made.misfit(CASES[case][0]) is None:
                yield GOLDEN / f"{case}{made.suffix}{'.txt' if made.name == 'parquet' else ''}", made, case


@pytest.mark.parametrize(
    ("path", "made", "case"), list(golden_files()), ids=lambda value: getattr(value, "name", str(value))
)
def test_golden_files(path: Path, made: Format, case: str) -> None:
    recording, frames = CASES[case]
    assert text_of(made, b"".join(made.write(frames, recording))) == path.read_bytes().decode()


@pytest.mark.parametrize(("made", "case"), FITTING)
def test_every_recording_can_be_written(made: Format, case: str) -> None:
    recording, frames = CASES[case]
    read = []

    def counted() -> Iterator[ExportFrame]:
        for frame in frames:
            read.append(frame)
            yield frame

    parts = list(made.write(counted(), recording))
    assert all(isinstance(part, bytes) for part in parts)
    assert len(read) == len(frames), "all frames are read"
    again = b"".join(made.write(iter(frames), recording))
    assert b"".join(parts) == again, "the same in, the same out"
    if frames and made.name != "ndjson":
        assert again, "a file with nothing in it is no file of its format"


STREAMING = [
    pytest.param(made, "two-faces" if kind is JobKind.VIDEO else "pictures", id=f"{made.name}-{kind}")
    for made in FORMATS
    for kind in sorted(made.kinds - made.whole)
]


@pytest.mark.parametrize(("made", "case"), STREAMING)
def test_streaming_formats_hold_a_bounded_number_of_frames(made: Format, case: str) -> None:
    recording, frames = CASES[case]
    read = 0

    def endless() -> Iterator[ExportFrame]:
        nonlocal read
        while read < 20_000:
            read += 1
            yield replace(frames[-1], frame=read, pts_ms=read * 40.0)

    parts = made.write(endless(), recording)
    assert next(parts)
    assert next(parts)
    assert read < 10_000


@pytest.mark.parametrize("made", FORMATS, ids=lambda made: made.name)
def test_a_format_describes_itself(made: Format) -> None:
    assert made.name == made.name.lower()
    assert made.name in registry.FORMATS
    assert 3 < len(made.title) <= 20
    assert len(made.summary) > 20
    assert made.suffix.startswith(".")
    assert "/" in made.media_type
    assert made.kinds
    assert registry.find(made.name) is made
    assert registry.for_file(PurePath(made.file_name(CLIP))) is made
    assert made.file_name(CLIP) == f"two & faces{made.suffix}"


def test_suffixes_are_distinct() -> None:
    assert len({made.suffix for made in FORMATS}) == len(FORMATS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.csv", "native"), ("a.CSV", "native"), ("a.parquet", "parquet"), ("a", None), ("a.docx", None)],
)
def test_an_ending_names_a_format(name: str, expected: str | None) -> None:
    found = registry.for_file(PurePath(name))
    assert (found and found.name) == expected


def test_an_unknown_format_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"unknown format 'xlsx'; known are native, "):
        registry.find("xlsx")
    assert registry.find("csv") is registry.find("native")


@pytest.mark.parametrize("made", FORMATS, ids=lambda made: made.name)
def test_what_does_not_fit_is_said(made: Format) -> None:
    for recording in (CLIP, PICTURES):
        why = made.misfit(recording)
        assert (why is None) == (recording.kind in made.kinds)
        assert why is None or (made.name in why and why.endswith("."))


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for old in GOLDEN.iterdir():
        old.unlink()
    for target, made, case in golden_files():
        target.write_bytes(text_of(made, b"".join(made.write(CASES[case][1], CASES[case][0]))).encode())
        print(target)
